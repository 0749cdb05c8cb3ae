"""Exercises of the chapter on sharper VAEs: likelihoods and units, attention, skip connections."""

import math
from typing import Any

import torch
from torch import Generator, nn
from torch.nn import functional as F

from coursekit.exercises import (
    Answer,
    FreeText,
    close,
    copies,
    gradients,
    rand,
    randn,
    record,
    untouched,
    values,
)


def _filled(g: Generator, module: nn.Module, scale: float = 0.5) -> nn.Module:
    """The module with weights drawn from `g`."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * randn(g, *parameter.shape))
    return module


# --- sharper_vaes.scale -------------------------------------------------------------------------


@record(
    "sharper_vaes.scale",
    inputs=lambda g: (rand(g, 4, 3, 5, 6), rand(g, 4, 3, 5, 6)),
    tests=(
        values(points=3, name="finds the scale and the nats per image"),
        values(
            name="falls below 0 where the means are close",
            hidden="Try mean = x + 0.01 * noise. A density may be larger than 1.",
            inputs=lambda g: (x := rand(g, 3, 1, 4, 4), x + 0.01 * randn(g, 3, 1, 4, 4)),
        ),
        gradients(wrt=("mean",)),
        untouched(),
    ),
    mistakes={
        "(x - mean).square().mean().sqrt()": {
            "(x - mean).square().mean()": "This is the variance. The scale is its square root.",
            "(x - mean).abs().mean()": "This is the best scale of a Laplace distribution. For a "
            "Gaussian, set the derivative of the nats with respect to the variance to 0.",
            "(x - mean).std()": "std subtracts the mean of the errors first. The decoder's means "
            "are given, so the errors count as they are.",
            "(x - mean).square().sum().sqrt()": "You added the squared errors of all pixels. "
            "The best variance is their mean.",
        },
        "numbers / 2 * (": {
            "1 / 2 * (": "You have the nats of one pixel. The likelihood of an image is the "
            "product over its C * H * W numbers, so the nats add up.",
            "numbers * (": "The normalizing constant has a square root: half of the logarithm.",
            "-numbers / 2 * (": "This is the log-likelihood. Return minus it.",
            "x.numel() / 2 * (": "You added up the nats of the whole batch. Return nats per image.",
        },
        "math.log(2 * math.pi) + 2 * scale.log() + 1": {
            "math.log(2 * math.pi) + 2 * scale.log()": "The squared errors are missing. At the "
            "best scale they contribute exactly 1/2 per number.",
            "2 * scale.log() + 1": "The constant log(2 pi) is missing: without it, this is no "
            "normalized density.",
            "math.log(2 * math.pi) + scale.log() + 1": "log sigma^2 is 2 log sigma.",
        },
    },
    hints=(
        "Write minus the log-density of one number with variance v. What is its derivative in v?",
        "Per number: (log(2 pi) + log v + (x - mean)^2 / v) / 2. Averaged over all numbers, the "
        "derivative is 0 where v is the mean squared error.",
        "scale = sqrt(mean squared error); at this scale the last term is 1 on average. Multiply "
        "by the C * H * W numbers of an image.",
    ),
    explanation="At the best variance v = MSE, each number costs (log(2 pi v) + 1) / 2 nats.",
    see="chapter 7, 'Exercise 1: the best scale'",
)
def best_scale(x, mean):
    """The scale with the highest likelihood for Gaussian pixels, and what the images then cost.

    x, mean: (B, C, H, W), images and the decoder's means. All pixels share one scale.
    Returns: (scale, nats). scale: a scalar, the standard deviation sigma with the highest
    likelihood of the whole batch. nats: a scalar, -log N(x; mean, scale^2 I) at this scale, summed
    over the numbers of an image, averaged over the batch.
    """
    # 1. On paper: the derivative with respect to the variance.
    # 2. What is left of the squared errors at the best variance?
    ### BEGIN SOLUTION
    scale = (x - mean).square().mean().sqrt()
    numbers = x[0].numel()
    nats = numbers / 2 * (math.log(2 * math.pi) + 2 * scale.log() + 1)
    return scale, nats
    ### END SOLUTION


# --- sharper_vaes.levels ------------------------------------------------------------------------


def _levels(g: Generator, scale: float = 0.0) -> tuple[Any, ...]:
    """Gray levels in double precision, means that are near them, and a scale of a few levels."""
    x = torch.randint(256, (3, 2, 4, 5), generator=g).double() / 255
    x[:, 0, 0, 0], x[:, 0, 0, 1] = 0.0, 1.0
    scale = scale or 0.003 + 0.01 * float(rand(g))
    mean = (x + scale * randn(g, *x.shape).double().clamp(-2, 2)).clamp(0.0, 1.0)
    return x, mean, scale


@record(
    "sharper_vaes.levels",
    inputs=_levels,
    tests=(
        values(points=3, name="measures a probability of gray levels"),
        untouched(),
    ),
    mistakes={
        "x == 0": {
            "x < 0": "The probabilities of the 256 levels add up to less than 1: black, level 0, "
            "must get all of the Gaussian that lies below it.",
        },
        "x == 1": {
            "x > 1": "The probabilities of the 256 levels add up to less than 1: white, level 255, "
            "must get all of the Gaussian that lies above it.",
        },
        "upper - lower": {
            "p.log_prob(x).exp() / 255": "You took the density at the center times the width. "
            "Where the scale is about as small as a level, that is not the integral.",
            "upper": "This is the probability of the level and of all levels below it.",
        },
        "half = 0.5 / 255": {
            "half = 1 / 255": "Your bins overlap: the levels are 1/255 apart, so a bin reaches "
            "half of that to each side.",
            "half = 0.5 / 256": "Neighboring levels are 1/255 apart, because 255 of them fit "
            "between black and white. With your bins, gaps remain.",
        },
        "-probability.clamp(min=1e-12).log().flatten(1).sum(dim=1)": {
            "-probability.clamp(min=1e-12).log().flatten(1).mean(dim=1)": "Independent pixels "
            "multiply, so their nats add up: sum over the image, do not average.",
            "probability.clamp(min=1e-12).log().flatten(1).sum(dim=1)": "This is the "
            "log-probability. Return minus it.",
        },
    },
    hints=(
        "Which numbers between 0 and 1 are nearest to the level k / 255?",
        "The probability of a level is the difference of the distribution function at the upper "
        "and at the lower edge of its bin. torch.distributions.Normal has cdf.",
        "Upper edge x + 0.5 / 255, lower edge x - 0.5 / 255. Where x is 0, the lower value of the "
        "distribution function is 0; where x is 1, the upper one is 1.",
    ),
    explanation="Each level gets the Gaussian's mass in its bin, and the two outermost levels get "
    "the tails, so the 256 probabilities add up to 1.",
    see="chapter 7, 'Exercise 2: from a density to a probability'",
    forbids=("coursekit.units.gaussian_level_nats",),
    fair=("detached", "in float16", "in bfloat16"),
)
def level_nats(x, mean, scale):
    """Nats per image of 8-bit pixels, when each gray level gets the Gaussian's mass in its bin.

    x: (B, C, H, W), double precision, gray levels k / 255 with k = 0 … 255. mean: the same shape.
    scale: the standard deviation, a number. The bin of a level reaches half-way to its neighbors;
    those of black (0) and white (1) reach to minus and plus infinity.
    Returns: (B,), -log of the probability, summed over the image. Take a probability below 1e-12
    as 1e-12.
    """
    # 1. The distribution function at both edges of each pixel's bin.
    # 2. The two outermost levels.
    ### BEGIN SOLUTION
    p = torch.distributions.Normal(mean, scale)
    half = 0.5 / 255
    upper = torch.where(x == 1, 1.0, p.cdf(x + half))
    lower = torch.where(x == 0, 0.0, p.cdf(x - half))
    probability = upper - lower
    return -probability.clamp(min=1e-12).log().flatten(1).sum(dim=1)
    ### END SOLUTION


@level_nats.wrong(
    "The probabilities of the 256 levels add up to less than 1: black must get all of the Gaussian "
    "that lies below it, and white all that lies above it."
)
def _no_tails(x, mean, scale):
    p = torch.distributions.Normal(mean, scale)
    probability = p.cdf(x + 0.5 / 255) - p.cdf(x - 0.5 / 255)
    return -probability.clamp(min=1e-12).log().flatten(1).sum(dim=1)


@level_nats.wrong(
    "You divide by the mass between black and white. The probabilities add up to 1, but the "
    "contract gives the mass beyond black to black, and that beyond white to white."
)
def _shared_out(x, mean, scale):
    p = torch.distributions.Normal(mean, scale)
    inside = p.cdf(torch.full_like(mean, 1 + 0.5 / 255)) - p.cdf(torch.full_like(mean, -0.5 / 255))
    probability = (p.cdf(x + 0.5 / 255) - p.cdf(x - 0.5 / 255)) / inside
    return -probability.clamp(min=1e-12).log().flatten(1).sum(dim=1)


@level_nats.test("gives the 256 levels probabilities that add up to 1", points=1)
def _sums_to_one(answer: Answer, g: Generator) -> None:
    mean, scale = 0.02 + 0.96 * float(rand(g)), 0.02 + 0.1 * float(rand(g))
    x = (torch.arange(256, dtype=torch.float64) / 255).view(256, 1, 1, 1)
    args = (x, torch.full_like(x, mean), scale)
    nats = answer(*copies(args))
    close(nats, level_nats.solve(*args))
    close((-nats).exp().sum(), torch.ones(()), "the sum of the 256 probabilities", rtol=1e-6)


# --- sharper_vaes.attention ---------------------------------------------------------------------


def _mapped(g: Generator) -> tuple[Any, ...]:
    x = 0.7 * randn(g, 2, 6, 3, 4)
    return x, 0.5 * randn(g, 2, 6), 0.5 * randn(g, 2, 6), randn(g, 5, 6)


@record(
    "sharper_vaes.attention",
    inputs=_mapped,
    tests=(
        values(points=3, name="mixes the values of all positions"),
        gradients(),
        values(
            name="takes the plain mean where all keys are alike",
            hidden="Try key = 0. All positions then get the same mean of the values.",
            inputs=lambda g: (*_mapped(g)[:2], torch.zeros(2, 6), randn(g, 5, 6)),
        ),
        untouched(),
    ),
    mistakes={
        "weights = scores.softmax(dim=2)": {
            "weights = scores.softmax(dim=1)": "Your softmax runs over the positions that ask. For "
            "each of these, the weights of the positions that answer must add up to 1.",
            "weights = scores": "The scores are not weights yet: take a softmax over the "
            "positions that answer.",
            "weights = scores.softmax(dim=0)": "Your softmax runs over the batch.",
        },
        "q.mT @ k": {
            "k.mT @ q": "Rows and columns are swapped: position i asks with its query, and "
            "position j answers with its key.",
            "q.mT @ k / len(query) ** 0.5": "This is the scaled attention of transformers. The "
            "contract asks for plain inner products.",
            "q.mT @ q": "You compare queries with queries. The keys are not used.",
        },
        "v @ weights.mT": {
            "v @ weights": "Position i must get the mean over j with the weights of row i: "
            "transpose the weights.",
            "v": "The values are not mixed at all.",
        },
        "value @ rows": {
            "value @ rows.relu()": "The values are a linear map of x, without a nonlinearity.",
        },
    },
    hints=(
        "Flatten the positions: x becomes (B, C, H * W), with one column per position.",
        "query @ x is (B, D, H * W). The score of positions i and j is the inner product of the "
        "query at i with the key at j, so the scores are (B, H * W, H * W).",
        "weights = softmax of the scores over j. The result at i is the sum over j of weights[i, j]"
        " times the value at j. Then unflatten the positions.",
    ),
    explanation="Every position takes a weighted mean of the values of all positions, whatever "
    "their distance.",
    see="chapter 7, 'Exercise 3: self-attention'",
    forbids=("coursekit.models.attention.SelfAttention",),
)
def attend(x, query, key, value):
    """Self-attention over the positions of a map.

    x: (B, C, H, W). query, key: (D, C), value: (E, C), matrices that act on the channels at each
    position. With q_i, k_i, v_i the three results at position i, the score of positions i and j is
    the inner product of q_i with k_j. The weights of i are the softmax of its scores over all j.
    Returns: (B, E, H, W), at each position i the mean of all v_j with the weights of i.
    """
    ### BEGIN SOLUTION
    rows = x.flatten(2)
    q, k, v = query @ rows, key @ rows, value @ rows
    scores = q.mT @ k
    weights = scores.softmax(dim=2)
    mixed = v @ weights.mT
    return mixed.unflatten(2, x.shape[2:])
    ### END SOLUTION


# --- sharper_vaes.swap --------------------------------------------------------------------------


class Coder(nn.Module):
    """Images (B, C, H, W) -> a code (B, L) and a list of two maps."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Linear(2 * 4 * 4, 3)
        self.fine = nn.Conv2d(2, 2, 1)
        self.coarse = nn.Conv2d(2, 3, 2, stride=2)

    def forward(self, x):
        return self.code(x.flatten(1)), [self.fine(x).tanh(), self.coarse(x).tanh()]


