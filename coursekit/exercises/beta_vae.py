"""Exercises of the chapter on the beta-VAE: its loss, its code, and posterior collapse."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from coursekit.exercises import FreeText, gradients, rand, randn, record, untouched, values


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
    see="chapter 4, 'Exercise 6: free bits'",
    forbids=("coursekit.objectives.free_bits", "coursekit.objectives.elbo_from_distributions"),
)
def free_bits(kl, floor):
    """The KL, with a floor of `floor` nats in each dimension.

    kl: (B, L), the KL of each image and dimension, in nats. floor: >= 0. Returns: a scalar.
    """
    # 1. Average over the batch. 2. The larger of that and the floor. 3. Sum.
    ### BEGIN SOLUTION
    return kl.mean(dim=0).clamp(min=floor).sum()
    ### END SOLUTION


def _upto(n: int, g: Generator) -> int:
    return int(torch.randint(n, (), generator=g))


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
            "(activity > threshold).sum()": "You return the number only: return the activity, too.",
        },
    },
    hints=(
        "A dimension that says nothing about the image has the same mean for every image.",
        "The variance is over the images, dim=0. torch's var divides by N - 1. Compare with the "
        "threshold and count.",
        "A comparison gives True or False per dimension; the sum of those is their number.",
    ),
    explanation="A collapsed dimension has the same mean for every image, so its variance is 0.",
    see="chapter 4, 'Exercise 5: active units'",
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
    see="chapter 4, 'Exercise 3: the mutual information gap'",
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


def _patterns(g: Generator) -> tuple[Tensor, float, float]:
    """Patterns above and below the weight, none near it."""
    noise, beta = 0.3 + 0.5 * rand(g).item(), 1 + 9 * rand(g).item()
    ratio = torch.tensor([0.2, 0.6, 1.8, 5.0, 30.0])[torch.randperm(5, generator=g)]
    variance = ratio * (1 + 0.2 * rand(g, 5)) * beta * noise**2
    return (variance - noise**2).clamp(min=0.01), noise, beta


@record(
    "beta_vae.rates",
    inputs=_patterns,
    tests=(
        values(2, "gives the rate of each dimension at this beta"),
        values(
            name="holds where a pattern is absent",
            hidden="Try signal = 0 at beta = 1: a pattern without signal gets a rate of 0.",
            inputs=lambda g: (torch.tensor([0.0, 2.0]) + 0 * rand(g, 2), 0.5, 1.0),
        ),
        untouched(),
    ),
    mistakes={
        "signal + noise**2": {
            "signal": "The images vary along a pattern by signal + noise^2, not by the signal "
            "alone: the noise is in the images, too.",
            "signal + beta * noise**2": "beta belongs below the fraction only: the variance of the "
            "images is signal + noise^2, whatever beta is.",
            "signal + noise": "noise is a standard deviation; the variance is its square.",
        },
        "0.5 * ": {
            "": "You are off by a factor of 2: differentiate exp(-2 R) once more.",
        },
        "(beta * noise**2)": {
            "noise**2": "beta is not used: at a higher beta each dimension keeps less.",
            "(2 * beta * noise**2)": "Your slope is too small by a factor of 2: the derivative of "
            "exp(-2 R) / (2 noise^2) is -exp(-2 R) / noise^2.",
            "(beta**2 * noise**2)": "beta enters once, not squared: set the slope to -beta.",
            "beta": "noise is missing: the distortion is the squared error over 2 noise^2.",
        },
        ".clamp(min=0)": {
            "": "A rate is never negative. What is the best rate where even the first nat saves "
            "less than it costs?",
            ".clamp(min=1)": "You raise small rates to 1. The least possible rate is 0.",
        },
    },
    hints=(
        "The best rate is where one more nat saves exactly what it costs. What is the derivative "
        "of the distortion by the rate?",
        "The derivative is -(signal + noise^2) exp(-2 R) / noise^2. Set it to -beta and solve for "
        "R. Then look at what your formula gives for a weak signal.",
        "R is half the logarithm of the images' variance along the pattern over beta times the "
        "noise's variance; where that is negative, the best rate is 0.",
    ),
    explanation="A dimension stays only while its first nat saves more than beta nats.",
    see="chapter 4, 'Exercise 2: which dimensions survive?'",
    forbids=("coursekit.models.linear_gaussian.optimum",),
    fair=("detached",),  # a prediction: nobody differentiates it
)
def rates(signal, noise, beta):
    """The best rate of each latent dimension of a linear beta-VAE, in nats.

    signal: (L,), the variance that each factor gives the images along its pattern.
    noise: the standard deviation of the likelihood, which is also that of the images' noise.
    beta: the weight of the rate, > 0. Returns: (L,), none negative.
    """
    # 1. The variance of the images along each pattern: signal and noise.
    # 2. The rate at which one more nat saves as much distortion as it costs.
    # 3. Where even the first nat costs more than it saves?
    ### BEGIN SOLUTION
    variance = signal + noise**2
    return 0.5 * torch.log(variance / (beta * noise**2)).clamp(min=0)
    ### END SOLUTION


def _codes(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draws of posteriors whose means are correlated."""
    means = randn(g, 12, 3) @ (torch.eye(3) + 0.7 * rand(g, 3, 3))
    logvar = -1 - rand(g, 12, 3)
    return means + torch.exp(logvar / 2) * randn(g, 12, 3), means, logvar


