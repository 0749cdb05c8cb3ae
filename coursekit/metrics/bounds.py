"""Bounds on log p(x), and what a latent code carries, of any `LatentVariableModel`.

Everything is in nats per image: summed over pixels and latent dimensions. A value per image comes
back, so that a mean has its standard error, `values.std() / len(values) ** 0.5`, beside it.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from coursekit import require
from coursekit.data import ImageSet
from coursekit.metrics.evaluation import evaluating, image_batches
from coursekit.models import LatentVariableModel
from coursekit.objectives.bounds import log_weights


class ELBOParts(NamedTuple):
    """The evidence lower bound of each image and its parts: (N,) each, in nats."""

    elbo: Tensor
    """-reconstruction - kl, at most log p(x). Higher is better."""
    reconstruction: Tensor
    """-E_q log p(x|z), the distortion. Lower is better."""
    kl: Tensor
    """KL(q(z|x) || p(z)), the rate."""


def elbo(
    model: LatentVariableModel,
    data: ImageSet | Tensor,
    *,
    samples: int = 1,
    batch_size: int = 500,
    seed: int = 0,
) -> ELBOParts:
    """E_q log p(x|z) - KL(q(z|x) || p(z)) of each image (Kingma and Welling, 2014).

    data: N images, an ImageSet or a tensor (N, ...) as the model takes it; uint8 is divided by
    255. The expectation is a mean over `samples` draws of z: unbiased for any number, less noisy
    with more. The KL is exact where torch.distributions knows it, else the mean of
    log q(z|x) - log p(z) over the same draws. A Bernoulli likelihood of gray pixels is a
    cross-entropy and bounds no log p(x): say so beside the figure.
    """
    require.at_least("samples", samples, 1)
    parts = []
    with evaluating(model, seed) as device:
        for x in image_batches(data, batch_size, device):
            q = model.posterior(x)
            log_px = x.new_zeros(len(x))
            log_ratio = x.new_zeros(len(x))
            for _ in range(samples):
                z = q.sample()
                log_ratio += q.log_prob(z) - model.prior.log_prob(z)
                log_px += model.likelihood(z).log_prob(x)
            kl = _exact_kl(q, model.prior)
            kl = log_ratio / samples if kl is None else kl
            parts.append(torch.stack([log_px / samples - kl, -log_px / samples, kl]).cpu())
    return ELBOParts(*torch.cat(parts, dim=1))


def iwae(
    model: LatentVariableModel,
    data: ImageSet | Tensor,
    k: int,
    *,
    batch_size: int = 100,
    chunk: int = 2000,
    seed: int = 0,
) -> Tensor:
    """log (1/k) sum_i p(x, z_i) / q(z_i|x) of each image, z_i ~ q(z|x): (N,), in nats.

    The importance-weighted bound (Burda, Grosse and Salakhutdinov, 2016). k = 1 is the ELBO in
    expectation; it rises with k towards log p(x), and never passes it in expectation. One
    estimate is noisy, and on few images it can lie above. At most `chunk` pairs (image, z) are
    decoded at a time, so memory does not grow with k.
    """
    require.at_least("k", k, 1)
    require.at_least("chunk", chunk, 1)
    bounds = []
    with evaluating(model, seed) as device:
        for x in image_batches(data, min(batch_size, chunk), device):
            q = model.posterior(x)
            total = x.new_full((len(x),), -math.inf)
            at_once = chunk // len(x)
            for start in range(0, k, at_once):
                draws = min(at_once, k - start)
                log_w = log_weights(x, q, model.prior, model.likelihood, draws)
                total = torch.logaddexp(total, log_w.logsumexp(dim=0))
            bounds.append((total - math.log(k)).cpu())
    return torch.cat(bounds)


class Codes(NamedTuple):
    """What the encoder says of each image: (N, L) each."""

    samples: Tensor
    """One draw from q(z|x)."""
    means: Tensor
    """The mean of q(z|x)."""


def encode(
    model: LatentVariableModel, data: ImageSet | Tensor, *, batch_size: int = 500, seed: int = 0
) -> Codes:
    """Samples and means of q(z|x) for every image.

    Where a posterior has no closed-form mean (a flow), its mean is estimated from 64 draws.
    """
    samples, means = [], []
    with evaluating(model, seed) as device:
        for x in image_batches(data, batch_size, device):
            q = model.posterior(x)
            samples.append(q.sample().cpu())
            means.append(_mean(q, 64).cpu())
    return Codes(torch.cat(samples), torch.cat(means))


class ActiveUnits(NamedTuple):
    active: int
    """Latent dimensions whose activity passes the threshold."""
    activity: Tensor
    """(L,): Var_x(E[z_l | x]), the variance over images of each dimension's posterior mean."""


def active_units(
    model: LatentVariableModel,
    data: ImageSet | Tensor,
    *,
    threshold: float = 0.01,
    batch_size: int = 500,
    seed: int = 0,
) -> ActiveUnits:
    """How many latent dimensions depend on the image: 0 (posterior collapse) … L.

    A dimension is active when Var_x(E_q[z_l]) > 0.01 (Burda, Grosse and Salakhutdinov, 2016).
    Under a N(0, I) prior a dimension that is used fully has activity near 1. The variance is
    estimated with N - 1 below, so it has no bias in the number of images.
    """
    first, second = [], []
    with evaluating(model, seed) as device:
        for x in image_batches(data, batch_size, device):
            q = model.posterior(x)
            # Two estimates with independent noise: their covariance has none of it. Where the
            # mean is exact both are the same and the covariance is its variance.
            first.append(_mean(q, 32).cpu())
            second.append(_mean(q, 32).cpu())
    a, b = torch.cat(first), torch.cat(second)
    if len(a) < 2:
        raise ValueError(f"data holds {len(a)} image, but a variance over images needs at least 2")
    activity = ((a - a.mean(0)) * (b - b.mean(0))).sum(0) / (len(a) - 1)
    return ActiveUnits(int((activity > threshold).sum()), activity)


def cost_of_swap(
    encode: Callable[[Tensor], tuple[Tensor, Sequence[Tensor]]],
    decode: Callable[[Tensor, Sequence[Tensor]], Tensor],
    x: Tensor,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of x with its own codes, and with those of the images before: nats per image.

    encode: images (B, C, H, W) -> the code (B, L) and the encoder's maps. decode: both -> logits.
    Every image keeps its own maps, so that equal costs show a decoder that ignores the code.
    """
    z, maps = encode(x)
    logits = (decode(code, maps) for code in (z, z.roll(1, 0)))
    own, swapped = (
        F.binary_cross_entropy_with_logits(t, x, reduction="sum") / len(x) for t in logits
    )
    return own, swapped


def _exact_kl(q: Distribution, p: Distribution) -> Tensor | None:
    try:
        return torch.distributions.kl_divergence(q, p)
    except NotImplementedError:
        return None


def _mean(q: Distribution, draws: int) -> Tensor:
    try:
        return q.mean
    except NotImplementedError:
        return q.sample(torch.Size([draws])).mean(dim=0)
