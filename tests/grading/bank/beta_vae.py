"""Answers to the exercises of the beta-VAE chapter: right in different styles, and wrong ones."""
# ruff: noqa: B905  # students write such things

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.distributions.kl import kl_divergence as kl_of

from coursekit.grading.gradebook.bank import right, wrong

# --- beta_vae.loss ------------------------------------------------------------------------------


@right("beta_vae.loss")
def closed_form(x, logits, mu, logvar, beta):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).mean(dim=0)
    return reconstruction + beta * kl.sum(), reconstruction, kl


@right("beta_vae.loss")
def with_distributions(x, logits, mu, logvar, beta):
    kl = kl_of(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).mean(0)
    bce = nn.BCEWithLogitsLoss(reduction="none")(logits, x)
    reconstruction = bce.flatten(1).sum(1).mean()
    return [reconstruction + (beta * kl).sum(), reconstruction, kl]


@right("beta_vae.loss")
def softplus(x, logits, mu, logvar, beta):
    reconstruction = (F.softplus(logits) - x * logits).sum() / x.shape[0]
    kl = -(1 + logvar - mu.square() - logvar.exp()).sum(0) / (2 * x.shape[0])
    return torch.add(reconstruction, kl.sum(), alpha=beta), reconstruction, kl


@right("beta_vae.loss")
def image_by_image(x, logits, mu, logvar, beta):
    reconstruction, kl = 0.0, torch.zeros_like(mu[0])
    for i in range(len(x)):
        bce = F.binary_cross_entropy_with_logits(logits[i], x[i], reduction="sum")
        reconstruction = reconstruction + bce / len(x)
        kl = kl + 0.5 * (mu[i] ** 2 + logvar[i].exp() - 1 - logvar[i]) / len(x)
    return reconstruction + beta * kl.sum(), reconstruction, kl


@right("beta_vae.loss")
def in_double(x, logits, mu, logvar, beta):
    x, logits, mu, logvar = x.double(), logits.double(), mu.double(), logvar.double()
    log_p = x * F.logsigmoid(logits) + (1 - x) * F.logsigmoid(-logits)
    reconstruction = -log_p.sum(dim=[1, 2, 3]).mean()
    kl = torch.stack(
        [(m @ m + (v.exp() - v - 1).sum()) / 2 / len(m) for m, v in zip(mu.T, logvar.T)]
    )
    return reconstruction + beta * kl.sum(), reconstruction, kl


def _parts(x, logits, mu, logvar):
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    return reconstruction, 0.5 * (mu**2 + logvar.exp() - 1 - logvar)


@wrong("beta_vae.loss", says="gradient")
def without_gradient(x, logits, mu, logvar, beta):
    reconstruction, kl = _parts(x, logits, mu, logvar)
    kl = kl.detach().mean(0)
    return reconstruction + beta * kl.sum(), reconstruction, kl


@wrong("beta_vae.loss", says="expected 3 results")
def loss_alone(x, logits, mu, logvar, beta):
    reconstruction, kl = _parts(x, logits, mu, logvar)
    return reconstruction + beta * kl.mean(0).sum()


@wrong("beta_vae.loss", says="logits of 50 and -50")
def log_of_sigmoid(x, logits, mu, logvar, beta):
    p = torch.sigmoid(logits)
    reconstruction = -(x * p.log() + (1 - x) * (1 - p).log()).sum() / len(x)
    _, kl = _parts(x, logits, mu, logvar)
    return reconstruction + beta * kl.mean(0).sum(), reconstruction, kl.mean(0)


# --- beta_vae.free_bits -------------------------------------------------------------------------


@right("beta_vae.free_bits")
def clamp(kl, floor):
    return kl.mean(dim=0).clamp(min=floor).sum()


@right("beta_vae.free_bits")
def maximum(kl, floor):
    return torch.maximum(kl.sum(0) / len(kl), torch.tensor(floor)).sum()


@right("beta_vae.free_bits")
def with_where(kl, floor):
    mean = torch.einsum("bl->l", kl) / kl.size(0)
    return torch.where(mean > floor, mean, torch.full_like(mean, floor)).sum()


@right("beta_vae.free_bits")
def with_relu(kl, floor):
    return F.relu(kl.mean(0) - floor).sum() + floor * kl.shape[1]


