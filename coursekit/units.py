"""Units of likelihoods: nats per image, bits per dimension, and densities of dequantized pixels.

A dimension is one number of an image, so an image (C, H, W) has C * H * W of them.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.distributions import Normal

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


def gaussian_level_nats(x: Tensor, mean: Tensor, scale: float) -> Tensor:
    """-log of the probability of gray levels under Gaussian pixels, in nats per image: (B,).

    x: (B, ...), gray levels k / 255 with k = 0 … 255, in double precision. mean: the same shape.
    A level gets the mass of N(mean, scale^2) in its bin, which reaches half-way to its neighbors;
    the bins of 0 and 1 reach to infinity. A probability below 1e-12 is taken as 1e-12.
    """
    require.same_shape(x=x, mean=mean)
    p = Normal(mean, scale)
    upper = p.cdf(x + 0.5 / 255).masked_fill(x == 1, 1.0)
    lower = p.cdf(x - 0.5 / 255).masked_fill(x == 0, 0.0)
    return -(upper - lower).clamp(min=1e-12).log().flatten(1).sum(dim=1)


def bernoulli_level_nats(x: Tensor, logits: Tensor) -> Tensor:
    """-log of the probability of gray levels when a cross-entropy is made a distribution: (B,).

    x: (B, ...), gray levels k / 255 with k = 0 … 255. logits: the same shape. Each of the 256
    levels gets a share proportional to exp(-cross-entropy), and the shares are divided by their
    sum, the geometric series of exp(logit * k / 255). Nats, summed over the image. (With a density
    on [0, 1] in place of the levels: the continuous Bernoulli of Loaiza-Ganem and Cunningham,
    2019.)
    """
    require.same_shape(x=x, logits=logits)
    half = logits.double().abs().clamp(min=1e-9) / 510  # sum = exp(255 half) sinh(256 half) / ...
    log_sum = logits.double() / 2 + _log_sinh(256 * half) - _log_sinh(half)
    return (log_sum - x * logits).flatten(1).sum(dim=1)


def _log_sinh(a: Tensor) -> Tensor:
    """log sinh(a) for a > 0, without overflow."""
    return a + (-(-2 * a).expm1()).log() - math.log(2)


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
