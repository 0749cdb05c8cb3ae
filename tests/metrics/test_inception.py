"""The plumbing of FID, with random weights: layout, pooling, resize and scale as torch-fidelity."""

import pytest
import torch

from coursekit.metrics import fid, frechet_distance, inception
from coursekit.metrics.inception import FIDInception


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of a scale that keeps signals alive through all layers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = FIDInception().net.state_dict()
        for name, value in state.items():
            if name.endswith("conv.weight"):
                torch.nn.init.kaiming_normal_(value)
            elif name.endswith(("bn.running_mean", "bn.bias")):
                value.normal_(0, 0.1)
    path = tmp_path_factory.mktemp("inception") / "random.pth"
    torch.save(state, path)
    return path


def images(n, c, h, w):
    shape = (n, c, h, w)
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def ours(weights):
    return inception(weights)


def test_features_agree_with_torch_fidelity(ours, weights):
    theirs_in = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    theirs = theirs_in.FeatureExtractorInceptionV3("inception", ["2048"], str(weights))
    for batch in (images(1, 3, 32, 32), images(1, 3, 400, 310)):
        expected = theirs(batch)[0]
        assert expected.std() > 0.1
        torch.testing.assert_close(ours(batch), expected, rtol=1e-3, atol=1e-3)


def test_grey_images_are_color_images_of_equal_channels(ours):
    grey = images(1, 1, 28, 28)
    torch.testing.assert_close(ours(grey), ours(grey.expand(-1, 3, -1, -1)))


def test_fid_is_the_frechet_distance_of_these_features(ours, weights):
    real, fake = images(2, 1, 28, 28), images(2, 1, 28, 28) // 4
    expected = frechet_distance(ours(real), ours(fake))
    assert expected > 0.1
    assert fid(real, fake, weights) == pytest.approx(expected, rel=1e-4)


def test_the_pooling_is_no_method(ours):
    """Python 3.14 binds a partial that is an attribute of a class, as it binds a function."""
    pooled = {c.__dict__["pool"] for c in type(ours.net.Mixed_5b).__mro__ if "pool" in c.__dict__}
    assert [type(pool) for pool in pooled] == [staticmethod]


def test_floats_are_refused(ours):
    with pytest.raises(ValueError, match="uint8"):
        ours(torch.rand(2, 3, 32, 32))


def test_files_that_are_not_the_weights_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="download pt_inception"):
        inception(tmp_path / "none.pth")
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not weights")
    with pytest.raises(ValueError, match="damaged"):
        inception(broken)
    other = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(1000, 2048)}, other)
    with pytest.raises(ValueError, match="does not hold the weights of FID"):
        inception(other)
    torch.save([1, 2], other)
    with pytest.raises(ValueError, match="does not hold the weights of FID"):
        inception(other)