@right("beta_vae.free_bits")
def dimension_by_dimension(kl, floor):
    total = torch.zeros(())
    for column in kl.unbind(dim=1):
        mean = column.mean()
        total = total + (mean if mean > floor else floor)
    return total


@wrong("beta_vae.free_bits", says="no gradient flows back")
def as_a_number(kl, floor):
    return sum(max(floor, value) for value in kl.mean(0).tolist())


@wrong("beta_vae.free_bits", says="change a tensor that it was given")
def in_place(kl, floor):
    result = kl.mean(dim=0).clamp(min=floor).sum()
    kl.detach().clamp_(min=floor)
    return result


# --- beta_vae.active_units ----------------------------------------------------------------------


@right("beta_vae.active_units")
def with_var(mu, threshold):
    activity = mu.var(dim=0)
    return (activity > threshold).sum(), activity


@right("beta_vae.active_units")
def count_as_int(mu, threshold):
    activity = torch.var(mu, 0, unbiased=True)
    return int((activity > threshold).sum()), activity


@right("beta_vae.active_units")
def from_std(mu, threshold):
    activity = mu.std(0) ** 2
    return torch.count_nonzero(activity > threshold), activity


@right("beta_vae.active_units")
def by_moments(mu, threshold):
    mu = mu.double()
    n = mu.shape[0]
    activity = ((mu**2).mean(0) - mu.mean(0) ** 2) * n / (n - 1)
    return len(activity[activity > threshold]), activity


@right("beta_vae.active_units")
def with_numpy(mu, threshold):
    activity = np.var(mu.numpy(), axis=0, ddof=1)
    return float((activity > threshold).sum()), torch.from_numpy(activity)


@right("beta_vae.active_units")
def column_by_column(mu, threshold):
    activity = []
    for column in mu.T:
        activity.append(((column - column.mean()) ** 2).sum() / (len(column) - 1))
    return sum(bool(a > threshold) * 1 for a in activity), torch.stack(activity)


@right("beta_vae.active_units")
def covariance_diagonal(mu, threshold):  # a single dimension comes out with an odd stride
    activity = torch.cov(mu.T.double()).reshape(mu.shape[1], -1).diagonal()
    return len(activity[activity > threshold]), activity


@wrong("beta_vae.active_units", says="expected 2 results")
def count_alone(mu, threshold):
    return (mu.var(0) > threshold).sum()


@wrong("beta_vae.active_units", says="change a tensor that it was given")
def centers_its_input(mu, threshold):
    mu -= mu.mean(0)
    activity = (mu**2).sum(0) / (len(mu) - 1)
    return (activity > threshold).sum(), activity


# --- beta_vae.mig -------------------------------------------------------------------------------


@right("beta_vae.mig")
def topk(information, entropy):
    best, second = information.topk(2, dim=0).values
    return ((best - second) / entropy).mean()


@right("beta_vae.mig")
def sorted_columns(information, entropy):
    order = information.sort(dim=0).values
    return torch.mean((order[-1] - order[-2]) / entropy)


@right("beta_vae.mig")
def factor_by_factor(information, entropy):
    gaps = []
    for f in range(information.shape[1]):
        column = sorted(information[:, f].tolist(), reverse=True)
        gaps.append((column[0] - column[1]) / entropy[f].item())
    return sum(gaps) / len(gaps)


@right("beta_vae.mig")
def with_numpy_sort(information, entropy):
    order = np.sort(information.numpy() / entropy.numpy(), axis=0)
    return torch.as_tensor(np.diff(order[-2:], axis=0).mean())


@right("beta_vae.mig")
def best_taken_out(information, entropy):
    best, where = information.max(dim=0)
    rest = information.clone()
    rest[where, torch.arange(len(where))] = -math.inf
    return ((best - rest.max(dim=0).values) / entropy).sum() / len(entropy)


@right("beta_vae.mig")
def with_kthvalue(information, entropy):
    rows = len(information)
    second = information.kthvalue(rows - 1, dim=0).values
    return ((information.amax(0) - second) @ (1 / entropy)) / information.shape[1]


@wrong("beta_vae.mig", says="raises")
def along_the_wrong_axis(information, entropy):
    best, second = information.topk(2, dim=1).values.T
    return ((best - second) / entropy).mean()


# --- beta_vae.rates -----------------------------------------------------------------------------


