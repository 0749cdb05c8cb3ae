"""Exercises of the chapter on the variational autoencoder."""

import copy
import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from coursekit.exercises import (
    Answer,
    Failed,
    FreeText,
    NotJudged,
    close,
    distinct,
    gradients,
    gradients_of,
    rand,
    randn,
    record,
    same,
    standard_normal,
    tensor,
    unchanged,
    untouched,
    values,
)

OWN = (
    "coursekit.objectives.kl_divergence",
    "coursekit.objectives.reparameterize",
    "coursekit.objectives.negative_elbo",
    "coursekit.objectives.elbo_from_distributions",
    "coursekit.objectives.kl_by_dimension",
)


def _integers(g: Generator, low: int, high: int, count: int = 1) -> list[int]:
    return torch.randint(low, high, (count,), generator=g).tolist()


def _fresh(g: Generator) -> Generator:
    """A generator to hand to the answer: never the one that the test itself draws from."""
    return Generator().manual_seed(*_integers(g, 0, 2**31))


def _follows(draw: Callable[[Generator], Tensor], generator: Generator) -> None:
    """What is drawn depends on the generator's state, and on nothing else."""
    start = generator.get_state()
    first, second = draw(generator), draw(generator)
    if torch.equal(generator.get_state(), start):
        raise Failed("a generator was given, but nothing was drawn from it")
    if torch.allclose(first, second, atol=1e-3):
        raise Failed("two calls drew the same numbers: is a seed set in your function?")
    generator.set_state(start)
    if not torch.allclose(draw(generator), first, atol=1e-3):
        raise Failed("the same state of the generator must give the same numbers")


@record(
    "vae.mix",
    inputs=lambda g: (rand(g, 3, 4, 6), rand(g, 3, 4, 6), 0.1 + 0.8 * rand(g, 5)),
    tests=(
        values(points=2),
        values(
            name="goes on beyond both ends, and cuts nothing off",
            inputs=lambda g: (
                rand(g, 3, 4, 6),
                rand(g, 3, 4, 6),
                torch.tensor([-1.5, 1.5]) + rand(g, 2),
            ),
        ),
        values(
            name="holds for as many weights as the image has columns",
            hidden="Try images of 3x3x3 and three weights: which axis of the result is alpha's?",
            inputs=lambda g: (rand(g, 3, 3, 3), rand(g, 3, 3, 3), rand(g, 3)),
        ),
        untouched(),
    ),
    mistakes={
        "alpha[:": {
            "(alpha > 0.5).float()[:": "You choose one image per weight; mix the two instead.",
            "torch.linspace(0, 1, len(alpha))[:": "You ignore the values of alpha: they need not "
            "be evenly spaced, nor run from 0 to 1.",
        },
        "(1 - alpha) * x2": {
            "x2": "The weights of x1 and x2 must add up to 1: alpha and 1 - alpha.",
            "alpha * x2": "You weight both images by alpha. The weight of x2 is 1 - alpha.",
        },
        "alpha * x1 + (1 - alpha) * x2": {
            "(1 - alpha) * x1 + alpha * x2": "Your mixture runs the other way: at alpha = 1 it "
            "must be x1, at alpha = 0 x2.",
            "x2 + alpha * (x2 - x1)": "You add alpha * (x2 - x1) to x2; add alpha * (x1 - x2).",
            "(x1 + x2) / 2 + 0 * alpha": "You take the plain average: alpha is not used.",
            "(alpha * x1 + (1 - alpha) * x2).movedim(0, -1)": "Your weights are on the last axis; "
            "the result must be (K, C, H, W), one image per weight.",
        },
    },
    fair=("detached",),  # no gradient is asked for
    hints=(
        "One weight gives one image. Write it for a single number alpha first.",
        "alpha has shape (K,), an image (C, H, W). With shape (K, 1, 1, 1), alpha meets an image "
        "as (K, C, H, W).",
        "Index alpha with None to add three axes at its end. Weight x1 by alpha and x2 by the rest "
        "up to 1, and add them.",
    ),
    explanation="Broadcasting pairs each of the K weights with every pixel, so no loop is needed.",
    see="chapter 3, 'Exercise 1: mix two images'",
    forbids=("coursekit.models.latent.lerp",),
)
def mix(x1, x2, alpha):
    """Mixtures of two images in pixel space.

    x1, x2: (C, H, W) float tensors. alpha: (K,) weights, of any value.
    Returns: (K, C, H, W), image k is alpha[k] * x1 + (1 - alpha[k]) * x2, nothing cut off.
    """
    # 1. Give alpha three more axes, so that (K, 1, 1, 1) meets (C, H, W).
    # 2. Mix.
    ### BEGIN SOLUTION
    alpha = alpha[:, None, None, None]
    return alpha * x1 + (1 - alpha) * x2
    ### END SOLUTION