@record(
    "beta_vae.total_correlation",
    inputs=_codes,
    tests=(
        values(2, "estimates the total correlation of the batch"),
        gradients(),
        values(
            name="holds far from all other images",
            hidden="Try posteriors that are narrow and far apart: sum densities by logsumexp.",
            inputs=lambda g: tuple(
                scale * part + add
                for part, scale, add in zip(_codes(g), (40, 40, 1), (0, 0, -1), strict=True)
            ),
        ),
        untouched(),
    ),
    mistakes={
        "q.log_prob(z[:, None])": {
            "q.log_prob(z)[None]": "You evaluate each draw under its own posterior only. q(z) is "
            "the average over the posteriors of all images: that takes a (B, B, L) tensor.",
        },
        "logvar / 2": {
            "logvar": "logvar is log sigma^2; the standard deviation is exp(logvar / 2)."
        },
        "log_q.sum(dim=2).logsumexp(dim=1) - log_n": {
            "log_q.sum(dim=2).logsumexp(dim=0) - log_n": "The average is over the images j, the "
            "posteriors; you average over the draws i.",
            "log_q.sum(dim=2).logsumexp(dim=1)": "log B is missing in the joint density: q(z) is "
            "an average over the images, not a sum.",
            "log_q.sum(dim=2).mean(dim=1)": "You average logarithms. q(z) is the average of the "
            "densities: logsumexp over the images, minus log B.",
        },
        "(log_q.logsumexp(dim=1) - log_n).sum(dim=1)": {
            "log_q.logsumexp(dim=1).sum(dim=1) - log_n": "Each of the L marginals is an average of "
            "its own: subtract log B in each dimension.",
            "log_q.logsumexp(dim=1).sum(dim=1)": "log B is missing in the marginals.",
        },
        "log_q.sum(dim=2).logsumexp(dim=1) - log_n\n"
        "    marginals = (log_q.logsumexp(dim=1) - log_n).sum(dim=1)": {
            "log_q.sum(dim=2).mean(dim=1)\n    marginals = log_q.mean(dim=1).sum(dim=1)": "Your "
            "two terms are equal. An average of logarithms is not the logarithm of an average: "
            "take logsumexp over the posteriors j of all images, minus log B.",
            "log_q.sum(dim=2).logsumexp(dim=0) - log_n\n"
            "    marginals = (log_q.logsumexp(dim=0) - log_n).sum(dim=1)": "You average over the "
            "draws i. The average is over the posteriors j of the images.",
        },
        "joint - marginals": {
            "marginals - joint": "The sign is flipped: it is the joint density over the product.",
            "joint": "The product of the marginals is missing.",
        },
        ").mean()": {
            ").sum()": "You sum over the draws; the expectation is their average.",
            ")": "You return one number per draw: average them.",
        },
    },
    hints=(
        "Begin with the log-density of draw i under the posterior of image j in dimension l, for "
        "all i, j and l at once: a (B, B, L) tensor. z[:, None] has shape (B, 1, L).",
        "q(z) of a draw: first sum the log-densities over l, then average the densities over j. "
        "q(z_l): average over j first, each l for itself. An average of densities, given as "
        "logarithms, is logsumexp minus log B.",
        "Sum dim=2 and take logsumexp over dim=1 for the joint density; take logsumexp over dim=1 "
        "and then sum the L results for the product. Both with log B subtracted, L times in the "
        "product. The average difference is the answer.",
    ),
    explanation="For the joint density, dimensions are combined before images; for the marginals, "
    "after.",
    see="chapter 4, 'Exercise 4: total correlation'",
    forbids=(
        "coursekit.objectives.total_correlation",
        "coursekit.objectives.tcvae_loss",
    ),
)
def total_correlation(z, mu, logvar):
    """The total correlation of the code of a batch, in nats.

    z, mu, logvar: (B, L). Row i of z is a draw from q(z|x_i) = N(mu_i, exp(logvar_i)).
    q(z) is the average of the B posteriors, and so is each q(z_l). Returns: a scalar.
    """
    # 1. The log-density of draw i under the posterior of image j, in each dimension: (B, B, L).
    # 2. log q(z) of each draw, (B,): which comes first, the sum over l or the average over j?
    # 3. The sum over l of log q(z_l), (B,).
    # 4. The average difference.
    ### BEGIN SOLUTION
    q = torch.distributions.Normal(mu, torch.exp(logvar / 2))
    log_q = q.log_prob(z[:, None])
    log_n = math.log(len(z))
    joint = log_q.sum(dim=2).logsumexp(dim=1) - log_n
    marginals = (log_q.logsumexp(dim=1) - log_n).sum(dim=1)
    return (joint - marginals).mean()
    ### END SOLUTION


