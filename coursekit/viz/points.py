"""Points in narrow panels: one quantity against another."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_points(
    panels: Mapping[str, tuple[Tensor, Tensor]], xlabel: str, ylabel: str, equal: bool = False
) -> "Figure":
    """Draw one panel per name, side by side, with a point for every pair of values.

    panels: title -> (across, up), tensors (N,) each. All panels have the same axes. equal: one unit
    is as long across as up.
    """
    import matplotlib.pyplot as plt

    for name, (across, up) in panels.items():
        if across.shape != up.shape or across.ndim != 1:
            raise ValueError(
                f"panel {name!r} has values of shape {tuple(across.shape)} and {tuple(up.shape)}, "
                "but (N,) twice is expected"
            )
    figure, grid = plt.subplots(
        1,
        len(panels),
        figsize=(0.6 + 2.5 * len(panels), 2.9),
        layout="constrained",
        dpi=100,
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, (name, (across, up)) in zip(grid[0], panels.items(), strict=True):
        axis.plot(across.cpu(), up.cpu(), ".", color="#0072B2", markersize=4, alpha=0.5)
        axis.set(title=name, xlabel=xlabel)
        axis.grid(alpha=0.3)
        if equal:
            axis.set_aspect("equal")
    grid[0, 0].set_ylabel(ylabel)
    return figure