class Painter(nn.Module):
    """A code (B, L) and a list of two maps -> logits (B, C, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.code = nn.Linear(3, 2 * 4 * 4)
        self.fine = nn.Conv2d(2, 2, 1)
        self.coarse = nn.ConvTranspose2d(3, 2, 2, stride=2)

    def forward(self, z, maps):
        return self.code(z).view(-1, 2, 4, 4) + self.fine(maps[0]) + self.coarse(maps[1])


def _coded(g: Generator, count: int = 5) -> tuple[Any, ...]:
    return _filled(g, Coder()), _filled(g, Painter()), rand(g, count, 2, 4, 4)


@record(
    "sharper_vaes.swap",
    inputs=_coded,
    tests=(
        values(points=3, name="measures the cost of the own code and of a neighbor's"),
        values(
            name="gives the same cost twice where all images are alike",
            hidden="Try a batch of copies of one image: the neighbor's code is then the own one.",
            inputs=lambda g: (*_coded(g)[:2], rand(g, 1, 2, 4, 4).repeat(3, 1, 1, 1)),
        ),
        untouched(),
    ),
    mistakes={
        "nats(z.roll(1, 0), maps)": {
            "nats(z.roll(1, 0), [m.roll(1, 0) for m in maps])": "You exchanged the maps as well. "
            "Then everything belongs to another image, and the result says nothing about the code.",
            "nats(z, [m.roll(1, 0) for m in maps])": "You exchanged the maps and kept the code. "
            "The question is what the code is worth.",
            "nats(torch.zeros_like(z), maps)": "You removed the code. Take the code of another "
            "image: a decoder may never have seen a code of zeros.",
            "nats(z.roll(-1, 0), maps)": "This is the code of the next image. The contract asks "
            "for that of the image before, and for the first image that of the last one.",
            "nats(z.roll(1, 1), maps)": "You moved the numbers within each code. Move the codes "
            "within the batch: dimension 0.",
        },
        'reduction="sum") / len(x)': {
            'reduction="mean")': "You averaged over the pixels. Nats of an image add up over its "
            "pixels; average over the batch only.",
            'reduction="sum")': "You added up the nats of the batch. Return nats per image.",
        },
        "return F.binary_cross_entropy_with_logits(decode(code, beside), x,": {
            "return F.binary_cross_entropy(decode(code, beside).clamp(0.01, 0.99), x,": "decode "
            "returns logits, not probabilities.",
            "return F.mse_loss(decode(code, beside).sigmoid(), x,": "This is the squared error. "
            "The exercise asks for the cross-entropy, in nats.",
        },
    },
    hints=(
        "Which two things does the decoder get, and which one of them is on trial?",
        "z.roll(1, 0) gives every image the code of the image before it. The maps stay.",
        "Two calls of decode, with z and with z.roll(1, 0), both with the maps of x. For both: "
        "binary_cross_entropy_with_logits against x, summed over pixels, averaged over images.",
    ),
    explanation="Only the code is exchanged, so the difference of both costs is what the code is "
    "worth to the decoder.",
    see="chapter 7, 'Exercise 4: exchange the codes'",
    forbids=("coursekit.metrics.bounds.cost_of_swap",),
    fair=("detached",),
)
def cost_of_swap(encode, decode, x):
    """What the decoder loses when each image gets the code of another one.

    encode: images (B, C, H, W) -> (z, maps), the code (B, L) and a list of the encoder's maps.
    decode: (z, maps) -> logits (B, C, H, W). x: images in [0, 1].
    Returns: (own, swapped), two scalars, cross-entropies of x in nats per image, averaged over the
    batch: with the code of each image, and with the code of the image before it in the batch (the
    first image gets the code of the last one). Every image keeps its own maps.
    """
    ### BEGIN SOLUTION
    z, maps = encode(x)

    def nats(code, beside):
        return F.binary_cross_entropy_with_logits(decode(code, beside), x, reduction="sum") / len(x)

    return nats(z, maps), nats(z.roll(1, 0), maps)
    ### END SOLUTION


# --- sharper_vaes.skip --------------------------------------------------------------------------


def _layers(g: Generator, seen: bool = True) -> tuple[Any, ...]:
    h, skip = randn(g, 3, 4, 2, 5), randn(g, 3, 2, 2, 5)
    to_prior = _filled(g, nn.Conv2d(4, 4, 1))
    to_posterior = _filled(g, nn.Conv2d(6, 4, 3, padding=1), 0.15)
    return h, skip if seen else None, to_prior, to_posterior, randn(g, 3, 2, 2, 5)


@record(
    "sharper_vaes.skip",
    inputs=_layers,
    tests=(
        values(points=3, name="draws from the posterior and measures its KL"),
        values(
            points=2,
            name="draws from the prior where there is no image",
            inputs=lambda g: _layers(g, seen=False),
        ),
        gradients(wrt=("h", "skip")),
        values(
            name="has a KL of 0 where posterior and prior agree",
            hidden="Try layers whose weights are 0. Both Gaussians are then N(0, 1).",
            inputs=lambda g: (
                *_layers(g)[:2],
                _filled(g, nn.Conv2d(4, 4, 1), 0.0),
                _filled(g, nn.Conv2d(6, 4, 3, padding=1), 0.0),
                randn(g, 3, 2, 2, 5),
            ),
        ),
        untouched(),
    ),
    mistakes={
        "mu + (0.5 * logvar).exp() * eps, kl": {
            "mu + logvar.exp() * eps, kl": "exp(logvar) is the variance. The noise is multiplied "
            "by the standard deviation, exp(logvar / 2).",
            "mu, kl": "You return the mean. z must be drawn: mu + sigma * eps.",
            "mu_p + (0.5 * logvar_p).exp() * eps, kl": "In training, z comes from the posterior. "
            "A draw from the prior knows nothing of the image.",
        },
        "(mu - mu_p).square() + logvar.exp()": {
            "mu.square() + logvar.exp()": "This is the distance to 0, not to the prior's mean. The "
            "prior is a Gaussian that depends on h.",
            "(mu - mu_p).square()": "The posterior's variance is missing in the KL.",
        },
        "/ logvar_p.exp() - 1 + logvar_p - logvar": {
            "/ logvar_p.exp() - 1 - logvar_p + logvar": "The log-ratio of the variances has the "
            "wrong sign: it is log(sigma_p^2 / sigma_q^2).",
            "- 1 + logvar_p - logvar": "Divide by the prior's variance.",
            "/ logvar_p.exp() + logvar_p - logvar": "The constant -1 is missing: for two equal "
            "Gaussians the KL must be 0.",
        },
        "kl = 0.5 * terms.flatten(1).sum(dim=1)": {
            "kl = 0.5 * terms.flatten(1).mean(dim=1)": "Independent numbers add their KL: sum over "
            "the map, do not average.",
            "kl = terms.flatten(1).sum(dim=1)": "The KL of two Gaussians has a factor of 1/2.",
            "kl = 0.5 * terms.sum()": "Return one KL per image, shape (B,).",
        },
        "to_posterior(torch.cat([h, skip], dim=1))": {
            "to_posterior(torch.cat([skip, h], dim=1))": "The decoder's map comes first: h, then "
            "the encoder's map.",
        },
    },
    hints=(
        "Two Gaussians: which of the two may see the encoder's map, and which must do without?",
        "chunk(2, dim=1) splits a layer's output into mu and logvar. Per number, KL(q || p) = "
        "(log(vp / vq) + (vq + (mq - mp)^2) / vp - 1) / 2.",
        "The prior from h; the posterior from h and skip side by side in the channels. With an "
        "image: z = mu_q + exp(logvar_q / 2) * eps and the KL, summed over all but the batch. "
        "Without: z from the prior in the same way, and a KL of zeros.",
    ),
    explanation="The map is drawn from a Gaussian that saw the image, and its KL to the Gaussian "
    "that did not see it is the price.",
    see="chapter 7, 'Exercise 5: a stochastic skip connection'",
    forbids=("coursekit.models.hierarchical.StochasticSkip",),
)
def stochastic_skip(h, skip, to_prior, to_posterior, eps):
    """A skip connection that is a latent map z, and what it tells about the image, in nats.

    h: (B, A, H, W), the decoder's map. skip: (B, E, H, W), the encoder's map, or None when there is
    no image. to_prior: layer from h, (B, A, H, W), to (B, 2 * K, H, W); to_posterior: layer from h
    and skip side by side, (B, A + E, H, W), to (B, 2 * K, H, W). In both results the first K
    channels are mu, and the others are logvar = log sigma^2. eps: (B, K, H, W), noise from N(0, I).
    Returns: (z, kl). z: (B, K, H, W), drawn with eps from the posterior q, or from the prior p if
    there is no image. kl: (B,), KL(q || p) in nats, or zeros if there is no image.
    """
    # 1. The prior.
    # 2. Without an image: draw from it.
    # 3. The posterior, the draw, and the KL of two Gaussians, summed over the map.
    ### BEGIN SOLUTION
    mu_p, logvar_p = to_prior(h).chunk(2, dim=1)
    if skip is None:
        return mu_p + (0.5 * logvar_p).exp() * eps, h.new_zeros(len(h))
    mu, logvar = to_posterior(torch.cat([h, skip], dim=1)).chunk(2, dim=1)
    terms = ((mu - mu_p).square() + logvar.exp()) / logvar_p.exp() - 1 + logvar_p - logvar
    kl = 0.5 * terms.flatten(1).sum(dim=1)
    return mu + (0.5 * logvar).exp() * eps, kl
    ### END SOLUTION


@stochastic_skip.wrong(
    "Your KL is KL(p || q). The bound needs KL(q || p): the expectation is over the posterior."
)
def _reverse(h, skip, to_prior, to_posterior, eps):
    z, kl = stochastic_skip.solve(h, skip, to_prior, to_posterior, eps)
    if skip is None:
        return z, kl
    mu_p, logvar_p = to_prior(h).chunk(2, dim=1)
    mu, logvar = to_posterior(torch.cat([h, skip], dim=1)).chunk(2, dim=1)
    terms = ((mu - mu_p).square() + logvar_p.exp()) / logvar.exp() - 1 + logvar - logvar_p
    return z, 0.5 * terms.flatten(1).sum(dim=1)


@stochastic_skip.wrong(
    "This is the KL to N(0, 1). The prior of a skip connection is the Gaussian of `to_prior(h)`, "
    "so its mean and variance belong in the formula."
)
def _standard(h, skip, to_prior, to_posterior, eps):
    z, kl = stochastic_skip.solve(h, skip, to_prior, to_posterior, eps)
    if skip is None:
        return z, kl
    mu, logvar = to_posterior(torch.cat([h, skip], dim=1)).chunk(2, dim=1)
    return z, 0.5 * (mu.square() + logvar.exp() - 1 - logvar).flatten(1).sum(dim=1)


# --- sharper_vaes.top_down ----------------------------------------------------------------------


class Draw(nn.Module):
    """A stochastic skip connection with fixed noise: (h, map or None) -> (z, kl)."""

    def __init__(self, of_decoder: int, of_encoder: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.free = nn.Conv2d(of_decoder, channels, 1)
        self.told = nn.Conv2d(of_encoder, channels, 1)

    def forward(self, h, seen=None):
        z = self.free(h)
        if seen is None:
            return z, z.new_zeros(len(z))
        told = self.told(seen)
        return z + told, told.square().flatten(1).sum(1)


def _passed(g: Generator, seen: bool = True) -> tuple[Any, ...]:
    h = randn(g, 2, 4, 2, 3)
    skips = [_filled(g, Draw(4, 5, 2)), _filled(g, Draw(3, 6, 1))]
    merges = [
        _filled(g, nn.Sequential(nn.Conv2d(6, 3, 1), nn.Tanh())),
        _filled(g, nn.Sequential(nn.Conv2d(4, 5, 1), nn.Tanh())),
    ]
    last = _filled(g, nn.Conv2d(5, 3, 1))
    maps = [randn(g, 2, 5, 4, 6), randn(g, 2, 6, 8, 12)] if seen else None
    return h, skips, merges, last, maps


@record(
    "sharper_vaes.top_down",
    inputs=_passed,
    tests=(
        values(points=3, name="rebuilds an image and says what each map cost"),
        values(
            points=2,
            name="generates where there is no image",
            inputs=lambda g: _passed(g, seen=False),
        ),
        gradients(wrt=("h",)),
        untouched(),
    ),
    mistakes={
        "torch.cat([h, z], dim=1)": {
            "torch.cat([z, h], dim=1)": "The decoder's map comes first: h, then z.",
            "torch.cat([h, 0 * z], dim=1)": "The latent map is drawn, but the decoder does not "
            "use it.",
        },
        "z, kl = skip(h, seen)": {
            "z, kl = skip(h, None)": "You always draw from the prior. Where there is an image, "
            "give the skip connection the encoder's map.",
        },
        "kls.append(kl)": {
            "kls.append(kl.mean().expand(len(h)))": "Return the KL of each image, not its mean.",
            "kls.append(0 * kl)": "What the maps cost is lost: collect the KL of each of them.",
        },
        "last(F.interpolate(h, scale_factor=2))": {
            "last(F.interpolate(h, scale_factor=2)).sigmoid()": "Return logits, without a sigmoid.",
            "last(h)": "Your image has half the height and width: double h once more before the "
            "last layer.",
        },
    },
    hints=(
        "One round per skip connection: double the map, draw z, merge.",
        "F.interpolate(h, scale_factor=2) doubles height and width. zip walks through skips, "
        "merges and maps together; without an image, take a list of None for the maps.",
        "In each round: double h, call the skip connection with h and the encoder's map, keep the "
        "KL, and give the merging layer h and z side by side. At the end: double once more, apply "
        "the last layer, and stack the KLs along dim=1.",
    ),
    explanation="The pass is the same with and without an image; only where z comes from differs. "
    "So the decoder never depends on an image that it will not have.",
    see="chapter 7, 'Exercise 6: from the top down'",
    forbids=("coursekit.models.hierarchical.HierarchicalVAE",),
)
def top_down(h, skips, merges, last, maps=None):
    """The decoder of the hierarchical VAE: from the coarsest map to the image.

    h: (B, A, H, W), the map made of the code. skips: functions, from coarse to fine. skip(h, m)
    returns a latent map z, drawn given the decoder's map h, and its KL, (B,); m is the encoder's
    map of this size, or None. merges: layers, each from h and z side by side (in the channels) to
    the next h. last: the layer from h to logits. maps: the encoder's maps, from coarse to fine, or
    None when there is no image.
    Each round doubles h in height and width, draws z and merges. Then h is doubled once more (all
    by F.interpolate with its default), and `last` makes the logits.
    Returns: (logits, kls). kls: (B, K), the KL of each of the K latent maps, from coarse to fine.
    """
    ### BEGIN SOLUTION
    kls = []
    for skip, merge, seen in zip(skips, merges, maps or [None] * len(skips), strict=True):
        h = F.interpolate(h, scale_factor=2)
        z, kl = skip(h, seen)
        kls.append(kl)
        h = merge(torch.cat([h, z], dim=1))
    return last(F.interpolate(h, scale_factor=2)), torch.stack(kls, dim=1)
    ### END SOLUTION


@top_down.wrong(
    "Your KLs run from fine to coarse. Return them in the order in which the maps are drawn."
)
def _backwards(h, skips, merges, last, maps=None):
    kls = []
    for place, (skip, merge) in enumerate(zip(skips, merges, strict=True)):
        h = F.interpolate(h, scale_factor=2)
        seen = None if maps is None else maps[place]
        z, kl = skip(h, seen)
        kls.append(kl)
        h = merge(torch.cat([h, z], dim=1))
    return last(F.interpolate(h, scale_factor=2)), torch.stack(kls[::-1], dim=1)


@top_down.wrong(
    "The encoder's maps come in the order of the skip connections already, from coarse to fine. "
    "You turned them around, so the first skip connection gets the finest map."
)
def _turned(h, skips, merges, last, maps=None):
    return top_down.solve(h, skips, merges, last, None if maps is None else maps[::-1])


@top_down.wrong(
    "Double h at the start of each round. The skip connection draws a map of the doubled size, and "
    "yours gets h before it is doubled."
)
def _doubled_late(h, skips, merges, last, maps=None):
    kls = []
    for skip, merge, seen in zip(skips, merges, maps or [None] * len(skips), strict=True):
        z, kl = skip(h, seen)
        kls.append(kl)
        h = F.interpolate(merge(torch.cat([h, z], dim=1)), scale_factor=2)
    return last(F.interpolate(h, scale_factor=2)), torch.stack(kls, dim=1)


# --- Questions answered in prose ----------------------------------------------------------------

verdict = FreeText(
    "sharper_vaes.verdict",
    "A report compares five VAEs and calls the last one, a U-Net, the best: 'reconstruction 6186.94"
    ", KL 0.0001, total 6186.94, the lowest of all'. Write its review in at most ten sentences. "
    "Which claim is wrong, which measurements show it, what would you ask the authors to add, and "
    "what is such a network good for?",
    "One point: a KL of 0 means that the code holds nothing, so the model cannot generate; its "
    "loss is no bound on -log p(x), because the decoder is given the image's maps, and it must not "
    "be compared with the others. One point: two or more measurements, such as active units, "
    "samples from the prior, exchanged codes. One point: what to add (samples, a bound without the "
    "maps, stochastic skips, or a plain VAE of the same size) or a use in which the input is there "
    "(segmentation, denoising, inpainting, super-resolution).",
    3,
)
nats = FreeText(
    "sharper_vaes.nats",
    "Model A reports -log p(x) = -19,000 nats per image, model B 6,800 nats, on the same 64x64 "
    "color images. A has Gaussian pixels with a learned scale, B was trained with BCE. A friend "
    "concludes that A is better by 25,800 nats. Explain what each number is, why they cannot be "
    "subtracted, and how you would compare the two models fairly.",
    "One point: A's number is a density in units of pixels; it changes by D log 255 when pixels "
    "are counted in gray levels, and may be negative. One point: B's number is a cross-entropy of "
    "gray values; it is no normalized probability or density of gray pixels, and its least value "
    "is the entropy of the targets, not 0. One point: a fair comparison, for example both as "
    "probabilities of the 256 levels, in bits per dimension, or measurements that need no "
    "likelihood (error of the mean images, factors kept, quality of samples).",
    3,
)
leaks = FreeText(
    "sharper_vaes.leaks",
    "A skip connection is one way around the code. Find two more ways in which a decoder can learn "
    "about the image that it should describe without using z, in networks that people build. For "
    "each, say what you would measure to notice it.",
    "One point per way, with a measurement that would show it: an autoregressive decoder that sees "
    "the pixels before (KL, active units, exchanged codes); labels, captions or masks given to the "
    "decoder that determine the image; batch statistics or attention across the batch (reconstruct "
    "one image alone); dropout masks or noise shared with the encoder; the target concatenated to "
    "the input. At most two points.",
    2,
)
