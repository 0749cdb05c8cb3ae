"""Units of likelihoods: nats per image, bits per dimension, and densities of dequantized pixels.

A dimension is one number of an image, so an image (C, H, W) has C * H * W of them.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from coursekit import require

Amount = TypeVar("Amount", float, Tensor)


def bits_per_dimension(
    nats: Amount, image_shape: Sequence[int], levels: int | None = None
) -> Amount:
    """Nats per image -> bits per dimension.

    nats: -log p(x) or a bound on it, summed over the image; a number, or a tensor of any shape.
    image_shape: (C, H, W).
    levels: None if p is a probability of discrete pixels. If p is a density of pixels to which
        uniform noise was added and which were scaled to [0, 1]: the number of their gray levels,
        such as 256. The result is then about the discrete pixels (Theis et al., 2016).
    """
    dimensions = _dimensions(image_shape)
    return nats / (dimensions * math.log(2)) + _bits_of_a_level(levels)


def nats_per_image(bits: Amount, image_shape: Sequence[int], levels: int | None = None) -> Amount:
    """Bits per dimension -> nats per image: the inverse of `bits_per_dimension`."""
    dimensions = _dimensions(image_shape)
    return (bits - _bits_of_a_level(levels)) * (dimensions * math.log(2))


def dequantized(
    images: Tensor,
    log_density: Callable[[Tensor], Tensor],
    levels: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A lower bound on log P of discrete images, from a density of pixels in [0, 1]: (B,), nats.

    images: (B, C, H, W), whole numbers 0 to levels - 1. log_density: pixels (B, C, H, W) -> (B,).
    Uniform noise fills each gray level, whose width is 1 / levels. The bound holds on average over
    the noise (Theis et al., 2016).
    """
    require.at_least("levels", levels, 2)
    noise = torch.rand(images.shape, generator=generator)
    return -nats_per_image(
        bits_per_dimension(-log_density((images + noise) / levels), images.shape[1:], levels),
        images.shape[1:],
    )


def _dimensions(image_shape: Sequence[int]) -> int:
    if len(image_shape) != 3:
        raise ValueError(f"image_shape is {tuple(image_shape)}, but (C, H, W) is expected")
    for name, size in zip("CHW", image_shape, strict=True):
        require.at_least(name, size, 1)
    return math.prod(image_shape)


def _bits_of_a_level(levels: int | None) -> float:
    """log2 of the levels: on [0, 1] a gray level has the width 1 / levels."""
    if levels is None:
        return 0.0
    require.at_least("levels", levels, 2)
    return math.log2(levels)
