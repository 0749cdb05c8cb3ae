"""Exercises of the chapter that derives the ELBO."""

import math

import torch
from torch import Generator, Tensor
from torch.distributions import Normal

from coursekit.exercises import FreeText, gradients, rand, randn, record, untouched, values


def _readings(g: Generator, draws: int, readings: int) -> tuple[Tensor, ...]:
    x, mu = 1 + 1.5 * rand(g, readings), 0.5 * randn(g, readings)
    return x, mu, 0.2 + rand(g, readings), randn(g, draws, readings)


@record(
    "elbo.monte_carlo",
    inputs=lambda g: _readings(g, 6, 4),
    tests=(
        values(2, "returns the average over the draws, one number per reading"),
        gradients(wrt=("mu", "sigma")),
        values(
            name="holds for one reading and one draw",
            hidden="Try x, mu, sigma of shape (1,) and eps of shape (1, 1).",
            inputs=lambda g: _readings(g, 1, 1),
        ),
        untouched(),
    ),
    mistakes={
        "mu + sigma * eps": {"eps": "A draw from q is mu + sigma * eps, not the noise itself."},
        "z = mu": {"sigma = sigma.sqrt(); z = mu": "sigma is a standard deviation: take no root."},
        "z.exp()": {"z": "The decoder is missing: the mean of x is exp(z), not z."},
        "0.5)": {"0.5**0.5)": "0.5 is the standard deviation of the reading, not the variance."},
        " + log_pz": {"": "log p(z) is missing: the joint density is p(x|z) times p(z)."},
        " - log_q": {
            "": "log q(z) is missing: you return the average of log p(x, z) alone.",
            " + log_q": "You add log q(z); the ELBO is log p(x, z) minus log q(z).",
        },
        "return (": {"return -(": "The sign is flipped: this is the negative ELBO, the loss."},
        ".mean(dim=0)": {
            "": "The draws are not averaged: you return (K, B).",
            ".mean()": "Average over the draws (dim=0) only, and keep the readings apart.",
            ".mean(dim=1)": "You averaged over the readings (dim=1); the draws are dim=0.",
            ".sum(dim=0)": "You summed over the draws. Their mean estimates an expectation.",
            ".exp().mean(dim=0).log()": "This is the log of the mean weight, the "
            "importance-weighted bound. The ELBO is the mean of the logs.",
            ".mean(dim=0).detach()": "The numbers are right, but the result is detached: no "
            "gradient reaches the guide. Do not use .detach(), .item(), .sample() or no_grad.",
        },
    },
    hints=(
        "Three log-densities of the same draws: of x given z, of z under the prior, of z under "
        "the guide. Which signs do they have?",
        "z = mu + sigma * eps has shape (K, B), and so has each log-density: x, mu and sigma "
        "broadcast. The log_prob of a Normal gives a log-density.",
        "Per draw, add log p(x|z) and log p(z) and subtract log q(z); then average over the draws.",
    ),
    explanation="The ELBO is an expectation under q, so the mean over draws from q estimates it.",
    see="chapter 2, 'Exercise 1: the bound from random draws'",
)
def monte_carlo_elbo(x, mu, sigma, eps):
    """The ELBO of each reading under the one-pixel model, from K draws, in nats.

    x: (B,) readings. mu, sigma: (B,), the guide N(mu, sigma^2) of each reading.
    eps: (K, B), draws from N(0, 1).
    The model: z ~ N(0, 1), x|z ~ N(exp(z), 0.5^2).
    Returns: (B,), averaged over the K draws; differentiable.
    """
    # 1. The codes z, (K, B), from mu, sigma and eps.
    # 2. log p(x|z) and log p(z) of each draw (log_joint above is their sum).
    # 3. log q(z) of each draw, under N(mu, sigma^2).
    # 4. The average of log p(x|z) + log p(z) - log q(z) over the draws.
    ### BEGIN SOLUTION
    z = mu + sigma * eps
    log_px = Normal(z.exp(), 0.5).log_prob(x)
    log_pz = Normal(0.0, 1.0).log_prob(z)
    log_q = Normal(mu, sigma).log_prob(z)
    return (log_px + log_pz - log_q).mean(dim=0)
    ### END SOLUTION