# --- questions answered in prose ----------------------------------------------------------------

experiment = FreeText(
    "beta_vae.experiment",
    question=(
        "Choose one factor (x, y or scale). At which beta does the code lose it? Write down your "
        "hypothesis and its reason before you run anything; then measure with at least four values "
        "of beta and three seeds, and say what you found, with the spread over the seeds."
    ),
    rubric=(
        "One point for a hypothesis with a reason that was written first, such as the distortion "
        "that the factor saves. One point for a measure that fits the question (information or "
        "rank correlation of the best dimension, beside the same number of shuffled codes) and "
        "values of beta on both sides of the loss. One point for a conclusion that compares the "
        "effect with the spread over seeds and says whether the hypothesis held; a hypothesis that "
        "failed gets full marks."
    ),
    points=3,
)

comparison = FreeText(
    "beta_vae.comparison",
    question=(
        "A paper reports a lower D + beta R at beta = 4 than yours at beta = 1. Is it a better "
        "model? What would you ask for?"
    ),
    rubric=(
        "One point: on the same images, target (gray or binary) and reduction, yes: "
        "D + R <= D + 4 R, so its negative ELBO is below yours. (A higher D + 4 R would say "
        "nothing.) One point for asking for the target, the reduction, and D and R separately."
    ),
    points=2,
)

axes = FreeText(
    "beta_vae.axes",
    question=(
        "In the linear model, equal variances leave no axes. The hearts' x and y have the same "
        "range and move as many pixels, and still a beta-TCVAE can find both. What is different?"
    ),
    rubric=(
        "One point: in the linear model the codes of all images together are Gaussian, whose "
        "rotations are all alike, so that every rotation has independent dimensions. One point: "
        "x and y are uniform on a square. After a rotation by 45 degrees they depend on each "
        "other (where one is at its extreme, the other must be 0), which the total correlation "
        "counts; so only the square's own axes make it 0."
    ),
    points=2,
)

labels = FreeText(
    "beta_vae.labels",
    question=(
        "You have no labels and want a disentangled code. What can you use to choose beta and the "
        "seed, and what can you not use?"
    ),
    rubric=(
        "One point: rate, distortion, reconstructions, total correlation, and how alike the codes "
        "of several seeds are; a few labeled images, if they can be had. One point: how well the "
        "images are explained says nothing about axes, because a rotated code explains them as "
        "well; without labels or an assumption about the factors no choice works everywhere "
        "(Locatello et al., 2019)."
    ),
    points=2,
)
