"""Bounds on log p(x) for any prior p(z), posterior q(z|x) and likelihood p(x|z).

The three are torch.distributions, so a Gaussian likelihood, a Laplace posterior or a flow needs no
line here. Everything is in nats: summed over pixels and latents, averaged over the batch.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent
from torch.distributions import kl_divergence as closed_form_kl

from coursekit import require
from coursekit.objectives.elbo import ELBO

Likelihood = Callable[[Tensor], Distribution]
"""p(x|z): codes (B, L) -> a distribution of batch shape (B,) and event shape (C, H, W)."""


class IWAE(NamedTuple):
    """The negative importance-weighted bound and what belongs to it: scalars."""

    loss: Tensor
    """-log 1/K sum_k p(x, z_k) / q(z_k|x), in nats per image."""
    negative_elbo: Tensor
    """The same samples' plain negative ELBO, in nats per image: never below the loss."""
    effective_samples: Tensor
    """(sum w)^2 / sum w^2, 1 to K: how many of the K samples count."""


def elbo_from_distributions(
    x: Tensor,
    posterior: Distribution,
    prior: Distribution,
    likelihood: Likelihood,
    beta: float = 1.0,
    floor: float = 0.0,
) -> ELBO:
    """Negative ELBO of a batch, from one sample of q(z|x), with gradients through the sample.

    x: (B, C, H, W). posterior: batch (B,), event (L,). prior: event (L,). So for a model:
    `elbo_from_distributions(x, model.posterior(x), model.prior, model.likelihood)`.
    The KL is exact where torch.distributions has the closed form; elsewhere, as for a flow, it is
    estimated by log q(z|x) - log p(z) at the sample (Rezende and Mohamed, 2015, equation 15).

    beta: weight of the KL (Higgins et al., 2017). floor: free bits, in nats per dimension, see
    `free_bits`; then loss = reconstruction + beta * free_bits, while `kl` stays the KL itself.
    Raises ValueError for beta < 0 or floor < 0, or a floor where dimensions cannot be told apart.
    """
    require.at_least("beta", beta, 0.0)
    z = posterior.rsample()
    reconstruction = -_log_likelihood(likelihood, z, x).mean()
    if floor:
        by_dimension = kl_by_dimension(posterior, prior)
        kl = by_dimension.sum(dim=1).mean()
        return ELBO(reconstruction + beta * free_bits(by_dimension, floor), reconstruction, kl)
    kl = _kl(posterior, prior, z).mean()
    return ELBO(reconstruction + beta * kl, reconstruction, kl)


def kl_by_dimension(posterior: Distribution, prior: Distribution) -> Tensor:
    """KL of each latent dimension, (B, L) in nats, of factorized q(z|x) and p(z).

    Raises ValueError for others, such as flows, whose KL is no sum over dimensions.
    """
    if not (isinstance(posterior, Independent) and isinstance(prior, Independent)):
        raise ValueError(
            f"posterior is {type(posterior).__name__} and prior {type(prior).__name__}, but only "
            "Independent ones have a KL for each dimension: use floor=0"
        )
    return closed_form_kl(posterior.base_dist, prior.base_dist)


def free_bits(kl: Tensor, floor: float) -> Tensor:
    """sum_l max(floor, mean over the batch of kl_l): (B, L) -> scalar, both in nats.

    Below `floor` a dimension's KL costs the same whatever it is, so nothing drives it to 0: a
    guard against posterior collapse. Kingma et al. (2016), appendix C.8, each dimension a group.
    """
    require.at_least("floor", floor, 0.0)
    require.shape("kl", kl, "B", "L")
    return kl.mean(dim=0).clamp(min=floor).sum()


def iwae(
    x: Tensor, posterior: Distribution, prior: Distribution, likelihood: Likelihood, samples: int
) -> IWAE:
    """The negative importance-weighted bound of a batch from K = `samples` samples per image.

    Arguments as for `elbo_from_distributions`; the likelihood is given all K * B codes at once.
    K = 1 is the ELBO, and more samples make the bound tighter: Burda, Grosse and Salakhutdinov
    (2016), section 3. Raises ValueError for samples < 1.
    """
    log_w = log_weights(x, posterior, prior, likelihood, samples)
    bound = log_w.logsumexp(dim=0) - math.log(samples)
    effective = 1 / log_w.softmax(dim=0).square().sum(dim=0)
    return IWAE(-bound.mean(), -log_w.mean(), effective.mean())


def log_weights(
    x: Tensor, posterior: Distribution, prior: Distribution, likelihood: Likelihood, samples: int
) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) at K = `samples` draws of q(z|x): (K, B), in nats."""
    require.at_least("samples", samples, 1)
    z = posterior.rsample(torch.Size([samples]))  # (K, B, L)
    repeated = x.expand(samples, *x.shape).flatten(0, 1)  # (K * B, C, H, W)
    log_px = _log_likelihood(likelihood, z.flatten(0, 1), repeated)
    log_ratio = prior.log_prob(z) - posterior.log_prob(z)
    return log_px.view(samples, len(x)) + log_ratio


def _kl(posterior: Distribution, prior: Distribution, z: Tensor) -> Tensor:
    try:
        return closed_form_kl(posterior, prior)
    except NotImplementedError:
        return posterior.log_prob(z) - prior.log_prob(z)


def _log_likelihood(likelihood: Likelihood, z: Tensor, x: Tensor) -> Tensor:
    p = likelihood(z)
    expected = p.batch_shape + p.event_shape
    if x.shape != expected:  # log_prob would broadcast, and be wrong in silence
        raise ValueError(
            f"x has shape {tuple(x.shape)}, but the likelihood is of {tuple(expected)}: "
            "batch and image must be those of the model"
        )
    return p.log_prob(x)
