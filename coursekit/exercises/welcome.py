"""Exercises of the first chapter: checks, shapes, broadcasting, a training step, random numbers."""

import copy
from typing import Any

import torch
from torch import Generator, Tensor, nn

from coursekit.exercises import (
    Answer,
    Failed,
    FreeText,
    NotJudged,
    gradients,
    rand,
    randn,
    record,
    standard_normal,
    tensor,
    unchanged,
    untouched,
    values,
)

# --- welcome.error ------------------------------------------------------------------------------


def _images(g: Generator, count: int, pixels: int) -> tuple[Tensor, Tensor]:
    return rand(g, count, pixels), rand(g, count, pixels)


@record(
    "welcome.error",
    inputs=lambda g: _images(g, 3, 8),
    tests=(
        values(2, "returns one number per image"),
        gradients(),
        values(
            name="holds for as many images as pixels",
            hidden="Try x of shape (6, 6). Both axes have the same length, so the shape of the "
            "result does not tell you whether you summed over the right one.",
            inputs=lambda g: _images(g, 6, 6),
        ),
        values(
            name="holds for one image and for one pixel",
            hidden="Try x of shape (1, 5) and of shape (5, 1).",
            inputs=lambda g: _images(g, *((1, 5) if rand(g).item() < 0.5 else (5, 1))),
        ),
        untouched(),
    ),
    mistakes={
        ".sum(dim=1)": {
            ".sum(dim=0)": "You summed over axis 0, the images. Sum over the pixels: axis 1.",
            ".sum()": "You summed over the images as well. Keep one number per image.",
            ".mean(dim=1)": "You averaged over the pixels. The contract asks for their sum.",
            ".mean(dim=0)": "You averaged over the images. Sum over the pixels, which are axis 1.",
            ".mean()": "You averaged over everything. Sum over the pixels, and keep the images.",
            ".sum(dim=1).mean()": "You averaged over the images. Keep one number per image.",
            ".sum(dim=1, keepdim=True)": "keepdim=True leaves an axis of length 1, so the shape is "
            "(B, 1). The contract asks for (B,).",
            "": "You return one number per pixel. Sum over the pixels, which are axis 1.",
        },
        ".square()": {
            ".abs()": "You added up absolute differences. Square them instead.",
            "": "The differences are not squared, so positive and negative ones cancel.",
        },
    },
    hints=(
        "x has the shape (B, D), and the result has the shape (B,). Which of the two axes goes?",
        "`sum(dim=k)` removes axis k. Axes are counted from 0, so the images are axis 0.",
        "The first try is right up to the square. Only the number behind `dim=` must change.",
    ),
    explanation="The pixels are axis 1. Their sum removes this axis and keeps the images.",
    see="chapter 0, 'Exercise 1: your first check'",
)
def squared_error(x, y):
    """The squared error of each image, summed over its pixels.

    x, y: (B, D) float tensors, B images of D pixels each.
    Returns: (B,).
    """
    ### BEGIN SOLUTION
    difference = x - y
    return difference.square().sum(dim=1)
    ### END SOLUTION


# --- welcome.nearest ----------------------------------------------------------------------------


def _clouds(g: Generator, n: int = 30, m: int = 50, d: int = 6) -> tuple[Tensor, Tensor]:
    """Images in [0, 1], and samples beside them: each image is the nearest of some."""
    images = rand(g, m, d)
    near = images[torch.randint(m, (n,), generator=g)]
    return near + 0.3 * randn(g, n, d), images