def _far_apart(g: Generator) -> tuple[Tensor, ...]:
    """Widths from 1e-3 to 100, one row, and one dimension in which the two are the same."""
    mu, sigma = 20 * randn(g, 2, 1, 8), 10 ** (5 * rand(g, 2, 1, 8) - 3)
    mu[1, :, 0], sigma[1, :, 0] = mu[0, :, 0], sigma[0, :, 0]
    return mu[0], sigma[0], mu[1], sigma[1]


@record(
    "elbo.gaussian_kl",
    inputs=lambda g: (randn(g, 5, 3), 0.3 + rand(g, 5, 3), randn(g, 5, 3), 0.3 + rand(g, 5, 3)),
    tests=(
        values(2, "gives the closed form, one number per row"),
        gradients(),
        values(
            name="holds for very narrow and very wide Gaussians and for a batch of one",
            hidden="Try sigma_q = 0.001 and sigma_p = 100, then the reverse, and a single row.",
            inputs=_far_apart,
        ),
        untouched(),
    ),
    mistakes={
        "log_ratio =": {  # the arguments taken for something else
            "mu_q, sigma_q, mu_p, sigma_p = mu_p, sigma_p, mu_q, sigma_q; log_ratio =": "This is "
            "KL(p || q). The question is KL(q || p), the average over q; the two differ.",
            "sigma_q, sigma_p = sigma_q.sqrt(), sigma_p.sqrt(); log_ratio =": "You took sigma for "
            "the variance. It is the standard deviation: square it.",
            "sigma_q, sigma_p = (sigma_q / 2).exp(), (sigma_p / 2).exp(); log_ratio =": "You took "
            "sigma for logvar. It is the standard deviation itself.",
            "mu_p, sigma_p = 0 * mu_p, 0 * sigma_p + 1; log_ratio =": "This is the KL to N(0, 1): "
            "mu_p and sigma_p are not used.",
        },
        "sigma_q**2 + ": {
            "": "sigma_q^2 is missing: E_q (z - mu_p)^2 = sigma_q^2 + (mu_q - mu_p)^2."
        },
        "(mu_q - mu_p) ** 2": {"(mu_q - mu_p)": "mu_q - mu_p is not squared in your formula."},
        "2 * sigma_p": {"sigma_p": "The 2 is missing: divide the squares by 2 * sigma_p**2."},
        "(log_ratio": {
            "(-log_ratio": "The logarithm has the wrong sign: it is log(sigma_p / sigma_q).",
            "(2 * log_ratio": "The logarithm is too large: log sigma_p^2 carries a factor 1/2.",
            "-(log_ratio": "The sign is flipped: this is -KL. A KL is never negative.",
        },
        " - 0.5": {"": "The -1/2 is missing: where q = p the KL must be 0."},
        ".sum(dim=1)": {
            "": "You return one KL per latent dimension: sum them over dim=1.",
            ".sum()": "Your KL is summed over the batch as well: return one number per row.",
            ".sum(dim=0)": "You summed over the rows (dim=0); the latent dimensions are dim=1.",
            ".mean(dim=1)": "Your KL is averaged over the latent dimensions; sum over them.",
            ".sum(dim=1).detach()": "The numbers are right, but the result is detached: no "
            "gradient reaches the encoder.",
        },
    },
    hints=(
        "Three terms: one compares the two widths, one is a ratio of squares, one is a constant. "
        "The derivation above ends with them.",
        "log(sigma_p / sigma_q), then (sigma_q^2 + (mu_q - mu_p)^2) / (2 sigma_p^2), then -1/2. "
        "Which sigma stands in the denominator, and in what power?",
        "The formula works entry by entry. Add the three terms, then sum each row over L.",
    ),
    explanation="The log-ratios of independent dimensions add up, so their averages do as well.",
    see="chapter 2, 'Exercise 2: the KL divergence in closed form'",
    forbids=("coursekit.objectives.kl_by_dimension",),
)
def gaussian_kl(mu_q, sigma_q, mu_p, sigma_p):
    """KL(q || p) of each row, in nats, for q = N(mu_q, sigma_q^2) and p = N(mu_p, sigma_p^2).

    All four: (B, L) float tensors; sigma is the standard deviation, not the variance.
    Returns: (B,), summed over the L dimensions; differentiable.
    """
    # 1. The three terms of the closed form, (B, L).
    # 2. The sum over dimensions, (B,).
    ### BEGIN SOLUTION
    log_ratio = torch.log(sigma_p / sigma_q)
    square = (sigma_q**2 + (mu_q - mu_p) ** 2) / (2 * sigma_p**2)
    return (log_ratio + square - 0.5).sum(dim=1)
    ### END SOLUTION


