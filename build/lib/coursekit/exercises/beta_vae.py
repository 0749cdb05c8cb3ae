"""Exercises of the chapter on the beta-VAE: its loss, schedules, and what its code holds."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from coursekit.exercises import gradients, rand, randn, record, untouched, values


def _batch(g: Generator) -> tuple[Tensor | float, ...]:
    x, logits = rand(g, 4, 1, 5, 6), 2 * randn(g, 4, 1, 5, 6)
    return x, logits, randn(g, 4, 3), randn(g, 4, 3), 2 + 6 * rand(g).item()


def _one_image(g: Generator) -> tuple[Tensor | float, ...]:
    """One color image with pixels of 0 and 1, logits up to 50, one latent dimension, beta 0."""
    x, logits = rand(g, 1, 3, 4, 4).round(), 100 * rand(g, 1, 3, 4, 4) - 50
    return x, logits, randn(g, 1, 1), randn(g, 1, 1), 0.0


@record(
    "beta_vae.loss",
    inputs=_batch,
    tests=(
        values(2, "gives the loss and its parts, in nats"),
        gradients(wrt=("logits", "mu", "logvar")),
        values(
            name="holds for one image, one latent dimension and beta = 0",
            hidden="Try one color image, mu and logvar of shape (1, 1), beta = 0 and logits of 50 "
            "and -50.",
            inputs=_one_image,
        ),
        untouched(),
    ),
    mistakes={
        'reduction="sum") / len(x)': {
            'reduction="mean")': "The cross-entropy is averaged over the pixels; it must be "
            "summed. As it stands, beta is larger than it says by the number of pixels.",
        },
        "kl =": {"logvar = 2 * logvar; kl =": "logvar is log sigma^2: sigma^2 = exp(logvar)."},
        ".mean(dim=0)": {
            ".sum(dim=0)": "Your KL is summed over the batch; average it, like the reconstruction.",
        },
        "return": {
            "reconstruction, kl = reconstruction * len(x), kl * len(x); return": "Everything is "
            "summed over the batch; it must be averaged.",
        },
        "reconstruction + beta * kl.sum()": {
            "reconstruction + kl.sum()": "beta is not used: it weights the KL.",
            "beta * reconstruction + kl.sum()": "beta must weight the KL, not the reconstruction.",
            "reconstruction - beta * kl.sum()": "The loss is minus the bound: add both parts.",
            "reconstruction + beta * kl.mean()": "Sum the KL over the latent dimensions in the "
            "loss; do not average it.",
        },
        ", reconstruction, kl": {
            ", reconstruction, beta * kl": "Your kl already contains beta. Return the KL itself.",
            ", reconstruction, kl.sum()": "You return one KL for all dimensions; keep them apart.",
            ", reconstruction, 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(dim=1)": "You return "
            "one KL per image. Return one per latent dimension, (L,).",
        },
    },
    hints=(
        "The loss of the last chapter, but stop before you add up the dimensions of the KL: "
        "first average each over the batch.",
        "The KL of one image and one dimension is (mu^2 + sigma^2 - 1 - logvar) / 2, a (B, L) "
        "tensor. mean(dim=0) leaves (L,). beta weights the sum of these.",
        "Divide the summed cross-entropy by the number of images. Add to it beta times the sum of "
        "the L averaged KLs. Return the KLs without beta.",
    ),
    explanation="The KL averaged per dimension says which dimensions carry information.",
    see="chapter 4, 'Exercise 1: the loss, dimension by dimension'",
    forbids=(
        "coursekit.objectives.negative_elbo",
        "coursekit.objectives.elbo_from_distributions",
        "coursekit.objectives.kl_by_dimension",
        "coursekit.objectives.kl_divergence",
    ),
)
def beta_vae_loss(x, logits, mu, logvar, beta):
    """The loss of a beta-VAE and its parts, in nats, averaged over the batch.

    x: (B, C, H, W) in [0, 1]. logits: the same shape. mu, logvar: (B, L), logvar = log sigma^2.
    Returns: (loss, reconstruction, kl): two scalars and kl (L,), one KL per latent dimension;
    loss = reconstruction + beta * the sum of kl.
    """
    # 1. The cross-entropy with logits, summed over pixels, averaged over the batch.
    # 2. The KL of each image and dimension, (B, L); averaged over the batch, (L,).
    # 3. The loss.
    ### BEGIN SOLUTION
    reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).mean(dim=0)
    return reconstruction + beta * kl.sum(), reconstruction, kl
    ### END SOLUTION


def _kls(g: Generator) -> tuple[Tensor, float]:
    """Dimensions below and above the floor, each with images on both sides of it."""
    floor = 0.4 + 0.4 * rand(g).item()
    spread = torch.tensor([0.2, 0.4, 1.0, 1.6, 2.2, 0.6]).repeat(5, 1)  # averages to 1
    shuffled = spread.gather(1, rand(g, 5, 6).argsort(dim=1)).T
    return floor * torch.tensor([0.1, 0.6, 1.6, 3.0, 0.5]) * shuffled, floor


@record(
    "beta_vae.free_bits",
    inputs=_kls,
    tests=(
        values(2, "sums the dimensions, none below the floor"),
        gradients(name="sends a gradient to the dimensions above the floor only"),
        values(
            name="holds for floor = 0 and a single image",
            hidden="With floor = 0 and kl of shape (1, L), the result is the plain sum.",
            inputs=lambda g: (rand(g, 1, 4), 0.0),
        ),
        untouched(),
    ),
    mistakes={
        "kl.mean(dim=0).clamp(min=floor)": {
            "kl.clamp(min=floor).mean(dim=0)": "You raise the KL of each image to the floor. "
            "Average over the batch first: the floor is for the dimension.",
            "(kl.mean(dim=0) - floor).clamp(min=0)": "You subtract the floor. The gradients agree, "
            "but the value is L * floor too low; free bits is max(floor, KL).",
            "(kl.mean(dim=0) + floor)": "You add the floor. It is a lower limit: max(floor, KL).",
            "kl.mean(dim=0)": "No dimension is raised to the floor: it is not used, or it is "
            "compared with the sum of all dimensions. Each dimension has its own.",
        },
        "mean(dim=0)": {
            "sum(dim=0)": "You sum over the batch before the floor; it must be averaged.",
            "mean(dim=1)": "You average over the latent dimensions (dim=1); the batch is dim=0.",
        },
        "min=": {"max=": "You take the smaller of KL and floor; free bits take the larger."},
        ".sum()": {
            ".mean()": "You average over the dimensions at the end; they must be summed.",
            "": "You return one number per dimension: sum them.",
        },
    },
    hints=(
        "Three operations: an average, a maximum, a sum. The order decides.",
        "The average is over the batch and comes first. Then each of the L numbers is raised to "
        "`floor` where it is lower; torch's clamp can do that.",
        "Average dim=0 away, clamp the L averages from below at the floor, and add them up.",
    ),
    explanation="The floor comes after the average, so images may share it unevenly.",
    see="chapter 4, 'Exercise 5: free bits'",
    forbids=("coursekit.objectives.free_bits", "coursekit.objectives.elbo_from_distributions"),
)
def free_bits(kl, floor):
    """The KL with an allowance of `floor` nats per dimension.

    kl: (B, L), the KL of each image and dimension, in nats. floor: >= 0. Returns: a scalar.
    """
    # 1. Average over the batch. 2. The larger of that and the floor. 3. Sum.
    ### BEGIN SOLUTION
    return kl.mean(dim=0).clamp(min=floor).sum()
    ### END SOLUTION


def _upto(n: int, g: Generator) -> int:
    return int(torch.randint(n, (), generator=g))


def _cycles(g: Generator) -> tuple[int, int, float]:
    """Cycles are powers of two: a cycle's first step is then exact in any arithmetic."""
    cycles = (2, 4)[_upto(2, g)]
    return cycles * (8 + _upto(20, g)), cycles, (0.25, 0.6, 0.75)[_upto(3, g)]