@record(
    "welcome.nearest",
    inputs=_clouds,
    tests=(
        values(2, "finds the nearest image of each sample"),
        values(
            name="holds for as many samples as images",
            inputs=lambda g: _clouds(g, 40, 40, 5),
        ),
        values(
            name="holds for one sample, and for images of one pixel",
            hidden="Try samples of shape (1, D), and then images of shape (M, 1).",
            inputs=lambda g: _clouds(g, *((1, 60, 6) if rand(g).item() < 0.5 else (60, 20, 1))),
        ),
        untouched(),
    ),
    mistakes={
        "distance.argmin(dim=1)": {
            "distance.argmin(dim=0)": "You found the nearest sample of each image. The question is "
            "the other way round: argmin must run over the images.",
            "distance.argmin()": "You found the one smallest number of the whole table. There is "
            "one answer per sample.",
            "distance.argmax(dim=1)": "You found the farthest image: argmax. Take argmin.",
            "distance.min(dim=1).values": "You return the distances. Return the indices of "
            "the nearest images, as argmin gives them.",
            "distance.min(dim=1)": "min gives two results, the distances and their indices. Return "
            "the indices only: argmin.",
            "distance.argmin(dim=1, keepdim=True)": "keepdim=True leaves an axis of length 1. The "
            "contract asks for (N,).",
        },
        ".square().sum(dim=2)": {
            ".sum(dim=2)": "The differences are not squared, so positive and negative ones cancel.",
            ".abs().sum(dim=2)": "You added up absolute differences. The distance here is the sum "
            "of the squares.",
            ".square().sum(dim=1)": "You summed over axis 1 of (N, M, D): the images. Sum "
            "over the pixels, the last axis.",
            ".square().sum(dim=0)": "You summed over axis 0 of (N, M, D): the samples. Sum "
            "over the pixels, the last axis.",
            ".square().amax(dim=2)": "Only the largest difference counts in your distance. Sum "
            "over the pixels.",
        },
    },
    hints=(
        "You need a table of N x M distances. Which shapes must two tensors have, so that their "
        "difference has the shape (N, M, D)?",
        "samples[:, None] has the shape (N, 1, D), and images[None] has the shape (1, M, D).",
        "Square the differences, sum over the last axis, and take argmin over the images. In the "
        "table of shape (N, M), the images are axis 1.",
    ),
    explanation="The axes of length 1 are stretched, so each sample meets each image.",
    see="chapter 0, 'Exercise 2: is it a copy?'",
    forbids=(
        "coursekit.metrics.nearest_neighbors",
        "coursekit.metrics.neighbors.nearest_neighbors",
    ),
)
def nearest(samples, images):
    """The index of the nearest image, for each sample.

    samples: (N, D) float tensor. images: (M, D). Rows are pictures, columns are pixels.
    Returns: (N,) integers from 0 to M - 1. Nearest is the image whose squared error, summed over
        the pixels, is the smallest.
    """
    # 1. The differences between each sample and each image: (N, M, D).
    # 2. The distances: (N, M).
    # 3. The index of the smallest distance in each row: (N,).
    ### BEGIN SOLUTION
    difference = samples[:, None] - images[None]
    distance = difference.square().sum(dim=2)
    return distance.argmin(dim=1)
    ### END SOLUTION


# --- welcome.step -------------------------------------------------------------------------------


