"""Sweeps over one factor, and the center of mass that shows them."""

import pytest
import torch

from coursekit import data
from coursekit.data import faces, shapes


def test_a_sweep_moves_one_factor_and_keeps_the_others():
    start = {"shape": torch.tensor([0, 2]), "x": torch.tensor([0.1, 0.2])}
    moved = data.sweep(start, "x", torch.tensor([0.5, 0.7, 0.9]))
    assert moved["shape"].tolist() == [0, 0, 0, 2, 2, 2]
    assert torch.equal(moved["x"], torch.tensor([0.5, 0.7, 0.9, 0.5, 0.7, 0.9]))
    assert torch.equal(start["x"], torch.tensor([0.1, 0.2]))


def test_a_sweep_keeps_the_types_that_drawing_needs():
    start = faces.sample_factors(2, torch.Generator().manual_seed(0))
    factors = data.sweep(start, "hair_style", torch.arange(7.0))
    assert factors["hair_style"].dtype == torch.int64
    assert faces.images_from_factors(factors, (16, 16)).shape == (14, 3, 16, 16)


def test_an_unknown_factor_is_named():
    with pytest.raises(ValueError, match="name is 'y', but one of x is expected"):
        data.sweep({"x": torch.zeros(1)}, "y", torch.zeros(1))


def test_one_bright_pixel_is_the_center():
    images = torch.zeros(1, 3, 4, 7, dtype=torch.uint8)
    images[0, :, 0, 5] = 200
    assert [part.item() for part in data.center_of_mass(images)] == [2.0, -1.5]
    images[0, :, 3, 5] = 100  # half as bright
    assert [part.item() for part in data.center_of_mass(images)] == [2.0, -0.5]


def test_a_shape_moves_as_far_as_its_factor():
    start = {name: values[:1] for name, values in shapes.GRID.items()}
    factors = data.sweep(start, "x", torch.tensor([0.0, 0.5, 1.0]))
    x, y = data.center_of_mass(shapes.images_from_factors(factors))
    assert x.tolist() == pytest.approx([-14.4, 0.0, 14.4], abs=0.1)  # 0.45 of 64 pixels
    assert y.tolist() == pytest.approx([-14.4] * 3, abs=0.1)