@record(
    "beta_vae.cyclical",
    inputs=_cycles,
    tests=(
        values(2, "rises, stays at 1 and starts anew in every cycle"),
        values(
            name="becomes linear annealing with one cycle and ramp = 1",
            hidden="With cycles = 1 and ramp = 1, beta is step / steps.",
            inputs=lambda g: (3 + _upto(50, g), 1, 1.0),
        ),
    ),
    mistakes={
        "steps // cycles": {"steps": "Your beta never starts anew: there is one cycle only."},
        "arange(steps)": {"arange(length)": "You return one cycle; return beta at all steps."},
        "% length)": {"% length + 1)": "You are one step ahead: a cycle starts with beta = 0."},
        "/ length": {"/ steps": "Your ramp is a share of all steps; it is a share of one cycle."},
        "share / ramp": {
            "share": "`ramp` is not used: your beta rises through all of the cycle.",
            "share / (1 - ramp)": "Your beta rises during the share 1 - ramp, not `ramp`.",
        },
        ".clamp(max=1)": {
            "": "Your line rises above 1: beta stays at 1 once it is there.",
            " * (share < ramp)": "After the ramp your beta is 0; it must stay at 1.",
        },
        "return (": {"return 1 - (": "Your schedule is flipped: beta falls from 1 to 0."},
    },
    hints=(
        "Find out how far into its cycle a step is, as a share between 0 and 1. Everything else "
        "follows from this one number.",
        "A cycle has steps / cycles steps; `%` gives the place in the cycle. The line reaches 1 "
        "where the share is `ramp`; after that it must not go on.",
        "Divide the place in the cycle by the cycle's length, the share by `ramp`, and cut at 1.",
    ),
    explanation="The remainder of a division starts anew in every cycle, so no loop is needed.",
    see="chapter 4, 'Exercise 4: a schedule for beta'",
    forbids=(
        "coursekit.objectives.cyclical_annealing",
        "coursekit.objectives.linear_annealing",
        "coursekit.objectives.schedules.cyclical_annealing",
        "coursekit.objectives.schedules.linear_annealing",
    ),
)
def cyclical_schedule(steps, cycles, ramp):
    """beta at each step: (steps,), float, from 0 to 1.

    steps: a multiple of cycles. cycles: how many times beta starts anew at 0.
    ramp: the share of each cycle in which beta rises to 1; for the rest it stays 1. 0 < ramp <= 1.
    """
    # 1. How far each step is into its cycle: a share that starts at 0, and stays below 1.
    # 2. The line that reaches 1 at `ramp`; no more than 1.
    ### BEGIN SOLUTION
    length = steps // cycles
    share = (torch.arange(steps) % length) / length
    return (share / ramp).clamp(max=1)
    ### END SOLUTION


