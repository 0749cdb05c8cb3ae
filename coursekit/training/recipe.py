"""What a recipe is, and the losses of those that `fit` and `fit_latents` train."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from coursekit.data import Batch, ImageSet
from coursekit.models.autodecoder import AutoDecoder, VariationalAutoDecoder
from coursekit.models.autoencoder import Autoencoder
from coursekit.models.hierarchical import HierarchicalVAE
from coursekit.models.ladder import SkipVAE
from coursekit.models.vae import VAE, bernoulli
from coursekit.objectives import (
    ELBO,
    SquaredError,
    elbo_from_distributions,
    negative_elbo,
    reparameterize,
    squared_error,
    tcvae_loss,
)
from coursekit.training.run import Loss

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Recipe:
    """What `train` needs to know to train one system."""

    about: str
    data: str
    """The image set, a rendered one."""
    size: int
    """Training images."""
    build: Callable[[ImageSet], nn.Module]
    """The model for a training set: it knows the images' shape, their number and their labels."""
    loop: Callable[..., pd.DataFrame]
    """fit, fit_latents or fit_adversaries."""
    losses: tuple[Loss, ...]
    settings: dict[str, Any]
    """Further arguments of the loop: epochs, batch_size, lr …"""
    published_on: str | None = None
    """The real set whose published figures the settings belong to."""
    resolution: tuple[int, int] | None = None
    grey: bool = False
    fixed: Mapping[str, float] | None = None
    """Factors of the images that have one value in all of them."""


def vae_loss(beta: float | Callable[[int], float] = 1.0) -> Loss:
    """The negative ELBO of a VAE with Bernoulli likelihood; beta may depend on the step."""

    def loss(model: VAE, batch: Batch, step: int) -> Any:
        mu, logvar = model.encode(batch.images)
        logits = model.decode(reparameterize(mu, logvar))
        weight = beta(step) if callable(beta) else beta
        return negative_elbo(batch.images, logits, mu, logvar, weight)

    return loss


def tc_loss(beta: float, warmup: Callable[[int], float]) -> Loss:
    """The loss of a beta-TCVAE with Bernoulli likelihood.

    warmup: of the step, from 0 to 1, weighs the KL and the total correlation together. (A beta
    that began at 0 would reward total correlation.)
    """

    def loss(model: VAE, batch: Batch, step: int) -> Any:
        mu, logvar = model.encode(batch.images)
        z = reparameterize(mu, logvar)
        parts = tcvae_loss(batch.images, model.decode(z), mu, logvar, z, beta)
        weighted = warmup(step) * (parts.loss - parts.reconstruction)
        return parts._replace(loss=parts.reconstruction + weighted)

    return loss


def bound_loss(beta: Callable[[int], float] = lambda step: 1.0, floor: float = 0.0) -> Loss:
    """The negative ELBO of any model with prior, posterior and likelihood, with free bits."""

    def loss(model: Any, batch: Batch, step: int) -> Any:
        return elbo_from_distributions(
            batch.images,
            model.posterior(batch.images),
            model.prior,
            model.likelihood,
            beta=beta(step),
            floor=floor,
        )

    return loss


def skip_loss(model: SkipVAE, batch: Batch, step: int) -> Any:
    """What the VAE with skip connections was trained on: an ELBO in which the maps are given."""
    posterior, likelihood = model.through_skips(batch.images)
    return elbo_from_distributions(batch.images, posterior, model.prior, likelihood)


def hierarchical_loss(beta: Callable[[int], float] = lambda step: 1.0) -> Loss:
    """The negative ELBO of a hierarchical VAE; the KL of a group is exact, given those above."""

    def loss(model: HierarchicalVAE, batch: Batch, step: int) -> ELBO:
        logits, kls = model.terms(batch.images)
        log_px = bernoulli(logits).log_prob(batch.images)
        reconstruction, kl = -log_px.mean(), kls.sum(dim=1).mean()
        return ELBO(reconstruction + beta(step) * kl, reconstruction, kl)

    return loss


def autoencoder_loss(model: Autoencoder, batch: Batch, step: int) -> SquaredError:
    """The squared error of an autoencoder."""
    return squared_error(batch.images, model(batch.images))


def autodecoder_loss(model: AutoDecoder, batch: Batch, step: int) -> SquaredError:
    """The squared error of an auto-decoder's images, each decoded from its own code."""
    return squared_error(batch.images, model.decode(model.codes(batch.index)))


def variational_autodecoder_loss(model: VariationalAutoDecoder, batch: Batch, step: int) -> Any:
    """The negative ELBO of a variational auto-decoder, each image with its own posterior."""
    q = model.posterior(batch.index)
    return elbo_from_distributions(batch.images, q, model.prior, model.likelihood)