def _linear(g: Generator, images: int, size: int, latents: int) -> tuple[Tensor | float, ...]:
    x, codes = randn(g, images, size), randn(g, 3, images, latents)
    return x, *codes, randn(g, size, latents), randn(g, size), 0.4 + rand(g).item()


def _images(g: Generator) -> tuple[Tensor | float, ...]:
    """Of 6 numbers, or of 3, as many as latent dimensions: then a transposed W fits as well."""
    return _linear(g, 5, 3 * int(torch.randint(1, 3, (), generator=g)), 3)


@record(
    "elbo.one_sample",
    inputs=_images,
    tests=(
        values(2, "returns log p(x|z) minus the KL, one number per image"),
        gradients(wrt=("mu", "logvar", "W", "b")),
        values(
            name="holds for one image of one number with one latent dimension",
            hidden="Try D = L = B = 1: is every sum over the right dimension?",
            inputs=lambda g: _linear(g, 1, 1, 1),
        ),
        values(
            name="tells W from its transpose",
            hidden="For D = L both products have a fitting shape. Image i has the mean W z_i + b.",
            inputs=lambda g: _linear(g, 3, 4, 4),
        ),
        untouched(),
    ),
    mistakes={
        "logvar / 2": {"logvar": "exp(logvar) is the variance: sigma = exp(logvar / 2)."},
        "z @ W.T": {
            "mu @ W.T": "You decode the mean mu. The ELBO averages over draws: decode z.",
            "z.detach() @ W.T": "The code is detached: log p(x|z) gives mu and logvar no gradient.",
            "z @ W": "The decoder is transposed: the mean of a batch is z @ W.T + b.",
        },
        " + b": {"": "b is missing: the decoder's mean is W z + b."},
        "noise).": {
            "noise**0.5).": "`noise` is the standard deviation of the pixels, not the variance."
        },
        "Normal(z @ W.T + b, noise).log_prob(x)": {
            "-((z @ W.T + b - x) ** 2)": "This is a squared error. log p(x|z) divides it by "
            "2 noise^2 and has constants.",
        },
        "(x).sum(dim=1)": {"(x).mean(dim=1)": "Sum log p(x|z) over the D numbers; do not average."},
        "logvar).sum": {"logvar).mean": "Sum the KL over the L dimensions; do not average."},
        "log_px - kl": {
            "log_px": "The KL is missing: this is log p(x|z) alone, as in an autoencoder.",
            "log_px + kl": "You add the KL. The ELBO is log p(x|z) minus the KL.",
            "kl - log_px": "This is the negative ELBO, the loss. Return the bound itself.",
            "(log_px - kl).mean()": "The batch is averaged later: return one number per image.",
            "log_px - kl + x.shape[1] * math.log(noise * (2 * math.pi) ** 0.5)": "The constants "
            "are missing: each of the D numbers has -log(noise) - log(2 pi) / 2. Without them the "
            "value is no log-likelihood and cannot be compared with log p(x).",
            "log_px - kl + x.shape[1] * math.log(2 * math.pi) / 2": "The constant -log(2 pi) / 2 "
            "of each of the D numbers is missing.",
        },
    },
    hints=(
        "Draw, decode, score, subtract: the code z, the decoder's mean, log p(x|z), the KL.",
        "sigma = exp(logvar / 2). The decoder's mean for a batch is z @ W.T + b. A normal "
        "log-density has the constants log(noise) and log(2 pi) / 2 for each of the D numbers.",
        "Sum the normal log-densities of each image over its D numbers. From that subtract the sum "
        "over L of (mu^2 + sigma^2 - 1 - log sigma^2) / 2.",
    ),
    explanation="One draw estimates log p(x|z) without bias; the KL is exact and needs no draw.",
    see="chapter 2, 'Exercise 3: one draw is enough'",
    forbids=("coursekit.objectives.kl_divergence", "coursekit.objectives.reparameterize"),
)
def one_sample_elbo(x, mu, logvar, eps, W, b, noise):
    """The ELBO of each image from one draw, in nats; prior N(0, I), KL in closed form.

    x: (B, D). mu, logvar, eps: (B, L), logvar = log sigma^2, eps drawn from N(0, I).
    W: (D, L), b: (D,), noise: a number. The decoder: x|z ~ N(W z + b, noise^2 I).
    Returns: (B,), log p(x|z) summed over D, minus the KL summed over L; differentiable.
    """
    # 1. The code z of each image, (B, L), from mu, logvar and eps.
    # 2. The decoder's mean, (B, D).
    # 3. log p(x|z) of each image: sum over its D numbers, with all constants.
    # 4. The KL to N(0, I), (B,), and the difference.
    ### BEGIN SOLUTION
    z = mu + torch.exp(logvar / 2) * eps
    log_px = Normal(z @ W.T + b, noise).log_prob(x).sum(dim=1)
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1)
    return log_px - kl
    ### END SOLUTION


