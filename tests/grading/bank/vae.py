"""Answers to the exercises of the VAE chapter: right in different styles, wrong in known ways."""
# ruff: noqa: B905, F841  # students write such things

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal
from torch.distributions.kl import kl_divergence as kl_of

from coursekit.grading.bank import right, wrong

# --- vae.kl -------------------------------------------------------------------------------------


@right("vae.kl")
def closed_form(mu, logvar):
    return -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp(), dim=-1)


@right("vae.kl")
def with_distributions(mu, logvar):
    q = Independent(Normal(mu, torch.exp(logvar / 2)), 1)
    p = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    return kl_of(q, p)


@right("vae.kl")
def loops(mu, logvar):
    rows = []
    for m, lv in zip(mu, logvar):
        total = 0.0
        for j in range(len(m)):
            total = total + (m[j] * m[j] + torch.exp(lv[j]) - 1 - lv[j]) / 2
        rows.append(total)
    return torch.stack(rows)


@right("vae.kl")
def einsum(mu, logvar):
    return 0.5 * (torch.einsum("bl,bl->b", mu, mu) + (logvar.exp() - logvar - 1).sum(1))


@right("vae.kl")
def in_double(mu, logvar):
    mu, logvar = mu.double(), logvar.double()
    return 0.5 * (mu**2 + torch.expm1(logvar) - logvar).sum(1)


@right("vae.kl")
def own_copies_in_place(mu, logvar):
    terms = mu.clone()
    terms *= mu
    terms += logvar.exp()
    terms -= logvar
    terms -= 1
    return terms.sum(1).div(2)


@right("vae.kl")
class AsModule(nn.Module):
    def forward(self, mu, logvar):
        return torch.vmap(lambda m, lv: 0.5 * (m @ m + lv.exp().sum() - lv.sum() - len(m)))(
            mu, logvar
        )


@right("vae.kl")
def with_sigma(mu, logvar, *, half=0.5):
    sigma = (half * logvar).exp()
    return (half * mu.square() + half * sigma.square() - half - sigma.log()).sum(axis=1)


@wrong("vae.kl", says="averaged over the latent dimensions")
def mean_kl(mu, logvar):
    return -0.5 * torch.mean(1 + logvar - mu**2 - logvar.exp(), dim=1)


@wrong("vae.kl", says="summed over the batch as well")
def batch_sum(mu, logvar):
    return -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())


@wrong("vae.kl", says="averaged over the batch already")
def batch_mean(mu, logvar):
    return torch.mean(-0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1), dim=0)


@wrong("vae.kl", says="rows (dim=0)")
def over_rows(mu, logvar):
    return -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=0)


@wrong("vae.kl", says="one KL for each latent dimension")
def no_sum(mu, logvar):
    return kl_of(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0))


@wrong("vae.kl", says="logvar for log sigma")
def logvar_is_log_sigma(mu, logvar):
    sigma = logvar.exp()
    return 0.5 * (mu**2 + sigma**2 - 1 - 2 * sigma.log()).sum(1)


@wrong("vae.kl", says="used sigma where sigma^2")
def sigma_not_squared(mu, logvar):
    return -0.5 * (1 + logvar - mu**2 - torch.exp(logvar / 2)).sum(1)


@wrong("vae.kl", says="sign is turned round")
def as_in_the_bound(mu, logvar):
    return 0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1)


@wrong("vae.kl", says="factor 1/2")
def double_kl(mu, logvar):
    return torch.sum(mu**2 + logvar.exp() - 1 - logvar, dim=1)


@wrong("vae.kl", says="-1 is missing")
def no_one(mu, logvar):
    return 0.5 * torch.sum(mu**2 + logvar.exp() - logvar, dim=1)


@wrong("vae.kl", says="KL(p || q)")
def other_way_round(mu, logvar):
    q = Normal(mu, (logvar / 2).exp())
    return kl_of(Normal(torch.zeros_like(mu), torch.ones_like(mu)), q).sum(1)


@wrong("vae.kl", says="detached")
def no_graph(mu, logvar):
    with torch.no_grad():
        return -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1)


@wrong("vae.kl", says="detached")
def through_numpy(mu, logvar):
    m, lv = mu.detach().numpy(), logvar.detach().numpy()
    return torch.from_numpy(0.5 * np.sum(m**2 + np.exp(lv) - 1 - lv, axis=1))


