"""Exercises of the chapter that derives the ELBO."""

import math

import torch
from torch import Generator, Tensor
from torch.distributions import Independent, Normal, kl_divergence

from coursekit.exercises._decorated import Exercise
from coursekit.exercises._exercise import FreeText

# --- elbo.monte_carlo ---------------------------------------------------------------------------

NOISE = 0.5

monte_carlo = Exercise(
    "elbo.monte_carlo",
    "monte_carlo_elbo",
    contract=(
        "monte_carlo_elbo(x, mu, sigma, eps): x, mu and sigma (B,), eps (K, B) drawn from N(0, 1). "
        "Returns (B,): the mean over K of log p(x|z) + log p(z) - log q(z) in nats, where "
        "z = mu + sigma * eps, z ~ N(0, 1) and x|z ~ N(exp(z), 0.5^2). Differentiable."
    ),
    hints=(
        "Three log-densities of the same draws: of x given z, of z under the prior, of z under "
        "the guide. Which signs do they have?",
        "z = mu + sigma * eps has shape (K, B), and so has each log-density: x, mu and sigma "
        "broadcast. Normal(mu, sigma).log_prob(z) is log q(z).",
        "return (log_joint(x, z) - Normal(mu, sigma).log_prob(z)).mean(dim=0)",
    ),
    see="chapter 2, 'Exercise 1: the bound from random draws'",
)


@monte_carlo.inputs
def _readings(g: Generator) -> tuple[Tensor, ...]:
    x = 1 + 1.5 * torch.rand(4, generator=g)
    mu = 0.5 * torch.randn(4, generator=g)
    sigma = 0.2 + torch.rand(4, generator=g)
    return x, mu, sigma, torch.randn(6, 4, generator=g)


def _one_reading(g: Generator) -> tuple[Tensor, ...]:
    x, mu, sigma, eps = _readings(g)
    return x[:1], mu[:1], sigma[:1], eps[:1, :1]


