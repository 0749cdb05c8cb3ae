"""Exercises of the chapter on the variational autoencoder."""

import copy
import math
from collections.abc import Callable
from typing import Any

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
    exercise_of,
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
from coursekit.models.vae import halved_sizes

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


def _size(g: Generator) -> tuple[int, int]:
    """A side that is odd, and even when halved, and one that is even, and then odd."""
    sides = 4 * _integers(g, 2, 6)[0] + 3, 4 * _integers(g, 2, 6)[0] + 2
    return sides if rand(g).item() < 0.5 else (sides[1], sides[0])


def _widths(g: Generator) -> tuple[int, ...]:
    return tuple(_integers(g, 3, 9, _integers(g, 2, 4)[0]))


def _of_encoder(g: Generator) -> tuple[Any, ...]:
    shape = (_integers(g, 1, 4)[0], *_size(g))
    return shape, 40, _widths(g), rand(g, 6, *shape)


def _of_decoder(g: Generator) -> tuple[Any, ...]:
    shape = (_integers(g, 1, 4)[0], *_size(g))
    return shape, 5, _widths(g), randn(g, 6, 5)


def _network_facts(network: Any, x: Tensor) -> list[Any]:
    """Of a network: shapes, signs and zeros of what it gives, its number of weights, in what mode
    one input changes the output of another, and whether it is an affine map."""
    network.train()
    together, rest = network(x), network(x[1:])
    pair = isinstance(together, tuple | list)
    outputs = list(together) if pair else [together]
    others = list(rest) if pair else [rest]
    found: list[Any] = [torch.tensor(out.shape).float() for out in outputs]
    found += [bool((out < 0).any()) and bool((out > 0).any()) for out in outputs]
    found += [bool((out == 0).any()) for out in outputs]  # a ReLU at the end
    found.append(pair and torch.equal(outputs[0], outputs[1]))
    found.append(all(torch.allclose(a[1:], b, atol=1e-5) for a, b in zip(outputs, others)))  # noqa: B905
    found.append(sum(weight.numel() for weight in network.parameters()))
    for _ in range(30):  # until the running statistics center every channel: no ReLU stays shut
        network(torch.cat([x, -x]))
    network.eval()
    found.append(torch.allclose(_first(network(x))[:1], _first(network(x[:1])), atol=1e-4))
    at, opposite, middle = (_first(network(v)) for v in (x, -x, 0 * x))
    found.append(torch.allclose(at + opposite, 2 * middle, atol=1e-4))
    return found


def _differ(one: Tensor, other: Tensor) -> None:
    if not one.isfinite().all() or torch.allclose(one, other, rtol=1e-6, atol=0):
        raise Failed("two different inputs give the same result")


def _first(result: Any) -> Tensor:
    return result[0] if isinstance(result, tuple | list) else result


def _facts(answer: Answer, image_shape: Any, latent_dim: int, widths: Any, x: Tensor) -> list[Any]:
    return _network_facts(answer(image_shape, latent_dim, widths), x)


def _count(network: Any, expected: Any, blocks: str) -> None:
    """As many weights as the layers of the text have."""
    found, right = (sum(w.numel() for w in n.parameters()) for n in (network, expected))
    if found != right:
        raise Failed(f"the network has {found:,} weights, but {blocks} have {right:,}")


def _blocks(network: Any, x: Tensor) -> None:
    """Batch normalization in the right mode, and an activation."""
    *_, mixes, _, alone, affine = _network_facts(network, x)
    if mixes:
        raise Failed(
            "in training mode the images of a batch do not influence each other: is batch "
            "normalization missing?"
        )
    if not alone:
        raise Failed("in eval mode the result for one input depends on the others in the batch")
    if affine:
        raise Failed("the network is a linear map: is there an activation in every block?")


