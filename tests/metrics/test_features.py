"""The classifier behind the feature distances: what it learns, where it is kept, what it is for."""

import math
from dataclasses import replace

import pytest
import torch

from coursekit import data
from coursekit.data import ImageSet
from coursekit.metrics import (
    classifier,
    extract,
    features,
    frechet_distance,
    kernel_distance,
    label_accuracy,
    mode_coverage,
    precision_recall,
    predict,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def _fresh_home(home, monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(home))


@pytest.fixture(scope="module")
def train():
    return data.load("digits", size=4000)


@pytest.fixture(scope="module")
def test_set():
    return data.load("digits", "test", size=1000)


@pytest.fixture(scope="module")
def network(train, home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSEKIT_DATA", str(home))
        patch.setattr(features, "_STEPS", 120)
        return classifier(train, progress=False)


def toy(n=64, shape=(1, 8, 8), **columns):
    images = torch.randint(256, (n, *shape), generator=torch.Generator().manual_seed(0))
    return ImageSet("toy", "train", images.byte(), **columns)


def quick(monkeypatch):
    monkeypatch.setattr(features, "_STEPS", 2)


def test_it_knows_digits_it_has_not_seen(network, test_set):
    assert label_accuracy(predict(network, test_set), test_set.labels) > 0.95


def test_distances_order_real_blurred_and_noise(network, train, test_set):
    images = test_set.images.float() / 255
    blurred = torch.nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    reference = extract(network, train.subset(slice(1000)))
    fakes = [extract(network, x) for x in (images, blurred, noise)]
    for distance in (frechet_distance, kernel_distance):
        real, blur, far = (distance(reference, fake) for fake in fakes)
        assert real < 0.25 * blur
        assert blur < far
    assert precision_recall(reference, fakes[0]).precision > 0.85
    assert precision_recall(reference, fakes[2]).precision < 0.1


def test_features_have_unit_mean_square_and_do_not_depend_on_the_batch(network, train):
    found = extract(network, train)
    assert found.shape == (4000, 128)
    for half in found.split(64, dim=1):
        assert half.square().mean().item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(extract(network, train.images[:10], batch_size=3), found[:10])


def test_the_cache_is_used_keyed_by_images_and_seed_and_repaired(home, monkeypatch):
    quick(monkeypatch)
    labels = torch.arange(64) % 3
    first = classifier(toy(labels=labels), progress=False)
    (path,) = (home / "cache").glob("classifier-toy-*.pt")
    monkeypatch.setattr(features, "fit", None)  # must not be called
    again = classifier(toy(labels=labels), progress=False)
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))
    for other in (toy(labels=labels.flip(0)), toy(n=63, labels=labels[:63])):
        with pytest.raises(TypeError, match="not callable"):
            classifier(other, progress=False)
    with pytest.raises(TypeError, match="not callable"):
        classifier(toy(labels=labels), seed=1, progress=False)
    monkeypatch.undo()
    monkeypatch.setenv("COURSEKIT_DATA", str(home))
    quick(monkeypatch)
    path.write_bytes(path.read_bytes()[:1000])
    repaired = classifier(toy(labels=labels), progress=False)
    assert all(map(torch.equal, first.state_dict().values(), repaired.state_dict().values()))
    assert [p.name for p in path.parent.glob("classifier-toy-*")] == [path.name]


def test_a_folder_that_cannot_be_written_costs_a_warning_only(tmp_path, monkeypatch):
    quick(monkeypatch)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="trained anew"):
        found = classifier(toy(labels=torch.arange(64) % 3), progress=False)
    assert predict(found, toy()).shape == (64,)


def test_a_last_batch_of_one_image_is_no_obstacle(monkeypatch):
    quick(monkeypatch)
    found = classifier(toy(n=129, labels=torch.arange(129) % 3), progress=False)
    assert all(value.isfinite().all() for value in found.state_dict().values())


def test_attributes_serve_where_there_are_no_labels(monkeypatch):
    quick(monkeypatch)
    monkeypatch.setattr(features, "_STEPS", 60)
    images = toy(n=256, shape=(3, 20, 16)).images
    images[:128, 0] //= 4
    images[::2, 1] //= 4
    marks = {"dim red": torch.arange(256) < 128, "dim green": torch.arange(256) % 2 == 0}
    found = classifier(replace(toy(), images=images, attributes=marks), progress=False)
    with torch.no_grad():
        said = found(images.float() / 255) > 0
    assert (said == torch.stack(list(marks.values()), dim=1)).float().mean() > 0.95


def test_attributes_serve_where_the_labels_name_no_class(monkeypatch):
    """CelebA's labels are identities: thousands of people, a few pictures each."""
    quick(monkeypatch)
    marks = {"left": torch.arange(64) < 32, "odd": torch.arange(64) % 2 == 1}
    found = classifier(toy(labels=torch.arange(64) * 100, attributes=marks), progress=False)
    assert found.output.out_features == 2


def test_a_set_with_nothing_to_learn_is_refused():
    with pytest.raises(ValueError, match="neither labels nor attributes"):
        classifier(toy(), progress=False)


def test_label_accuracy_counts_agreement():
    assert label_accuracy(torch.tensor([1, 2, 3, 3]), torch.tensor([1, 2, 0, 3])) == 0.75
    with pytest.raises(ValueError, match="the shapes must be the same"):
        label_accuracy(torch.tensor([1, 2]), torch.tensor([[1, 2]]))


def test_mode_coverage_of_known_shares():
    reference = torch.arange(10).repeat(100)
    assert mode_coverage(reference, reference) == (10, 0)
    one = mode_coverage(torch.full((50,), 3), reference)
    assert one.modes == 1
    assert one.kl == pytest.approx(math.log(10))
    half = mode_coverage(torch.arange(5), reference)
    assert half.modes == 5
    assert half.kl == pytest.approx(math.log(2))
    # A class that no real image has: no mode, and an infinite divergence.
    assert mode_coverage(torch.tensor([0, 11]), reference) == (1, math.inf)
    with pytest.raises(ValueError, match="predicted has shape"):
        mode_coverage(torch.tensor([], dtype=torch.int64), reference)