@record(
    "vae.padding",
    inputs=lambda g: (*_integers(g, 4, 400),),
    tests=(),
    mistakes={
        "size % 2": {
            "(size + 1) % 2": "Even and odd are flipped, or you looked at the parity of the halved "
            "size n. What counts is the parity of the size to come back to."
        },
        "1 + odd, odd": {
            "1, 0": "These paddings give 2n, but an odd size is 2n - 1.",
            "2, 1": "These paddings are right for odd sizes only: an even size is 2n, not 2n - 1.",
            "1, odd": "For odd sizes your output padding makes the image larger still, 2n + 1; it "
            "must become one pixel smaller than 2n.",
            "1 + odd, 0": "For odd sizes a padding of 2 alone takes two pixels away, which is one "
            "too many; an output padding of 1 gives one back.",
            "odd, 1 + odd": "The two numbers are in the wrong order: (padding, output_padding).",
            "1, 1": "These paddings double the size for a kernel of 3. The kernel here is 4.",
        },
    },
    hints=(
        "There are two cases, even and odd. What is 2 * n - size in each?",
        "An even size is 2 * n, so 2 * padding - output_padding = 2. "
        "An odd size is 2 * n - 1, so 2 * padding - output_padding = 3.",
        "2 * padding is even, so the output padding is 0 for even sizes and 1 for odd ones. "
        "Each case then has one padding that fits.",
    ),
    explanation="An odd size is one less than 2n: padding 2 takes two pixels more away than "
    "padding 1, and the output padding gives one back.",
    see="chapter 3, 'Exercise 2: the way back'",
    forbids=("coursekit.models.vae.upsample",),
)
def transposed_padding(size):
    """Paddings of a transposed convolution (kernel 4, stride 2) from ceil(size / 2) to size.

    size: an int >= 1, height or width of the image to come back to.
    Returns: (padding, output_padding), two ints.
    """
    # 1. Even: size = 2n. What must 2 * padding - output_padding be?
    # 2. Odd: size = 2n - 1.
    ### BEGIN SOLUTION
    odd = size % 2
    return 1 + odd, odd
    ### END SOLUTION


def _comes_back(answer: Answer, sizes: list[int]) -> None:
    """The layer with the answer's paddings maps ceil(size / 2) to size."""
    for size in sizes:
        result, n = answer(size), math.ceil(size / 2)
        pair = isinstance(result, tuple | list) and len(result) == 2
        if not pair or not all(isinstance(part, int) for part in result):
            raise Failed("expected two ints, (padding, output_padding), not floats or tensors")
        pad, out = result
        if out not in (0, 1):
            raise Failed(f"({pad}, {out}) is not possible: output_padding must be 0 or 1")
        if (found := 2 * n + 2 - 2 * pad + out) != size:
            raise Failed(
                f"size {size} is halved to {n}; with padding {pad} and output padding {out} the "
                f"layer gives {found}"
            )


@transposed_padding.test("brings even sizes back", points=2)
def _even(answer: Answer, g: Generator) -> None:
    _comes_back(answer, [2 * n for n in _integers(g, 2, 200, 5)])


@transposed_padding.test("brings odd sizes back", points=2)
def _odd(answer: Answer, g: Generator) -> None:
    _comes_back(answer, [2 * n + 1 for n in _integers(g, 2, 200, 5)])


@transposed_padding.test(
    "holds for the smallest sizes",
    hidden="Try sizes 1, 2 and 3: a size of 1 stays 1 when it is halved and rounded up.",
)
def _smallest(answer: Answer, g: Generator) -> None:
    _comes_back(answer, (1 + torch.randperm(3, generator=g)).tolist())


def _extremes(g: Generator) -> tuple[Tensor, Tensor]:
    """Standard deviations from 1e-4 to 150, and one dimension in which q is the prior."""
    mu, logvar = 30 * randn(g, 1, 9), 10 * randn(g, 1, 9)
    mu[:, 0], logvar[:, 0] = 0.0, 0.0
    return mu, logvar.clamp(-18, 10)


