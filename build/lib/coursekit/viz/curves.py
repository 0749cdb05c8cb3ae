"""Learning curves."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


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
