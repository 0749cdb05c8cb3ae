import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch

mpl.use("Agg")

from coursekit import viz


def test_grid_shows_the_images_row_by_row():
    images = torch.zeros(5, 1, 4, 6, dtype=torch.uint8)
    images[3] = 255
    (axes,) = viz.show_images(images, columns=3).axes
    drawn = axes.images[0].get_array()
    assert drawn.shape == (2 * 6 + 2, 3 * 8 + 2, 3)
    assert drawn[8:12, 2:8].min() == 1  # the fourth image is the first of the second row
    assert drawn[2:6, 2:8].max() == 0


def test_labels_are_written():
    figure = viz.show_images(torch.rand(3, 3, 4, 4), columns=2, labels=["a", "b", 7])
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "7"]


def test_rows_are_named():
    figure = viz.show_rows({"original": torch.rand(4, 1, 5, 5), "mean": torch.rand(4, 1, 5, 5)})
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["original", "mean"]


@pytest.mark.parametrize("other", [(3, 1, 5, 5), (4, 3, 5, 5), (4, 1, 5, 6)])
def test_rows_of_different_shapes_are_refused(other):
    with pytest.raises(ValueError, match=r"rows have different shapes, .*'b': \("):
        viz.show_rows({"a": torch.rand(4, 1, 5, 5), "b": torch.rand(other)})


def test_columns_are_labelled():
    rows = {"line": torch.rand(3, 1, 5, 5), "arc": torch.rand(3, 1, 5, 5)}
    (axes,) = viz.show_rows(rows, column_labels=[0.0, 0.5, 1.0]).axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["0.0", "0.5", "1.0"]
    assert axes.get_xticks().tolist() == [4.5, 11.5, 18.5]  # the middles of 5 pixels, 2 between
    with pytest.raises(ValueError, match="2 labels for 3 columns"):
        viz.show_rows(rows, column_labels=["a", "b"])


@pytest.mark.parametrize("columns", [4, 11])
def test_text_is_readable_on_a_phone(columns):
    figure = viz.show_rows({"line": torch.rand(columns, 1, 5, 5)}, column_labels=range(columns))
    points = figure.axes[0].get_xticklabels()[0].get_fontsize()
    assert points / 72 * 358 / figure.get_figwidth() >= 8  # pixels, in a column of 358


def test_curves_show_the_history():
    history = pd.DataFrame({"train_loss": [3.0, 2.0], "validation_loss": [4.0, 3.0]}, index=[1, 2])
    (axes,) = viz.plot_history(history).axes
    assert [line.get_label() for line in axes.lines] == ["train", "validation"]
    assert np.array_equal(axes.lines[1].get_ydata(), [4, 3])
    assert axes.get_ylabel() == "nats per image"
    (axes,) = viz.plot_history(history, unit="squared error per image").axes
    assert axes.get_ylabel() == "squared error per image"


def test_curves_of_three_parts_stand_in_two_rows():
    parts = ["loss", "reconstruction", "kl"]
    history = pd.DataFrame({f"train_{part}": [3.0, 2.0] for part in parts}, index=[1, 2])
    figure = viz.plot_history(history)
    assert [axes.get_title() for axes in figure.axes] == parts
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 2)
    with pytest.raises(ValueError, match="train for one epoch"):
        viz.plot_history(history[:0])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(4, 5, 5), "add a missing axis"),
        (torch.rand(2, 4, 5, 5), "C = 1 or 3"),
        (torch.randn(9, 1, 5, 5) * 9, "apply sigmoid"),
        (torch.rand(2, 1, 5, 5) * torch.nan, "values in .nan, nan."),
    ],
)
def test_bad_images_are_named(images, message):
    with pytest.raises(ValueError, match=message):
        viz.show_images(images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["a", "b"]}, "labels has 2 labels for 3 images"),
        ({"columns": 0}, "columns is 0, but it must be at least 1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        viz.show_images(torch.rand(3, 1, 5, 5), **options)


def test_seeds_are_points_with_mean_and_deviation():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    results = {"VAE": [44.0, 46.0, 48.0], "GAN": [50.0]}
    (axes,) = viz.show_seeds(results, "nats per image", title="t").axes
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    assert [t.get_text() for t in axes.get_yticklabels()] == ["VAE", "GAN"]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title()) == ("nats per image", "", "t")
    points = [sorted(dots.get_offsets()[:, 0]) for dots in axes.collections]
    assert points == [[44.0, 46.0, 48.0], [50.0]]
    lines = [line.get_xdata() for line in axes.lines]
    assert any(np.allclose(np.sort(x[~np.isnan(x)]), [46.0, 50.0]) for x in lines), "the means"
    assert any(len(x) and {np.nanmin(x), np.nanmax(x)} == {44.0, 48.0} for x in lines), "mean ± sd"