@record(
    "vae.encoder",
    inputs=_of_encoder,
    probe=_facts,
    tests=(),
    mistakes={
        "nn.BatchNorm2d(width), nn.ReLU()": {
            "nn.ReLU()": "Batch normalization is missing between convolution and ReLU.",
            "nn.BatchNorm2d(width)": "The ReLU is missing. Without it, all convolutions together "
            "are one linear map.",
        },
        "self.to_mu(h), self.to_logvar(h)": {
            "self.to_mu(h), self.to_mu(h)": "mu and logvar come from the same head: use two.",
            "self.to_mu(h).relu(), self.to_logvar(h).relu()": "There is a ReLU after the heads. "
            "mu and logvar may be negative.",
            "self.to_mu(h), self.to_logvar(h).exp()": "Your second result is never negative: it is "
            "a variance or a standard deviation. Return its logarithm, as the head gives it.",
            "self.to_mu(h)": "You return one tensor: return mu and logvar.",
        },
    },
    fair=("detached",),
    hints=(
        "An nn.Sequential can grow in a loop over `widths`, by its method append. What is the "
        "number of input channels of each block?",
        "halved_sizes(size, times)[-1] is the size of the last grid. A head reads all its numbers: "
        "channels times height times width.",
        "In the loop, add Conv2d, BatchNorm2d and ReLU, and remember the width as the next number "
        "of channels. In forward, flatten the last grid. Two nn.Linear layers read mu and logvar "
        "from these features.",
    ),
    explanation="Each block halves the image and rounds up, so the size of the last grid is known "
    "before any image is seen.",
    see="chapter 3, 'Exercise 1: the encoder'",
    forbids=("coursekit.models.vae.conv_encoder", "coursekit.models.vae.downsample"),
)
class Encoder(nn.Module):
    """Images -> mean and log-variance of q(z|x).

    image_shape: (C, H, W), of any size. latent_dim: L. widths: channels after each block.
    Called with images (B, C, H, W); returns (mu, logvar), (B, L) each, logvar = log sigma^2.
    """

    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        # 1. For each width a block: Conv2d 3x3, stride 2, padding 1; BatchNorm2d; ReLU.
        # 2. Two linear heads that read all numbers of the last grid.
        ### BEGIN SOLUTION
        channels, *size = image_shape
        self.blocks = nn.Sequential()
        for width in widths:
            halve = nn.Conv2d(channels, width, 3, stride=2, padding=1)
            self.blocks.append(nn.Sequential(halve, nn.BatchNorm2d(width), nn.ReLU()))
            channels = width
        rows, columns = halved_sizes(size, len(widths))[-1]
        self.to_mu = nn.Linear(channels * rows * columns, latent_dim)
        self.to_logvar = nn.Linear(channels * rows * columns, latent_dim)
        ### END SOLUTION

    def forward(self, x):
        ### BEGIN SOLUTION
        h = self.blocks(x).flatten(1)
        return self.to_mu(h), self.to_logvar(h)
        ### END SOLUTION


