"""ImageSet and its batches."""

import pytest
import torch

from coursekit import data
from coursekit.data import ImageSet


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (10, 3, 6, 5), generator=generator, dtype=torch.uint8)
    return ImageSet(
        "test", "train", pixels, torch.arange(10) % 3, ("a", "b", "c"),
        factors={"x": torch.arange(10.0)}, attributes={"odd": torch.arange(10) % 2 == 1},
    )  # fmt: skip


def test_batches_in_order(images):
    batches = list(images.batches(4))
    assert [len(batch.images) for batch in batches] == [4, 4, 2]
    assert torch.equal(torch.cat([b.images for b in batches]), images.images.float() / 255)
    assert torch.equal(torch.cat([b.labels for b in batches]), images.labels)
    assert torch.equal(torch.cat([b.index for b in batches]), torch.arange(10))
    assert [len(b.images) for b in images.batches(4, drop_last=True)] == [4, 4]


def test_shuffled_batches_are_a_permutation_that_the_generator_decides(images):
    def order(seed):
        generator = torch.Generator().manual_seed(seed)
        batches = list(images.batches(3, shuffle=True, generator=generator))
        for batch in batches:
            assert torch.equal(batch.images, images.images[batch.index].float() / 255)
            assert torch.equal(batch.labels, images.labels[batch.index])
        return torch.cat([batch.index for batch in batches])

    assert torch.equal(order(1).sort().values, torch.arange(10))
    assert torch.equal(order(1), order(1))
    assert not torch.equal(order(1), order(2))


def test_batches_leave_the_set_alone(images):
    before = images.images.clone()
    for batch in images.batches(4):
        batch.images.zero_()
        batch.labels.zero_()
    assert torch.equal(images.images, before)
    assert images.labels.max() == 2


def test_subset_takes_every_column(images):
    for chosen in ([1, 8], torch.tensor([1, 8]), torch.arange(10) % 7 == 1):
        some = images.subset(chosen)
        assert torch.equal(some.images, images.images[[1, 8]])
        assert some.labels.tolist() == [1, 2]
        assert some.factors["x"].tolist() == [1, 8]
        assert some.attributes["odd"].tolist() == [True, False]
    assert len(images.subset(slice(4))) == 4
    assert len(images.subset([])) == 0
    assert images.subset([-1, 0]).factors["x"].tolist() == [9, 0]
    with pytest.raises(IndexError, match="from 0 to 10, but at most 9 is expected"):
        images.subset([0, 10])
    with pytest.raises(ValueError, match="mask of 4"):
        images.subset(torch.ones(4, dtype=torch.bool))
    with pytest.raises(ValueError, match="index is torch"):
        images.subset(torch.ones(4))


def test_greyscale_is_luminance(images):
    grey = images.greyscale()
    r, g, b = images.images.float().unbind(1)
    expected = (0.299 * r + 0.587 * g + 0.114 * b).round().byte()
    assert torch.equal(grey.images[:, 0], expected)
    assert grey.greyscale() is grey


def test_resize_averages(images):
    flat = ImageSet("flat", "train", torch.full((2, 1, 8, 8), 77, dtype=torch.uint8))
    assert (flat.resize((3, 5)).images == 77).all()
    assert flat.resize((3, 5)).images.shape == (2, 1, 3, 5)
    ramp = ImageSet("ramp", "train", torch.arange(0, 64, dtype=torch.uint8).view(1, 1, 8, 8))
    small = ramp.resize((4, 4)).images.float()
    exact = torch.nn.functional.avg_pool2d(ramp.images.float(), 2)
    assert (small - exact)[..., 1:-1, 1:-1].abs().max() <= 1
    assert len(images.subset([]).resize((3, 3))) == 0
    with pytest.raises(ValueError, match=r"resolution is 64, but \(height, width\)"):
        images.resize(64)


def test_binarize():
    grey = data.load("digits", size=600)
    probability = grey.images.float() / 255
    threshold = next(grey.binarize("threshold").batches(600)).images
    assert torch.equal(threshold, (probability > 0.5).float())

    static = grey.binarize("static", seed=3)
    first, second = (next(static.batches(600)).images for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(static.images, grey.binarize("static", seed=3).images)
    assert not torch.equal(static.images, grey.binarize("static", seed=4).images)

    dynamic = grey.binarize("dynamic")
    generator = torch.Generator().manual_seed(0)
    draws = [next(dynamic.batches(600, generator=generator)).images for _ in range(64)]
    assert not torch.equal(draws[0], draws[1])
    assert set(draws[0].unique().tolist()) == {0.0, 1.0}
    # A mean of 64 Bernoulli draws has a standard error of at most 1/16.
    assert (torch.stack(draws).mean(0) - probability).abs().max() < 0.45
    assert abs((torch.stack(draws).mean() - probability.mean()).item()) < 1e-3
    assert torch.equal(first[probability == 1], torch.ones(int((probability == 1).sum())))

    assert grey.binarize("none").binarization == "none"
    with pytest.raises(ValueError, match="how is 'stochastic', but one of none"):
        grey.binarize("stochastic")
    with pytest.raises(ValueError, match="binarized already"):
        static.binarize("dynamic")
    with pytest.raises(ValueError, match="binarized already"):
        static.binarize("static", seed=4)


@pytest.mark.parametrize("how", ["threshold", "static"])
def test_black_and_white_images_are_not_made_grey_again(images, how):
    binary = images.binarize(how)
    assert binary.resize((6, 5)) is binary
    with pytest.raises(ValueError, match=f"{how}.*first, then binarize"):
        binary.resize((3, 3))
    with pytest.raises(ValueError, match=f"{how}.*first, then binarize"):
        binary.greyscale()
    assert images.binarize("dynamic").resize((3, 3)).images.equal(images.resize((3, 3)).images)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"name is 'mnits', but one of .*digits"):
        data.load("mnits")
    with pytest.raises(ValueError, match=r"split is 'valid', but one of train.* is expected"):
        data.load("digits", "valid")
    with pytest.raises(ValueError, match="size is 0, but a number of images"):
        data.load("digits", size=0)
    with pytest.raises(ValueError, match=r"resolution is 28, but \(height, width\)"):
        data.load("digits", size=1, resolution=28)
    with pytest.raises(ValueError, match="batch_size is 0, but a positive integer"):
        data.load("digits", size=1).batches(0)
    with pytest.raises(
        ValueError, match=r"images is torch.float32 of shape \(2, 1, 4, 4\), but uint8"
    ):
        ImageSet("x", "train", torch.zeros(2, 1, 4, 4))
    with pytest.raises(ValueError, match=r"labels has shape \(3,\), but \(2,\) is expected"):
        ImageSet("x", "train", torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.arange(3))


def test_repr_says_what_it_is():
    assert repr(data.load("digits", size=5)) == (
        "ImageSet('digits', 'train': 5 images of 1x28x28, 10 classes, 8 factors)"
    )


@pytest.mark.parametrize("name", ["digits", "shapes", "faces"])
def test_the_number_of_threads_changes_nothing(name):
    threads = torch.get_num_threads()
    found = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            found.append(data.load(name, size=1100, resolution=(16, 16)).images)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)
