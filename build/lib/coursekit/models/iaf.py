"""Inverse autoregressive flows, and a VAE whose posterior goes through them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    TransformedDistribution,
    constraints,
)
from torch.distributions.transforms import Transform
from torch.nn import functional as F

from coursekit import require
from coursekit.models.vae import ConvVAE, gaussian


class MaskedLinear(nn.Linear):
    """A linear layer with some of its weights held at 0. mask: (out, in) bool, True is kept."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class AutoregressiveNet(nn.Module):
    """m and s of each coordinate from the coordinates before it, and from a context.

    z (..., L), context (..., C) -> m, s (..., L) each; m_i and s_i see z_1 … z_{i-1} alone.
    L -> hidden (ReLU) -> 2L with masked weights: MADE, Germain et al. (2015).
    """

    def __init__(self, dim: int, context: int, hidden: int) -> None:
        super().__init__()
        # A hidden unit of degree d sees z_1 … z_d, and the outputs after d see it. Degree 0 sees
        # the context alone: without it, m_1 and s_1 would be constants.
        inputs, degrees = torch.arange(1, dim + 1), torch.arange(hidden) % dim
        self.first = MaskedLinear(degrees[:, None] >= inputs)
        self.of_context = nn.Linear(context, hidden)
        self.second = MaskedLinear((inputs[:, None] > degrees).repeat(2, 1))

    def forward(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.first(z) + self.of_context(context))
        m, s = self.second(h).to(z.dtype).chunk(2, dim=-1)  # full precision under autocast too
        return m, s


class InverseAutoregressive(Transform):
    """y = sigma z + (1 - sigma) m with sigma = sigmoid(s + 1) and m, s from an AutoregressiveNet.

    Sampling is one pass and log det = sum log sigma, whatever L is; the inverse takes L passes,
    one per coordinate. This is algorithm 1 of Kingma et al. (2016) with s + 1 in the place of s.
    They advise to start with s between 1 and 2: then sigma is near 1, and a fresh flow hardly
    changes z.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, net: AutoregressiveNet, context: Tensor, cache_size: int = 1) -> None:
        super().__init__(cache_size)
        self.net, self.context = net, context

    def _call(self, z: Tensor) -> Tensor:
        m, s = self.net(z, self.context)
        sigma = torch.sigmoid(s + 1.0)
        return sigma * z + (1.0 - sigma) * m

    def _inverse(self, y: Tensor) -> Tensor:
        z = torch.zeros_like(y)
        for _ in range(y.shape[-1]):  # pass i makes coordinate i right, which the next ones need
            m, s = self.net(z, self.context)
            sigma = torch.sigmoid(s + 1.0)
            z = (y - (1.0 - sigma) * m) / sigma
        return z

    def log_abs_det_jacobian(self, z: Tensor, y: Tensor) -> Tensor:
        """Sum of log sigma: (..., L) -> (...)."""
        _, s = self.net(z, self.context)
        return F.logsigmoid(s + 1.0).sum(-1)


class Reverse(Transform):
    """The coordinates in reversed order, so that the last of one flow is the first of the next."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def _call(self, z: Tensor) -> Tensor:
        return z.flip(-1)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.flip(-1)

    def log_abs_det_jacobian(self, z: Tensor, y: Tensor) -> Tensor:
        return z.new_zeros(z.shape[:-1])


class IAFVAE(ConvVAE):
    """ConvVAE whose posterior is a Gaussian sent through inverse autoregressive flows.

    encoder features -> mu, logvar (L each) and a context of 2L numbers, which every flow reads.
    The KL has no closed form and is estimated at the sample, by `elbo_from_distributions`.
    Kingma et al. (2016), algorithm 1. All else as in ConvVAE.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        flows: int = 2,
        hidden: int = 256,
    ) -> None:
        require.at_least("flows", flows, 1)
        super().__init__(image_shape, latent_dim, widths)
        context = 2 * latent_dim
        self.to_context = nn.Linear(self.to_mu.in_features, context)
        self.flows = nn.ModuleList(
            AutoregressiveNet(latent_dim, context, hidden) for _ in range(flows)
        )

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) of images (B, C, H, W): batch shape (B,), event shape (L,)."""
        require.images(x, self.image_shape)
        h = self.encoder(x)
        base = gaussian(*self.heads(h, x.dtype))
        context = self.to_context(h)
        steps: list[Transform] = []
        for net in self.flows:
            assert isinstance(net, AutoregressiveNet)  # ModuleList forgets the type
            steps += [InverseAutoregressive(net, context), Reverse(cache_size=1)]
        return TransformedDistribution(base, steps, validate_args=False)
