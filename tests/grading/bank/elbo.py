"""Right and wrong answers to the exercises of the chapter that derives the ELBO."""

import math

import numpy as np
import torch
from torch.distributions import (
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from coursekit.grading.gradebook.bank import right, wrong

LOG_2PI = math.log(2 * math.pi)


def log_normal(x, mean, sigma):
    return -0.5 * ((x - mean) / sigma) ** 2 - torch.log(torch.as_tensor(sigma)) - 0.5 * LOG_2PI


def log_joint(x, z):
    return Normal(0.0, 1.0).log_prob(z) + Normal(torch.exp(z), 0.5).log_prob(x)


# --- elbo.monte_carlo ---------------------------------------------------------------------------


@right("elbo.monte_carlo")
def with_distributions(x, mu, sigma, eps):
    z = mu + sigma * eps
    return (log_joint(x, z) - Normal(mu, sigma).log_prob(z)).mean(dim=0)


@right("elbo.monte_carlo")
def by_hand(x, mu, sigma, eps):
    z = mu[None] + sigma[None] * eps
    log_w = log_normal(x, z.exp(), 0.5) + log_normal(z, 0.0, 1.0) - log_normal(z, mu, sigma)
    return log_w.sum(0) / eps.shape[0]


@right("elbo.monte_carlo")
def constants_cancelled(x, mu, sigma, eps):
    # log q(z) = -eps^2/2 - log sigma - log(2 pi)/2, whatever mu is
    z = torch.addcmul(mu, sigma, eps)
    explains = -2 * (x - z.exp()) ** 2 + math.log(2) - LOG_2PI / 2
    return (explains - z**2 / 2 + eps**2 / 2 + sigma.log()).mean(0)


@right("elbo.monte_carlo")
def loop_over_draws(x, mu, sigma, eps):
    total = 0
    for noise in eps:
        z = mu + sigma * noise
        total = total + log_joint(x, z) - Normal(mu, sigma).log_prob(z)
    return total / len(eps)


@right("elbo.monte_carlo")
def loop_over_readings(x, mu, sigma, eps):
    out = []
    for b in range(len(x)):
        z = mu[b] + sigma[b] * eps[:, b]
        out.append((log_joint(x[b], z) - Normal(mu[b], sigma[b]).log_prob(z)).mean())
    return torch.stack(out)


@right("elbo.monte_carlo")
def in_double(x, mu, sigma, eps):
    x, mu, sigma, eps = (t.double() for t in (x, mu, sigma, eps))
    z = mu + sigma * eps
    return (log_joint(x, z) - Normal(mu, sigma).log_prob(z)).mean(dim=0)


# --- elbo.repair --------------------------------------------------------------------------------

HALF_LOG_2PIE = 0.5 * math.log(2 * math.pi * math.e)


@right("elbo.repair")
def closed_form_entropy(x, mu, sigma, eps):
    return log_joint(x, mu + sigma * eps).mean(0) + sigma.log() + HALF_LOG_2PIE


@right("elbo.repair")
def entropy_by_torch(x, mu, sigma, eps):
    return log_joint(x, mu + sigma * eps).mean(dim=0) + Normal(mu, sigma).entropy()


@right("elbo.repair")
def likelihood_and_kl(x, mu, sigma, eps):
    # log p(z) is averaged over the draws, so the closed form of the KL would be another estimate
    z = mu + sigma * eps
    explains = log_normal(x, z.exp(), 0.5).mean(0)
    return explains + log_normal(z, 0.0, 1.0).mean(0) + 0.5 * (LOG_2PI + 1 + sigma.pow(2).log())


@right("elbo.repair")
def draw_by_draw(x, mu, sigma, eps):
    total = sigma.log() + HALF_LOG_2PIE
    for noise in eps:
        total = total + log_joint(x, mu + sigma * noise) / len(eps)
    return total


@right("elbo.repair")
def entropy_in_double(x, mu, sigma, eps):
    x, mu, sigma, eps = (t.double() for t in (x, mu, sigma, eps))
    return log_joint(x, mu + sigma * eps).mean(0) - (-sigma.log() - HALF_LOG_2PIE)


@wrong("elbo.repair", says="expected")
def all_terms_of_the_draws(x, mu, sigma, eps):
    # subtracts the draws' own log q, but for the last draw only
    z = mu + sigma * eps
    return log_joint(x, z).mean(0) - Normal(mu, sigma).log_prob(z)[-1]


# --- elbo.gaussian_kl ---------------------------------------------------------------------------


@right("elbo.gaussian_kl")
def closed_form(mu_q, sigma_q, mu_p, sigma_p):
    return (
        torch.log(sigma_p / sigma_q) + (sigma_q**2 + (mu_q - mu_p) ** 2) / (2 * sigma_p**2) - 0.5
    ).sum(dim=1)


@right("elbo.gaussian_kl")
def from_torch(mu_q, sigma_q, mu_p, sigma_p):
    q = Independent(Normal(mu_q, sigma_q), 1)
    return kl_divergence(q, Independent(Normal(mu_p, sigma_p), 1))


@right("elbo.gaussian_kl")
def by_ratios(mu_q, sigma_q, mu_p, sigma_p):
    ratio = (sigma_q / sigma_p).pow(2)
    shift = ((mu_q - mu_p) / sigma_p).pow(2)
    return 0.5 * torch.einsum("bl->b", ratio + shift - 1 - ratio.log())


@right("elbo.gaussian_kl")
def dimension_by_dimension(mu_q, sigma_q, mu_p, sigma_p):
    total = torch.zeros(len(mu_q))
    for j in range(mu_q.shape[1]):
        v = 2 * sigma_p[:, j] ** 2
        square = (sigma_q[:, j] ** 2 + (mu_q[:, j] - mu_p[:, j]) ** 2) / v
        total = total + sigma_p[:, j].log() - sigma_q[:, j].log() + square - 0.5
    return total


@right("elbo.gaussian_kl")
def multivariate(mu_q, sigma_q, mu_p, sigma_p):
    q = MultivariateNormal(mu_q, scale_tril=torch.diag_embed(sigma_q))
    p = MultivariateNormal(mu_p, scale_tril=torch.diag_embed(sigma_p))
    return torch.distributions.kl.kl_divergence(q, p)


@right("elbo.gaussian_kl")
def kl_in_double(mu_q, sigma_q, mu_p, sigma_p):
    mu_q, sigma_q, mu_p, sigma_p = (t.double() for t in (mu_q, sigma_q, mu_p, sigma_p))
    square = (sigma_q**2 + (mu_q - mu_p) ** 2) / sigma_p**2
    return (sigma_p.log() - sigma_q.log() + 0.5 * (square - 1)).sum(-1)


@wrong("elbo.gaussian_kl", says="change a tensor that it was given")
def squares_in_place(mu_q, sigma_q, mu_p, sigma_p):
    q = mu_q.detach()
    value = kl_divergence(Normal(mu_q, sigma_q), Normal(mu_p, sigma_p)).sum(1)
    q -= mu_p.detach()
    return value


# --- elbo.one_sample ----------------------------------------------------------------------------


def standard_kl(mu, logvar):
    return 0.5 * (mu.pow(2) + logvar.exp() - 1 - logvar).sum(1)


@right("elbo.one_sample")
def normal_and_closed_form(x, mu, logvar, eps, W, b, noise):
    z = mu + torch.exp(logvar / 2) * eps
    return Normal(z @ W.T + b, noise).log_prob(x).sum(dim=1) - standard_kl(mu, logvar)


@right("elbo.one_sample")
def every_constant_by_hand(x, mu, logvar, eps, W, b, noise):
    z = torch.exp(0.5 * logvar).mul(eps).add(mu)
    error = ((x - b - torch.einsum("dl,bl->bd", W, z)) ** 2).sum(1)
    constant = x.shape[1] * (math.log(noise) + 0.5 * LOG_2PI)
    return -error / (2 * noise**2) - constant - standard_kl(mu, logvar)


@right("elbo.one_sample")
def image_by_image(x, mu, logvar, eps, W, b, noise):
    out = []
    for i in range(len(x)):
        z = mu[i] + logvar[i].exp().sqrt() * eps[i]
        log_px = log_normal(x[i], W @ z + b, noise).sum()
        out.append(log_px - 0.5 * (mu[i] ** 2 + logvar[i].exp() - 1 - logvar[i]).sum())
    return torch.stack(out)


@right("elbo.one_sample")
def torch_all_the_way(x, mu, logvar, eps, W, b, noise):
    q = Independent(Normal(mu, torch.exp(0.5 * logvar)), 1)
    p = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    mean = torch.nn.functional.linear(mu + torch.exp(0.5 * logvar) * eps, W, b)
    covariance = noise**2 * torch.eye(x.shape[1])
    return MultivariateNormal(mean, covariance).log_prob(x) - kl_divergence(q, p)


@right("elbo.one_sample")
def gaussian_nll(x, mu, logvar, eps, W, b, noise):
    mean = torch.addmm(b, mu + torch.exp(0.5 * logvar) * eps, W.t())
    variance = torch.full_like(x, noise**2)
    nll = torch.nn.functional.gaussian_nll_loss(mean, x, variance, full=True, reduction="none")
    return -nll.sum(1) - standard_kl(mu, logvar)


@right("elbo.one_sample")
def double_inside(x, mu, logvar, eps, W, b, noise):
    x, mu, logvar, eps, W, b = (t.double() for t in (x, mu, logvar, eps, W, b))
    z = mu + torch.exp(logvar / 2) * eps
    return Normal(z @ W.mT + b, noise).log_prob(x).sum(-1) - standard_kl(mu, logvar)


@wrong("elbo.one_sample", says="expected")
def marginal_likelihood(x, mu, logvar, eps, W, b, noise):
    """log p(x), which is what the bound is a bound of."""
    marginal = LowRankMultivariateNormal(b, W, torch.full_like(b, noise**2))
    return marginal.log_prob(x) + 0 * (mu + logvar).sum()


# --- elbo.iwae ----------------------------------------------------------------------------------


@right("elbo.iwae")
def with_logsumexp(log_w):
    return torch.logsumexp(log_w, dim=0) - math.log(log_w.shape[0])


@right("elbo.iwae")
def largest_first(log_w):
    top, _ = log_w.max(dim=0, keepdim=True)
    return (top + (log_w - top).exp().mean(dim=0, keepdim=True).log()).squeeze(0)


@right("elbo.iwae")
def folded(log_w):
    total = log_w[0]
    for row in log_w[1:]:
        total = torch.logaddexp(total, row)
    return total - torch.tensor(float(len(log_w))).log()


@right("elbo.iwae")
def column_by_column(log_w):
    columns = [torch.logsumexp(column, 0) for column in log_w.unbind(1)]
    return torch.stack(columns) - np.log(log_w.size(0))


@right("elbo.iwae")
def log_k_inside(log_w):
    return (log_w - math.log(len(log_w))).logsumexp(0)


@right("elbo.iwae")
def iwae_in_double(log_w):
    log_w = log_w.double()
    top = log_w.amax(0).detach()
    return top + torch.log(torch.exp(log_w - top).sum(0) / len(log_w))


@right("elbo.iwae")
def through_softmax(log_w):
    # log_softmax is log_w minus its logsumexp, so their difference gives it back
    return (log_w - torch.log_softmax(log_w, dim=0))[0] - math.log(len(log_w))


@wrong("elbo.iwae", says="A small constant")
def clamped(log_w):
    return torch.log(1e-8 + torch.exp(log_w).sum(0) / len(log_w))


@wrong("elbo.iwae", says="leaves the range of a float")
def naive(log_w):
    return torch.log(torch.exp(log_w).sum(0) / len(log_w))


@wrong("elbo.iwae", says="one maximum for all images")
def one_maximum(log_w):
    top = log_w.max()
    return top + torch.exp(log_w - top).mean(0).log()


# --- elbo.forward_fit ---------------------------------------------------------------------------


@right("elbo.forward_fit")
def moments(log_p, z):
    p = torch.softmax(log_p, 0)
    mu = p @ z
    return mu, (p @ (z - mu).square()).sqrt()


@right("elbo.forward_fit")
def by_trapezoids(log_p, z):
    p = torch.exp(log_p - log_p.max())
    p = p / torch.trapezoid(p, z)
    mu = torch.trapezoid(z * p, z)
    return mu, torch.sqrt(torch.trapezoid((z - mu) ** 2 * p, z))


@right("elbo.forward_fit")
def by_logsumexp(log_p, z):
    p = (log_p - torch.logsumexp(log_p, dim=0)).exp().double()
    mu = (p * z).sum()
    return mu, (p * (z - mu) * (z - mu)).sum() ** 0.5


@right("elbo.forward_fit")
def with_numpy(log_p, z):
    p = np.exp((log_p - log_p.max()).double().numpy())
    codes = z.double().numpy()
    mu = np.average(codes, weights=p)
    return float(mu), float(np.sqrt(np.average((codes - mu) ** 2, weights=p)))


@right("elbo.forward_fit")
def by_newton(log_p, z):
    """Newton's method on the cross-entropy, which is convex in log sigma."""
    p, z = torch.softmax(log_p.double(), 0), z.double()
    mu = p @ z
    log_sigma = torch.zeros((), dtype=torch.float64)
    for _ in range(60):
        ratio = p @ (z - mu) ** 2 * torch.exp(-2 * log_sigma)
        log_sigma = log_sigma - (1 - ratio) / (2 * ratio)
    return mu, log_sigma.exp()


@wrong("elbo.forward_fit", says="expected 2 results")
def only_the_mean(log_p, z):
    return torch.softmax(log_p, 0) @ z


@wrong("elbo.forward_fit", says="expected")
def the_best_on_one_peak(log_p, z):
    # the width of the highest peak, from the curvature: a Laplace approximation
    k = log_p.argmax().clamp(1, len(z) - 2)
    curve = (log_p[k - 1] - 2 * log_p[k] + log_p[k + 1]) / (z[1] - z[0]) ** 2
    return z[k], (-1 / curve).sqrt()
