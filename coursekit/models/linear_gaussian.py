"""A linear-Gaussian VAE: the one VAE whose log p(x) is known, to hold every bound against."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
)

from coursekit.noise import seeded


class LinearGaussianVAE(nn.Module):
    """p(z) = N(0, I), p(x|z) = N(W z + b, noise^2 I), q(z|x) = N(A x + c, diag(exp(logvar))).

    With D numbers in an image and L latent dimensions, W is (D, L) and A is (L, D). The marginal
    is p(x) = N(b, W W' + noise^2 I): probabilistic PCA (Tipping and Bishop, 1999). A fresh W has
    orthogonal columns, so the true posterior is diagonal and the ELBO can reach log p(x):
    `solve_encoder` sets A, c and logvar to where it does. Units: nats.
    """

    def __init__(
        self, image_shape: tuple[int, ...], latent_dim: int, noise: float = 0.5, seed: int = 0
    ) -> None:
        super().__init__()
        size = math.prod(image_shape)
        if not 1 <= latent_dim <= size:
            raise ValueError(
                f"latent_dim is {latent_dim}, but images of {size} numbers need 1 to {size}"
            )
        if noise <= 0:
            raise ValueError(f"noise is {noise}, but a standard deviation must be > 0")
        self.image_shape = image_shape
        self.latent_dim = latent_dim
        generator = torch.Generator().manual_seed(seed)
        columns = torch.linalg.qr(torch.randn(size, latent_dim, generator=generator)).Q
        lengths = torch.linspace(2.0, 0.5, latent_dim)
        self.W = nn.Parameter(columns * lengths)
        self.b = nn.Parameter(torch.zeros(size))
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise)))
        self.A = nn.Parameter(torch.zeros(latent_dim, size))
        self.c = nn.Parameter(torch.zeros(latent_dim))
        self.logvar = nn.Parameter(torch.zeros(latent_dim))

    @property
    def prior(self) -> Distribution:
        """p(z) = N(0, I): event shape (L,)."""
        return Independent(Normal(torch.zeros_like(self.c), torch.ones_like(self.c)), 1)

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) of images (B, *image_shape): batch shape (B,), event shape (L,)."""
        mu = x.flatten(1) @ self.A.T + self.c
        return Independent(Normal(mu, torch.exp(0.5 * self.logvar).expand_as(mu)), 1)

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) of codes (B, L): batch shape (B,), event shape image_shape."""
        mean = (z @ self.W.T + self.b).view(-1, *self.image_shape)
        return Independent(Normal(mean, self.log_noise.exp()), len(self.image_shape))

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), exact: (B, *image_shape) -> (B,)."""
        noise = (2 * self.log_noise).exp().expand_as(self.b)
        marginal = LowRankMultivariateNormal(self.b, self.W, noise)
        return marginal.log_prob(x.flatten(1))

    def true_posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x), exact: batch shape (B,), event shape (L,).

        Its precision is P = I + W'W / noise^2 and its mean P^-1 W' (x - b) / noise^2.
        """
        precision, to_mean = self._posterior_parts()
        return MultivariateNormal((x.flatten(1) - self.b) @ to_mean.T, precision_matrix=precision)

    @torch.no_grad()
    def solve_encoder(self) -> None:
        """Set A, c, logvar to the best diagonal Gaussian q(z|x), given W, b and the noise.

        Its mean is the true one, its precisions the diagonal of the true one. Where the columns
        of W are orthogonal that is p(z|x) itself, and the ELBO is log p(x).
        """
        precision, to_mean = self._posterior_parts()
        self.A.copy_(to_mean)
        self.c.copy_(-to_mean @ self.b)
        self.logvar.copy_(-precision.diagonal().log())

    def sample(self, count: int, seed: int = 0) -> Tensor:
        """Images from p(x): (count, *image_shape)."""
        with torch.no_grad(), seeded(seed):
            return self.likelihood(self.prior.sample(torch.Size([count]))).sample()

    def _posterior_parts(self) -> tuple[Tensor, Tensor]:
        noise = (2 * self.log_noise).exp()
        eye = torch.eye(self.latent_dim, dtype=self.W.dtype, device=self.W.device)
        precision = eye + self.W.T @ self.W / noise
        return precision, torch.linalg.solve(precision, self.W.T / noise)


class Optimum(NamedTuple):
    """What `optimum` finds."""

    W: Tensor
    """(D, L), the decoder: a code z is decoded to W z + b."""
    kl: Tensor
    """(L,), the average KL of each latent dimension to the prior, in nats."""
    loss: float
    """Distortion plus beta times the sum of `kl`, in nats per image."""


def optimum(
    covariance: Tensor, latent_dim: int, noise: float = 0.5, beta: float = 1.0, seed: int = 0
) -> Optimum:
    """Train a linear beta-VAE to the end, on all images with this covariance (D, D), in float64.

    p(x|z) = N(W z + b, noise^2 I), q(z|x) = N(A (x - b), diag(v)), b the mean of the images. The
    average of the loss over images and draws is exact, so that nothing is random but the first
    weights. At beta = 1 the columns of W span the leading principal components of the images
    (Tipping and Bishop, 1999), and where the variances of these differ, each column is one of them
    (Lucas et al., 2019, "Don't blame the ELBO! A linear VAE perspective on posterior collapse").
    """
    size, scale = len(covariance), 1 / (2 * noise**2)
    S, identity = covariance.double(), torch.eye(size, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    W, A = 0.1 * torch.randn(2, size, latent_dim, generator=generator, dtype=torch.float64)
    A, logvar = A.T.contiguous(), torch.zeros(latent_dim, dtype=torch.float64)
    weights = [weight.requires_grad_() for weight in (W.clone(), A, logvar)]
    optimizer = torch.optim.LBFGS(
        weights,
        max_iter=1000,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def parts() -> tuple[Tensor, Tensor]:
        W, A, logvar = weights
        error = identity - W @ A
        square = (error @ S * error).sum() + (W.square() * logvar.exp()).sum()
        kl = 0.5 * ((A @ S * A).sum(dim=1) + logvar.exp() - 1 - logvar)
        return scale * square + size / 2 * math.log(2 * math.pi * noise**2), kl

    def closure() -> Tensor:
        optimizer.zero_grad()
        distortion, kl = parts()
        loss = distortion + beta * kl.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        distortion, kl = parts()
    return Optimum(weights[0].detach(), kl, (distortion + beta * kl.sum()).item())
