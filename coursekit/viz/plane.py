"""The plane in panels: points, lines and densities."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from coursekit import require
from coursekit.viz.curves import BLUE, GREY

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def grid_points(limit: float, count: int) -> tuple[Tensor, float]:
    """Points (count, count, 2) of the square [-limit, limit]^2, by rows, and the area of each."""
    require.at_least("count", count, 2)
    axis = torch.linspace(-limit, limit, count)
    up, across = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([across, up], dim=-1), (2 * limit / (count - 1)) ** 2


def grid_lines(limit: float, lines: int = 9, points: int = 81) -> Tensor:
    """Vertical and horizontal lines of a square, (2 * lines, points, 2)."""
    fine, coarse = torch.linspace(-limit, limit, points), torch.linspace(-limit, limit, lines)
    across = torch.stack(torch.meshgrid(coarse, fine, indexing="ij"), dim=-1)
    return torch.cat([across, across.flip(-1)])


def show_plane(panels: Mapping[str, Tensor], *, limit: float = 3.0, columns: int = 3) -> "Figure":
    """Draw one square panel per title, over [-limit, limit]^2, at most `columns` in a row.

    A panel is points (N, 2), lines (K, N, 2), or values on the grid of `grid_points`, (M, M), such
    as a density: darker is higher.
    """
    import matplotlib.pyplot as plt

    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(1.9 * columns, 2.15 * rows),
        layout="constrained",
        dpi=100,
        squeeze=False,
    )
    for axes, (title, value) in zip(grid.flat, panels.items(), strict=False):
        drawn = value.detach().cpu()
        if drawn.ndim == 3 and drawn.shape[2] == 2:
            half = len(drawn) // 2
            for number, line in enumerate(drawn):
                color = BLUE if number < half else GREY
                axes.plot(line[:, 0], line[:, 1], color=color, linewidth=0.9)
        elif drawn.ndim == 2 and drawn.shape[1] == 2:
            axes.plot(drawn[:, 0], drawn[:, 1], ".", color=BLUE, markersize=2.5, alpha=0.5)
        elif drawn.ndim == 2 and drawn.shape[0] == drawn.shape[1]:
            extent = (-limit, limit, -limit, limit)
            axes.imshow(drawn.numpy(), origin="lower", extent=extent, cmap="Blues")
        else:
            raise ValueError(
                f"panel {title!r} has shape {tuple(drawn.shape)}, but points (N, 2), lines "
                "(K, N, 2) or a grid (M, M) is expected"
            )
        axes.set_title(title, fontsize=10)
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
        axes.tick_params(labelsize=8.5)
        axes.label_outer()
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    return figure