def test_points_stand_in_panels_with_the_same_axes():
    panels = {"a": (torch.tensor([1.0, 2]), torch.tensor([3.0, 4])), "b": (torch.ones(1),) * 2}
    left, right = viz.show_points(panels, "true", "measured", equal=True).axes
    assert [axes.get_title() for axes in (left, right)] == ["a", "b"]
    assert (left.get_xlabel(), left.get_ylabel(), right.get_ylabel()) == ("true", "measured", "")
    assert left.lines[0].get_ydata().tolist() == [3, 4]
    assert left.get_ylim() == right.get_ylim()
    with pytest.raises(ValueError, match=r"panel 'a' has values of shape \(2,\) and \(3,\)"):
        viz.show_points({"a": (torch.ones(2), torch.ones(3))}, "x", "y")


@pytest.mark.parametrize("results", [{}, {"VAE": [1.0], "GAN": []}])
def test_a_group_without_a_result_is_named(results):
    with pytest.raises(ValueError, match=r"groups, without a result: (all|\['GAN'\])"):
        viz.show_seeds(results, "nats")


def test_bars_of_bounds_end_at_the_evidence() -> None:
    figure = viz.show_bounds({"wide": (-10.0, 9.0), "best": (-1.5, 0.5)})
    (axes,) = figure.axes
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches[2:4]]  # of the gaps
    assert ends == pytest.approx([-1.0, -1.0])
    assert [bar.get_x() + bar.get_width() for bar in axes.patches[:2]] == [-10.0, -1.5]
    with pytest.raises(ValueError, match="a gap is never negative"):
        viz.show_bounds({"wrong": (-1.0, -0.5)})
    with pytest.raises(ValueError, match="bounds is empty"):
        viz.show_bounds({})


def test_curves_share_an_axis_and_say_what_does_not_fit() -> None:
    x = torch.linspace(1.0, 2.0, 5)
    curves = {"line": x, "square": (x**2).requires_grad_()}
    figure = viz.show_curves(x, curves, shaded={"area": x}, log=True, xlabel="x")
    (axes,) = figure.axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["area", *curves]
    assert axes.lines[1].get_ydata() == pytest.approx((x**2).numpy())
    assert viz.show_curves(x, {"again": x}, axes=axes) is figure
    with pytest.raises(ValueError, match="'short' has 4 values, but x has 5"):
        viz.show_curves(x, {"short": x[1:]})
    with pytest.raises(ValueError, match="5 is the most"):
        viz.show_curves(x, {str(i): x for i in range(6)})


def test_the_posterior_is_the_cut_divided_by_its_area() -> None:
    from torch.distributions import Normal

    def log_joint(x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return Normal(0.0, 1.0).log_prob(z) + Normal(z, 1.0).log_prob(x)

    prior = Normal(0.0, 1.0).log_prob
    figure = viz.show_joint(log_joint, lambda z: z, prior, 1.0, codes=(-5, 5), readings=(-2, 4))
    posterior = figure.axes[1].lines[0]
    exact = Normal(0.5, 0.5**0.5).log_prob(torch.tensor(posterior.get_xdata())).exp()
    assert posterior.get_ydata() == pytest.approx(exact.numpy(), abs=1e-5)


def test_a_path_ends_in_a_mark() -> None:
    mu, sigma = torch.linspace(-1, 1, 7), torch.linspace(0.1, 1, 5)
    hill = -(mu**2) - (sigma[:, None] - 0.5) ** 2
    figure = viz.show_landscape(mu, sigma, hill, [(0.9, 0.2, -1.0), (0.0, 0.5, 0.0)], top=0.0)
    (axes,) = figure.axes
    assert [list(line.get_xdata()) for line in axes.lines] == [[0.9, 0.0], [0.0]]


def test_searches_begin_at_a_ring_and_end_at_a_dot_inside_the_map():
    z1, z2 = torch.linspace(-2, 2, 9), torch.linspace(-1, 1, 5)
    path = torch.tensor([[1.0, 0.5], [0.5, 0.2], [0.0, 0.0]])
    values = z1.square() + z2[:, None].square()
    figure = viz.show_searches(z1, z2, values, [path], label="error")
    axes, bar = figure.axes
    line, ring, dot = axes.lines
    assert (line.get_xydata() == path.numpy()).all()
    assert ring.get_xydata().tolist() == [path[0].tolist()]
    assert dot.get_xydata().tolist() == [path[-1].tolist()]
    assert (axes.get_xlim(), axes.get_ylim()) == ((-2, 2), (-1, 1))
    assert bar.get_ylabel() == "error"
