"""Curves: learning curves, functions of one variable, and bounds as bars."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, RED, GREY = "#2a6f97", "#a63d6f", "#7a7a7a"  # the course's colors


def plot_history(history: "pd.DataFrame", unit: str = "nats per image") -> "Figure":
    """Draw each part of the loss over the epochs, in training and validation, two side by side.

    `unit` is what the loss is measured in.
    """
    import matplotlib.pyplot as plt

    if len(history) == 0:
        raise ValueError("the history is empty: train for one epoch first")
    parts = [c.removeprefix("train_") for c in history.columns if c.startswith("train_")]
    columns = min(2, len(parts))  # more would not be readable on a phone
    rows = -(-len(parts) // columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(3.0 * columns, 2.4 * rows),
        layout="constrained",
        dpi=100,
        squeeze=False,
    )
    axes = grid.flatten()
    for empty in axes[len(parts) :]:
        empty.remove()
    # Line style as well as color, for readers who do not see the difference in color.
    styles = {"train": ("#0072B2", "o-"), "validation": ("#D55E00", "s--")}
    for axis, part in zip(axes, parts, strict=False):
        for split, (color, style) in styles.items():
            if f"{split}_{part}" in history:
                values = history[f"{split}_{part}"]
                axis.plot(history.index, values, style, color=color, label=split, markersize=3)
        axis.set(title=part, xlabel="epoch")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(unit)
    axes[0].legend()
    return figure


def show_curves(
    x: Tensor | Sequence[float],
    curves: Mapping[str, Tensor | Sequence[float]],
    *,
    shaded: Mapping[str, Tensor | Sequence[float]] | None = None,
    histogram: Mapping[str, Tensor | Sequence[float]] | None = None,
    log: bool = False,
    axes: "Axes | None" = None,
    **settings: Any,
) -> "Figure":
    """Draw functions of one variable, each with a line style and a color of its own.

    x: (N,). curves: a name for the legend and N values each, five curves at most.
    shaded: functions whose area is filled with gray, such as a density to compare with.
    histogram: numbers whose histogram, of area 1, is drawn in gray. log: both axes logarithmic,
    with a mark at every point. The legend stands above the axes.
    axes: where to draw; a new figure by default. settings: xlabel, xlim, title and others of
    matplotlib's `Axes.set`.
    """
    import matplotlib.pyplot as plt

    styles = [(BLUE, "-"), (RED, "--"), ("black", ":"), (GREY, "-."), ("#d98e04", "-")]
    if len(curves) > len(styles):
        raise ValueError(f"{len(curves)} curves were given, but {len(styles)} is the most")
    for name, values in curves.items():
        if len(values) != len(x):
            raise ValueError(f"{name!r} has {len(values)} values, but x has {len(x)}")
    if axes is None:
        axes = plt.subplots(figsize=(4.8, 3.2), dpi=100, layout="constrained")[1]
    for name, values in (histogram or {}).items():
        axes.hist(_array(values), bins=80, density=True, color=GREY, alpha=0.5, label=name)
    for name, values in (shaded or {}).items():
        axes.fill_between(_array(x), _array(values), color=GREY, alpha=0.35, label=name)
    for (name, values), (color, line) in zip(curves.items(), styles, strict=False):
        mark = "o" if log else None
        axes.plot(
            _array(x), _array(values), line, color=color, marker=mark, markersize=4, label=name
        )
    if log:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):  # 0.01, not a power with a tiny exponent
            axis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(**settings)
    # Above the axes, a legend hides nothing, however wide its names are.
    names = [*(histogram or {}), *(shaded or {}), *curves]
    columns = 2 if max(map(len, names), default=0) < 28 else 1
    above = 1.12 if axes.get_title() else 1.0
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, above), ncols=columns, frameon=False)
    figure = axes.get_figure()
    assert figure is not None
    return figure  # type: ignore[return-value]


def show_bounds(bounds: Mapping[str, tuple[float, float]], unit: str = "nats") -> "Figure":
    """Draw evidence = ELBO + gap, one bar per approximate posterior.

    bounds: a name, and the ELBO and the gap, which is not negative. Each bar reaches from the left
    edge to the ELBO, and its gap from there to the log-evidence, the sum of both.
    """
    import matplotlib.pyplot as plt

    if not bounds:
        raise ValueError("bounds is empty: give at least one name with its ELBO and gap")
    names = list(bounds)
    elbos, gaps = (tuple(float(pair[i]) for pair in bounds.values()) for i in (0, 1))
    if min(gaps) < 0:
        raise ValueError(f"a gap is {min(gaps)}, but a gap is never negative")
    edge = min(elbos) - 0.15 * max(*gaps, 1e-9)
    figure, axes = plt.subplots(
        figsize=(4.8, 0.8 + 0.55 * len(names)), dpi=100, layout="constrained"
    )
    widths = [elbo - edge for elbo in elbos]
    axes.barh(names, widths, left=edge, height=0.5, color=BLUE, label="ELBO")
    axes.barh(names, gaps, left=elbos, height=0.5, color="white", edgecolor=RED, hatch="////")
    axes.barh([names[0]], [0], color="white", edgecolor=RED, hatch="////", label="gap")
    evidence = elbos[0] + gaps[0]
    axes.axvline(evidence, color="black", label="$\\log p(x)$")
    axes.invert_yaxis()
    axes.set(xlabel=unit, xlim=(edge, evidence + 0.05 * (evidence - edge)))
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return figure


def _array(values: Tensor | Sequence[float]) -> Any:
    import numpy as np

    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
