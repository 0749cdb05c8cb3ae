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
        "Normal(mu, sigma).log_prob(z)": {
            "Normal(0.0, 1.0).log_prob(eps)": "You take the density of the noise eps. log q(z) is "
            "the density of the code z under N(mu, sigma^2), and the two differ.",
            "Normal(0.0, 1.0).log_prob(z)": "This is log p(z), the prior, once more. log q(z) is "
            "the density under N(mu, sigma^2).",
        },
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
            "gradient reaches mu and sigma. Do not use .detach(), .item(), .sample() or no_grad.",
        },
    },
    hints=(
        "You need three log-densities of the same draws: of x given z, of z under the prior, and "
        "of z under q. Which sign does each have in the ELBO?",
        "z = mu + sigma * eps has shape (K, B), and so has each log-density: x, mu and sigma "
        "broadcast. Normal(mean, standard_deviation).log_prob gives a log-density.",
        "Per draw, add log p(x|z) and log p(z) and subtract log q(z); then average over the draws.",
    ),
    explanation="The ELBO is an expectation under q, so the mean over draws from q estimates it.",
    see="chapter 2, 'Exercise 1: the bound from random draws'",
)
def monte_carlo_elbo(x, mu, sigma, eps):
    """The ELBO of each reading under the one-pixel model, from K draws, in nats.

    x: (B,) readings. mu, sigma: (B,); q = N(mu, sigma^2) has its own mu and sigma per reading.
    eps: (K, B), draws from N(0, 1).
    The model: z ~ N(0, 1), x|z ~ N(exp(z), 0.5^2).
    Returns: (B,), averaged over the K draws; differentiable.
    """
    # 1. Turn the noise into codes z, (K, B), that are draws from q.
    # 2. Evaluate what stands inside the expectation of step 4, at each draw.
    # 3. Average over the draws.
    ### BEGIN SOLUTION
    z = mu + sigma * eps
    log_px = Normal(z.exp(), 0.5).log_prob(x)
    log_pz = Normal(0.0, 1.0).log_prob(z)
    log_q = Normal(mu, sigma).log_prob(z)
    return (log_px + log_pz - log_q).mean(dim=0)
    ### END SOLUTION


def _narrow(g: Generator) -> tuple[Tensor, ...]:
    x, mu, _, eps = _readings(g, 1, 3)
    return x, mu, 0.001 + 0.01 * rand(g, 3), eps


