"""Checks of arguments, in one place, so that every floor refuses bad input in the same words."""

from collections.abc import Sequence

import torch
from torch import Tensor


def at_least(name: str, value: float, low: float) -> None:
    """Raise ValueError unless value >= low; NaN is refused as well."""
    if not value >= low:
        raise ValueError(f"{name} is {value}, but it must be at least {low:g}")


def between(name: str, value: float, low: float, high: float) -> None:
    """Raise ValueError unless low <= value <= high; NaN is refused as well."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, but it must lie in [{low:g}, {high:g}]")


def same_shape(**tensors: Tensor) -> None:
    """Raise ValueError unless all tensors have one shape: same_shape(x=x, logits=logits)."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} has shape {shape}" for name, shape in shapes.items())
        raise ValueError(f"{listed}, but the shapes must be the same")


def shape(name: str, tensor: Tensor, *expected: int | str) -> None:
    """Raise ValueError unless the shape fits: shape("x", x, "B", 1, 28, 28).

    A number stands for itself; a letter stands for any size of at least 1, so that an empty batch
    is refused here and not met later as a mean over nothing.
    """
    sizes = tuple(tensor.shape)
    fits = len(sizes) == len(expected) and all(
        size >= 1 if isinstance(want, str) else size == want
        for size, want in zip(sizes, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, expected))
        empty = ", with no size of zero" if 0 in sizes else ""
        raise ValueError(f"{name} has shape {sizes}, but ({wanted}) is expected{empty}")


def pixels(name: str, x: Tensor) -> None:
    """Raise TypeError unless x is floating, ValueError unless all of it lies in [0, 1].

    On a GPU the range is not looked at: reading it back would stall every step.
    """
    if not x.is_floating_point():
        raise TypeError(f"{name} is {x.dtype}, but floats in [0, 1] are expected: divide by 255")
    if x.device.type != "cpu" or torch.compiler.is_compiling() or x.numel() == 0:
        return
    low, high = torch.stack(x.detach().aminmax()).tolist()
    # The slack is for rounding: a mixture of two images may come out at 1.0000001.
    if not (low >= -1e-5 and high <= 1 + 1e-5):
        raise ValueError(
            f"{name} has values in [{low:.3g}, {high:.3g}], but [0, 1] is expected: "
            "divide uint8 images by 255"
        )


def images(x: Tensor, image_shape: Sequence[int]) -> None:
    """Raise unless x is a batch of at least one image of (C, H, W), floats in [0, 1]."""
    if x.shape[1:] != tuple(image_shape) or len(x) == 0:
        wanted = ", ".join(map(str, image_shape))
        raise ValueError(
            f"x has shape {tuple(x.shape)}, but this model takes (B, {wanted}) with B >= 1: "
            "load the data at that resolution, or build the model for this one"
        )
    pixels("x", x)


def labels(name: str, y: Tensor | None, count: int, classes: int) -> Tensor:
    """The labels, or ValueError unless they are (count,) integers in [0, classes)."""
    if y is None:
        raise ValueError(f"{name} is missing, but this model is conditional: give {count} labels")
    if y.dtype != torch.int64:
        raise TypeError(
            f"{name} is {y.dtype}, but class numbers (int64) are expected: give {name}.long()"
        )
    shape(name, y, count)
    if y.device.type == "cpu" and not torch.compiler.is_compiling():
        low, high = y.aminmax()
        if low < 0 or high >= classes:
            raise ValueError(
                f"{name} has classes {low} to {high}, but 0 to {classes - 1} are expected"
            )
    return y


def batch_of_two(what: str, size: int, training: bool) -> None:
    """Raise ValueError for a batch of one where BatchNorm needs a variance over the batch."""
    if training and size < 2:
        raise ValueError(
            f"{what} got a batch of {size} in training mode, but BatchNorm needs at least 2 for a "
            "variance: take a larger batch, or call .eval() first to use the running averages"
        )
