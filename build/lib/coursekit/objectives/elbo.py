"""The evidence lower bound of a VAE with a Gaussian posterior and a Bernoulli likelihood.

Everything is in nats: summed over pixels and latent dimensions, averaged over the batch.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit import require


class ELBO(NamedTuple):
    """The negative ELBO and its parts: scalars in nats per image, averaged over the batch."""

    loss: Tensor
    """reconstruction + beta * kl: what training minimizes."""
    reconstruction: Tensor
    """-log p(x|z), summed over pixels."""
    kl: Tensor
    """KL(q(z|x) || p(z)), summed over latent dimensions."""


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)) of each row, in nats: (B, L), (B, L) -> (B,).

    Closed form of Kingma and Welling (2014), appendix B, summed over the L dimensions.
    """
    require.same_shape(mu=mu, logvar=logvar)
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar).sum(dim=1)


def reparameterize(mu: Tensor, logvar: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A sample z = mu + sigma * eps with eps ~ N(0, I), differentiable in mu and logvar.

    mu, logvar: (B, L), logvar = log sigma^2. Returns (B, L). Noise comes from `generator`, or
    from torch's global one. Kingma and Welling (2014), section 2.4.
    """
    require.same_shape(mu=mu, logvar=logvar)
    eps = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    return mu + torch.exp(0.5 * logvar) * eps


def negative_elbo(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0) -> ELBO:
    """Negative ELBO of a batch: Bernoulli likelihood, Gaussian posterior, standard normal prior.

    x: (B, C, H, W) in [0, 1]; logits: the same shape, log-odds of each pixel; mu, logvar: (B, L).
    Grey pixels are allowed and give the cross-entropy, which is then no likelihood: say so beside
    the figure. beta = 1 is the ELBO; other values are the beta-VAE of Higgins et al. (2017).
    """
    require.same_shape(x=x, logits=logits)
    require.at_least("beta", beta, 0.0)
    require.at_least("batch size", len(x), 1)
    require.pixels("x", x)
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    reconstruction = reconstruction.flatten(1).sum(dim=1).mean()
    kl = kl_divergence(mu, logvar).mean()
    return ELBO(reconstruction + beta * kl, reconstruction, kl)
