"""Planar flows, each invertible by construction, and a VAE whose posterior goes through them."""

from collections.abc import Sequence

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
from torch.nn import functional as F

from coursekit import require
from coursekit.models.vae import ConvVAE, gaussian


class Planar(Transform):
    """f(z) = z + u_hat tanh(w'z + b): the plane w'z = -b pushes, or pulls, along u_hat.

    u, w: (..., L); b: (...). z: (..., L), batch shapes broadcast. The map is invertible exactly
    when w'u_hat > -1, so u_hat = u + (m(w'u) - w'u) w / |w|^2 with m(a) = -1 + log(1 + e^a) takes
    the place of u: whatever a network puts out, the flow is a bijection. Rezende and Mohamed
    (2015), equations 10 to 12 and appendix A.1.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, u: Tensor, w: Tensor, b: Tensor, cache_size: int = 1) -> None:
        # The cache remembers the z of the last f(z): a sample's density needs no inversion.
        super().__init__(cache_size)
        require.same_shape(u=u, w=w)
        norm2 = w.square().sum(-1)
        a = (w * u).sum(-1)
        self.w, self.b = w, b
        # 1 + w'u_hat = log(1 + e^a), without the rounding of 1 + (-1 + ...), and never rounded
        # to 0, where the flow would be flat. With w = 0 the flow is a shift, and it is 1.
        stretch = F.softplus(a).clamp(min=torch.finfo(w.dtype).eps)
        self.stretch = torch.where(norm2 > 0, stretch, 1.0)
        shift = (self.stretch - 1.0 - a) / norm2.clamp(min=torch.finfo(w.dtype).tiny)
        self.u_hat = u + shift[..., None] * w

    def _call(self, z: Tensor) -> Tensor:
        return z + self.u_hat * torch.tanh(self._plane(z))[..., None]

    def log_abs_det_jacobian(self, z: Tensor, y: Tensor) -> Tensor:
        """log(1 + (1 - tanh^2(w'z + b)) w'u_hat): (..., L) -> (...)."""
        tanh2 = torch.tanh(self._plane(z)).square()
        return torch.log(tanh2 + (1.0 - tanh2) * self.stretch)

    def _inverse(self, y: Tensor) -> Tensor:
        """The z with f(z) = y, to rounding: one rising scalar function is inverted.

        h = w'z + b solves h + w'u_hat tanh(h) = w'y + b, and is at most |w'u_hat| away from the
        right side. Bisection finds it; a Newton step then gives it its gradients.
        """
        target, slope = self._plane(y), self.stretch - 1.0
        with torch.no_grad():
            low, high = target - slope.abs(), target + slope.abs()
            for _ in range(60):
                middle = 0.5 * (low + high)
                above = middle + slope * torch.tanh(middle) > target
                low, high = torch.where(above, low, middle), torch.where(above, middle, high)
            h = 0.5 * (low + high)
            tanh = torch.tanh(h)
            derivative = tanh.square() + (1.0 - tanh.square()) * self.stretch
        h = h - (h + slope * tanh - target) / derivative
        return y - self.u_hat * torch.tanh(h)[..., None]

    def _plane(self, z: Tensor) -> Tensor:
        return (self.w * z).sum(-1) + self.b


def planar_flows(u: Tensor, w: Tensor, b: Tensor) -> list[Transform]:
    """K flows, to be applied one after the other: u, w (..., K, L) and b (..., K)."""
    return [Planar(*each) for each in zip(u.unbind(-2), w.unbind(-2), b.unbind(-1), strict=True)]


class PlanarFlow(nn.Module):
    """K planar flows with their own weights on top of N(0, I): a density over R^L, for pictures.

    Sampling and `log_prob` of any point work, since each flow is inverted to rounding.
    """

    def __init__(self, dim: int, flows: int) -> None:
        super().__init__()
        require.at_least("dim", dim, 1)
        require.at_least("flows", flows, 1)
        self.u = nn.Parameter(0.1 * torch.randn(flows, dim))
        self.w = nn.Parameter(torch.randn(flows, dim))
        self.b = nn.Parameter(torch.randn(flows))

    def distribution(self) -> Distribution:
        """The density: event shape (L,)."""
        zero = torch.zeros_like(self.u[0])
        base = Independent(Normal(zero, torch.ones_like(zero), validate_args=False), 1)
        return TransformedDistribution(base, planar_flows(self.u, self.w, self.b))


class PlanarFlowVAE(ConvVAE):
    """ConvVAE whose posterior is a Gaussian sent through K planar flows.

    encoder features -> mu, logvar (L each) and, by one more linear layer, the K (2L + 1) numbers
    u, w, b of the flows: each image has its own. log q_K(z_K|x) = log q_0(z_0|x) - sum_k
    log |det df_k/dz| (Rezende and Mohamed, 2015, equation 13) comes from
    `model.posterior(x).log_prob(z)`; the KL has no closed form and is estimated at the sample, by
    `elbo_from_distributions`. All else as in ConvVAE.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 128,
        widths: Sequence[int] = (32, 64, 128, 256),
        flows: int = 4,
    ) -> None:
        require.at_least("flows", flows, 1)
        super().__init__(image_shape, latent_dim, widths)
        self.flows = flows
        self.to_flows = nn.Linear(self.to_mu.in_features, flows * (2 * latent_dim + 1))
        with torch.no_grad():  # start with |w| = 1 or so: u_hat has |w|^2 in its denominator
            self.to_flows.bias.normal_(std=latent_dim**-0.5)

    def posterior(self, x: Tensor) -> Distribution:
        """q_K(z|x) of images (B, C, H, W): batch shape (B,), event shape (L,)."""
        require.images(x, self.image_shape)
        h = self.encoder(x)
        base = gaussian(*self.heads(h, x.dtype))
        parameters = self.to_flows(h).to(x.dtype).unflatten(1, (self.flows, -1))
        u, w, b = parameters.split([self.latent_dim, self.latent_dim, 1], dim=-1)
        flows = planar_flows(u, w, b.squeeze(-1))
        return TransformedDistribution(base, flows, validate_args=False)


def planar_layer(z: Tensor, u: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """A planar flow at points z (B, L): f(z), (B, L), and log |det| of its Jacobian, (B,)."""
    flow = Planar(u, w, b, cache_size=0)
    y = flow(z)
    return y, flow.log_abs_det_jacobian(z, y)
