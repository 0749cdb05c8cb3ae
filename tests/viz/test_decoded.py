"""Figures of what a decoder makes of codes, and the sliders."""

import io
from functools import partial

import matplotlib as mpl
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

mpl.use("Agg")

from coursekit import viz


def two_halves(z):
    """Images (N, 1, 4, 6): the left half shows z[0], the right half z[1], from -3..3 to 0..1."""
    levels = (z[:, :2] + 3) / 6
    return levels.repeat_interleave(3, dim=1)[:, None, None].expand(-1, 1, 4, 6)


def test_manifold_shows_each_code_at_its_place():
    (axes,) = viz.show_manifold(two_halves, extent=3.0, steps=4).axes
    image = axes.images[0]
    left, right, bottom, top = image.get_extent()
    picture = np.asarray(image.get_array())
    for first in (-3.0, -1.0, 1.0, 3.0):
        for second in (-3.0, -1.0, 1.0, 3.0):
            column = int((first - left) / (right - left) * picture.shape[1])
            row = int((top - second) / (top - bottom) * picture.shape[0])
            # The code lies in the middle of its image, so one pixel to each side is in one half.
            assert picture[row, column - 1] == pytest.approx((first + 3) / 6, abs=1e-6)
            assert picture[row, column + 1] == pytest.approx((second + 3) / 6, abs=1e-6)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z[0]", "z[1]")


def test_traversals_have_a_row_a_coordinate():
    code = torch.tensor([0.0, 3.0, 1.0])
    figure = viz.show_traversals(two_halves, code, [1, 0], torch.tensor([-3.0, 0.0, 3.0]), "t")
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["z[1]", "z[0]"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["-3", "0", "3"]
    grid = np.asarray(axes.images[0].get_array())[..., 0]
    left_halves = [[grid[4 + 6 * row, 4 + 8 * column] for column in range(3)] for row in range(2)]
    right_halves = [[grid[4 + 6 * row, 7 + 8 * column] for column in range(3)] for row in range(2)]
    assert left_halves == [[0.5, 0.5, 0.5], [0.0, 0.5, 1.0]]
    assert right_halves == [[0.0, 0.5, 1.0], [1.0, 1.0, 1.0]]


def shown(picture):
    return np.asarray(Image.open(io.BytesIO(picture.value))).astype(int)


def test_sliders_decode_at_once():
    base = torch.tensor([0.0, -3.0, 4.0])
    picture, panel = viz.explore(two_halves, base).children
    assert [slider.description for slider in panel.children] == ["z[0]", "z[1]", "z[2]"]
    assert [slider.max for slider in panel.children] == [3, 3, 4]
    image = shown(picture)
    assert image.shape == (4 * 42, 6 * 42)  # whole pixels, up to 256 a side
    assert np.unique(image[:, :126]).tolist() == [127]
    assert np.unique(image[:, 126:]).tolist() == [0]
    panel.children[0].value = 3.0
    assert np.unique(shown(picture)[:, :126]).tolist() == [255]
    assert np.unique(shown(picture)[:, 126:]).tolist() == [0]
    assert base.tolist() == [0, -3, 4]


def test_sliders_for_chosen_coordinates():
    _, panel = viz.explore(two_halves, torch.zeros(100)).children
    assert len(panel.children) == 10
    _, panel = viz.explore(two_halves, torch.zeros(100), dims=[70, 3]).children
    assert [slider.description for slider in panel.children] == ["z[70]", "z[3]"]
    with pytest.raises(ValueError, match="dims is 100"):
        viz.explore(two_halves, torch.zeros(100), dims=[100])
    with pytest.raises(ValueError, match="base has shape"):
        viz.explore(two_halves, torch.zeros(1, 100))


class Unsteady(nn.Module):
    """A decoder that in training mode shows another picture at each call."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout()

    def forward(self, z):
        return self.dropout(two_halves(z) + 1) / 4


MODEL = Unsteady()


def through_a_function(z):
    return MODEL(z)


def uses_of(model):
    """Ways in which a chapter hands over a decoder."""
    many = {"VAE": [model]}
    return {
        "itself": model,
        "method": model.forward,
        "lambda": lambda z: model(z),
        "container": lambda z: many["VAE"][0](z),
        "function of a function": lambda z: through_a_function(z),
        "partial": partial(lambda scale, z: scale * model(z), 1.0),
    }


@pytest.mark.parametrize("way", uses_of(MODEL))
def test_a_model_in_training_shows_one_picture_per_code(way):
    decode = uses_of(MODEL)[way]
    MODEL.train()
    expected = two_halves(torch.ones(1, 2)) / 4 + 0.25
    picture, panel = viz.explore(decode, torch.ones(2)).children
    first = shown(picture)
    panel.children[0].value = 0.0
    panel.children[0].value = 1.0
    assert np.array_equal(first, shown(picture))
    assert np.abs(first[0, 0] - 255 * expected[0, 0, 0, 0].item()).max() <= 1
    assert MODEL.training
    assert MODEL.dropout.training


def test_each_part_of_a_model_keeps_its_own_mode():
    MODEL.train()
    MODEL.dropout.eval()
    viz.show_traversals(MODEL, torch.ones(2), [0], torch.arange(2.0))
    assert MODEL.training
    assert not MODEL.dropout.training
    with pytest.raises(ValueError, match="images have shape"):
        viz.show_traversals(lambda z: MODEL(z)[0], torch.ones(2), [0], torch.arange(2.0))
    assert MODEL.training, "after an error, too"
