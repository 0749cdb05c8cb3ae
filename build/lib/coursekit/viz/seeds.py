"""A result over several seeds: every run, and how far the runs lie apart."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_seeds(results: Mapping[str, Sequence[float]], label: str, title: str = "") -> "Figure":
    """Draw results by group, one point per seed, with their mean and standard deviation.

    results: a group, such as a model, -> its results, one per seed. label: what was measured, with
    its unit. A group with one seed has a mean without an interval.
    """
    import matplotlib.pyplot as plt
    import pandas as pd
    import seaborn as sns

    empty = [name for name, values in results.items() if len(values) == 0]
    if empty or not results:
        raise ValueError(
            f"results has {len(results)} groups, without a result: {empty or 'all'}; give each "
            "group at least one number"
        )
    table = pd.DataFrame(
        [(name, float(value)) for name, values in results.items() for value in values],
        columns=["group", label],
    )
    size = (5.4, 0.45 * len(results) + 0.9)
    figure, axes = plt.subplots(figsize=size, layout="constrained", dpi=100)
    # Not a strip plot: its jitter would draw from numpy's global generator.
    sns.swarmplot(table, x=label, y="group", ax=axes, color="#0072B2", alpha=0.6, size=5)
    sns.pointplot(
        table,
        x=label,
        y="group",
        ax=axes,
        errorbar="sd",
        color="#D55E00",
        linestyle="none",
        marker="D",
        markersize=5,
        capsize=0.15,
        err_kws={"linewidth": 1.5},
    )
    axes.set(ylabel="", title=title)
    axes.grid(axis="x", alpha=0.3)
    return figure