@right("beta_vae.rates")
def clamped_logarithm(signal, noise, beta):
    return 0.5 * torch.log((signal + noise**2) / (beta * noise**2)).clamp(min=0)


@right("beta_vae.rates")
def clamped_ratio(signal, noise, beta):
    ratio = (1 + signal / noise**2) / beta
    return ratio.clamp(min=1).sqrt().log()


@right("beta_vae.rates")
def factor_after_factor(signal, noise, beta):
    found = [math.log((s + noise * noise) / noise / noise / beta) / 2 for s in signal.tolist()]
    return torch.tensor([max(0.0, rate) for rate in found])


@right("beta_vae.rates")
def with_where_in_double(signal, noise, beta):
    water = beta * noise**2
    variance = signal.double() + noise**2
    return torch.where(variance > water, (variance.log() - math.log(water)) / 2, 0.0)


@right("beta_vae.rates")
def logarithm_by_numpy(signal, noise, beta):
    variance = signal.numpy().astype(float) + noise**2
    return torch.from_numpy(np.maximum(0, np.log(variance / beta / noise**2) / 2))


@wrong("beta_vae.rates", says="expected")
def total_rate(signal, noise, beta):
    return 0.5 * torch.log((signal + noise**2) / (beta * noise**2)).clamp(min=0).sum()


@wrong("beta_vae.rates", says="change a tensor that it was given")
def adds_in_place(signal, noise, beta):
    signal += noise**2
    return 0.5 * torch.log(signal / (beta * noise**2)).clamp(min=0)


# --- beta_vae.total_correlation -----------------------------------------------------------------


@right("beta_vae.total_correlation")
def by_distributions(z, mu, logvar):
    log_q = Normal(mu, (logvar / 2).exp()).log_prob(z.unsqueeze(1))
    log_n = math.log(z.shape[0])
    joint = torch.logsumexp(log_q.sum(-1), 1) - log_n
    marginals = (torch.logsumexp(log_q, 1) - log_n).sum(-1)
    return (joint - marginals).mean()


@right("beta_vae.total_correlation")
def by_hand(z, mu, logvar):
    square = (z[:, None] - mu[None]) ** 2 / logvar.exp()
    log_q = -0.5 * (square + logvar + math.log(2 * math.pi))
    B, L = z.shape
    joint = log_q.sum(2).logsumexp(1).mean()
    return joint - log_q.logsumexp(1).sum(1).mean() + (L - 1) * math.log(B)


@right("beta_vae.total_correlation")
def the_other_way_round(z, mu, logvar):
    log_q = Normal(mu[:, None], (logvar / 2).exp()[:, None]).log_prob(z)  # images first
    log_n = math.log(len(z))
    joint = log_q.sum(2).logsumexp(0) - log_n
    return (joint - (log_q.logsumexp(0) - log_n).sum(1)).mean()


@right("beta_vae.total_correlation")
def draw_by_draw(z, mu, logvar):
    total = 0.0
    for draw in z:
        log_q = Normal(mu, (logvar / 2).exp()).log_prob(draw)  # (B, L)
        joint = log_q.sum(1).logsumexp(0) - math.log(len(z))
        total = total + joint - (log_q.logsumexp(0) - math.log(len(z))).sum()
    return total / len(z)


@right("beta_vae.total_correlation")
def as_mixtures(z, mu, logvar):
    sigma, even = (logvar / 2).exp(), Categorical(logits=torch.zeros(len(z)))
    joint = MixtureSameFamily(even, Independent(Normal(mu, sigma), 1)).log_prob(z)
    return (joint - MixtureSameFamily(even, Normal(mu.T, sigma.T)).log_prob(z).sum(1)).mean()


@wrong("beta_vae.total_correlation", says="gradient")
def detached(z, mu, logvar):
    log_q = Normal(mu, (logvar / 2).exp()).log_prob(z[:, None]).detach()
    joint = log_q.sum(2).logsumexp(1) + 2 * math.log(len(z)) + 0 * z.sum()
    return (joint - log_q.logsumexp(1).sum(1)).mean()


@wrong("beta_vae.total_correlation", says="narrow and far apart")
def through_densities(z, mu, logvar):
    q = Normal(mu, (logvar / 2).exp()).log_prob(z[:, None]).exp()
    return (q.prod(2).mean(1).log() - q.mean(1).log().sum(1)).mean()