@record(
    "vae.kl",
    inputs=lambda g: (randn(g, 6, 3), randn(g, 6, 3)),
    tests=(
        values(points=2),
        gradients(),
        values(
            name="holds for tiny and huge variances and for a batch of one",
            hidden="Try sigma = 1e-4 and sigma = 100, and a batch with a single row.",
            inputs=_extremes,
        ),
        untouched(),
    ),
    mistakes={
        "logvar.exp()": {
            "(0.5 * logvar).exp()": "You used sigma where sigma^2 = exp(logvar) is needed.",
            "logvar; logvar = logvar.log()": "You used logvar as the variance; it is exp(logvar).",
            "(2 * logvar).exp(); logvar = 2 * logvar": "You took logvar for log sigma. It is "
            "log sigma^2, so sigma^2 = exp(logvar), not exp(2 * logvar).",
        },
        "0.5 * ": {
            "": "The factor 1/2 is missing: your KL is twice as large as it should be.",
            "-0.5 * ": "The sign is flipped: this is -KL, as in the ELBO. A KL is never negative.",
        },
        " - 1": {"": "The -1 is missing: where mu = 0 and sigma = 1 the KL must be 0."},
        "mu**2": {"mu": "mu is not squared in your formula."},
        "mu**2 + variance - 1 - logvar": {
            "(1 + mu**2) / variance - 1 + logvar": "This is KL(p || q), from the prior to the "
            "posterior. The ELBO has KL(q || p); the two differ."
        },
        "kl.sum(dim=1)": {
            "kl.mean(dim=1)": "Your KL is averaged over the latent dimensions; it must be summed: "
            "the KLs of independent dimensions add up.",
            "kl.sum()": "Your KL is summed over the batch as well: return one number per row.",
            "kl.sum(dim=1).mean()": "Your KL is averaged over the batch already. That comes later, "
            "in the loss: return one number per row.",
            "kl.mean()": "You averaged over everything: sum over the latents, and keep the rows.",
            "kl.sum(dim=0)": "You summed over the rows (dim=0); the latent dimensions are dim=1.",
            "kl": "You return one KL for each latent dimension: sum them over dim=1.",
            "kl.sum(dim=1).detach()": "The result is detached: no gradient would reach the "
            "encoder. Do not use .detach(), .item(), .data or no_grad here.",
        },
    },
    hints=(
        "Start with one dimension: KL(N(mu, sigma^2) || N(0, 1)) has a closed form in mu and "
        "sigma^2, and logvar gives you both sigma^2 and log sigma^2.",
        "One dimension contributes (mu^2 + sigma^2 - 1 - log sigma^2) / 2 nats. "
        "How do the KLs of independent dimensions combine?",
        "The variance is the exponential of logvar. Compute the formula for every entry, which "
        "gives (B, L), and sum over the second dimension.",
    ),
    explanation="The dimensions are independent, so the KL is the sum of their closed forms.",
    see="chapter 3, 'Exercise 3: the KL divergence'",
    forbids=OWN,
)
def kl_divergence(mu, logvar):
    """KL(q(z|x) || N(0, I)) of each image, in nats.

    mu, logvar: (B, L) float tensors, logvar = log sigma^2.
    Returns: (B,), summed over the L latent dimensions.
    """
    # 1. The variance from logvar.
    # 2. The KL of each dimension, (B, L).
    # 3. The sum over dimensions, (B,).
    ### BEGIN SOLUTION
    variance = logvar.exp()
    kl = 0.5 * (mu**2 + variance - 1 - logvar)
    return kl.sum(dim=1)
    ### END SOLUTION


def _apart(g: Generator, rows: int = 20, latents: int = 30) -> tuple[Tensor, Tensor]:
    """Posteriors far from the prior, so that an answer which forgets mu or sigma is found out."""
    return 2 + randn(g, rows, latents), 1 + randn(g, rows, latents)


@record(
    "vae.reparameterize",
    inputs=lambda g: (*_apart(g), _fresh(g)),
    tests=(),
    mistakes={
        "torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)": {
            "0": "You return mu, without any noise."
        },
        "randn": {"rand": "Your noise is uniform on [0, 1): torch.rand. It must be torch.randn."},
        "mu.shape": {
            "mu[0].shape": "All rows of your batch share one eps: draw noise of the shape of mu.",
            "mu[:, :1].shape": "All dimensions of a latent share one number: draw one each.",
        },
        "generator=generator": {
            "generator=None": "`generator` is ignored: pass it on to torch.randn."
        },
        "torch.exp(logvar / 2)": {
            "torch.exp(logvar)": "You scale by exp(logvar), the variance; sigma = exp(logvar / 2).",
            "logvar": "You scale by logvar itself; sigma = exp(logvar / 2).",
            "logvar.sqrt()": "You scale by sqrt(logvar), but sigma = exp(logvar / 2).",
            "torch.exp(logvar.detach() / 2)": "logvar is detached: sigma would never be learned.",
        },
        "mu + sigma * eps": {
            "mu + eps": "The noise is not scaled: z = mu + sigma * eps.",
            "sigma * eps": "mu is missing: z = mu + sigma * eps.",
            "eps": "These are samples of the prior N(0, I): mu and sigma do not enter.",
            "mu.detach() + sigma * eps": "mu is detached: it would never be learned.",
            "(mu + sigma * eps).detach()": "The sample is detached (.detach(), .data, no_grad, "
            "or .sample() in place of .rsample()): no gradient would reach the encoder.",
        },
    },
    hints=(
        "The randomness must not depend on mu and sigma: draw it first, then shift and scale it.",
        "eps has the shape of mu. sigma follows from logvar = log sigma^2 by one exp with a "
        "factor in front. torch.randn takes a generator.",
        "eps is standard normal noise from torch.randn, with the shape of mu and from the given "
        "generator. sigma is the exponential of half of logvar. Multiply the two and add mu.",
    ),
    explanation="The noise is an input, so z is a differentiable function of mu and logvar.",
    see="chapter 3, 'Exercise 4: a sample that gradients pass through'",
    forbids=OWN,
)
def reparameterize(mu, logvar, generator=None):
    """One sample of N(mu, sigma^2) for each entry, differentiable in mu and logvar.

    mu, logvar: (B, L) float tensors, logvar = log sigma^2.
    generator: the torch.Generator that draws the noise (None: torch's global one).
    Returns: (B, L).
    """
    # 1. Noise of mu's shape and dtype, on its device, from `generator`, new at every call.
    # 2. sigma from logvar.
    # 3. Shift and scale the noise.
    ### BEGIN SOLUTION
    eps = torch.randn(mu.shape, generator=generator, dtype=mu.dtype, device=mu.device)
    sigma = torch.exp(logvar / 2)
    return mu + sigma * eps
    ### END SOLUTION


