"""Move one factor while all others stay, and measure in the pictures what has moved."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def sweep(start: Mapping[str, Tensor], name: str, values: Tensor) -> dict[str, Tensor]:
    """The factors of a sweep: each picture of `start`, drawn once for each value of one factor.

    start: factor name -> (N,). name: the factor that moves. values: (K,), its values.
    Returns: factor name -> (N * K,). The first K belong to the first picture of `start`. Each
    factor keeps its type.

    Raises ValueError if `start` has no such factor.
    """
    if name not in start:
        raise ValueError(f"name is {name!r}, but one of {', '.join(start)} is expected")
    pictures = len(start[name])
    factors = {key: column.repeat_interleave(len(values)) for key, column in start.items()}
    factors[name] = values.to(start[name]).repeat(pictures)
    return factors


def center_of_mass(images: Tensor) -> tuple[Tensor, Tensor]:
    """The center of mass of the light in each picture, in pixels from the middle of the picture.

    images: (N, C, H, W), uint8 or float, none of them all black; brightness is summed over C.
    Returns: x and y, float32 (N,) each; x to the right, y down.
    """
    light = images.float().sum(dim=1)
    total = light.sum(dim=(1, 2))
    height, width = light.shape[1:]
    across = torch.arange(width, device=light.device) - (width - 1) / 2
    down = torch.arange(height, device=light.device) - (height - 1) / 2
    x = (light.sum(dim=1) * across).sum(dim=1) / total
    y = (light.sum(dim=2) * down).sum(dim=1) / total
    return x, y