@wrong("vae.kl", says="gradient with respect to logvar")
def detached_variance(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp().detach() - 1 - logvar).sum(1)


@wrong("vae.kl", says="change a tensor that it was given")
def spoils_its_input(mu, logvar):
    terms = mu.detach()
    result = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)
    terms += 1
    return result


@wrong("vae.kl", says="sigma = 1e-4 and sigma = 100")
def squeezes_rows(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).squeeze().sum(-1)


@wrong("vae.kl", says="sigma = 1e-4 and sigma = 100")
def clamps(mu, logvar):
    logvar = logvar.clamp(-6, 6)
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)


@wrong("vae.kl", says="None")
def forgets_to_return(mu, logvar):
    result = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)


@wrong("vae.kl", says="the result at index")
def one_sample_estimate(mu, logvar):
    q = Normal(mu, (logvar / 2).exp())
    z = q.rsample()
    return (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(1)


# --- vae.reparameterize -------------------------------------------------------------------------


@right("vae.reparameterize")
def as_written(mu, logvar, generator=None):
    std = torch.exp(0.5 * logvar)
    eps = torch.randn(std.shape, generator=generator)
    return mu + eps * std


@right("vae.reparameterize")
def filled(mu, logvar, generator=None):
    eps = torch.empty_like(mu).normal_(generator=generator)
    return torch.addcmul(mu, eps, logvar.div(2).exp())


@right("vae.reparameterize")
def torch_normal(mu, logvar, generator=None):
    eps = torch.normal(torch.zeros(mu.shape), torch.ones(mu.shape), generator=generator)
    return eps * torch.sqrt(torch.exp(logvar)) + mu


@right("vae.reparameterize")
def double_inside(mu, logvar, generator=None):
    eps = torch.randn(*mu.shape, generator=generator, dtype=torch.float64)
    return mu.double() + (logvar.double() / 2).exp() * eps


@right("vae.reparameterize")
def minus_noise(mu, logvar, generator=None):
    return mu - torch.randn(mu.size(), generator=generator) * math.e ** (logvar / 2)


@right("vae.reparameterize")
def row_by_row(mu, logvar, generator=None):
    rows = [
        m + (0.5 * lv).exp() * torch.randn(m.shape, generator=generator)
        for m, lv in zip(mu, logvar)
    ]
    return torch.stack(rows)


@right("vae.reparameterize")
def by_the_inverse_distribution(mu, logvar, generator=None):
    u = torch.rand(mu.shape, generator=generator, dtype=torch.float64).clamp(1e-12, 1 - 1e-12)
    return Normal(mu.double(), (0.5 * logvar.double()).exp()).icdf(u)


@right("vae.reparameterize")
class Sampler:
    def __call__(self, mu, logvar, generator=None):
        if generator is None:
            return Normal(mu, (0.5 * logvar).exp()).rsample()
        return mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="exp(logvar), the variance")
def times_variance(mu, logvar, generator=None):
    return mu + torch.exp(logvar) * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="scale by logvar itself")
def times_logvar(mu, logvar, generator=None):
    return mu + torch.randn(mu.shape, generator=generator) * logvar


@wrong("vae.reparameterize", says="sqrt(logvar)")
def times_root(mu, logvar, generator=None):
    return mu + torch.sqrt(logvar) * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="not scaled")
def unit_noise(mu, logvar, generator=None):
    return mu + torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="without any noise")
def mode(mu, logvar, generator=None):
    return mu


@wrong("vae.reparameterize", says="samples of the prior")
def prior(mu, logvar, generator=None):
    return torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="uniform on [0, 1)")
def rand_for_randn(mu, logvar, generator=None):
    return mu + torch.exp(0.5 * logvar) * torch.rand(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="not Gaussian")
def uniform_of_right_moments(mu, logvar, generator=None):
    eps = (torch.rand(mu.shape, generator=generator) - 0.5) * 12**0.5
    return mu + torch.exp(0.5 * logvar) * eps


@wrong("vae.reparameterize", says="generator")
def ignores_the_generator(mu, logvar, generator=None):
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


@wrong("vae.reparameterize", says="`generator` is ignored")
def rsample(mu, logvar, generator=None):
    return Normal(mu, torch.exp(0.5 * logvar)).rsample()


