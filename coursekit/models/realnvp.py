"""RealNVP: a flow of affine coupling layers, with exact density, sampling and inverse."""

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    Normal,
    TransformedDistribution,
    constraints,
)
from torch.distributions.transforms import Transform

from coursekit import require


class AffineCoupling(Transform):
    """One half of z stays and tells how to scale and shift the other: y = z exp(s) + t.

    net: (..., D) -> (..., 2D), log-scales s and shifts t, from z with the moving half set to 0.
    keep: (D,) bool, True where z stays. The Jacobian is triangular, so its log-determinant is
    the sum of s. Dinh, Sohl-Dickstein and Bengio (2017), equations 4 to 9.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, net: nn.Module, keep: Tensor, cache_size: int = 1) -> None:
        super().__init__(cache_size)
        self.net, self.keep = net, keep

    def _scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        s, t = self.net(kept * self.keep).to(kept.dtype).chunk(2, dim=-1)
        # tanh bounds the scale of one layer by e: without it, training can blow up.
        return torch.tanh(s) * ~self.keep, t * ~self.keep

    def _call(self, z: Tensor) -> Tensor:
        s, t = self._scale_and_shift(z)
        return z * torch.exp(s) + t

    def _inverse(self, y: Tensor) -> Tensor:
        s, t = self._scale_and_shift(y)
        return (y - t) * torch.exp(-s)

    def log_abs_det_jacobian(self, z: Tensor, y: Tensor) -> Tensor:
        """Sum of the log-scales: (..., D) -> (...)."""
        s, _ = self._scale_and_shift(z)
        return s.sum(-1)


class RealNVP(nn.Module):
    """N(0, I) sent through coupling layers that take turns in what they keep: R^D -> R^D.

    dim: D >= 2. couplings: layers, even ones keep the even coordinates, odd ones the odd. Each has
    a network D -> hidden -> hidden -> 2D with ReLU. For points or codes; images (B, C, H, W) go in
    flattened, with noise added to their grey levels, since this is a density.
    Train by `-model.distribution().log_prob(x).mean()`, in nats.
    """

    keep: Tensor

    def __init__(self, dim: int = 2, couplings: int = 6, hidden: int = 64) -> None:
        super().__init__()
        require.at_least("dim", dim, 2)
        require.at_least("couplings", couplings, 1)
        self.nets = nn.ModuleList(
            nn.Sequential(
                nn.Linear(dim, hidden),
                nn.ReLU(),
                nn.Linear(hidden, hidden),
                nn.ReLU(),
                nn.Linear(hidden, 2 * dim),
            )
            for _ in range(couplings)
        )
        even = torch.arange(dim) % 2 == 0
        self.register_buffer("keep", torch.stack([even, ~even]).repeat(couplings, 1)[:couplings])

    def distribution(self) -> Distribution:
        """The density p(x): event shape (D,), with `sample`, `rsample` and `log_prob`."""
        one = torch.ones_like(self.keep[0], dtype=next(self.parameters()).dtype)
        layers: list[Transform] = [
            AffineCoupling(net, keep) for net, keep in zip(self.nets, self.keep, strict=True)
        ]
        base = Independent(Normal(0 * one, one, validate_args=False), 1)
        return TransformedDistribution(base, layers)


class CouplingLayer(nn.Module):
    """The same layer as a network: z -> (y, log |det|), with an inverse. For flows built by hand.

    net, keep: as in AffineCoupling. z: (B, D). Returns: (B, D) and (B,); `inverse` returns (B, D).
    """

    def __init__(self, net: nn.Module, keep: Tensor) -> None:
        super().__init__()
        self.net = net
        self.transform = AffineCoupling(net, keep, cache_size=0)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        y = self.transform(z)
        return y, self.transform.log_abs_det_jacobian(z, y)

    def inverse(self, y: Tensor) -> Tensor:
        """The z with forward(z) = y."""
        return self.transform._inverse(y)