def _means(g: Generator) -> tuple[Tensor, float]:
    """Columns of known spread around a mean that is not 0, some on each side of any threshold."""
    noise = randn(g, 30, 6)
    noise = (noise - noise.mean(0)) / noise.std(0)
    spread = torch.tensor([1.1, 0.3, 0.15, 0.07, 0.02, 0.0])[torch.randperm(6, generator=g)]
    return spread * noise + randn(g, 6), (0.003, 0.05)[_upto(2, g)]


@record(
    "beta_vae.active_units",
    inputs=_means,
    tests=(
        values(2, "returns the number of active dimensions and their activity"),
        values(
            name="holds for two images and one dimension",
            hidden="Try mu of shape (2, 1): divide by N - 1 = 1.",
            inputs=lambda g: (randn(g, 2, 1), 0.01),
        ),
        untouched(),
    ),
    mistakes={
        "mu.var(dim=0)": {
            "mu.std(dim=0)": "You return the standard deviation; the activity is the variance.",
            "mu.var(dim=0, correction=0)": "You divide by N; the contract asks for N - 1.",
            "mu.var(dim=1)": "You took the variance over the dimensions; the images are dim=0.",
            "mu.square().mean(dim=0)": "You took the mean of mu^2, which is not 0 for a dimension "
            "that is constant. Subtract the mean first.",
        },
        "> threshold": {
            "> 0.01": "`threshold` is not used: you compare with 0.01.",
            "<= threshold": "You counted the dimensions that are NOT active.",
        },
        "(activity > threshold).sum()": {
            "(activity > threshold).float().mean()": "You return the share of active dimensions; "
            "return their number.",
            "activity > threshold": "You return which dimensions are active; return how many.",
        },
        "(activity > threshold).sum(), activity": {
            "activity, (activity > threshold).sum()": "The order is flipped: first the number.",
        },
    },
    hints=(
        "A dimension that says nothing about the image has the same mean for every image.",
        "The variance is over the images, dim=0. torch's var divides by N - 1. Compare with the "
        "threshold and count.",
        "A comparison gives True or False per dimension; the sum of those is their number.",
    ),
    explanation="A collapsed dimension has the same mean for every image, so its variance is 0.",
    see="chapter 4, 'Exercise 3: active units'",
    forbids=("coursekit.metrics.active_units",),
    fair=("detached",),  # a metric: nobody differentiates it
)
def active_units(mu, threshold):
    """How many latent dimensions depend on the image.

    mu: (N, L), posterior means of N >= 2 images. threshold: a variance.
    Returns: (active, activity): the number of dimensions with activity > threshold, and the
    activity (L,), the variance over images, with N - 1 in the denominator.
    """
    # 1. The variance of each column.
    # 2. Count.
    ### BEGIN SOLUTION
    activity = mu.var(dim=0)
    return (activity > threshold).sum(), activity
    ### END SOLUTION