def _draws(g: Generator, draws: int, width: float = 1) -> tuple[Tensor, ...]:
    mu, sigma = randn(g), width * (0.3 + rand(g))
    return 3 * randn(g, draws), mu + sigma * randn(g, draws), mu, sigma


@record(
    "elbo.score_gradient",
    inputs=lambda g: _draws(g, 7),
    tests=(
        values(2, "gives one estimate per draw, for mu and for sigma"),
        values(
            name="holds for a single draw from a wide guide",
            hidden="Try sigma = 5 and one draw. Which power of sigma stands in each denominator?",
            inputs=lambda g: _draws(g, 1, width=5),
        ),
        untouched(),
    ),
    mistakes={
        "score_mu =": {  # the arguments taken for something else
            "sigma = sigma.sqrt(); score_mu =": "sigma is a standard deviation, not a variance.",
            "f = f - f.mean(); score_mu =": "You subtracted the mean of f. That is a baseline, a "
            "good idea, but here f is to be used as it is.",
        },
        "(z - mu) /": {"(mu - z) /": "(mu - z) should be (z - mu) in the score for mu."},
        "/ sigma**2": {"/ sigma": "The score for mu divides by sigma^2, not by sigma."},
        " - sigma**2)": {")": "The -1/sigma is missing: log q(z) contains -log(sigma)."},
        "sigma**3": {
            "sigma**2": "The score for sigma divides by sigma^3. Over sigma^2 it is the "
            "derivative with respect to log sigma.",
            "(2 * sigma**4)": "This derivative is with respect to the variance, not to sigma.",
        },
        "f * score_mu, f * score_sigma": {
            "(f * score_mu).mean(), (f * score_sigma).mean()": "You averaged over the draws: "
            "return the estimate of each draw, (K,).",
            "(f * score_mu).sum(), (f * score_sigma).sum()": "You summed over the draws: return "
            "the estimate of each draw, (K,).",
            "score_mu, score_sigma": "These are the scores alone; multiply each by f(z).",
            "-f * score_mu, -f * score_sigma": "The signs are flipped: the score for mu is "
            "(z - mu) / sigma^2.",
            "f * score_sigma, f * score_mu": "The two results are swapped: mu first, then sigma.",
        },
    },
    hints=(
        "Write down log q(z) of a Gaussian and differentiate it, once by mu and once by sigma.",
        "By mu: (z - mu) / sigma^2. By sigma: from -log(sigma) comes -1 / sigma; what comes from "
        "-(z - mu)^2 / (2 sigma^2)?",
        "By sigma, the second part gives (z - mu)^2 / sigma^3. Put the two parts over one "
        "denominator, and multiply both derivatives by f, draw by draw.",
    ),
    explanation="Since grad q = q * grad log q, the gradient of E_q[f] is E_q[f * grad log q].",
    see="chapter 2, 'Exercise 4: two ways through a random draw'",
    fair=("detached",),  # the results are gradients; nobody differentiates them again
)
def score_gradient(f, z, mu, sigma):
    """The score-function estimate of the gradient of E_q[f(z)], q = N(mu, sigma^2), per draw.

    f: (K,), the values f(z_k). z: (K,), draws from q. mu, sigma: scalars (sigma is the
    standard deviation).
    Returns: (for_mu, for_sigma), two tensors (K,): one estimate for each draw, not averaged.
    """
    # 1. The derivatives of log q(z) with respect to mu and to sigma, (K,) each.
    # 2. Each of them times f.
    ### BEGIN SOLUTION
    score_mu = (z - mu) / sigma**2
    score_sigma = ((z - mu) ** 2 - sigma**2) / sigma**3
    return f * score_mu, f * score_sigma
    ### END SOLUTION