def _eps(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """The noise in z, found to be standard normal."""
    eps = (tensor(z, mu.shape) - mu) / (0.5 * logvar).exp()
    standard_normal(eps, "the noise (z - mu) / sigma")
    return eps


@reparameterize.test("draws z from N(mu, sigma^2), each entry by itself", points=2)
def _distribution(answer: Answer, g: Generator) -> None:
    mu, logvar = _apart(g, 150, 150)
    drawn = [
        _eps(answer(mu.clone(), logvar.clone(), generator=generator), mu, logvar)
        for generator in (None, _fresh(g))
    ]
    distinct(drawn)


@reparameterize.test("draws new noise at every call")
def _new_noise(answer: Answer, g: Generator) -> None:
    mu, logvar = _apart(g)
    first, second = (_eps(answer(mu.clone(), logvar.clone()), mu, logvar) for _ in range(2))
    if torch.allclose(first, second, atol=1e-3):
        raise Failed("two calls gave the same noise: draw eps inside, and set no seed")


@reparameterize.test("takes its noise from the generator, when there is one")
def _generator_decides(answer: Answer, g: Generator) -> None:
    mu, logvar = _apart(g)
    _follows(lambda own: _eps(answer(mu.clone(), logvar.clone(), own), mu, logvar), _fresh(g))


@reparameterize.test("lets the gradient through to mu and logvar")
def _slopes(answer: Answer, g: Generator) -> None:
    mu, logvar = _apart(g)
    z, (to_mu, to_logvar) = gradients_of(answer, (mu, logvar), (0, 1), seed=0)
    _, (weight, _) = gradients_of(reparameterize.solve, (mu, logvar), (0, 1), seed=0)
    noise = _eps(z.detach(), mu, logvar) * (0.5 * logvar).exp()
    close(to_mu, weight, "the gradient with respect to mu")
    close(to_logvar, weight * noise / 2, "the gradient with respect to logvar", rtol=1e-3)


@reparameterize.test(
    "holds for one row, one latent or one number, and under no_grad",
    hidden="Try mu of shape (1, L), (B, 1) and (1, 1), with gradients switched off.",
)
def _other_shapes(answer: Answer, g: Generator) -> None:
    with torch.no_grad():
        for mu, logvar in (_apart(g, 1, 600), _apart(g, 600, 1)):
            _eps(answer(mu.clone(), logvar.clone()), mu, logvar)
        mu, logvar = _apart(g, 1, 1)
        if not tensor(answer(mu, logvar), (1, 1)).isfinite().all():
            raise Failed("for a single number the result is not finite")


@reparameterize.test(
    "leaves its inputs as they were",
    hidden="Does your function change a tensor that it was given, as `logvar *= 0.5` does?",
)
def _untouched(answer: Answer, g: Generator) -> None:
    mu, logvar = _apart(g)
    given = mu.clone(), logvar.clone()
    try:
        _eps(answer(*given), mu, logvar)
    except (AssertionError, RuntimeError) as error:
        raise NotJudged("This is judged once the noise is right.") from error
    unchanged((mu, logvar), given)


def _batch(g: Generator, *pixels: int, scale: float = 2.0) -> tuple[Tensor, ...]:
    """Black and white images, logits, mu and logvar."""
    x, logits = (rand(g, *pixels) < 0.4).float(), scale * randn(g, *pixels)
    return x, logits, randn(g, pixels[0], 7), randn(g, pixels[0], 7)


@record(
    "vae.elbo",
    inputs=lambda g: (*_batch(g, 5, 2, 4, 3), 0.3 + rand(g).item()),
    tests=(
        values(points=2, inputs=lambda g: _batch(g, 5, 2, 4, 3)),
        values(name="weights the KL by beta in the loss, and only there"),
        gradients(wrt=("logits", "mu", "logvar")),
        values(
            name="holds for grey pixels and a batch of one",
            hidden="Pixels between 0 and 1 give a cross-entropy: -x log p - (1 - x) log(1 - p).",
            inputs=lambda g: (rand(g, 1, 3, 5, 2), *_batch(g, 1, 3, 5, 2)[1:]),
        ),
        values(
            name="stays finite where the decoder is sure of itself",
            hidden="Try logits of 100 and -100. log(sigmoid(...)) overflows; there is a function "
            "that takes the logits themselves.",
            inputs=lambda g: _batch(g, 5, 2, 4, 3, scale=120.0),
        ),
        untouched(),
    ),
    mistakes={
        'F.binary_cross_entropy_with_logits(logits, x, reduction="none")': {
            "(logits.sigmoid() - x) ** 2": "Your reconstruction is a squared error. For a "
            "Bernoulli -log p(x|z) is the binary cross-entropy."
        },
        "(logits, x,": {
            "(logits.sigmoid(), x,": "The sigmoid is applied twice: "
            "binary_cross_entropy_with_logits takes the logits themselves."
        },
        "logvar.exp() - 1 - logvar": {
            "(2 * logvar).exp() - 1 - 2 * logvar": "You took logvar for log sigma. It is "
            "log sigma^2, so sigma^2 = exp(logvar)."
        },
        "pixels.sum() / len(x)": {
            "pixels.mean()": "Your cross-entropy is averaged over the pixels; it must be summed, "
            "or the KL weighs too much, by the number of pixels of an image.",
            "pixels.sum()": "Your cross-entropy is summed over the batch, your KL averaged: "
            "average both over it.",
        },
        "latents.sum() / len(x)": {
            "latents.mean()": "Your KL is averaged over the latent dimensions; sum over them.",
            "latents.sum()": "Your KL is summed over the batch, your cross-entropy averaged: "
            "average both over it.",
            "-latents.sum() / len(x)": "The sign of the KL is flipped: a KL is never negative.",
        },
        "pixels.sum() / len(x), latents.sum() / len(x)": {
            "pixels.mean(), latents.sum()": "Your cross-entropy is averaged over the pixels, your "
            "KL is summed over the batch: sum over pixels and latents, average over the batch.",
            "pixels.mean(), latents.mean()": "Both parts are averaged over everything; sum over "
            "pixels and over latents.",
            "pixels.sum(), latents.sum()": "Both parts are summed over the batch; average over "
            "it, so that the loss does not depend on its size.",
        },
        "reconstruction + beta * kl": {
            "reconstruction - beta * kl": "The loss subtracts the KL; the KL must be added.",
            "reconstruction + kl": "beta is not used: loss = reconstruction + beta * kl.",
            "beta * reconstruction + kl": "You weight the reconstruction by beta, not the KL.",
        },
        "reconstruction + beta * kl, reconstruction, kl": {
            "reconstruction + beta * kl, reconstruction, beta * kl": "The kl that you return "
            "carries beta already; weight it in the loss only.",
            "-reconstruction - beta * kl, -reconstruction, kl": "This is the ELBO, which one "
            "maximizes. The loss is its negative: -log p(x|z) + KL.",
            "(reconstruction + beta * kl).detach(), reconstruction.detach(), kl.detach()": "The "
            "results are detached: nothing would be learned. Do not use .detach(), .item(), .data "
            "or no_grad here.",
        },
    },
    hints=(
        "Two numbers for each image: -log p(x|z), a sum over its pixels, and the KL, a sum over "
        "its latent dimensions. The mean over the batch comes last.",
        "F.binary_cross_entropy_with_logits gives one number per pixel with reduction='none'. "
        "Exercise 3 has the KL. A sum over the whole batch must be divided: by what?",
        "Sum the cross-entropies of all pixels in the batch and divide by the number of images. "
        "Do the same with the KL of each latent. The loss is the first plus beta times the second.",
    ),
    explanation="A sum over pixels and latents belongs to one image; dividing by the number of "
    "images averages over the batch.",
    see="chapter 3, 'Exercise 5: the loss'",
    forbids=OWN,
)
def negative_elbo(x, logits, mu, logvar, beta=1.0):
    """The loss of a VAE and its two parts, in nats per image.

    x: (B, C, H, W) in [0, 1]. logits: the same shape. mu, logvar: (B, L).
    Returns: (loss, reconstruction, kl), three scalars averaged over the batch;
    loss = reconstruction + beta * kl, reconstruction = -log p(x|z) summed over pixels.
    """
    # 1. The cross-entropy of each pixel (torch.nn.functional has it, for logits).
    # 2. The KL of each latent dimension.
    # 3. Sum both over pixels or latents, and average over the batch.
    ### BEGIN SOLUTION
    pixels = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    latents = 0.5 * (mu**2 + logvar.exp() - 1 - logvar)
    reconstruction, kl = pixels.sum() / len(x), latents.sum() / len(x)
    return reconstruction + beta * kl, reconstruction, kl
    ### END SOLUTION


def _with_black_and_white(g: Generator) -> tuple[Tensor]:
    x = rand(g, 3, 1, 4, 6)
    return (torch.where(x < 0.3, 0.0, torch.where(x > 0.7, 1.0, x)),)


@record(
    "vae.entropy_floor",
    inputs=lambda g: (0.02 + 0.96 * rand(g, 4, 3, 5, 2),),
    tests=(
        values(points=2),
        values(name="counts black and white pixels as 0", inputs=_with_black_and_white),
        untouched(),
    ),
    mistakes={
        " + torch.special.entr(1 - x)": {
            "": "The half with 1 - x is missing: a pixel is white with probability x, black with "
            "1 - x."
        },
        "torch.special.entr(x) + torch.special.entr(1 - x)": {
            "x * (1 - x)": "This is the variance of the pixels; the entropy has logarithms.",
            "-x * (1 - x).log() - (1 - x) * x.log()": "You crossed the terms: x goes with log x, "
            "and 1 - x with log(1 - x).",
            'F.binary_cross_entropy_with_logits(x, x, reduction="none")': "This function takes "
            "logits: you gave it probabilities, and it applied a sigmoid to them.",
        },
        "entropy.flatten(1).sum(dim=1)": {
            "entropy.flatten(1).mean(dim=1)": "You averaged over the pixels. The loss sums over "
            "them, and so must its floor.",
            "entropy.sum()": "You summed over the images as well: return one number per image.",
            "entropy.sum() / len(x)": "You averaged over the images: return one number per image.",
            "entropy.mean()": "You averaged over everything: sum over pixels, and keep the images.",
            "entropy.sum(dim=(2, 3))": "You return one entropy per channel: sum over channels too.",
            "entropy": "You return one entropy for each pixel: sum over channels, rows and "
            "columns.",
            "entropy.flatten(1).sum(dim=1) / math.log(2)": "This is in bits. Nats need the natural "
            "logarithm, torch.log.",
            "-entropy.flatten(1).sum(dim=1)": "The sign is flipped: an entropy is never negative.",
        },
    },
    fair=("detached",),  # no gradient is asked for
    hints=(
        "For one pixel the cross-entropy -x log p - (1 - x) log(1 - p) is least at p = x. "
        "What is left there? Sum it over pixels and channels, not over images.",
        "torch.special.entr(x) is -x log x, and 0 at x = 0. There are two terms: x and 1 - x.",
        "Add the entr of x and the entr of 1 - x. Flatten all axes but the first into one, and sum "
        "over it.",
    ),
    explanation="The best mean for a pixel is the pixel itself, and what it costs then is its "
    "entropy.",
    see="chapter 3, 'Exercise 6: the floor of the loss'",
)
def entropy_floor(x):
    """The least cross-entropy that any Bernoulli decoder can reach on each image, in nats.

    x: (B, C, H, W) in [0, 1], 0 and 1 included.
    Returns: (B,), summed over pixels and channels.
    """
    # 1. The entropy of each value; torch.special.entr(x) is -x log x, and 0 at 0.
    # 2. The sum over all but the first axis.
    ### BEGIN SOLUTION
    entropy = torch.special.entr(x) + torch.special.entr(1 - x)
    return entropy.flatten(1).sum(dim=1)
    ### END SOLUTION


def _epoch(g: Generator, sizes: list[int]) -> tuple[list[float], list[int]]:
    return (100 + 20 * randn(g, len(sizes))).tolist(), sizes


@record(
    "vae.epoch_mean",
    inputs=lambda g: _epoch(g, [16, 16, 16, 16, *_integers(g, 1, 8)]),
    tests=(
        values(points=2),
        values(
            name="holds for batches of any size",
            inputs=lambda g: _epoch(g, _integers(g, 1, 50, 9)),
        ),
        values(
            name="holds for a single batch",
            hidden="With one batch its mean is the answer, whatever its size.",
            inputs=lambda g: _epoch(g, _integers(g, 2, 20)),
        ),
    ),
    mistakes={
        "loss * size": {
            "loss": "You divide a sum over batches by the number of images: multiply each batch's "
            "mean by its size first."
        },
        "total / sum(sizes)": {
            "sum(losses) / len(losses)": "This is the mean of the batches' means, in which each "
            "image of a small batch counts for more. Weight every batch by its size.",
            "sum(losses) / sizes[0]": "You divide the sum of the losses by the batch size, but "
            "there are as many losses as batches: this number grows with the data set.",
            "sum(losses)": "You add up the batches' means. Weight them by size, and divide by the "
            "number of images.",
            "total": "This is the loss of all images together; divide by their number.",
            "total / len(sizes)": "Divide the sum by the number of images, not of batches.",
            "(total - losses[-1] * sizes[-1]) / sum(sizes[:-1])": "The last, smaller batch is "
            "missing. Its images count like all others.",
            "losses[0]": "This is the loss of the first batch alone, as of a loop that is left by "
            "`break` or `return`: the rest of the data is never seen.",
            "losses[-1]": "This is the loss of the last batch alone; every batch counts.",
            "total / (sizes[0] * len(sizes))": "You count every batch as full: the last one has "
            "fewer images.",
        },
    },
    hints=(
        "What would you get if you added up the losses of all images? And how many are there?",
        "A batch of n images with mean loss l contributes n * l to that sum.",
        "Add up the products of loss and size over the batches, and divide by the sum of the "
        "sizes.",
    ),
    explanation="A batch's mean times its size is the sum over its images, so every image counts "
    "the same.",
    see="chapter 3, 'Exercise 7: the loss of an epoch'",
    forbids=("coursekit.training.run.Means",),
)
def epoch_mean(losses, sizes):
    """The mean loss per image over one epoch.

    losses: a list of K floats, each the mean over the images of one batch.
    sizes: a list of K ints, the number of images in each batch.
    Returns: a number.
    """
    # 1. The sum over all images: each batch counts as often as it has images.
    # 2. Divide by the number of images.
    ### BEGIN SOLUTION
    total = sum(loss * size for loss, size in zip(losses, sizes, strict=True))
    return total / sum(sizes)
    ### END SOLUTION


class _Decoder(nn.Module):
    """Stands for a VAE. In eval mode its logits are linear in z, so that z can be recovered.

    Its statistics are not those of codes from the prior. `mode` tells in which mode it was left.
    """

    mode: Tensor

    def __init__(self, latent_dim):
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("mode", torch.ones(()))
        self.norm = nn.BatchNorm1d(latent_dim)
        self.norm.get_buffer("running_mean").fill_(1.0)
        self.norm.get_buffer("running_var").fill_(2.5)
        self.norm.bias.data = torch.linspace(-2, 10, latent_dim)  # some pixels are all but white

    def train(self, mode=True):
        self.mode.fill_(mode)
        return super().train(mode)

    def decode(self, z):
        return self.norm(z).reshape(len(z), 1, 2, -1)

    def likelihood(self, z):
        return torch.distributions.Bernoulli(logits=self.decode(z))

    @property
    def prior(self):
        return torch.distributions.Normal(torch.zeros(self.latent_dim), 1.0)


@record(
    "vae.generate",
    inputs=lambda g: (_Decoder(16), 50, _fresh(g)),
    tests=(),
    mistakes={
        "vae.eval()": {
            "": "You decode in training mode: batch normalization then uses the mean and variance "
            "of your new codes, and every image depends on the others. Call vae.eval() first."
        },
        "vae.train(was_training)": {
            "": "You left the model in eval mode; put it back into the mode in which it was."
        },
        "randn(count, vae.latent_dim, generator=generator)": {
            "rand(count, vae.latent_dim, generator=generator)": "Your codes are uniform on [0, 1): "
            "torch.rand. The prior is N(0, I): torch.randn.",
            "rand(count, vae.latent_dim, generator=generator) * 2 - 1": "Your codes are uniform on "
            "[-1, 1]. The prior is N(0, I): torch.randn.",
            "zeros(count, vae.latent_dim)": "All your codes are 0, which gives one image only.",
            "randn(1, vae.latent_dim, generator=generator).repeat(count, 1)": "All your images "
            "share one code: draw (count, vae.latent_dim) numbers.",
            "randn(count, vae.latent_dim)": "`generator` is ignored: pass it on to torch.randn.",
        },
        ".sigmoid()": {
            "": "You return the logits. The mean of p(x|z) is their sigmoid.",
            ".sigmoid().sigmoid()": "You apply the sigmoid twice: once turns logits into means.",
            ".sigmoid().round()": "You cut the pixels at 1/2 into black and white. The mean of "
            "p(x|z) is the sigmoid itself.",
            ".clamp(0, 1)": "You clamp the logits to [0, 1]; the sigmoid makes probabilities of "
            "them.",
        },
    },
    hints=(
        "Three parts: remember vae.training and switch to eval mode; draw codes and decode them; "
        "switch back.",
        "torch.randn draws from the prior, and takes the generator. The mean of a Bernoulli with "
        "logits l is sigmoid(l). Put all of it under torch.no_grad().",
        "Draw count rows of vae.latent_dim normal numbers with the given generator. Decode them "
        "in eval mode, and apply the sigmoid. Then vae.train takes the mode that you remembered.",
    ),
    explanation="In eval mode an image depends on its own code only; the caller's mode comes back.",
    see="chapter 3, 'Exercise 8: new faces'",
)
def generate(vae, count, generator):
    """New images from the prior.

    vae: has latent_dim, decode(z) -> logits, and the mode that every nn.Module has.
    count: how many. generator: the torch.Generator that draws the codes.
    Returns: (count, C, H, W) in [0, 1], means of p(x|z). Leaves the model's mode as it was.
    """
    # 1. Remember vae.training; switch to eval mode.
    # 2. Draw (count, L) codes and decode them, without gradients.
    # 3. From logits to means. Switch back.
    ### BEGIN SOLUTION
    was_training = vae.training
    vae.eval()
    with torch.no_grad():
        z = torch.randn(count, vae.latent_dim, generator=generator)
        images = vae.decode(z).sigmoid()
    vae.train(was_training)
    return images
    ### END SOLUTION


def _images(answer: Answer, vae: _Decoder, generator: Generator, count: int = 640) -> Tensor:
    """What the answer generates, found to come from codes of the prior, decoded in eval mode."""
    twin = copy.deepcopy(vae).eval()
    offset = twin.decode(torch.zeros(1, vae.latent_dim)).detach()
    slope = twin.decode(torch.ones(1, vae.latent_dim)).detach() - offset
    x = tensor(answer(vae, count, generator), (count, *offset.shape[1:]), "the images")
    pixels = x.detach().double()
    if not ((pixels >= 0) & (pixels <= 1)).all():
        raise Failed("the images must have values in [0, 1]: decode gives logits")
    codes = ((torch.logit(pixels) - offset) / slope).flatten(1)
    what = "the code behind your images, decoded in eval mode,"
    standard_normal(codes, what, precise=False)
    distinct([codes[:, : vae.latent_dim // 3]], what)  # where pixels are nearly white, they round
    return x


@generate.test("decodes codes drawn from the prior, in eval mode", points=2)
def _from_prior(answer: Answer, g: Generator) -> None:
    _images(answer, _Decoder(16), _fresh(g))


@generate.test("leaves the model as it found it")
def _as_found(answer: Answer, g: Generator) -> None:
    for mode, left in (("training", "eval"), ("eval", "training")):
        vae = _Decoder(16).train(mode == "training")
        before = copy.deepcopy(vae)
        _images(answer, vae, _fresh(g))
        same(vae.mode, before.mode, f"it was in {mode} mode, and you left it in {left} mode")
        for name, was in before.state_dict().items():
            same(vae.state_dict()[name], was, f"{name} changed: was the decoder in eval mode?")
        unchanged((before,), (vae,))


@generate.test("draws from the generator it is given")
def _from_generator(answer: Answer, g: Generator) -> None:
    _follows(lambda own: _images(answer, _Decoder(16), own), _fresh(g))


@generate.test("keeps nothing for gradients")
def _no_graph(answer: Answer, g: Generator) -> None:
    if _images(answer, _Decoder(16), _fresh(g)).requires_grad:
        raise Failed("the images carry a graph for gradients: decode under torch.no_grad()")


@generate.test(
    "holds for a single image",
    hidden="Try count = 1. In training mode batch normalization has no variance to divide by.",
)
def _one_image(answer: Answer, g: Generator) -> None:
    _images(answer, _Decoder(3000), _fresh(g), count=1)


# --- Questions answered in prose ----------------------------------------------------------------

reduction = FreeText(
    "vae.reduction",
    "A report gives a test loss of 4,248,709 for its faces of 218x178 pixels, 'per batch of 64, "
    "summed'. A friend reports 0.57 for the same model. What might both have measured, and what "
    "must you know before you compare either with a third number?",
    "One point: 4,248,709 / 64 = 66,386 nats per image; divided by 3 * 218 * 178 that is 0.570 "
    "nats per pixel and channel, so the friend averages over pixels. One point: the target (grey "
    "or binary, and its entropy floor), beta, and whether the KL is in the number and reduced in "
    "the same way.",
    2,
)
blur = FreeText(
    "vae.blur",
    "You double the size of the decoder and train twice as long, with L = 3. Will the "
    "reconstructions become sharp? Explain by what the best decoder for a given code is.",
    "One point: no, not beyond a point. One point: the best decoder answers with the mean of all "
    "images that share the code, and three numbers with noise tell apart only as many groups as "
    "their KL in nats allows; what differs within a group is averaged.",
    2,
)
prior = FreeText(
    "vae.prior",
    "With L = 100 the reconstructions are better than with L = 3, and yet new faces drawn from "
    "the prior may look worse. How can that be?",
    "One point: a reconstruction decodes a code from q(z|x), a new face one from p(z); the "
    "decoder was trained on the former only. One point: in 100 dimensions the codes of the data "
    "(the aggregated posterior) can leave most of the prior empty although each KL is moderate; a "
    "short training makes it worse. Also accepted: dimensions used by few images combine at "
    "random.",
    2,
)
