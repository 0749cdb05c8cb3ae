"""Drawn digits: what the factors say is what the picture shows."""

import pytest
import torch

from coursekit import data
from coursekit.data import digits


def draw(n=64, **fixed):
    generator = torch.Generator().manual_seed(1)
    factors = digits.sample_factors(n, generator)
    for name, value in fixed.items():
        factors[name] = torch.full_like(factors[name], value)
    return factors, digits.images_from_factors(factors).float() / 255


def center(images):
    """Center of mass (x, y) in pixels from the middle of the picture."""
    size = images.shape[-1]
    at = torch.arange(size) + 0.5 - size / 2
    mass = images.sum((1, 2, 3))
    return (images.sum((1, 2)) * at).sum(1) / mass, (images.sum((1, 3)) * at).sum(1) / mass


def test_load_gives_bytes_labels_and_factors():
    digits_set = data.load("digits", size=700)
    assert digits_set.images.shape == (700, 1, 28, 28)
    assert digits_set.images.dtype == torch.uint8
    assert digits_set.labels.dtype == torch.int64
    assert set(digits_set.labels.tolist()) == set(range(10))
    assert torch.equal(digits_set.factors["class"], digits_set.labels)
    assert {"slant", "thickness", "width", "x", "y"} <= set(digits_set.factors)
    for name, (low, high) in digits.RANGES.items():
        assert digits_set.factors[name].min() >= low
        assert digits_set.factors[name].max() <= high


def test_an_image_depends_on_seed_and_position_alone():
    many, few = data.load("digits", size=1100), data.load("digits", size=30)
    assert torch.equal(many.images[:30], few.images)
    assert torch.equal(many.factors["slant"][:30], few.factors["slant"])
    other = data.load("digits", size=30, seed=1)
    assert not torch.equal(few.images, other.images)
    test = data.load("digits", "test", size=30)
    assert not torch.equal(few.images, test.images)


def test_center_of_mass_is_the_factor():
    factors, images = draw()
    x, y = center(images)
    for found, factor in ((x, factors["x"]), (y, factors["y"])):
        # A crossing is inked once but counts twice, so single digits are off by part of a pixel.
        assert (found - factor).abs().max() < 0.6
        assert (found - factor).abs().mean() < 0.15


@pytest.mark.parametrize("thickness", [1.6, 2.5, 3.5])
def test_a_straight_stroke_is_as_thick_as_the_factor_says(thickness):
    _, images = draw(**{"class": 1, "style": 0, "slant": 0.0, "thickness": thickness})
    # The stroke is nearly upright: a row through its middle crosses it at full width.
    across = images[:, 0, 12:16].sum(2).mean(1)
    assert (across - thickness).abs().max() < 0.2 * thickness


def test_slant_leans_the_stroke():
    for slant in (-0.2, 0.0, 0.5):
        _, images = draw(**{"class": 1, "style": 0, "slant": slant, "x": 0.0, "y": 0.0})
        at = torch.arange(28.0)
        rows = images[:, 0, 7:21]
        middle = (rows * at).sum(2) / rows.sum(2)
        lean = -(middle[:, -1] - middle[:, 0]) / 13
        assert (lean - slant).abs().max() < 0.06


def test_height_is_size_plus_the_pen():
    factors, images = draw(**{"class": 0, "x": 0.0, "y": 0.0})
    # The number of inked rows, weighted at the edges by their coverage.
    rows = images[:, 0].amax(2).sum(1)
    error = (rows - factors["size"] - factors["thickness"]).abs()
    assert error.max() < 1.0
    assert error.mean() < 0.3


def test_nothing_is_cut_off():
    images = data.load("digits", size=2000).images
    edge = torch.cat([images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]])
    assert (edge > 128).float().mean() < 0.001


def test_other_resolutions_show_the_same_digit():
    small = data.load("digits", size=50).images.float()
    large = data.load("digits", size=50, resolution=(84, 84)).images.float()
    shrunk = torch.nn.functional.avg_pool2d(large, 3)
    assert (small - shrunk).abs().mean() < 4
    assert data.load("digits", size=3, resolution=(32, 48)).images.shape == (3, 1, 32, 48)
