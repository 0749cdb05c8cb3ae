"""Images in grids and in labelled rows."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from coursekit import require

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def show_images(
    images: Tensor, columns: int = 8, title: str = "", labels: Sequence[object] | None = None
) -> "Figure":
    """Draw images (N, C, H, W), uint8 or in [0, 1], C = 1 or 3, as one grid, row by row.

    `labels`, one per image, are written below the images.
    """
    images = _displayable(images)
    require.at_least("columns", columns, 1)
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels has {len(labels)} labels for {len(images)} images")
    rows = -(-len(images) // columns)
    height, width = images.shape[2:]
    cell = 0.85 if labels is None else 0.95
    figure, axes = _figure(columns * cell, rows * cell * height / width + (0.35 if title else 0.0))
    if labels is None:
        _draw(axes, images, columns)
    else:
        figure.clear()
        for place, (image, label) in enumerate(zip(images, labels, strict=True), start=1):
            small = figure.add_subplot(rows, columns, place)
            _draw(small, image[None], 1)
            small.set_title(str(label), fontsize=_fontsize(figure), y=-0.32)
    if title:
        figure.suptitle(title, fontsize=_fontsize(figure))
    return figure


def show_rows(
    rows: Mapping[str, Tensor], title: str = "", column_labels: Sequence[object] = ()
) -> "Figure":
    """Draw rows of images one under the other, each with its name: original, reconstruction, …

    Every value is (N, C, H, W), uint8 or in [0, 1], of the same shape. `column_labels`, none or N
    of them, are written above the columns: the weights of an interpolation, the values of a
    traversal.
    """
    shapes = {name: tuple(images.shape) for name, images in rows.items()}
    if len(set(shapes.values())) != 1:
        raise ValueError(f"rows have different shapes, {shapes}: give each the same")
    columns = len(next(iter(rows.values())))
    if column_labels and len(column_labels) != columns:
        raise ValueError(f"column_labels has {len(column_labels)} labels for {columns} columns")
    stacked = torch.cat([_displayable(images) for images in rows.values()])
    height, width = stacked.shape[2:]
    figure, axes = _figure(
        columns * 0.75 + 1.1,
        len(rows) * 0.75 * height / width + 0.35 * (bool(title) + bool(column_labels)),
    )
    _draw(axes, stacked, columns)
    axes.set_axis_on()
    axes.xaxis.tick_top()
    axes.set_xticks(
        [(column + 0.5) * (width + 2) + 1 for column in range(len(column_labels))],
        [str(label) for label in column_labels],
    )
    axes.set_yticks([(row + 0.5) * (height + 2) + 1 for row in range(len(rows))], list(rows))
    axes.tick_params(length=0, labelsize=_fontsize(figure))
    axes.spines[:].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=_fontsize(figure))
    return figure


def _figure(width: float, height: float) -> "tuple[Figure, Axes]":
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=(width, height), layout="constrained", dpi=100)


def _fontsize(figure: "Figure") -> float:
    """In points: larger in a wide figure, which is shrunk to the page, on a phone to half."""
    return max(10.0, 1.62 * figure.get_figwidth())


def _draw(axes: "Axes", images: Tensor, columns: int) -> None:
    from torchvision.utils import make_grid

    grid = make_grid(images, nrow=columns, padding=2, pad_value=1.0)
    axes.imshow(grid.permute(1, 2, 0).numpy(), interpolation="nearest", aspect="equal")
    axes.set_axis_off()


def checked(images: Tensor, count: int) -> Tensor:
    """What decode returned for `count` codes, or a ValueError that says what is amiss."""
    images = _displayable(images)
    if len(images) != count:
        raise ValueError(f"decode returned {len(images)} images for {count} codes")
    return images


def _displayable(images: Tensor) -> Tensor:
    """Images as float in [0, 1] on the CPU, or a ValueError that says what came instead."""
    if images.ndim != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ValueError(
            f"images have shape {tuple(images.shape)}, but (N, C, H, W) with N >= 1 and C = 1 or 3 "
            "is expected: add a missing axis with images[:, None] or images[None]"
        )
    images = images.detach().cpu()
    images = images / 255 if images.dtype == torch.uint8 else images.float()
    low, high = images.aminmax()
    if not (low >= 0 and high <= 1):  # NaN is refused as well
        raise ValueError(
            f"images have values in [{low:.3g}, {high:.3g}], but uint8 or floats in [0, 1] are "
            "expected: apply sigmoid to logits"
        )
    return images
