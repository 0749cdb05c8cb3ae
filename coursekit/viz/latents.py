"""Maps of latent codes: in two or three dimensions, or brought down to two by t-SNE."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from coursekit import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

# Ten colors that stay apart in the common forms of color blindness: P. Tol's "muted", and black.
COLORS = (
    "#332288",
    "#88CCEE",
    "#117733",
    "#DDCC77",
    "#CC6677",
    "#AA4499",
    "#44AA99",
    "#999933",
    "#882255",
    "#000000",
)


def show_latents(
    codes: Tensor,
    labels: Tensor,
    classes: Sequence[str] = (),
    title: str = "",
    axes: Sequence[str] = ("z[0]", "z[1]", "z[2]"),
    names: bool = True,
) -> "Figure":
    """Draw codes (N, 2) as a map, or (N, 3) from two sides, colored by `labels` (N,).

    Integer (or bool) labels are classes, 0 to 9 at most; each has its color, in every map the same.
    `classes` names them. In two dimensions the name also stands at the median of the class, so that
    the map can be read without the colors, unless `names` is False, as for classes that share their
    middle. Floating labels, such as a true factor, are colored
    along a scale. `axes` says what the two or three coordinates are.
    """
    import matplotlib.pyplot as plt

    require.shape("codes", codes, "N", 3 if codes.ndim == 2 and codes.shape[1] == 3 else 2)
    require.shape("labels", labels, len(codes))
    points, values = codes.detach().cpu().numpy(), labels.cpu().numpy()
    if codes.shape[1] == 2:
        figure, plane = plt.subplots(figsize=(5.4, 4.4), layout="constrained", dpi=100)
        plane.set(xlabel=axes[0], ylabel=axes[1])
        plane.set_aspect("equal", adjustable="datalim")  # distances are what a map is about
        views: list[Any] = [plane]  # the stubs of matplotlib know no 3-D axes
    else:
        # Places by hand: the constrained layout of matplotlib 3.10 finds no room for 3-D axes.
        figure = plt.figure(figsize=(6.2, 3.2), dpi=100)
        places = [(left, 0.15, 0.42, 0.76 if title else 0.84) for left in (0.01, 0.54)]
        views = [figure.add_axes(place, projection="3d") for place in places]
        for view, azimuth in zip(views, (-60, 30), strict=True):
            view.view_init(elev=25, azim=azimuth)
            for axis, name in zip((view.xaxis, view.yaxis, view.zaxis), axes, strict=True):
                axis.set_ticklabels([])
                axis.set_label_text(name)
                axis.labelpad = -12
    if labels.is_floating_point():
        drawn = [view.scatter(*points.T, c=values, cmap="cividis", s=6) for view in views]
        figure.colorbar(drawn[0], ax=views, shrink=0.8)
    else:
        _draw_classes(figure, views, points, values.astype(int), classes, names)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def tsne(codes: Tensor, perplexity: float = 30.0, seed: int = 0) -> Tensor:
    """A map (N, 2) of codes (N, L) by t-SNE (van der Maaten and Hinton, 2008), by scikit-learn.

    It keeps who is near whom. It does not keep distances between groups, their sizes, or their
    densities: none of these can be read off the map.
    """
    from sklearn.manifold import TSNE

    require.shape("codes", codes, "N", "L")
    if not 0 < perplexity < len(codes):
        raise ValueError(
            f"perplexity is {perplexity:g}, but with {len(codes)} codes it must lie between 0 and "
            f"{len(codes)}: it is about how many neighbors each code has"
        )
    points = codes.detach().cpu().double().numpy()
    fitted = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(points)
    return torch.from_numpy(np.ascontiguousarray(fitted, dtype=np.float32))


def _draw_classes(
    figure: "Figure",
    views: list[Any],
    points: "NDArray[Any]",
    labels: "NDArray[Any]",
    classes: Sequence[str],
    at_median: bool,
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    present = np.unique(labels).tolist()
    if present[0] < 0 or present[-1] >= len(COLORS):
        raise ValueError(
            f"labels has classes {present[0]} to {present[-1]}, but 0 to {len(COLORS) - 1} are "
            "expected, as more colors are not told apart: draw a subset, or give floating labels"
        )
    if classes and present[-1] >= len(classes):
        raise ValueError(f"classes has {len(classes)} names, but labels has class {present[-1]}")
    names = {label: classes[label] if classes else str(label) for label in present}
    for view in views:  # all classes in one go, so that none covers the others
        view.scatter(*points.T, c=[COLORS[label] for label in labels], s=6)
    dots = [Line2D([], [], color=COLORS[label], marker="o", linestyle="") for label in present]
    if points.shape[1] == 3:
        columns = min(5, len(present))
        figure.legend(dots, names.values(), loc="lower center", ncols=columns, frameon=False)
        return
    figure.legend(dots, names.values(), loc="outside right center", frameon=False, handletextpad=0)
    for label, name in names.items() if at_median else ():
        views[0].text(
            *np.median(points[labels == label], axis=0),
            name,
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
