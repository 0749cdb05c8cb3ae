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
    codes: Tensor, labels: Tensor, classes: Sequence[str] = (), title: str = ""
) -> "Figure":
    """Draw codes (N, 2) as a map, or (N, 3) from two sides, colored by `labels` (N,).

    Integer (or bool) labels are classes, 0 to 9 at most: each has its color, in every map the same,
    and its name stands at the median of its codes, so that the map can be read without the colors.
    `classes` names them.
    Floating labels, such as a true factor, are colored along a scale.
    """
    import matplotlib.pyplot as plt

    require.shape("codes", codes, "N", 3 if codes.ndim == 2 and codes.shape[1] == 3 else 2)
    require.shape("labels", labels, len(codes))
    points, values = codes.detach().cpu().numpy(), labels.cpu().numpy()
    if codes.shape[1] == 2:
        figure, axes = plt.subplots(figsize=(5.2, 4.4), layout="constrained", dpi=100)
        axes.set(xlabel="z[0]", ylabel="z[1]")
        views: list[Any] = [axes]  # the stubs of matplotlib know no 3-D axes
    else:
        figure = plt.figure(figsize=(6.4, 3.4), layout="constrained", dpi=100)
        views = [figure.add_subplot(1, 2, place, projection="3d") for place in (1, 2)]
        for view, azimuth in zip(views, (-60, 30), strict=True):
            view.view_init(elev=25, azim=azimuth)
            view.set(xlabel="z[0]", ylabel="z[1]", zlabel="z[2]")
    for view in views:
        if labels.is_floating_point():
            drawn = view.scatter(*points.T, c=values, cmap="cividis", s=6)
        else:
            _draw_classes(view, points, values, classes)
    if labels.is_floating_point():
        figure.colorbar(drawn, ax=views, shrink=0.8)
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
    axes: Any, points: "NDArray[Any]", labels: "NDArray[Any]", classes: Sequence[str]
) -> None:
    from matplotlib.patheffects import withStroke

    present = np.unique(labels).astype(int)
    if present[0] < 0 or present[-1] >= len(COLORS):
        raise ValueError(
            f"labels has classes {present[0]} to {present[-1]}, but 0 to {len(COLORS) - 1} are "
            "expected, as more colors are not told apart: draw a subset, or give floating labels"
        )
    for label in present:
        axes.scatter(*points[labels == label].T, s=6, color=COLORS[label])
    for label in present:
        name = classes[label] if classes else str(label)
        axes.text(
            *np.median(points[labels == label], axis=0),
            name,
            ha="center",
            va="center",
            fontsize=11,
            fontweight="bold",
            path_effects=[withStroke(linewidth=3, foreground="white")],
        )