def _two(result: Any, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Failed("expected two tensors, (mu, logvar)")
    return tensor(result[0], shape, "mu"), tensor(result[1], shape, "logvar")


def _codes_of(network: Any, x: Tensor) -> Any:
    """network(x); where a layer does not fit its input, the message names the usual reason."""
    try:
        return network(x)
    except NotImplementedError:
        raise
    except RuntimeError as error:
        rows, columns = x.shape[2:]
        raise Failed(
            f"for images of {rows}x{columns} pixels the network raises RuntimeError ({error}). Do "
            "the heads read all channels, rows and columns of the last grid? Its size is rounded "
            "up at each block, as in halved_sizes"
        ) from error


@exercise_of(Encoder).test("turns images of any size into mu and logvar, (B, L) each", points=2)
def _codes(answer: Answer, g: Generator) -> None:
    for _ in range(3):
        shape, latents, widths, x = _of_encoder(g)
        mu, logvar = _two(_codes_of(answer(shape, latents, widths), x), (len(x), latents))
        for name, out in (("mu", mu), ("logvar", logvar)):
            if not ((out < 0).any() and (out > 0).any()):
                raise Failed(f"no {name} of a new network is negative, or none is positive")
        if torch.equal(mu, logvar):
            raise Failed("mu and logvar are the same: give each a head of its own")


@exercise_of(Encoder).test("has the blocks of the text, and two heads", points=2)
def _encoder_blocks(answer: Answer, g: Generator) -> None:
    shape, latents, widths, x = _of_encoder(g)
    network = answer(shape, latents, widths)
    _two(network(x), (len(x), latents))
    _count(
        network, exercise_of(Encoder).solve(shape, latents, widths), "the blocks and the two heads"
    )
    _blocks(network, x)


@exercise_of(Encoder).test(
    "holds for one block, one latent and the smallest images",
    hidden="Try images of 1x1, 2x3 and 5x4 pixels, widths=(4,) and latent_dim=1, in eval mode.",
)
def _small_encoder(answer: Answer, g: Generator) -> None:
    for size in ((1, 1), (2, 3), (5, 4)):
        network = answer((1, *size), 1, (4,))
        network.eval()
        x = 10 + rand(g, 1, 1, *size)  # and -x, so that no ReLU shuts off both
        mu, _ = _two(network(x), (1, 1))
        _differ(mu, _first(network(-x)))
        _count(
            network, exercise_of(Encoder).solve((1, *size), 1, (4,)), "the block and the two heads"
        )


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


@record(
    "vae.decoder",
    inputs=_of_decoder,
    probe=_facts,
    tests=(),
    mistakes={
        "nn.BatchNorm2d(after), nn.LeakyReLU()": {
            "nn.LeakyReLU()": "Batch normalization is missing after the transposed convolutions.",
            "nn.BatchNorm2d(after)": "The LeakyReLU is missing. Without it, all layers together "
            "are one linear map.",
        },
        "padding = (1 + odd[0], 1 + odd[1])": {
            "padding, odd = (1, 1), (0, 0)": "Your images are too large where a size is odd: each "
            "block must come back to the size that the encoder had there.",
            "odd = (odd[0], odd[0]); padding = (1 + odd[0], 1 + odd[0])": "You use the padding of "
            "the height for the width, too. Each has its own.",
        },
        "self.layers(z)": {
            "self.layers(z).sigmoid()": "Your result is never negative: there is a sigmoid or a "
            "ReLU at the end. Return logits; the loss applies the sigmoid.",
            "self.layers(z).relu()": "Your result is never negative: there is a ReLU at the end. "
            "Return logits, of either sign.",
        },
        "nn.Conv2d(widths[0], channels, 3, padding=1)": {
            "nn.Sequential(nn.Conv2d(widths[0], channels, 3, padding=1), "
            "nn.BatchNorm2d(channels))": "There is "
            "batch normalization after the last convolution. It would force every batch of images "
            "to have the same mean.",
        },
    },
    fair=("detached",),
    hints=(
        "The decoder runs through the encoder's sizes and widths backwards. Write both lists on "
        "paper for one example: which widths stand before and after each block?",
        "halved_sizes(size, len(widths)) is the list of all sizes, first the image's. The block "
        "that leads to a size takes its paddings from that size: exercise 2, once for the height "
        "and once for the width.",
        "A linear layer makes the last grid, nn.Unflatten(1, (channels, rows, columns)) gives it "
        "its shape. Then, for each size from the last but one to the first: ConvTranspose2d with "
        "kernel 4, stride 2, padding=(p_h, p_w) and output_padding=(o_h, o_w), BatchNorm2d, "
        "LeakyReLU. At the end a Conv2d 3x3 with padding 1 makes the image's channels.",
    ),
    explanation="Each transposed convolution knows the size that it must come back to, so that "
    "odd sizes are met exactly.",
    see="chapter 3, 'Exercise 3: the decoder'",
    forbids=("coursekit.models.vae.conv_decoder", "coursekit.models.vae.upsample"),
)
class Decoder(nn.Module):
    """Codes -> logits of p(x|z).

    image_shape: (C, H, W), of any size. latent_dim: L. widths: those of the encoder.
    Called with codes (B, L); returns logits (B, C, H, W), which may have any sign.
    """

    def __init__(self, image_shape, latent_dim, widths):
        super().__init__()
        # 1. A linear layer to all numbers of the encoder's last grid; nn.Unflatten.
        # 2. Backwards: ConvTranspose2d 4x4, stride 2 (exercise 2); BatchNorm2d; LeakyReLU.
        # 3. Conv2d 3x3, padding 1, to the channels of the image.
        ### BEGIN SOLUTION
        channels, *size = image_shape
        *sizes, (rows, columns) = halved_sizes(size, len(widths))
        first = nn.Linear(latent_dim, widths[-1] * rows * columns)
        self.layers = nn.Sequential(first, nn.Unflatten(1, (widths[-1], rows, columns)))
        wide = [*reversed(widths), widths[0]]
        for before, after, to in zip(wide[:-1], wide[1:], reversed(sizes), strict=True):
            odd = (to[0] % 2, to[1] % 2)
            padding = (1 + odd[0], 1 + odd[1])
            double = nn.ConvTranspose2d(before, after, 4, 2, padding, output_padding=odd)
            self.layers.append(nn.Sequential(double, nn.BatchNorm2d(after), nn.LeakyReLU()))
        self.layers.append(nn.Conv2d(widths[0], channels, 3, padding=1))
        ### END SOLUTION

    def forward(self, z):
        ### BEGIN SOLUTION
        return self.layers(z)
        ### END SOLUTION


@exercise_of(Decoder).test("turns codes into logits of any image size", points=2)
def _logits(answer: Answer, g: Generator) -> None:
    for _ in range(3):
        shape, latents, widths, z = _of_decoder(g)
        logits = tensor(answer(shape, latents, widths)(z), (len(z), *shape), "the logits")
        if not ((logits < 0).any() and (logits > 0).any()):
            raise Failed("no logit of a new network is negative, or none is positive")


@exercise_of(Decoder).test("has the blocks of the text", points=2)
def _decoder_blocks(answer: Answer, g: Generator) -> None:
    shape, latents, widths, z = _of_decoder(g)
    network = answer(shape, latents, widths)
    tensor(network(z), (len(z), *shape), "the logits")
    _count(network, exercise_of(Decoder).solve(shape, latents, widths), "the layers of the text")
    _blocks(network, z)


@exercise_of(Decoder).test(
    "holds for the photographs of CelebA and for the smallest images",
    hidden="Try images of 218x178 with four widths, and of 1x1, 2x3 and 5x4 with one, in eval "
    "mode.",
)
def _small_decoder(answer: Answer, g: Generator) -> None:
    for size, widths in (
        ((218, 178), (2, 3, 4, 5)),
        ((1, 1), (4,)),
        ((2, 3), (4,)),
        ((5, 4), (4,)),
    ):
        network = answer((1, *size), 2, widths)
        network.eval()
        z = 3 * randn(g, 8, 2)
        logits = tensor(network(z[:1]), (1, 1, *size), "the logits")
        _differ(network(z[1:]), logits)
        _count(network, exercise_of(Decoder).solve((1, *size), 2, widths), "the layers of the text")


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
            "logvar.exp() ** 2": "You squared exp(logvar), which is sigma^2 already.",
            "logvar; logvar = logvar.log()": "You used logvar as the variance; it is exp(logvar).",
            "logvar ** 2; logvar = logvar.log()": "You used logvar as sigma or sigma^2, and took "
            "its logarithm: sigma^2 is exp(logvar), and log sigma^2 is logvar itself.",
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
    see="chapter 3, 'Exercise 4: the KL divergence'",
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
    see="chapter 3, 'Exercise 5: a sample that gradients pass through'",
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
        "Exercise 4 has the KL. A sum over the whole batch must be divided: by what?",
        "Sum the cross-entropies of all pixels in the batch and divide by the number of images. "
        "Do the same with the KL of each latent. The loss is the first plus beta times the second.",
    ),
    explanation="A sum over pixels and latents belongs to one image; dividing by the number of "
    "images averages over the batch.",
    see="chapter 3, 'Exercise 6: the loss'",
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
    inputs=_with_black_and_white,
    tests=(
        values(points=2, inputs=lambda g: (0.02 + 0.96 * rand(g, 4, 3, 5, 2),)),
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
    see="chapter 3, 'Exercise 7: the floor of the loss'",
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


class _Network(nn.Module):
    """A small network with batch normalization: (B, 4) -> (B, 4)."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 4)

    def forward(self, x):
        return self.last(torch.tanh(self.norm(self.first(x))))


def _squared_error(model, x):
    """Two parts of a loss and, first, their sum: averages over the batch."""
    error = (model(x) - x).square().sum(dim=1).mean()
    size = 0.1 * model.last.weight.square().sum()
    return error + size, error, size


def _epoch_of(g: Generator, *sizes: int) -> tuple[Any, ...]:
    """A model in eval mode with gradients left over, batches of these sizes, loss, optimizer."""
    model = _Network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(randn(g, *parameter.shape))
            parameter.grad = randn(g, *parameter.shape)
    batches = [randn(g, size, 4) * (1 + place) for place, size in enumerate(sizes)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.5)
    return model.eval(), batches, _squared_error, optimizer


@record(
    "vae.train_epoch",
    inputs=lambda g: _epoch_of(g, 8, 8, 8, *_integers(g, 3, 6)),
    tests=(
        values(points=3, name="moves the weights once per batch, and gives the mean per image"),
        values(
            name="holds for batches of any size",
            inputs=lambda g: _epoch_of(g, *_integers(g, 3, 20, 4)),
        ),
        values(
            name="holds for a single batch",
            hidden="Try a list with one batch: its mean is the answer, whatever its size.",
            inputs=lambda g: _epoch_of(g, *_integers(g, 3, 20)),
        ),
    ),
    mistakes={
        "model.train()": {
            "pass": "You train in eval mode, which a validation may have left, so batch "
            "normalization learns no statistics: call model.train() first.",
        },
        "optimizer.zero_grad()\n        value.backward()\n        optimizer.step()": {
            "value.backward()\n        optimizer.step()": "The gradients of earlier batches are "
            "still there, and new ones are added to them: call optimizer.zero_grad().",
            "value.backward()\n        optimizer.step()\n        optimizer.zero_grad()": "At your "
            "first step, gradients from before the call are still there: call "
            "optimizer.zero_grad() before backward().",
            "value.backward()\n        optimizer.zero_grad()\n        optimizer.step()": "The "
            "weights never move: optimizer.step() is missing, or it comes where gradients are 0. "
            "The order is zero_grad, backward, step.",
        },
        "value, *_ = loss(model, x)": {
            "value = sum(loss(model, x))": "You add up all that `loss` returns. The loss itself "
            "is the first value; the others are its parts.",
            "_, value, _ = loss(model, x)": "You minimize the second value that `loss` returns. "
            "The loss is the first.",
        },
        "total += value.item() * len(x)\n        count += len(x)": {
            "total += value.item()\n        count += 1": "You take the mean of the batches' means, "
            "in which an image of a small batch counts for more. Weight each batch by its size.",
            "total += value.item()\n        count += len(x)": "You divide a sum over batches by "
            "the number of images: multiply each batch's mean by its size first.",
            "total += value.item()\n        count = len(batches[0])": "You divide the sum of the "
            "losses by the batch size. There is one loss per batch, so this number grows with the "
            "data set.",
            "total += value.item() * len(x)\n        count += 1": "You divide the sum over all "
            "images by the number of batches; divide by the number of images.",
            "total += value.item()\n        count = 1": "You add up the batches' means. Weight "
            "them by size, and divide by the number of images.",
            "total = value.item()\n        count = 1": "This is the loss of the last batch alone; "
            "every batch counts.",
        },
        "\n    return total / count": {
            "\n        return total / count": "Your `return` stands inside the loop, so the "
            "function ends after the first batch: the rest of the data is never seen.",
            "\n    return total": "This is the loss of all images together; divide by their "
            "number.",
        },
        "in batches:": {
            "in batches[:-1]:": "The last batch is missing: it is smaller, and its images count "
            "like all others.",
        },
    },
    fair=("changes its inputs in place",),  # training is a change of the model
    hints=(
        "Per batch: compute the loss, forget the old gradients, compute new ones, take a step. "
        "Beside that, you keep two running sums.",
        "A batch of n images with mean loss l contributes n * l to the sum over all images. "
        "`.item()` turns the loss into a number that keeps no graph.",
        "Switch to training mode and start two sums at 0. In the loop, take the first value that "
        "`loss` returns, call zero_grad, backward and step in this order, and update both sums. "
        "After the loop, divide.",
    ),
    explanation="A batch's mean times its size is the sum over its images, so every image counts "
    "the same.",
    see="chapter 3, 'Exercise 8: the training loop'",
    forbids=("coursekit.training.loop.one_epoch", "coursekit.training.run.descend"),
)
def train_epoch(model, batches, loss, optimizer):
    """Train for one epoch: one step of gradient descent per batch.

    model: the network. batches: tensors (B, ...), of different sizes B.
    loss: loss(model, x) -> (loss, reconstruction, kl), means over the images of the batch x.
    optimizer: holds the weights of the model.
    Returns: a number, the mean loss per image over the epoch.
    """
    # 1. Training mode: a validation may have left the model in eval mode.
    # 2. For each batch: the loss; old gradients away; new gradients; one step.
    # 3. Keep the sum of the losses of all images, and how many images there were.
    ### BEGIN SOLUTION
    model.train()
    total, count = 0.0, 0
    for x in batches:
        value, *_ = loss(model, x)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.item() * len(x)
        count += len(x)
    return total / count
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
    see="chapter 3, 'Exercise 9: new faces'",
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

diagnose = FreeText(
    "vae.diagnose",
    "Six runs, A to F, have one mistake each: the loop is left after the first batch; the noise is "
    "drawn once and used for every image; the loss of an epoch is divided by the batch size; the "
    "cross-entropy is averaged over pixels; the cross-entropy is summed over the batch and the KL "
    "is averaged; the weights are initialized by a loop over names that finds none. Which letter "
    "is which? Give a reason for each.",
    "Half a point for each right pair of letter and reason, two points at most. A: the noise that "
    "is drawn once (reports less than the right program, the true loss is far above it). B: the "
    "mean over pixels (reports less than 1, KL 0). C: the loop that is left early (all losses "
    "high, falling slowly). D: the sum over the batch (huge report, large KL). E: the division by "
    "the batch size (only the report is wrong). F: the loop over names (all numbers are right).",
    2,
)
reduction = FreeText(
    "vae.reduction",
    "A report gives a test loss of 4,248,709 for its faces of 218x178 pixels, 'per batch of 64, "
    "summed'. A friend reports 0.57 for the same model. What might both have measured? What must "
    "you know before you compare either number with a third one?",
    "One point: 4,248,709 / 64 = 66,386 nats per image; divided by 3 * 218 * 178 that is 0.570 "
    "nats per pixel and color, so the friend averages over pixels. One point: the target (gray "
    "or binary, and its entropy floor), beta, and whether the KL is in the number and reduced in "
    "the same way.",
    2,
)
blur = FreeText(
    "vae.blur",
    "You double the size of the decoder and train twice as long, with L = 3. Will the "
    "reconstructions become sharp? Which measurement of this chapter supports your answer?",
    "One point: no, because the best decoder answers with the mean of all images that share the "
    "code, and the model is already close to it: its sharpness is 0.23, that of the conditional "
    "mean 0.25. One point: only a code that holds more can be sharper; three numbers with noise "
    "tell apart only as many groups as their 12.5 nats allow.",
    2,
)
prior = FreeText(
    "vae.prior",
    "New faces of L = 100 are softer than its reconstructions and differ less from each other, "
    "although the decoder is the same. Why?",
    "One point: a reconstruction decodes a code from q(z|x), a new face one from p(z); the "
    "decoder was trained on the former only. One point: the codes of the data (the aggregated "
    "posterior) leave parts of the prior empty, and independent draws combine features that no "
    "training image had together.",
    2,
)
