"""Drawn shapes, against areas and places that are known exactly."""

import math

import pytest
import torch

from coursekit import data
from coursekit.data import shapes

HALF = 0.165 * 64  # half the side of a square of scale 1, in pixels


def one(shape, scale=1.0, orientation=0.0, x=0.5, y=0.5, resolution=(64, 64)):
    factors = {
        "shape": torch.tensor([shape]),
        "scale": torch.tensor([scale]),
        "orientation": torch.tensor([orientation]),
        "x": torch.tensor([x]),
        "y": torch.tensor([y]),
    }
    return shapes.images_from_factors(factors, resolution)[0, 0].float() / 255


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("orientation", [0.0, 0.3, 2.0])
def test_areas_are_exact(scale, orientation):
    radius = HALF * scale
    assert one(0, scale, orientation).sum() == pytest.approx((2 * radius) ** 2, rel=0.01)
    ellipse = math.pi * 1.55 * 0.82 * radius**2
    assert one(1, scale, orientation).sum() == pytest.approx(ellipse, rel=0.01)
    # A square of side 1/sqrt(2) standing on its corner and two half disks on its upper sides.
    heart = (0.5 + math.pi / 8) * (2.1 * radius) ** 2
    assert one(2, scale, orientation).sum() == pytest.approx(heart, rel=0.015)


def test_places_are_exact():
    at = torch.arange(64) + 0.5 - 32
    for x, y in ((0.0, 0.0), (0.25, 1.0), (1.0, 0.6)):
        image = one(0, 0.7, 0.4, x, y)
        reach = (1 - 2 * 0.275) * 64
        found = (image.sum(0) * at).sum() / image.sum(), (image.sum(1) * at).sum() / image.sum()
        assert found[0] == pytest.approx((x - 0.5) * reach, abs=0.02)
        assert found[1] == pytest.approx((y - 0.5) * reach, abs=0.02)


@pytest.mark.parametrize("shape", [0, 1, 2])
def test_a_quarter_turn_is_counterclockwise(shape):
    turned = one(shape, orientation=0.3 + math.pi / 2)
    assert torch.allclose(turned, one(shape, orientation=0.3).rot90(), atol=1 / 254)


def test_the_grid_is_that_of_dsprites():
    assert shapes.GRID_SIZE == 737_280
    assert [len(values) for values in shapes.GRID.values()] == [3, 6, 40, 32, 32]
    last = shapes.grid_factors(torch.tensor([shapes.GRID_SIZE - 1, 0, 33, 32 * 32 * 40]))
    assert last["shape"].tolist() == [2, 0, 0, 0]
    assert last["y"].tolist() == pytest.approx([1, 0, 1 / 31, 0])
    assert last["x"].tolist() == pytest.approx([1, 0, 1 / 31, 0])
    assert last["scale"].tolist() == pytest.approx([1, 0.5, 0.5, 0.6])
    with pytest.raises(ValueError, match="but 0 to 737279 are expected"):
        shapes.grid_factors(torch.tensor([shapes.GRID_SIZE]))


def test_different_factors_are_different_pictures():
    # Along the grid's axes from one point; the square looks the same after quarter turns.
    generator = torch.Generator().manual_seed(0)
    for name in ("scale", "orientation", "x", "y"):
        factors = shapes.sample_factors(1, generator)
        values = shapes.GRID[name]
        line = {key: value.expand(len(values)).clone() for key, value in factors.items()}
        line["shape"][:] = 2
        line[name] = values
        images = shapes.images_from_factors(line).flatten(1)
        assert len(images.unique(dim=0)) == len(values)


def test_no_shape_leaves_the_picture():
    images = data.load("shapes", size=5000).images
    for edge in (images[..., 0], images[..., -1], images[..., 0, :], images[..., -1, :]):
        assert edge.max() == 0


def test_load_and_random_draws():
    some = data.load("shapes", size=3000)
    assert some.images.shape == (3000, 1, 64, 64)
    assert torch.equal(some.labels, some.factors["shape"])
    assert some.classes == ("square", "ellipse", "heart")
    for name, values in shapes.GRID.items():
        assert set(some.factors[name].tolist()) == set(values.tolist())
    assert torch.equal(some.images, shapes.images_from_factors(some.factors))
    wide = data.load("shapes", size=2, resolution=(48, 96))
    assert wide.images.shape == (2, 1, 48, 96)


def test_bad_factors_are_named():
    good = shapes.sample_factors(2, torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="factors has no orientation, y, but all of"):
        shapes.images_from_factors({name: good[name] for name in ("shape", "scale", "x")})
    with pytest.raises(ValueError, match=r"factor shape has values .* but 0 to 2 are"):
        shapes.images_from_factors({**good, "shape": torch.tensor([0, 3])})
    with pytest.raises(ValueError, match=r"factor x has shape .* but \(2,\) is"):
        shapes.images_from_factors({**good, "x": torch.zeros(3)})
    with pytest.raises(ValueError, match=r"factor x is .*, but floats"):
        shapes.images_from_factors({**good, "x": good["x"].long()})
    with pytest.raises(ValueError, match="factor y has NaN or infinity"):
        shapes.images_from_factors({**good, "y": torch.tensor([0.0, math.nan])})
    none = {name: value[:0] for name, value in good.items()}
    assert shapes.images_from_factors(none).shape == (0, 1, 64, 64)


def test_factors_that_are_held_leave_the_others_as_they_are():
    free = data.load("shapes", size=600, resolution=(16, 16))
    held = data.load(
        "shapes", size=600, resolution=(16, 16), fixed={"shape": 2, "orientation": 0.0}
    )
    assert (held.labels == 2).all()
    assert (held.factors["orientation"] == 0).all()
    for name in ("scale", "x", "y"):
        assert torch.equal(held.factors[name], free.factors[name])
    again = shapes.images_from_factors(held.factors, (16, 16))
    assert torch.equal(again, held.images)
    with pytest.raises(ValueError, match="fixed names hue"):
        data.load("shapes", size=1, fixed={"hue": 1.0})
    with pytest.raises(ValueError, match="real set"):
        data.load("optdigits", fixed={"shape": 1})