@wrong("vae.reparameterize", says="two calls gave the same noise")
def fixed_seed(mu, logvar, generator=None):
    if generator is None:
        torch.manual_seed(42)
    return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="two calls gave the same noise")
def own_generator(mu, logvar, generator=None):
    generator = generator or torch.Generator().manual_seed(0)
    return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=generator)


_once = {}


def _eps_drawn_once(shape):
    return _once.setdefault(shape, torch.randn(shape))


@wrong("vae.reparameterize", says="two calls gave the same noise")
def noise_drawn_once(mu, logvar, generator=None):
    return mu + torch.exp(0.5 * logvar) * _eps_drawn_once(tuple(mu.shape))


@wrong("vae.reparameterize", says="All rows of your batch".lower())
def noise_shared_by_rows(mu, logvar, generator=None):
    return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape[1], generator=generator)


@wrong("vae.reparameterize", says="all dimensions of a latent")
def noise_shared_by_dimensions(mu, logvar, generator=None):
    return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape[0], 1, generator=generator)


@wrong("vae.reparameterize", says="the sample is detached")
def sampled_without_gradient(mu, logvar, generator=None):
    with torch.no_grad():
        return mu + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="the sample is detached")
def normal_of_tensors(mu, logvar, generator=None):
    return torch.normal(mu.detach(), torch.exp(0.5 * logvar).detach(), generator=generator)


@wrong("vae.reparameterize", says="logvar is detached")
def sigma_detached(mu, logvar, generator=None):
    std = torch.exp(0.5 * logvar).detach()
    return mu + std * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="mu is detached")
def only_sigma_learns(mu, logvar, generator=None):
    return mu.data + torch.exp(0.5 * logvar) * torch.randn(mu.shape, generator=generator)


@wrong("vae.reparameterize", says="given, as `logvar *= 0.5` does")
def halves_its_argument(mu, logvar, generator=None):
    std = logvar.detach().mul_(0.5).exp() if not logvar.requires_grad else (0.5 * logvar).exp()
    return mu + std * torch.randn(mu.shape, generator=generator)


# --- vae.elbo -----------------------------------------------------------------------------------


@right("vae.elbo")
def summed_and_divided(x, logits, mu, logvar, beta=1.0):
    n = x.shape[0]
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / n
    kl = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp()) / n
    return reconstruction + beta * kl, reconstruction, kl


@right("vae.elbo")
def by_distributions(x, logits, mu, logvar, beta=1.0):
    p = Independent(Bernoulli(logits=logits, validate_args=False), x.dim() - 1)
    q = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    reconstruction, kl = -p.log_prob(x).mean(), kl_of(q, prior).mean()
    return [reconstruction + beta * kl, reconstruction, kl]


@right("vae.elbo")
def softplus(x, logits, mu, logvar, beta=1.0):
    pixels = (F.softplus(logits) - x * logits).flatten(1)
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar)
    reconstruction, kl = pixels.sum(-1).mean(), kl.sum(-1).mean()
    return (beta * kl).add(reconstruction), reconstruction, kl


@right("vae.elbo")
def image_by_image(x, logits, mu, logvar, beta=1.0):
    reconstruction = kl = 0.0
    for i in range(len(x)):
        reconstruction = reconstruction + F.binary_cross_entropy_with_logits(
            logits[i], x[i], reduction="sum"
        )
        kl = kl + 0.5 * (mu[i] @ mu[i] + (logvar[i].exp() - 1 - logvar[i]).sum())
    reconstruction, kl = reconstruction / len(x), kl / len(x)
    return reconstruction + beta * kl, reconstruction, kl


@right("vae.elbo")
def in_float64(x, logits, mu, logvar, beta=1.0):
    x, logits, mu, logvar = (t.to(torch.float64) for t in (x, logits, mu, logvar))
    log_p = x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)
    reconstruction = -log_p.sum(dim=(1, 2, 3)).mean()
    covariance = torch.diag_embed(logvar.exp())
    prior = MultivariateNormal(torch.zeros_like(mu), torch.eye(mu.shape[1], dtype=torch.float64))
    kl = kl_of(MultivariateNormal(mu, covariance), prior).mean()
    return reconstruction + beta * kl, reconstruction, kl


@right("vae.elbo")
def mean_times_pixels(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x) * x[0].numel()
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean() * mu.shape[1]
    return reconstruction + kl * beta, reconstruction, kl


