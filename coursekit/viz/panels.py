"""Several small figures of curves, two side by side, that share their axes."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from coursekit.viz.curves import BLUE, GREY, RED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Runs = Sequence[Sequence[float]]
"""The same curve for several seeds."""


def show_panels(
    panels: Mapping[str, Mapping[str, Runs]], columns: int = 2, **settings: Any
) -> "Figure":
    """Draw one panel per title, with up to three named curves, each over epochs 1, 2, … and seeds.

    panels: title -> name of a curve -> one sequence of values per seed. A name has the same color
    and line in every panel. settings: ylim, xlabel and others of matplotlib's `Axes.set`.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    styles = [(GREY, "-"), (BLUE, "-"), (RED, "--")]
    if len(names) > len(styles):
        raise ValueError(f"{len(names)} names of curves were given, but {len(styles)} is the most")
    rows = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(2.7 * columns, 1.6 * rows + 0.5),
        dpi=100,
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axes, (title, curves) in zip(grid.flat, panels.items(), strict=False):
        for name, seeds in curves.items():
            color, line = styles[names.index(name)]
            for values in seeds:
                epochs = range(1, len(values) + 1)
                axes.plot(epochs, values, line, color=color, linewidth=1.5, alpha=0.8)
        axes.set_title(fill(title, 24), fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.grid(alpha=0.3)
        axes.set(**settings)
        axes.label_outer()
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    for name, (color, line) in zip(names, styles, strict=False):
        grid[0, 0].plot([], [], line, color=color, label=name)
    figure.legend(loc="outside upper center", ncols=len(names), frameon=False, fontsize=10)
    return figure