def _training(g: Generator, rows: int) -> tuple[Any, ...]:
    """A small network with gradients left over, its optimizer, and a batch."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(randn(g, *weight.shape))
            weight.grad = 1 + rand(g, *weight.shape)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return network, optimizer, randn(g, rows, 3), 2 * randn(g, rows)


@record(
    "welcome.step",
    inputs=lambda g: _training(g, 7),
    tests=(values(3, "moves the weights by one step, and returns the loss"),),
    mistakes={
        "network(x)[:, 0]": {
            "network(x)": "The prediction has the shape (B, 1) and y has the shape (B,), so their "
            "difference has the shape (B, B): every prediction meets every target. Remove the "
            "axis of length 1.",
            "network(x)[0]": "You took the first row. network(x)[:, 0] takes the first column.",
        },
        "optimizer.zero_grad()": {
            "pass": "Gradients of earlier steps are still there, and backward() adds to them. Call "
            "optimizer.zero_grad() before backward().",
        },
        "(prediction - y).square().mean()\n    optimizer.zero_grad()": {
            "(network(x) - y).square().mean()": "Both mistakes are still there: the difference has "
            "the shape (B, B), and earlier gradients are not cleared.",
        },
        "loss.backward()\n    optimizer.step()": {
            "loss.backward()": "No weight moved. Either optimizer.step() is missing, or it comes "
            "where the gradients are cleared. The order is zero_grad, backward, step.",
        },
        ".square().mean()": {
            ".square().sum()": "You summed the squared errors over the batch. Average them.",
            ".abs().mean()": "You took absolute differences. Square them instead.",
        },
        "\n    return loss.item()": {
            "\n    return loss.item() * len(y)": "You return the sum over the batch. Return the "
            "mean, as the loss has it.",
        },
    },
    fair=("changes its inputs in place",),  # a step changes the network
    hints=(
        "Print the shapes of `prediction`, of `y` and of their difference in `broken_step`.",
        "`prediction[:, 0]` or `prediction.squeeze(1)` removes the axis of length 1. For the "
        "second mistake: what does backward() do with gradients that are already there?",
        "Take the first column of the prediction. Then compute the loss, and call zero_grad, "
        "backward and step, in this order.",
    ),
    explanation="Prediction and target have the same shape, and every step starts from cleared "
    "gradients.",
    see="chapter 0, 'Exercise 3: mend a training step'",
)
def train_step(network, optimizer, x, y):
    """One step of gradient descent on the mean squared error.

    network: maps x to predictions (B, 1). optimizer: holds the weights of the network.
    x: (B, D) inputs. y: (B,) targets.
    Returns: the mean squared error before the step, a number (no tensor that keeps a graph).
    """
    ### BEGIN SOLUTION
    prediction = network(x)[:, 0]
    loss = (prediction - y).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


def _is_step(answer: Answer, args: tuple[Any, ...]) -> Any:
    """What the answer returns, after it was found to step as the solution does."""
    twin = copy.deepcopy((args[0], args[2], args[3]))
    optimizer = torch.optim.SGD(twin[0].parameters(), lr=0.1)
    expected = train_step.solve(twin[0], optimizer, *twin[1:])
    result = answer(*args)
    found = tensor(result, ()).detach().double()
    if not torch.isclose(found, torch.tensor(expected).double(), rtol=1e-4, atol=1e-5):
        raise Failed(f"the result is {found:.3g}; expected {expected:.3g}")
    pairs = zip(args[0].parameters(), twin[0].parameters(), strict=True)
    if not all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in pairs):
        raise Failed("the weights are not where one step leads")
    return result


@train_step.test("returns a number that keeps no graph")
def _number(answer: Answer, g: Generator) -> None:
    result = _is_step(answer, _training(g, 6))
    if isinstance(result, Tensor) and result.requires_grad:
        raise Failed(
            "the result is a tensor with its graph. Whoever adds up such losses keeps the graph "
            "of every step in memory; return loss.item()"
        )


@train_step.test(
    "holds for a batch of one", hidden="Try a batch with a single row: y has the shape (1,)."
)
def _one(answer: Answer, g: Generator) -> None:
    _is_step(answer, _training(g, 1))


@train_step.test(
    "leaves x and y as they were",
    hidden="Does your function change x or y, as `y -= prediction` does?",
)
def _batch_untouched(answer: Answer, g: Generator) -> None:
    args = _training(g, 5)
    before = args[2].clone(), args[3].clone()
    try:
        _is_step(answer, args)
    except (AssertionError, RuntimeError) as error:
        raise NotJudged("This is judged once the step is right.") from error
    unchanged(before, args[2:])


# --- welcome.draws ------------------------------------------------------------------------------


def _own(g: Generator) -> Generator:
    """A generator to hand to the answer: never the one that the test itself draws from."""
    return Generator().manual_seed(int(torch.randint(2**31, (), generator=g)))


def _codes(g: Generator, rows: int = 20, latents: int = 30) -> tuple[Tensor, Tensor]:
    """Means far from 0 and standard deviations far from 1."""
    return 2 + randn(g, rows, latents), 1 + randn(g, rows, latents)


@record(
    "welcome.draws",
    inputs=lambda g: (*_codes(g), 40, _own(g)),
    tests=(),
    mistakes={
        "torch.exp(logvar / 2)": {
            "torch.exp(logvar)": "You scale by exp(logvar), which is the variance. The standard "
            "deviation is its square root, exp(logvar / 2).",
            "logvar": "You scale by logvar itself. The standard deviation is exp(logvar / 2).",
            "logvar.sqrt()": "You scale by sqrt(logvar). The standard deviation is "
            "exp(logvar / 2).",
            "1": "The noise is not scaled. Multiply it by the standard deviation.",
        },
        "torch.randn(count, *mu.shape, generator=generator)": {
            "torch.rand(count, *mu.shape, generator=generator)": "Your noise is uniform on [0, 1): "
            "torch.rand. Normal noise is torch.randn.",
            "torch.randn(count, *mu.shape)": "`generator` is ignored. Pass it on to torch.randn.",
            "torch.randn(mu.shape, generator=generator).expand(count, *mu.shape)": "All K draws "
            "share the same noise. Draw K * B * L numbers.",
            "torch.randn(count, 1, 1, generator=generator)": "One number of noise serves the whole "
            "batch. Draw K * B * L numbers.",
            "torch.randn(count, 1, mu.shape[1], generator=generator)": "All rows of the batch "
            "share their noise. Draw K * B * L numbers.",
            "torch.randn(count, *mu.shape, generator=generator.manual_seed(0))": "You set the "
            "seed in your function, so every call draws the same numbers. The caller sets it.",
        },
        "mu + sigma * noise": {
            "sigma * noise": "mu is missing: shift the noise by the mean.",
            "(mu + sigma * noise).transpose(0, 1)": "Your result has the shape (B, K, L). The "
            "draws come first: (K, B, L).",
        },
    },
    # No gradient is asked for, and noise that is rounded to 16 bits is noise.
    fair=("detached", "computes in float16"),
    hints=(
        "First draw standard normal noise with the shape of the result. Then scale and shift it.",
        "torch.randn(count, *mu.shape, generator=generator) has the shape (K, B, L). Which shapes "
        "do mu and sigma have, and what does broadcasting make of them?",
        "logvar is log(sigma**2) = 2 log(sigma), so sigma is the exponential of half of it. "
        "Multiply the noise by sigma, and add mu.",
    ),
    explanation="mu and sigma, (B, L), are stretched along the new first axis of the noise.",
    see="chapter 0, 'Exercise 4: draws that can be repeated'",
)
def draws(mu, logvar, count, generator):
    """Draws from normal distributions.

    mu, logvar: (B, L) float tensors, logvar = log sigma^2. count: K, the number of draws.
    generator: the torch.Generator that draws the noise.
    Returns: (K, B, L). Entry [k, b, l] is a draw of its own from N(mu[b, l], sigma[b, l]^2).
    """
    # 1. Standard normal noise from the generator, new at every call.
    # 2. sigma from logvar.
    # 3. Scale and shift the noise.
    ### BEGIN SOLUTION
    noise = torch.randn(count, *mu.shape, generator=generator)
    sigma = torch.exp(logvar / 2)
    return mu + sigma * noise
    ### END SOLUTION


def _noise(z: Any, mu: Tensor, logvar: Tensor, count: int) -> Tensor:
    """The noise in the draws, found to be standard normal."""
    z = tensor(z, (count, *mu.shape)).detach()
    if z.is_complex():
        raise Failed("the result is complex; expected real numbers")
    noise = ((z.double() - mu) / (0.5 * logvar.double()).exp()).flatten(1)
    standard_normal(noise, "the noise (z - mu) / sigma")
    return noise


@draws.test("draws from N(mu, sigma^2), each entry by itself", points=2)
def _distribution(answer: Answer, g: Generator) -> None:
    mu, logvar = _codes(g)
    _noise(answer(mu.clone(), logvar.clone(), 40, _own(g)), mu, logvar, 40)


@draws.test("takes its noise from the generator", points=2)
def _generator_decides(answer: Answer, g: Generator) -> None:
    mu, logvar = _codes(g)
    generator = _own(g)
    start = generator.get_state()
    made = []
    for _ in range(2):
        made.append(_noise(answer(mu.clone(), logvar.clone(), 40, generator), mu, logvar, 40))
    if torch.equal(generator.get_state(), start):
        raise Failed("a generator was given, but nothing was drawn from it")
    if torch.allclose(made[0], made[1], atol=1e-3):
        raise Failed("two calls drew the same numbers: is a seed set in your function?")
    generator.set_state(start)
    again = _noise(answer(mu.clone(), logvar.clone(), 40, generator), mu, logvar, 40)
    if not torch.allclose(again, made[0], atol=1e-3):
        raise Failed("the same state of the generator must give the same numbers")


@draws.test(
    "holds for one draw, one row and one number",
    hidden="Try count = 1, then mu of shape (1, L), then mu of shape (B, 1).",
)
def _small(answer: Answer, g: Generator) -> None:
    for count, rows, latents in ((1, 60, 300), (60, 1, 300), (60, 300, 1)):
        mu, logvar = _codes(g, rows, latents)
        _noise(answer(mu.clone(), logvar.clone(), count, _own(g)), mu, logvar, count)


@draws.test(
    "leaves mu and logvar as they were",
    hidden="Does your function change a tensor that it was given, as `logvar /= 2` does?",
)
def _codes_untouched(answer: Answer, g: Generator) -> None:
    mu, logvar = _codes(g)
    given = mu.clone(), logvar.clone()
    try:
        _noise(answer(*given, 40, _own(g)), mu, logvar, 40)
    except (AssertionError, RuntimeError) as error:
        raise NotJudged("This is judged once the draws are right.") from error
    unchanged((mu, logvar), given)


# --- question -----------------------------------------------------------------------------------

units = FreeText(
    "welcome.units",
    "Ann and Bo train the same model on the same images of 28x28 pixels. Ann reports a squared "
    "error of 7.84, Bo one of 0.02. Bo says that his model is better. Which question do you ask, "
    "and what could the answer tell you?",
    "One point: ask over what each of them sums and averages (pixels, batch). One point: if Ann "
    "sums over the 784 pixels and Bo averages, Ann's error is 0.01 per pixel, so it is half of "
    "Bo's; if both do the same, Bo is right.",
    2,
)