@record(
    "elbo.repair",
    inputs=lambda g: _readings(g, 6, 4),
    tests=(
        values(2, "returns the repaired line, one number per reading"),
        gradients(wrt=("mu", "sigma")),
        values(
            name="holds for one draw from a very narrow q",
            hidden="Try sigma = 0.001 and one draw. Compare with exercise 1, averaged over many.",
            inputs=_narrow,
        ),
        untouched(),
    ),
    mistakes={
        "torch.log(sigma) + ": {
            "": "This is line (d) as it stands. Compare lines (a) to (d) on numbers: which line is "
            "the first with another value? Does the difference depend on mu, or on sigma?",
            "-torch.log(sigma) + ": "log sigma has the wrong sign. A narrower q has a higher "
            "density, so -log q(z) falls when sigma falls.",
            "2 * torch.log(sigma) + ": "log sigma is counted twice. Is sigma the standard "
            "deviation in your formula?",
            "0.5 * torch.log(sigma) + ": "log sigma must not be halved: the half belongs to the "
            "logarithm of the variance.",
        },
        "math.log(2 * math.pi * math.e)": {
            "math.log(2 * math.pi)": "The average of eps^2 / 2 is missing. It is 1/2.",
        },
        "explained + entropy": {
            "explained": "The term -log q(z) is missing: this is the average of log p(x, z).",
            "explained - entropy": "The sign of the second term is wrong: the ELBO subtracts the "
            "average of log q(z), which is minus the entropy of q.",
            "-(explained + entropy)": "The sign is flipped: this is the negative ELBO, the loss.",
            "explained - Normal(mu, sigma).log_prob(z).mean(dim=0)": "You average log q(z) over "
            "the draws, as in exercise 1. Line (d) has its exact average, without draws.",
        },
        ".mean(dim=0)": {
            "": "The draws are not averaged: you return (K, B).",
            ".mean()": "Average over the draws (dim=0) only, and keep the readings apart.",
            ".sum(dim=0)": "You summed over the draws. Their mean estimates an expectation.",
        },
    },
    hints=(
        "Compute each line for the same many draws, say 100,000. Line (a) is exercise 1.",
        "Lines (a) and (b) agree, and so do (c) and (d). By how much do (b) and (c) differ for "
        "sigma = 0.45, and for sigma = 0.3? Compare with log(0.45) and log(0.3).",
        "The density of z at mu + sigma * eps is the density of eps divided by sigma, because q "
        "is the bell curve of eps, stretched by sigma. Correct line (c), and carry the correction "
        "to line (d).",
    ),
    explanation="Stretching by sigma thins a density by the factor sigma: log q(z) is the "
    "log-density of eps minus log sigma.",
    see="chapter 2, 'Exercise 2: find the error by measuring'",
)
def repaired_bound(x, mu, sigma, eps):
    """Line (d), repaired: the ELBO of each reading, in nats.

    x, mu, sigma: (B,). eps: (K, B), draws from N(0, 1). The model is that of exercise 1.
    The average of log q(z) is exact and uses no draws, as in line (d).
    Returns: (B,); differentiable.
    """
    # 1. Average log p(x, z) over the draws z = mu + sigma * eps.
    # 2. Add what line (d) adds, with the error corrected.
    ### BEGIN SOLUTION
    z = mu + sigma * eps
    log_joint = Normal(z.exp(), 0.5).log_prob(x) + Normal(0.0, 1.0).log_prob(z)
    explained = log_joint.mean(dim=0)
    entropy = torch.log(sigma) + 0.5 * math.log(2 * math.pi * math.e)
    return explained + entropy
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
        "sigma_q**2 + (mu_q - mu_p) ** 2) / (2 * sigma_p**2)": {
            "sigma_q + (mu_q - mu_p) ** 2) / (2 * sigma_p)": "sigma_q and sigma_p stand unsquared "
            "where their squares, the variances, belong."
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
        "Write log q(z) - log p(z) with both bell curves. A logarithm of widths and two squares "
        "are left. Which of the three depend on z?",
        "Average over z from q. The square around mu_q averages to sigma_q^2, which makes its term "
        "-1/2. For the other square, write z - mu_p = (z - mu_q) + (mu_q - mu_p) and expand.",
        "The mixed term averages to 0, so the square around mu_p averages to sigma_q^2 + "
        "(mu_q - mu_p)^2. Divide it by 2 sigma_p^2, add log(sigma_p / sigma_q) and -1/2, and sum "
        "each row over L.",
    ),
    explanation="The log-ratios of independent dimensions add up, so their averages do as well.",
    see="chapter 2, 'Exercise 3: derive the KL divergence'",
    forbids=("coursekit.objectives.kl_by_dimension",),
)
def gaussian_kl(mu_q, sigma_q, mu_p, sigma_p):
    """KL(q || p) of each row, in nats, for q = N(mu_q, sigma_q^2) and p = N(mu_p, sigma_p^2).

    All four: (B, L) float tensors; sigma is the standard deviation, not the variance.
    The L dimensions are independent. No draws: the closed form. Returns: (B,); differentiable.
    """
    # 1. The average of log q(z) - log p(z) over z from q, for each dimension, (B, L).
    # 2. Combine the dimensions, (B,).
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
        "0.5 * (mu**2 + logvar.exp() - 1 - logvar)": {
            "0.5 * (z**2 - eps**2 - logvar)": "You estimate the KL from the draw. That is unbiased "
            "but noisy: take the closed form of exercise 3, with the prior N(0, 1)."
        },
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
        "There are four steps: draw the code z, decode it to the mean of x, compute log p(x|z), "
        "and subtract the KL divergence to the prior.",
        "sigma = exp(logvar / 2). The decoder's mean for a batch is z @ W.T + b. A normal "
        "log-density has the constants log(noise) and log(2 pi) / 2 for each of the D numbers.",
        "Sum the normal log-densities of each image over its D numbers. From that subtract the sum "
        "over L of (mu^2 + sigma^2 - 1 - log sigma^2) / 2.",
    ),
    explanation="One draw estimates log p(x|z) without bias; the KL is exact and needs no draw.",
    see="chapter 2, 'Exercise 4: one draw is enough'",
    forbids=("coursekit.objectives.kl_divergence", "coursekit.objectives.reparameterize"),
)
def one_sample_elbo(x, mu, logvar, eps, W, b, noise):
    """The ELBO of each image from one draw, in nats; prior N(0, I), KL in closed form.

    x: (B, D). mu, logvar, eps: (B, L), logvar = log sigma^2, eps drawn from N(0, I).
    W: (D, L), b: (D,), noise: a number. The decoder: x|z ~ N(W z + b, noise^2 I).
    Returns: (B,), log p(x|z) summed over D, minus the KL summed over L; differentiable.
    """
    # 1. The code z of each image, (B, L), and the mean of the decoder for it, (B, D).
    # 2. log p(x|z) of each image, with all constants: the sum over its D numbers.
    # 3. Subtract the KL divergence to N(0, I), (B,).
    ### BEGIN SOLUTION
    z = mu + torch.exp(logvar / 2) * eps
    log_px = Normal(z @ W.T + b, noise).log_prob(x).sum(dim=1)
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1)
    return log_px - kl
    ### END SOLUTION


