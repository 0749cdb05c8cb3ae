"""Densities in the plane whose logarithm is known: targets for flows that can be drawn."""

import math

import torch
from torch import Tensor

from coursekit import require

NOISE = 0.3
"""Of the reading that the banana is the posterior of."""
READING = 1.5
WIDTH = 0.1
"""The standard deviation of the points around the two moons."""


def log_banana(z: Tensor) -> Tensor:
    """log p(x, z) of a model with a bent posterior: codes (..., 2) -> (...), in nats.

    z ~ N(0, I), and the reading x = z_2 + z_1^2 + noise of standard deviation 0.3 was 1.5. As a
    function of z, this is the posterior times p(x).
    """
    require.at_least("dimensions", z.shape[-1], 2)
    log_prior = -0.5 * z.square().sum(-1) - math.log(2 * math.pi)
    off = (READING - z[..., 1] - z[..., 0].square()) / NOISE
    return log_prior - 0.5 * off.square() - math.log(NOISE * math.sqrt(2 * math.pi))


def moons(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Points (count, 2) around two half circles of radius 1 that reach into each other."""
    which = torch.randint(2, (count,), generator=generator)
    angle = math.pi * torch.rand(count, generator=generator)
    noise = torch.randn(count, 2, generator=generator)
    return _arc(angle, which) + WIDTH * noise


def log_moons(x: Tensor) -> Tensor:
    """The log-density of `moons` at points (N, 2): (N,), in nats, by a sum over 1,000 angles."""
    require.shape("x", x, "N", 2)
    angle = math.pi * (torch.arange(500, dtype=x.dtype) + 0.5) / 500
    centers = torch.cat([_arc(angle, torch.full((500,), which)) for which in (0, 1)])
    off = (x[:, None] - centers).square().sum(-1) / (2 * WIDTH**2)
    constant = math.log(2 * math.pi * WIDTH**2) + math.log(len(centers))
    return torch.logsumexp(-off, dim=1) - constant


def _arc(angle: Tensor, which: Tensor) -> Tensor:
    """The upper half circle, centered left, where `which` is 0; else the lower one, right."""
    side = 1 - 2 * which
    return torch.stack([side * angle.cos() - 0.5 * side, side * angle.sin() - 0.25 * side], dim=1)