def _named():
    from typing import NamedTuple

    class Loss(NamedTuple):
        loss: torch.Tensor
        reconstruction: torch.Tensor
        kl: torch.Tensor

    return Loss


@right("vae.elbo")
def named_parts(x, logits, mu, logvar, beta=1.0):
    bce = nn.BCEWithLogitsLoss(reduction="none")(logits, x)
    reconstruction = bce.reshape(len(x), -1).sum(1).mean()
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1).mean()
    return _named()(loss=reconstruction + beta * kl, reconstruction=reconstruction, kl=kl)


@wrong("vae.elbo", says="cross-entropy is averaged over the pixels; it must be summed")
def mean_reconstruction(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x)
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1).mean()
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="averaged over the pixels, your KL is summed over the batch")
def mean_and_sum(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x)
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="KL is averaged over the latent dimensions")
def mean_of_kl(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    kl = -0.5 * torch.mean(1 + logvar - mu**2 - logvar.exp())
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="averaged over everything")
def mean_of_both(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x)
    kl = -0.5 * torch.mean(1 + logvar - mu**2 - logvar.exp())
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="both parts are summed over the batch")
def sum_of_both(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="KL is summed over the batch, your cross-entropy averaged")
def kl_of_batch(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp())
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="cross-entropy is summed over the batch, your KL averaged")
def bce_of_batch(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = -0.5 * torch.sum(1 + logvar - mu**2 - logvar.exp(), dim=1).mean()
    return reconstruction + beta * kl, reconstruction, kl


def _right_parts(x, logits, mu, logvar):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    return reconstruction, 0.5 * torch.sum(mu**2 + logvar.exp() - 1 - logvar) / len(x)


@wrong("vae.elbo", says="sign of the KL is turned round")
def negative_kl(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * -kl, reconstruction, -kl


@wrong("vae.elbo", says="subtracts the KL")
def minus_kl(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction - beta * kl, reconstruction, kl


@wrong("vae.elbo", says="the ELBO, which one maximizes")
def the_bound(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return -reconstruction - beta * kl, -reconstruction, kl


@wrong("vae.elbo", says="beta is not used")
def no_beta(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + kl, reconstruction, kl


@wrong("vae.elbo", says="weight the reconstruction by beta")
def beta_elsewhere(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return beta * reconstruction + kl, reconstruction, kl


@wrong("vae.elbo", says="carries beta already")
def weighted_part(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl, reconstruction, beta * kl


@wrong("vae.elbo", says="logvar for log sigma")
def log_sigma_in_elbo(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, 2 * logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="sigmoid is applied twice")
def two_sigmoids(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits.sigmoid(), mu, logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="squared error")
def mse(x, logits, mu, logvar, beta=1.0):
    reconstruction = F.mse_loss(torch.sigmoid(logits), x, reduction="sum") / len(x)
    _, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="logits of 100 and -100")
def log_of_sigmoid(x, logits, mu, logvar, beta=1.0):
    p = torch.sigmoid(logits)
    reconstruction = -(x * p.log() + (1 - x) * (1 - p).log()).flatten(1).sum(1).mean()
    _, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="logits of 100 and -100")
def clamped_probabilities(x, logits, mu, logvar, beta=1.0):
    p = torch.sigmoid(logits).clamp(1e-6, 1 - 1e-6)
    reconstruction = F.binary_cross_entropy(p, x, reduction="sum") / len(x)
    _, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="pixels between 0 and 1")
def rounds_the_pixels(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x.round(), logits, mu, logvar)
    return reconstruction + beta * kl, reconstruction, kl


@wrong("vae.elbo", says="detached")
def loss_as_numbers(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return (reconstruction + beta * kl).item(), reconstruction.item(), kl.item()


@wrong("vae.elbo", says="gradient with respect to mu")
def kl_detached_in_the_loss(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl.detach(), reconstruction, kl


@wrong("vae.elbo", says="expected 3 results")
def loss_alone(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    return reconstruction + beta * kl


@wrong("vae.elbo", says="a tensor that it was given")
def binarizes_its_input(x, logits, mu, logvar, beta=1.0):
    reconstruction, kl = _right_parts(x, logits, mu, logvar)
    x -= 0.5
    return reconstruction + beta * kl, reconstruction, kl