def _image_sized(g: Generator) -> tuple[Tensor]:
    """As real images give them: all weights underflow, or one outweighs the others by far."""
    return (torch.tensor([-900.0, 300.0, -50_000.0, 0.0]) + 20 * randn(g, 6, 4),)


def _small(g: Generator) -> tuple[Tensor]:
    return (2 * randn(g, 5, 3) - 4 * rand(g, 3),)


@record(
    "elbo.iwae",
    inputs=_image_sized,
    tests=(
        values(
            2,
            "returns the log of the mean weight, one number per image",
            inputs=_small,
        ),
        values(name="stays finite where weights underflow or overflow"),
        gradients(inputs=_small),
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
            "(log_w - log_w.max()).exp().mean(dim=0).log() + log_w.max()": "You subtract one "
            "maximum for all images. Where an image's own largest log-weight is far below it, all "
            "its weights still become 0. Take the maximum of each image, over dim=0.",
            "(log_w.exp().mean(dim=0) + 1e-8).log()": "A small constant keeps the result finite, "
            "but where all weights become 0 it returns the log of that constant. Subtract the "
            "largest log-weight, or use torch.logsumexp.",
            "log_w.double().exp().mean(dim=0).log().to(log_w.dtype)": "Double precision reaches "
            "further, but e^-1000 becomes 0 there, too. Subtract the largest log-weight, or use "
            "torch.logsumexp.",
            "log_w.exp().mean(dim=0).log()": "exp(log_w) leaves the range of a float: e^-1000 "
            "becomes 0, e^300 infinite. Subtract the largest log-weight, or use torch.logsumexp.",
        },
    },
    hints=(
        "Before you take exponentials, you may divide all weights of an image by one number, if "
        "you multiply the mean by it afterwards. What is this on the log scale?",
        "Choose that number so that the largest weight of each image becomes 1. Then nothing "
        "overflows, and what becomes 0 was too small to matter. torch has a function that does "
        "this: torch.logsumexp.",
        "torch.logsumexp over the draws (the first dimension) gives the log of the sum. To turn "
        "the sum into a mean, divide by K, which subtracts the log of K.",
    ),
    explanation="logsumexp subtracts the largest entry before it takes exponentials, so they "
    "neither overflow nor all vanish; subtracting log K turns the sum into a mean.",
    see="chapter 2, 'Exercise 5: many draws tighten the bound'",
)
def iwae_bound(log_w):
    """The importance-weighted bound of each image, in nats: the log of the mean weight.

    log_w: (K, B), log p(x, z_k) - log q(z_k|x) of K draws for each of B images.
    Returns: (B,); finite for log-weights of any size, differentiable.
    """
    # The log of the mean weight, so that no exponential leaves the range of a float.
    ### BEGIN SOLUTION
    log_sum = torch.logsumexp(log_w, dim=0)
    return log_sum - math.log(len(log_w))
    ### END SOLUTION