def _image_sized(g: Generator) -> tuple[Tensor]:
    """As real images give them: all weights underflow, or one outweighs the others by far."""
    return (torch.tensor([-900.0, 300.0, -50_000.0, 0.0]) + 20 * randn(g, 6, 4),)


@record(
    "elbo.iwae",
    inputs=lambda g: (2 * randn(g, 5, 3) - 4 * rand(g, 3),),
    tests=(
        values(2, "returns the log of the mean weight, one number per image"),
        values(name="stays finite where weights underflow or overflow", inputs=_image_sized),
        gradients(),
        values(
            name="is the log-weight itself for one draw",
            hidden="With K = 1 the mean is the weight, and log K is 0.",
            inputs=lambda g: (3 * randn(g, 1, 1),),
        ),
        untouched(),
    ),
    mistakes={
        "log_sum =": {
            "log_w = log_w.T; log_sum =": "You averaged over the images; the draws are dim=0.",
            "log_w = log_w.flatten(); log_sum =": "You pooled all images: each has its own mean.",
            "log_w = log_w - log_w.amax(dim=0); log_sum =": "You subtracted the largest "
            "log-weight and did not add it again at the end.",
            "log_w = log_w.detach(); log_sum =": "The numbers are right, but the result is "
            "detached: no gradient reaches the encoder.",
        },
        "log_sum - math.log(len(log_w))": {
            "log_sum": "log K is missing: the weights are to be averaged, not summed.",
            "log_sum / len(log_w)": "You divide the logarithm by K, not the sum: subtract log K.",
            "log_sum - len(log_w)": "You subtract K. Dividing by K subtracts log K.",
            "log_sum + math.log(len(log_w))": "You add log K; subtract it.",
            "log_sum - math.log(log_w.shape[1])": "You subtracted log B; the number of draws is K.",
            "(log_sum - math.log(len(log_w))).mean()": "The images are averaged later: return one "
            "number per image.",
            "math.log(len(log_w)) - log_sum": "The sign is flipped: this is the loss.",
            "log_w.mean(dim=0)": "This is the mean of the log-weights, the ELBO. Take the log of "
            "the mean weight.",
            "log_w.amax(dim=0)": "You return the largest log-weight; the others count as well.",
            "log_w.exp().mean(dim=0)": "This is the mean weight itself. The bound is its log.",
            "log_w.exp().mean(dim=0).log()": "exp(log_w) leaves the range of a float: e^-1000 "
            "becomes 0, e^300 infinite. Subtract the largest log-weight, or use torch.logsumexp.",
        },
    },
    hints=(
        "You want log((w_1 + … + w_K) / K), but w itself is too small or too large for a float. "
        "Stay with logarithms.",
        "torch.logsumexp gives the log of the sum; its dim is the one to sum over. Dividing by K "
        "inside a logarithm subtracts what?",
        "From the log of the sum over the draws (the first dimension) subtract the log of K.",
    ),
    explanation="logsumexp subtracts the largest entry before it takes exponentials, so they "
    "neither overflow nor all vanish; subtracting log K turns the sum into a mean.",
    see="chapter 2, 'Exercise 5: many draws tighten the bound'",
)
def iwae_bound(log_w):
    """The importance-weighted bound of each image, in nats: log of the mean weight.

    log_w: (K, B), log p(x, z_k) - log q(z_k|x) of K draws for each of B images.
    Returns: (B,); finite for log-weights of any size, differentiable.
    """
    # 1. Log of the sum of the weights over the draws, without leaving the log scale
    #    (torch has a function for it; or subtract the largest).
    # 2. From the sum to the mean.
    ### BEGIN SOLUTION
    log_sum = torch.logsumexp(log_w, dim=0)
    return log_sum - math.log(len(log_w))
    ### END SOLUTION


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