def _matrix(g: Generator) -> tuple[Tensor, Tensor]:
    entropy = 1 + 2 * rand(g, 4)
    return rand(g, 6, 4) * entropy, entropy


def _two_dimensions(g: Generator) -> tuple[Tensor, Tensor]:
    """Two dimensions, and a factor that both know equally well: its gap is 0."""
    entropy = 1 + rand(g, 2)
    information = rand(g, 2, 2) * entropy
    information[1, 0] = information[0, 0]
    return information, entropy


@record(
    "beta_vae.mig",
    inputs=_matrix,
    tests=(
        values(2, "averages the gap of each factor, as a share of its entropy"),
        values(
            name="holds for two dimensions that know a factor equally well",
            hidden="If two dimensions have the same information about a factor, its gap is 0.",
            inputs=_two_dimensions,
        ),
        untouched(),
    ),
    mistakes={
        "information.topk(2, dim=0).values": {
            "information[:2]": "You subtract the first two rows without sorting the columns.",
        },
        "best - second": {
            "best": "The gap is missing: subtract the information of the second best dimension.",
            "second - best": "The sign is flipped: it is the best minus the second best.",
            "best - information.amin(dim=0)": "Subtract the second best dimension, not the worst.",
            "best - information.mean(dim=0)": "Subtract the second best dimension alone, not the "
            "average of all.",
        },
        " / entropy": {
            "": "Divide by the entropy, or factors with many values count for more.",
            " / best": "You divide by the best information; divide by the factor's entropy.",
        },
        "((best - second) / entropy).mean()": {
            "(best - second).mean() / entropy.mean()": "You divide the average gap by the average "
            "entropy. Divide factor by factor, then average.",
        },
        ".mean()": {
            ".sum()": "You sum over the factors; average them, so that 1 is the best score.",
            "": "You return one gap per factor: average them.",
        },
    },
    hints=(
        "Work factor by factor: which two latent dimensions know most about it?",
        "Sort the columns in descending order: the best dimensions stand in row 0, the second "
        "best in row 1. Both rows have shape (F,). Or find out what torch's topk does.",
        "Subtract row 1 from row 0, divide factor by factor by the entropy, then average.",
    ),
    explanation="Over the factor's entropy, the gap of a factor lies between 0 and 1.",
    see="chapter 4, 'Exercise 2: the mutual information gap'",
    forbids=("coursekit.metrics.mig", "coursekit.metrics.disentanglement.mig"),
    fair=("detached",),  # a metric: nobody differentiates it
)
def mig(information, entropy):
    """Mutual information gap: 1 is best; 0 if the two best dimensions know equally much.

    information: (L, F), of L >= 2 latent dimensions and F factors, in nats.
    entropy: (F,), of the factors, in nats. Returns: a scalar.
    """
    # 1. The two largest entries of each column.
    # 2. Their difference over the entropy of the factor.
    # 3. The average over the factors.
    ### BEGIN SOLUTION
    best, second = information.topk(2, dim=0).values
    return ((best - second) / entropy).mean()
    ### END SOLUTION