def _two_peaks(g: Generator, factor: float = 0.0) -> tuple[Tensor, ...]:
    """A density with two peaks on a grid, times an unknown constant e^(factor + noise)."""
    z = torch.linspace(-9, 11, 801) + rand(g)
    middle, width, share = 4 * rand(g, 2) - 2, 0.3 + rand(g, 2), 0.2 + 0.6 * rand(g)
    left = share.log() + Normal(middle[0], width[0]).log_prob(z)
    right = (1 - share).log() + Normal(middle[1], width[1]).log_prob(z)
    return torch.logaddexp(left, right) + factor + randn(g), z


@record(
    "elbo.forward_fit",
    inputs=_two_peaks,
    tests=(
        values(2, "returns the mean and the standard deviation of the best Gaussian"),
        values(
            name="holds if p is known up to a tiny factor",
            hidden="log_p is known up to a constant. Try log_p - 500.",
            inputs=lambda g: _two_peaks(g, factor=-500.0),
        ),
        untouched(),
    ),
    mistakes={
        "weight = torch.softmax(log_p, dim=0)": {
            "weight = torch.full_like(z, 1 / len(z))": "Every z counts the same in your averages. "
            "They are averages over p.",
            "weight = log_p.exp()": "p is known up to a constant factor only: divide the weights "
            "by their sum.",
            "weight = (log_p - log_p.max()).exp()": "The largest weight is 1 here. The weights of "
            "an average must add up to 1: divide them by their sum.",
            "weight = (z[1] - z[0]) * log_p.exp()": "You integrate exp(log_p), which is p times an "
            "unknown factor: divide by its integral.",
            "weight = log_p.exp() / log_p.exp().sum()": "This holds until exp(log_p) underflows to "
            "0. Subtract the largest log_p first, or use torch.softmax.",
        },
        "mu = (weight * z).sum()": {
            "mu = z[log_p.argmax()]": "You put the mean on the highest peak. Which mu makes the "
            "derivative of your formula 0?",
            "mu = z.mean()": "This is the middle of the grid. The average is over p.",
            "mu = (weight * z).mean()": "The weights add up to 1 already: sum, do not average.",
        },
        "(z - mu) ** 2": {
            "z**2": "E z^2 is the variance only for mu = 0: subtract mu before you square.",
            "(z - mu).abs()": "This is the average distance from mu. What does setting the "
            "derivative by sigma to 0 give?",
        },
        ".sum().sqrt()": {".sum()": "This is the variance. Return its root, sigma."},
        "return mu, sigma": {"return sigma, mu": "The two results are swapped: mu comes first."},
    },
    hints=(
        "Split KL(p || q) = E_p[log p(z)] - E_p[log q(z)]. Which part depends on mu and sigma?",
        "-E_p[log q(z)] = log sigma + E_p[(z - mu)^2] / (2 sigma^2) + a constant. Set its "
        "derivative by mu to 0, and then its derivative by sigma.",
        "The best mu is E_p[z], and the best sigma^2 is E_p[(z - mu)^2]. On an even grid both are "
        "weighted sums; the weights are proportional to exp(log_p) and add up to 1.",
    ),
    explanation="KL(p || q) is least for the Gaussian with the mean and the variance of p: this is "
    "called moment matching.",
    see="chapter 2, 'Exercise 6: derive the best wide approximation'",
    fair=("detached",),  # nobody asks for a gradient
)
def forward_fit(log_p, z):
    """The Gaussian q = N(mu, sigma^2) with the smallest KL(p || q).

    z: (N,), evenly spaced codes; p is almost 0 at both ends. log_p: (N,), log p(z) plus an
    unknown constant, which may be large.
    Returns: (mu, sigma), two scalars.
    """
    # 1. On paper: which mu and which sigma minimize KL(p || q)?
    # 2. The averages over p that you need, as sums over z.
    ### BEGIN SOLUTION
    weight = torch.softmax(log_p, dim=0)
    mu = (weight * z).sum()
    sigma = (weight * (z - mu) ** 2).sum().sqrt()
    return mu, sigma
    ### END SOLUTION


# --- questions answered in prose ----------------------------------------------------------------

tight = FreeText(
    "elbo.tight",
    question=(
        "If q(z|x) equals the prior for every x, the KL term of the ELBO is 0. Is the bound then "
        "tight? What must be true of the decoder?"
    ),
    rubric=(
        "One point: not in general; the gap is KL(prior || posterior), not the KL term (with "
        "q = prior, the KL term was 0 and the gap 9.5 nats). One point: the gap is 0 only if "
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