@monte_carlo.reference
def _monte_carlo(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    z = mu + sigma * eps
    explains, p, q = _three(x, z, mu, sigma)
    return (explains + p - q).mean(0)


def _log_normal(x: Tensor, mean: Tensor, sigma: float) -> Tensor:
    log_density: Tensor = Normal(mean, sigma).log_prob(x)
    return log_density


def _three(x: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """log p(x|z), log p(z), log q(z)."""
    return (
        Normal(z.exp(), NOISE).log_prob(x),
        Normal(0.0, 1.0).log_prob(z),
        Normal(mu, sigma).log_prob(z),
    )


monte_carlo.values("returns the average over the draws, one number a reading", points=2)
monte_carlo.gradients("lets the gradient through to mu and sigma", wrt=("mu", "sigma"))
monte_carlo.values(
    "holds for one reading and one draw",
    hidden=True,
    hint="Try x, mu, sigma of shape (1,) and eps of shape (1, 1).",
    inputs=_one_reading,
)
monte_carlo.untouched()


@monte_carlo.wrong(
    "You averaged over everything: average over the draws (dim=0) and keep the readings apart."
)
def averaged_over_readings(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    return _monte_carlo(x, mu, sigma, eps).mean()


@monte_carlo.wrong("You averaged over the readings (dim=1); the draws are dim=0.")
def averaged_over_dim_1(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    explains, p, q = _three(x, mu + sigma * eps, mu, sigma)
    return (explains + p - q).mean(1)


@monte_carlo.wrong("You summed over the draws. An expectation is estimated by their average.")
def summed_over_draws(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    return _monte_carlo(x, mu, sigma, eps) * len(eps)


@monte_carlo.wrong("The draws are not averaged: you return (K, B).")
def draws_not_averaged(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    explains, p, q = _three(x, mu + sigma * eps, mu, sigma)
    return explains + p - q


@monte_carlo.wrong("log q(z) is missing: you return the average of log p(x, z) alone.")
def without_q(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    explains, p, _ = _three(x, mu + sigma * eps, mu, sigma)
    return (explains + p).mean(0)


@monte_carlo.wrong("log p(z) is missing: the joint density is p(x|z) times p(z).")
def without_prior(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    explains, _, q = _three(x, mu + sigma * eps, mu, sigma)
    return (explains - q).mean(0)


@monte_carlo.wrong("You add log q(z); the ELBO is log p(x, z) minus log q(z).")
def plus_q(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    explains, p, q = _three(x, mu + sigma * eps, mu, sigma)
    return (explains + p + q).mean(0)


@monte_carlo.wrong("The sign is turned round: this is the negative ELBO. Here we want the bound.")
def negative(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    return -_monte_carlo(x, mu, sigma, eps)


@monte_carlo.wrong("You did not scale and shift the noise: a draw from q is z = mu + sigma * eps.")
def noise_as_code(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    explains, p, q = _three(x, eps, mu, sigma)
    return (explains + p - q).mean(0)


@monte_carlo.wrong("sigma is a standard deviation here: z = mu + sigma * eps, without a root.")
def sigma_as_variance(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    return _monte_carlo(x, mu, sigma.sqrt(), eps)


@monte_carlo.wrong("The decoder is missing: the mean of x is exp(z), not z.")
def without_decoder(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    z = mu + sigma * eps
    _, p, q = _three(x, z, mu, sigma)
    return (_log_normal(x, z, NOISE) + p - q).mean(0)


@monte_carlo.wrong(
    "You took 0.5 for the variance of the reading. It is the standard deviation; torch's Normal "
    "takes the standard deviation."
)
def noise_as_variance(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    z = mu + sigma * eps
    _, p, q = _three(x, z, mu, sigma)
    return (_log_normal(x, z.exp(), NOISE**0.5) + p - q).mean(0)


@monte_carlo.wrong(
    "This is the log of the mean weight, the importance-weighted bound. The ELBO is the mean of "
    "the logs."
)
def log_of_mean(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    explains, p, q = _three(x, mu + sigma * eps, mu, sigma)
    return (explains + p - q).logsumexp(0) - math.log(len(eps))


@monte_carlo.wrong(
    "The numbers are right, but the result is detached: no gradient would reach the guide. "
    "Do not use .detach(), .item(), .data, .sample() or no_grad here."
)
def monte_carlo_detached(x: Tensor, mu: Tensor, sigma: Tensor, eps: Tensor) -> Tensor:
    return _monte_carlo(x, mu, sigma, eps).detach()


# --- elbo.gaussian_kl ---------------------------------------------------------------------------

gaussian_kl = Exercise(
    "elbo.gaussian_kl",
    "gaussian_kl",
    contract=(
        "gaussian_kl(mu_q, sigma_q, mu_p, sigma_p): all (B, L), sigma a standard deviation. "
        "Returns (B,): KL(N(mu_q, sigma_q^2) || N(mu_p, sigma_p^2)) in nats, summed over L. "
        "Differentiable."
    ),
    hints=(
        "Three terms: one compares the two widths, one is a ratio of squares, one is a constant. "
        "The derivation above ends with them.",
        "log(sigma_p / sigma_q), then (sigma_q^2 + (mu_q - mu_p)^2) / (2 sigma_p^2), then -1/2. "
        "Which sigma stands below the fraction bar, and in what power?",
        "terms = torch.log(sigma_p / sigma_q) + (sigma_q**2 + (mu_q - mu_p)**2) / (2 * sigma_p**2) "
        "- 0.5, a (B, L) tensor; sum it over dim=1.",
    ),
    see="chapter 2, 'Exercise 2: the KL divergence in closed form'",
    forbids=("coursekit.objectives.kl_by_dimension",),
)


@gaussian_kl.inputs
def _two_gaussians(g: Generator) -> tuple[Tensor, ...]:
    mu_q, mu_p = torch.randn(5, 3, generator=g), torch.randn(5, 3, generator=g)
    sigma_q, sigma_p = (0.3 + 1.5 * torch.rand(5, 3, generator=g) for _ in range(2))
    return mu_q, sigma_q, mu_p, sigma_p


def _far_apart(g: Generator) -> tuple[Tensor, ...]:
    """Widths from 1e-3 to 100, one row, and one dimension in which the two are the same."""
    mu_q, mu_p = 20 * torch.randn(1, 8, generator=g), 20 * torch.randn(1, 8, generator=g)
    sigma_q, sigma_p = (10 ** (5 * torch.rand(1, 8, generator=g) - 3) for _ in range(2))
    mu_p[:, 0], sigma_p[:, 0] = mu_q[:, 0], sigma_q[:, 0]
    return mu_q, sigma_q, mu_p, sigma_p


@gaussian_kl.reference
def _gaussian_kl(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return kl_divergence(Normal(mu_q, sigma_q), Normal(mu_p, sigma_p)).sum(1)


gaussian_kl.values("gives the closed form, one number a row", points=2)
gaussian_kl.gradients("lets the gradient through to all four arguments")
gaussian_kl.values(
    "holds for very narrow and very wide Gaussians and for a batch of one",
    hidden=True,
    hint="Try sigma_q = 0.001 and sigma_p = 100, the other way round, and a single row.",
    inputs=_far_apart,
)
gaussian_kl.untouched()


def _terms(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    square = (sigma_q**2 + (mu_q - mu_p) ** 2) / (2 * sigma_p**2)
    return (sigma_p / sigma_q).log() + square - 0.5


@gaussian_kl.wrong("This is KL(p || q). Asked is KL(q || p), the average over q; the two differ.")
def turned_round(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return _terms(mu_p, sigma_p, mu_q, sigma_q).sum(1)


@gaussian_kl.wrong(
    "You took sigma for the variance. Here sigma is the standard deviation: square it."
)
def sigma_for_variance(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return _terms(mu_q, sigma_q.sqrt(), mu_p, sigma_p.sqrt()).sum(1)


@gaussian_kl.wrong("You took sigma for logvar. Here sigma is the standard deviation itself.")
def sigma_for_logvar(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return _terms(mu_q, (sigma_q / 2).exp(), mu_p, (sigma_p / 2).exp()).sum(1)


@gaussian_kl.wrong("This is the KL to N(0, 1): mu_p and sigma_p do not enter.")
def standard_prior(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    zero = 0 * mu_p
    return _terms(mu_q, sigma_q, zero, zero + 1).sum(1)


@gaussian_kl.wrong("Your KL is averaged over the latent dimensions; it must be summed over them.")
def mean_over_latents(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return _terms(mu_q, sigma_q, mu_p, sigma_p).mean(1)


@gaussian_kl.wrong("You summed over the rows (dim=0); the latent dimensions are dim=1.")
def summed_over_rows(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return _terms(mu_q, sigma_q, mu_p, sigma_p).sum(0)


@gaussian_kl.wrong("Your KL is summed over the batch as well: return one number for each row.")
def summed_over_all(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return _terms(mu_q, sigma_q, mu_p, sigma_p).sum()


@gaussian_kl.wrong("You return one KL for each latent dimension: sum them over dim=1.")
def not_summed(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return _terms(mu_q, sigma_q, mu_p, sigma_p)


@gaussian_kl.wrong("The -1/2 is missing: where q = p the KL must be 0.")
def without_constant(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return (_terms(mu_q, sigma_q, mu_p, sigma_p) + 0.5).sum(1)


@gaussian_kl.wrong("The logarithm is turned round: it is log(sigma_p / sigma_q).")
def log_turned_round(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return (_terms(mu_q, sigma_q, mu_p, sigma_p) - 2 * (sigma_p / sigma_q).log()).sum(1)


@gaussian_kl.wrong(
    "The logarithm is twice too large: log sigma_p^2 / sigma_q^2 carries a factor 1/2."
)
def log_of_variances(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return (_terms(mu_q, sigma_q, mu_p, sigma_p) + (sigma_p / sigma_q).log()).sum(1)


@gaussian_kl.wrong("The 2 below the fraction bar is missing: divide by 2 * sigma_p**2.")
def without_two(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    square = (sigma_q**2 + (mu_q - mu_p) ** 2) / sigma_p**2
    return ((sigma_p / sigma_q).log() + square - 0.5).sum(1)


@gaussian_kl.wrong("mu_q - mu_p is not squared in your formula.")
def not_squared(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    square = (sigma_q**2 + (mu_q - mu_p)) / (2 * sigma_p**2)
    return ((sigma_p / sigma_q).log() + square - 0.5).sum(1)


@gaussian_kl.wrong(
    "sigma_q^2 is missing above the fraction bar: under q, (z - mu_p)^2 averages to "
    "sigma_q^2 + (mu_q - mu_p)^2."
)
def without_spread(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    square = (mu_q - mu_p) ** 2 / (2 * sigma_p**2)
    return ((sigma_p / sigma_q).log() + square - 0.5).sum(1)


@gaussian_kl.wrong("The sign is turned round: this is -KL. A KL is never below 0.")
def negated(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return -_terms(mu_q, sigma_q, mu_p, sigma_p).sum(1)


@gaussian_kl.wrong(
    "The numbers are right, but the result is detached: no gradient would reach the encoder."
)
def kl_detached(mu_q: Tensor, sigma_q: Tensor, mu_p: Tensor, sigma_p: Tensor) -> Tensor:
    return _terms(mu_q, sigma_q, mu_p, sigma_p).sum(1).detach()


# --- elbo.one_sample ----------------------------------------------------------------------------

one_sample = Exercise(
    "elbo.one_sample",
    "one_sample_elbo",
    contract=(
        "one_sample_elbo(x, mu, logvar, eps, W, b, noise): x (B, D); mu, logvar and eps (B, L), "
        "logvar = log sigma^2; W (D, L); b (D,); noise a number. Returns (B,): log p(x|z) summed "
        "over D, minus KL(N(mu, sigma^2) || N(0, I)) summed over L, in nats, where "
        "z = mu + sigma * eps and x|z ~ N(W z + b, noise^2 I)."
    ),
    hints=(
        "Draw, decode, score, subtract: the code z, the decoder's mean, log p(x|z), the KL.",
        "sigma = exp(logvar / 2). The decoder's mean for a batch is z @ W.T + b. A normal "
        "log-density has the constants log(noise) and log(2 pi) / 2 for each of the D numbers.",
        "log_px = Normal(z @ W.T + b, noise).log_prob(x).sum(dim=1); "
        "kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1); return log_px - kl",
    ),
    see="chapter 2, 'Exercise 3: one draw is enough'",
    forbids=("coursekit.objectives.kl_divergence", "coursekit.objectives.reparameterize"),
)


def _linear(g: Generator, images: int, size: int, latents: int) -> tuple[Tensor | float, ...]:
    x = torch.randn(images, size, generator=g)
    mu, logvar, eps = (torch.randn(images, latents, generator=g) for _ in range(3))
    W, b = torch.randn(size, latents, generator=g), torch.randn(size, generator=g)
    return x, mu, logvar, eps, W, b, 0.4 + float(torch.rand((), generator=g))


@one_sample.inputs
def _linear_images(g: Generator) -> tuple[Tensor | float, ...]:
    return _linear(g, 5, 6, 3)


@one_sample.reference
def _one_sample(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    q = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    prior = Independent(Normal(torch.zeros_like(mu), 1.0), 1)
    z = mu + (0.5 * logvar).exp() * eps
    log_px: Tensor = Independent(Normal(z @ W.T + b, noise), 1).log_prob(x)
    return log_px - kl_divergence(q, prior)


one_sample.values("returns log p(x|z) minus the KL, one number an image", points=2)
one_sample.gradients(
    "lets the gradient through to encoder and decoder", wrt=("mu", "logvar", "W", "b")
)
one_sample.values(
    "holds for one image of one number with one latent dimension",
    hidden=True,
    hint="Try D = L = B = 1: is every sum over the right dimension?",
    inputs=lambda g: _linear(g, 1, 1, 1),
)
one_sample.values(
    "tells W from its transpose",
    hidden=True,
    hint="Where D = L both products have a shape that fits. The mean of image i is W z_i + b.",
    inputs=lambda g: _linear(g, 3, 4, 4),
)
one_sample.untouched()


def _two_parts(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> tuple[Tensor, Tensor]:
    """log p(x|z), (B, D), and the KL, (B, L)."""
    z = mu + (0.5 * logvar).exp() * eps
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar)
    return Normal(z @ W.T + b, noise).log_prob(x), kl


@one_sample.wrong("log p(x|z) is averaged over the D numbers; it must be summed over them.")
def mean_over_numbers(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    log_px, kl = _two_parts(x, mu, logvar, eps, W, b, noise)
    return log_px.mean(1) - kl.sum(1)


@one_sample.wrong("The KL is averaged over the L dimensions; it must be summed over them.")
def mean_kl(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    log_px, kl = _two_parts(x, mu, logvar, eps, W, b, noise)
    return log_px.sum(1) - kl.mean(1)


@one_sample.wrong("You add the KL. The ELBO is log p(x|z) minus the KL.")
def plus_kl(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    log_px, kl = _two_parts(x, mu, logvar, eps, W, b, noise)
    return log_px.sum(1) + kl.sum(1)


@one_sample.wrong("This is the negative ELBO, the loss. Here the bound itself is asked for.")
def the_loss(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    return -_one_sample(x, mu, logvar, eps, W, b, noise)


@one_sample.wrong("The average over the batch comes later: return one number for each image.")
def batch_averaged(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    return _one_sample(x, mu, logvar, eps, W, b, noise).mean()


@one_sample.wrong("The KL is missing: this is log p(x|z) alone, as in an autoencoder.")
def reconstruction_only(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    return _two_parts(x, mu, logvar, eps, W, b, noise)[0].sum(1)


@one_sample.wrong("You scale the noise by exp(logvar), the variance: sigma = exp(logvar / 2).")
def scaled_by_variance(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    _, kl = _two_parts(x, mu, logvar, eps, W, b, noise)
    z = mu + logvar.exp() * eps
    return _log_normal(x, z @ W.T + b, noise).sum(1) - kl.sum(1)


@one_sample.wrong("You decode the mean mu. The ELBO averages over draws: decode z.")
def mean_decoded(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    return _one_sample(x, mu, logvar, 0 * eps, W, b, noise)


@one_sample.wrong("b is missing: the decoder's mean is W z + b.")
def without_b(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    return _one_sample(x, mu, logvar, eps, W, 0 * b, noise)


@one_sample.wrong(
    "The constants are missing: each of the D numbers has -log(noise) - log(2 pi) / 2. Without "
    "them the value is no log-likelihood and cannot be compared with log p(x)."
)
def without_constants(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    constants = x.shape[1] * (math.log(noise) + 0.5 * math.log(2 * math.pi))
    return _one_sample(x, mu, logvar, eps, W, b, noise) + constants


@one_sample.wrong("The constant -log(2 pi) / 2 of each of the D numbers is missing.")
def without_two_pi(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    constant = x.shape[1] * 0.5 * math.log(2 * math.pi)
    return _one_sample(x, mu, logvar, eps, W, b, noise) + constant


@one_sample.wrong("You took `noise` for the variance. It is the standard deviation of the pixels.")
def noise_for_variance(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    return _one_sample(x, mu, logvar, eps, W, b, math.sqrt(noise))


@one_sample.wrong("This is a squared error. log p(x|z) divides it by 2 noise^2 and has constants.")
def squared_error(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    z = mu + (0.5 * logvar).exp() * eps
    _, kl = _two_parts(x, mu, logvar, eps, W, b, noise)
    return -((z @ W.T + b - x) ** 2).sum(1) - kl.sum(1)


@one_sample.wrong("The code is detached: no gradient of log p(x|z) reaches mu and logvar.")
def code_detached(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    _, kl = _two_parts(x, mu, logvar, eps, W, b, noise)
    z = (mu + (0.5 * logvar).exp() * eps).detach()
    return _log_normal(x, z @ W.T + b, noise).sum(1) - kl.sum(1)


@one_sample.wrong("The decoder is transposed: the mean of a batch is z @ W.T + b.")
def transposed(
    x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor, W: Tensor, b: Tensor, noise: float
) -> Tensor:
    _, kl = _two_parts(x, mu, logvar, eps, W, b, noise)
    z = mu + (0.5 * logvar).exp() * eps
    return _log_normal(x, z @ W + b, noise).sum(1) - kl.sum(1)


# --- elbo.score_gradient ------------------------------------------------------------------------

score_gradient = Exercise(
    "elbo.score_gradient",
    "score_gradient",
    contract=(
        "score_gradient(f, z, mu, sigma): f and z (K,), values f(z_k) and draws from "
        "N(mu, sigma^2); mu and sigma scalars, sigma the standard deviation. Returns "
        "(for_mu, for_sigma), each (K,): f(z_k) times the derivative of log q(z_k)."
    ),
    hints=(
        "Write down log q(z) of a Gaussian and differentiate it, once by mu and once by sigma.",
        "By mu: (z - mu) / sigma^2. By sigma: from -log(sigma) comes -1 / sigma; what comes from "
        "-(z - mu)^2 / (2 sigma^2)?",
        "return f * (z - mu) / sigma**2, f * ((z - mu)**2 - sigma**2) / sigma**3",
    ),
    see="chapter 2, 'Exercise 4: two ways through a random draw'",
)


@score_gradient.inputs
def _draws(g: Generator) -> tuple[Tensor, ...]:
    mu, sigma = torch.randn((), generator=g), 0.3 + torch.rand((), generator=g)
    z = mu + sigma * torch.randn(7, generator=g)
    return 3 * torch.randn(7, generator=g), z, mu, sigma


def _one_draw(g: Generator) -> tuple[Tensor, ...]:
    f, z, mu, sigma = _draws(g)
    return f[:1], z[:1], mu, 5 * sigma


@score_gradient.reference
def _score_gradient(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    eps = (z - mu) / sigma
    return f * eps / sigma, f * (eps**2 - 1) / sigma


score_gradient.values("gives one estimate for each draw, for mu and for sigma", points=2)
score_gradient.values(
    "holds for a single draw from a wide guide",
    hidden=True,
    hint="Try sigma = 5 and one draw. Which power of sigma stands below each fraction bar?",
    inputs=_one_draw,
)
score_gradient.untouched()

Pair = tuple[Tensor, Tensor]


@score_gradient.wrong("You averaged over the draws: return the estimate of each draw, (K,).")
def averaged(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    a, b = _score_gradient(f, z, mu, sigma)
    return a.mean(), b.mean()


@score_gradient.wrong("You summed over the draws: return the estimate of each draw, (K,).")
def summed(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    a, b = _score_gradient(f, z, mu, sigma)
    return a.sum(), b.sum()


@score_gradient.wrong("These are the scores alone; multiply each by f(z).")
def without_f(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    return _score_gradient(torch.ones_like(f), z, mu, sigma)


@score_gradient.wrong("The signs are turned round: the score for mu is (z - mu) / sigma^2.")
def signs_turned(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    return _score_gradient(-f, z, mu, sigma)


@score_gradient.wrong("(mu - z) should be (z - mu) in the score for mu.")
def mu_sign_turned(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    a, b = _score_gradient(f, z, mu, sigma)
    return -a, b


@score_gradient.wrong("The score for mu divides by sigma^2, not by sigma.")
def mu_by_sigma(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    a, b = _score_gradient(f, z, mu, sigma)
    return a * sigma, b


@score_gradient.wrong(
    "The -1/sigma is missing in the score for sigma: log q also holds -log(sigma)."
)
def without_log_sigma(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    return _score_gradient(f, z, mu, sigma)[0], f * (z - mu) ** 2 / sigma**3


@score_gradient.wrong(
    "The score for sigma divides by sigma^3, not by sigma^2. (Over sigma^2 it is the derivative "
    "with respect to log sigma.)"
)
def sigma_squared(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    a, b = _score_gradient(f, z, mu, sigma)
    return a, b * sigma


@score_gradient.wrong("This is the derivative with respect to the variance. Asked is sigma.")
def for_variance(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    a, b = _score_gradient(f, z, mu, sigma)
    return a, b / (2 * sigma)


@score_gradient.wrong("You took sigma for the variance. It is the standard deviation.")
def score_sigma_as_variance(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    return _score_gradient(f, z, mu, sigma.sqrt())


@score_gradient.wrong("The two results are swapped: first the one for mu, then for sigma.")
def swapped(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    a, b = _score_gradient(f, z, mu, sigma)
    return b, a


@score_gradient.wrong(
    "You subtracted the mean of f. That is a baseline, a good idea, but f is to be used as it is."
)
def with_baseline(f: Tensor, z: Tensor, mu: Tensor, sigma: Tensor) -> Pair:
    return _score_gradient(f - f.mean(), z, mu, sigma)


# --- elbo.iwae ----------------------------------------------------------------------------------

iwae = Exercise(
    "elbo.iwae",
    "iwae_bound",
    contract=(
        "iwae_bound(log_w): (K, B), the log-weights log p(x, z_k) - log q(z_k|x) of K draws for "
        "each of B images. Returns (B,): the log of the mean weight, in nats, finite for "
        "log-weights of any size."
    ),
    hints=(
        "You want log((w_1 + … + w_K) / K), but w itself is too small or too large for a float. "
        "Stay with logarithms.",
        "torch.logsumexp(log_w, dim=…) gives the log of the sum. Dividing by K inside a logarithm "
        "subtracts what?",
        "return torch.logsumexp(log_w, dim=0) - math.log(len(log_w))",
    ),
    see="chapter 2, 'Exercise 5: many draws tighten the bound'",
)


@iwae.inputs
def _log_weights(g: Generator) -> tuple[Tensor]:
    return (2 * torch.randn(5, 3, generator=g) - 4 * torch.rand(3, generator=g),)


def _image_sized(g: Generator) -> tuple[Tensor]:
    """As real images give them: all weights underflow, or one outweighs the others by far."""
    center = torch.tensor([-900.0, 300.0, -50_000.0, 0.0])
    return (center + 20 * torch.randn(6, 4, generator=g),)


def _one_weight(g: Generator) -> tuple[Tensor]:
    return (3 * torch.randn(1, 1, generator=g),)


@iwae.reference
def _iwae(log_w: Tensor) -> Tensor:
    top = log_w.detach().max(0).values
    return top + (log_w - top).exp().mean(0).log()


iwae.values("returns the log of the mean weight, one number an image", points=2)
iwae.values("stays finite where weights underflow or overflow", inputs=_image_sized)
iwae.gradients("lets the gradient through to the log-weights")
iwae.values(
    "is the log-weight itself for one draw",
    hidden=True,
    hint="With K = 1 the mean is the weight, and log K is 0.",
    inputs=_one_weight,
)
iwae.untouched()


@iwae.wrong("This is the mean of the log-weights: the ELBO. Take the log of the mean weight.")
def mean_of_logs(log_w: Tensor) -> Tensor:
    return log_w.mean(0)


@iwae.wrong("log K is missing: the weights are to be averaged, not summed.")
def without_log_k(log_w: Tensor) -> Tensor:
    return log_w.logsumexp(0)


@iwae.wrong("You divide the logarithm by K. Divide the sum by K: subtract log K.")
def divided_outside(log_w: Tensor) -> Tensor:
    return log_w.logsumexp(0) / len(log_w)


@iwae.wrong("You subtract K. Dividing by K inside a logarithm subtracts log K.")
def minus_k(log_w: Tensor) -> Tensor:
    return log_w.logsumexp(0) - len(log_w)


@iwae.wrong("You add log K; subtract it.")
def plus_log_k(log_w: Tensor) -> Tensor:
    return log_w.logsumexp(0) + math.log(len(log_w))


@iwae.wrong("You averaged over the images (dim=1); the draws are dim=0.")
def over_images(log_w: Tensor) -> Tensor:
    return log_w.logsumexp(1) - math.log(log_w.shape[1])


@iwae.wrong("You subtracted log B; the number of draws is K = len(log_w).")
def minus_log_b(log_w: Tensor) -> Tensor:
    return log_w.logsumexp(0) - math.log(log_w.shape[1])


@iwae.wrong("The average over the images comes later: return one number for each image.")
def averaged_over_images(log_w: Tensor) -> Tensor:
    return _iwae(log_w).mean()


@iwae.wrong("You pooled all images: each image has a mean weight of its own.")
def pooled(log_w: Tensor) -> Tensor:
    return log_w.flatten().logsumexp(0) - math.log(log_w.numel())


@iwae.wrong("You return the largest log-weight. It is the first step; the others count as well.")
def largest(log_w: Tensor) -> Tensor:
    return log_w.max(0).values


@iwae.wrong("You subtracted the largest log-weight and did not add it again at the end.")
def largest_lost(log_w: Tensor) -> Tensor:
    return _iwae(log_w) - log_w.max(0).values


@iwae.wrong(
    "exp(log_w) leaves the range of a float: e^-1000 becomes 0, e^300 infinite. Subtract the "
    "largest log-weight first, or use torch.logsumexp."
)
def naive(log_w: Tensor) -> Tensor:
    return log_w.exp().mean(0).log()


@iwae.wrong("This is the mean weight itself. The bound is its logarithm.")
def without_log(log_w: Tensor) -> Tensor:
    return log_w.exp().mean(0)


@iwae.wrong("The sign is turned round: this is the loss. The bound itself is asked for.")
def iwae_negated(log_w: Tensor) -> Tensor:
    return -_iwae(log_w)


@iwae.wrong(
    "The numbers are right, but the result is detached: no gradient would reach the encoder."
)
def iwae_detached(log_w: Tensor) -> Tensor:
    return _iwae(log_w).detach()


# --- questions answered in prose ----------------------------------------------------------------

tight = FreeText(
    "elbo.tight",
    question=(
        "If q(z|x) equals the prior for every x, the KL term of the ELBO is 0. Is the bound then "
        "tight? What must be true of the decoder?"
    ),
    rubric=(
        "One point: not in general; the gap is KL(prior || posterior), not the KL term (the prior "
        "as a guide had a KL term of 0 and a gap of 9.5 nats). One point: it is 0 only if "
        "p(z|x) = p(z), that is, if the decoder ignores z."
    ),
    points=2,
)

compare = FreeText(
    "elbo.compare",
    question=(
        "The ELBO of model A is -92 nats, that of model B is -95. Give two different reasons why B "
        "may still have the higher log p(x), and a way to find out."
    ),
    rubric=(
        "One point for two reasons: B's gap may be larger, because its posteriors are further from "
        "the family of q or because its encoder is worse; the difference may be within the "
        "standard error; or the targets differ (grey or binary). One point for a test: IWAE with "
        "large k for both, or a q fitted to each image, on the same data, with standard errors."
    ),
    points=2,
)

guide = FreeText(
    "elbo.guide",
    question=(
        "Step 3, log p(x) = E_q[log p(x, z) - log p(z|x)], holds for any q. Why then do we need "
        "the encoder to be good?"
    ),
    rubric=(
        "One point: step 3 contains the unknown posterior; it cannot be computed. One point: what "
        "can be computed is the ELBO, whose distance from log p(x) (or whose noise) depends on q."
    ),
    points=2,
)

lower = FreeText(
    "elbo.lower",
    question=(
        "A friend estimates log p(x) with IWAE-5000 and finds it lower than the ELBO, estimated "
        "from 100,000 draws. What do you look for first?"
    ),
    rubric=(
        "In expectation IWAE-k is at least the ELBO. One point for a bug that makes it too low: "
        "log k subtracted twice or for the wrong dimension, other data or binarization, a model in "
        "training mode. One point for noise: few images or repeats, heavy-tailed weights of a "
        "narrow q, no standard errors. A missing log k is no answer: it would make it too high."
    ),
    points=2,
)
