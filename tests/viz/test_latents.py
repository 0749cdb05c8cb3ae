"""Maps of latent codes."""

import itertools

import matplotlib as mpl
import numpy as np
import pytest
import torch

mpl.use("Agg")

from coursekit import viz
from coursekit.viz.latents import COLORS


def clusters(dims, count=40, classes=3):
    """Codes around 0, 10, 20, … in every dimension, and their classes."""
    labels = torch.arange(count * classes) % classes
    noise = torch.randn(len(labels), dims, generator=torch.Generator().manual_seed(0))
    return 10.0 * labels[:, None] + noise, labels


def test_map_has_points_colors_and_names():
    codes, labels = clusters(2)
    figure = viz.show_latents(codes, labels, classes=("cat", "dog", "owl"), axes=("z[4]", "z[7]"))
    (axes,) = figure.axes
    (points,) = axes.collections
    assert np.allclose(points.get_offsets(), codes)
    colors = [mpl.colors.to_hex(c).upper() for c in points.get_facecolors()]
    assert colors == [COLORS[label] for label in labels.tolist()]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("z[4]", "z[7]")
    places = {t.get_text(): t.get_position() for t in axes.texts}
    assert places.keys() == {"cat", "dog", "owl"}
    assert np.allclose(places["dog"], np.median(codes[labels == 1], axis=0))


def test_a_class_keeps_its_color_where_others_are_missing():
    codes, labels = clusters(2)
    (points,) = viz.show_latents(codes[labels == 2], labels[labels == 2]).axes[0].collections
    assert mpl.colors.to_hex(points.get_facecolors()[0]).upper() == COLORS[2]


def test_three_dimensions_are_seen_from_two_sides():
    codes, labels = clusters(3)
    figure = viz.show_latents(codes, labels == 1)
    one, other = figure.axes
    assert one.azim != other.azim
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["0", "1"]
    figure.canvas.draw()


def test_floating_labels_have_a_scale():
    codes, _ = clusters(2)
    axes, scale = viz.show_latents(codes, codes[:, 0]).axes
    assert np.allclose(axes.collections[0].get_array(), codes[:, 0])
    assert scale.get_ylim() == pytest.approx(torch.stack(codes[:, 0].aminmax()).tolist())


def test_tsne_keeps_neighbors_and_repeats_itself():
    codes, labels = clusters(8, count=20)
    placed = viz.tsne(codes, perplexity=10.0)
    assert placed.shape == (60, 2)
    assert placed.dtype == torch.float32
    nearest = torch.cdist(placed, placed).fill_diagonal_(torch.inf).argmin(1)
    assert (labels[nearest] == labels).all()
    assert placed.equal(viz.tsne(codes, perplexity=10.0))
    assert not placed.equal(viz.tsne(codes, perplexity=5.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, y: viz.show_latents(z[:, :1], y), "codes has shape"),
        (lambda z, y: viz.show_latents(z, y[1:]), "labels has shape"),
        (lambda z, y: viz.show_latents(z, y + 8), "0 to 9 are expected"),
        (lambda z, y: viz.show_latents(z, y, ("cat", "dog")), "classes has 2 names, .* class 2"),
        (lambda z, y: viz.tsne(z, perplexity=500.0), "perplexity is 500"),
        (lambda z, y: viz.tsne(z[:, 0]), "codes has shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(*clusters(3))


# Machado et al., 2009, for complete loss of one kind of cone, in linear RGB.
VISION = {
    "full": np.eye(3),
    "no red": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "no green": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
    "no blue": [[1.2555, -0.0767, -0.1788], [-0.0784, 0.9308, 0.1476], [0.0047, 0.6914, 0.3039]],
}


def cielab(linear):
    """CIELAB of linear sRGB (N, 3), white point D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear.clip(0, 1) @ to_xyz.T / [0.9505, 1.0, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


@pytest.mark.parametrize("vision", VISION)
def test_colors_stay_apart_for_the_color_blind(vision):
    """Matplotlib's ten come as near as 5 without red cones; 10 is plainly seen side by side."""
    srgb = np.array([mpl.colors.to_rgb(color) for color in COLORS])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = cielab(linear @ np.array(VISION[vision]).T)
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15
