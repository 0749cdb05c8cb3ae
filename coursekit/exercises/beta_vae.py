"""Exercises of the chapter on the beta-VAE: its loss, schedules, and what its code holds."""

import torch
from torch import Generator, Tensor
from torch.distributions import Bernoulli, Normal
from torch.distributions import kl_divergence as divergence

from coursekit.exercises._decorated import Exercise

# --- beta_vae.loss ------------------------------------------------------------------------------

loss = Exercise(
    "beta_vae.loss",
    "beta_vae_loss",
    contract=(
        "beta_vae_loss(x, logits, mu, logvar, beta): x (B, C, H, W) in [0, 1], logits of the same "
        "shape, mu and logvar (B, L). Returns (loss, reconstruction, kl) in nats, averaged over "
        "the batch: two scalars and kl of shape (L,), the KL of each latent dimension; "
        "loss = reconstruction + beta * the sum of kl."
    ),
    hints=(
        "The loss of the last chapter, but stop before you add up the dimensions of the KL: "
        "first average each over the batch.",
        "The KL of one image and one dimension is (mu^2 + sigma^2 - 1 - logvar) / 2, a (B, L) "
        "tensor. mean(dim=0) leaves (L,). beta weights the sum of these.",
        "reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction='sum') / len(x); "
        "kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).mean(dim=0); "
        "return reconstruction + beta * kl.sum(), reconstruction, kl",
    ),
    see="chapter 4, 'Exercise 1: the loss, dimension by dimension'",
    forbids=(
        "coursekit.objectives.negative_elbo",
        "coursekit.objectives.elbo_from_distributions",
        "coursekit.objectives.kl_by_dimension",
        "coursekit.objectives.kl_divergence",
    ),
)

Loss = tuple[Tensor, Tensor, Tensor]


@loss.inputs
def _batch(g: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    x = torch.rand(4, 1, 5, 6, generator=g)
    logits = 2 * torch.randn(4, 1, 5, 6, generator=g)
    mu, logvar = torch.randn(4, 3, generator=g), torch.randn(4, 3, generator=g)
    return x, logits, mu, logvar, 2 + 6 * float(torch.rand((), generator=g))


def _one_image(g: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """One colored image with pixels of 0 and 1, logits up to 100, one latent dimension, beta 0."""
    x = torch.rand(1, 3, 4, 4, generator=g).round()
    logits = 100 * torch.rand(1, 3, 4, 4, generator=g) - 50
    return x, logits, torch.randn(1, 1, generator=g), torch.randn(1, 1, generator=g), 0.0


@loss.reference
def _loss(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    log_p = Bernoulli(logits=logits, validate_args=False).log_prob(x)
    reconstruction = -log_p.sum((1, 2, 3)).mean()
    kl = divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).mean(0)
    return reconstruction + beta * kl.sum(), reconstruction, kl


loss.values("gives the loss and its parts, in nats", points=2)
loss.gradients("lets the gradient through", wrt=("logits", "mu", "logvar"))
loss.values(
    "holds for one image, one latent dimension and beta = 0",
    hidden=True,
    hint="Try one color image, mu and logvar of shape (1, 1), beta = 0 and logits of 50 and -50.",
    inputs=_one_image,
)
loss.untouched()


@loss.wrong("beta is not used: it weights the KL.")
def beta_not_used(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    return _loss(x, logits, mu, logvar, 1.0)


@loss.wrong("You weight the reconstruction by beta; it belongs to the KL.")
def beta_on_the_reconstruction(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float
) -> Loss:
    _, reconstruction, kl = _loss(x, logits, mu, logvar, beta)
    return beta * reconstruction + kl.sum(), reconstruction, kl


@loss.wrong("Your kl carries beta already. Return the KL itself; beta stands in the loss only.")
def weighted_kl(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    total, reconstruction, kl = _loss(x, logits, mu, logvar, beta)
    return total, reconstruction, beta * kl


@loss.wrong("You averaged the KL over the latent dimensions in the loss; they must be summed.")
def kl_averaged(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    _, reconstruction, kl = _loss(x, logits, mu, logvar, beta)
    return reconstruction + beta * kl.mean(), reconstruction, kl


@loss.wrong(
    "The cross-entropy is averaged over the pixels; it must be summed. As it stands, your beta is "
    "larger than it says by the number of pixels."
)
def pixels_averaged(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    _, reconstruction, kl = _loss(x, logits, mu, logvar, beta)
    reconstruction = reconstruction / x[0].numel()
    return reconstruction + beta * kl.sum(), reconstruction, kl


@loss.wrong("Everything is summed over the batch; it must be averaged.")
def summed_over_the_batch(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float
) -> Loss:
    total, reconstruction, kl = _loss(x, logits, mu, logvar, beta)
    return total * len(x), reconstruction * len(x), kl * len(x)


@loss.wrong("Your KL is summed over the batch; it must be averaged, as the reconstruction is.")
def kl_summed_over_the_batch(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float
) -> Loss:
    _, reconstruction, kl = _loss(x, logits, mu, logvar, beta)
    kl = kl * len(x)
    return reconstruction + beta * kl.sum(), reconstruction, kl


@loss.wrong("You return one KL for all dimensions: keep them apart, as a tensor (L,).")
def kl_already_summed(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    total, reconstruction, kl = _loss(x, logits, mu, logvar, beta)
    return total, reconstruction, kl.sum()


@loss.wrong("You return one KL for each image; wanted is one for each latent dimension, (L,).")
def kl_of_each_image(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    total, reconstruction, _ = _loss(x, logits, mu, logvar, beta)
    return total, reconstruction, _terms(mu, logvar).sum(1)


@loss.wrong("You took logvar for log sigma. It is log sigma^2, so sigma^2 = exp(logvar).")
def log_sigma(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    return _loss(x, logits, mu, 2 * logvar, beta)


@loss.wrong("Your loss subtracts the KL: the loss is minus the bound, so both parts are added.")
def kl_subtracted(x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, beta: float) -> Loss:
    _, reconstruction, kl = _loss(x, logits, mu, logvar, beta)
    return reconstruction - beta * kl.sum(), reconstruction, kl


def _terms(mu: Tensor, logvar: Tensor) -> Tensor:
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar)


# --- beta_vae.free_bits -------------------------------------------------------------------------

free = Exercise(
    "beta_vae.free_bits",
    "free_bits",
    contract=(
        "free_bits(kl, floor): kl (B, L), the KL of each image and latent dimension in nats; "
        "floor >= 0 in nats. Returns a scalar: average each dimension over the batch, raise it to "
        "`floor` where it is lower, and sum over the dimensions."
    ),
    hints=(
        "Three operations: an average, a maximum, a sum. The order decides.",
        "The average is over the batch, dim=0, and comes first. Then each of the L numbers is at "
        "least `floor`: clamp(min=...).",
        "return kl.mean(dim=0).clamp(min=floor).sum()",
    ),
    see="chapter 4, 'Exercise 5: free bits'",
    forbids=("coursekit.objectives.free_bits", "coursekit.objectives.elbo_from_distributions"),
)


@free.inputs
def _kls(g: Generator) -> tuple[Tensor, float]:
    """Dimensions below and above the floor, each with images on both sides of it."""
    floor = 0.4 + 0.4 * float(torch.rand((), generator=g))
    scale = floor * torch.tensor([0.1, 0.6, 1.6, 3.0, 0.5])
    spread = torch.tensor([0.2, 0.4, 1.0, 1.6, 2.2, 0.6]).repeat(5, 1)  # averages to 1
    order = torch.rand(5, 6, generator=g).argsort(dim=1)
    return (spread.gather(1, order) * scale[:, None]).T.contiguous(), floor


def _no_floor(g: Generator) -> tuple[Tensor, float]:
    return torch.rand(1, 4, generator=g), 0.0


@free.reference
def _free(kl: Tensor, floor: float) -> Tensor:
    return torch.maximum(kl.mean(0), torch.full_like(kl[0], floor)).sum()


free.values("sums the dimensions, none below the floor", points=2)
free.gradients("sends a gradient to the dimensions above the floor only", wrt=("kl",))
free.values(
    "holds for floor = 0 and a single image",
    hidden=True,
    hint="With floor = 0 and kl of shape (1, L), the result is the plain sum.",
    inputs=_no_floor,
)
free.untouched()


@free.wrong(
    "You raise the KL of each image to the floor, then average. Average over the batch first: "
    "the floor is for the dimension, not for each image."
)
def floor_for_each_image(kl: Tensor, floor: float) -> Tensor:
    return kl.clamp(min=floor).mean(0).sum()


@free.wrong("You cut from above: free bits take the larger of KL and floor, not the smaller.")
def cut_from_above(kl: Tensor, floor: float) -> Tensor:
    return kl.mean(0).clamp(max=floor).sum()


@free.wrong(
    "You subtract the floor: max(0, KL - floor). The gradients agree, but the value is L * floor "
    "too low; free bits is max(floor, KL)."
)
def floor_subtracted(kl: Tensor, floor: float) -> Tensor:
    return (kl.mean(0) - floor).clamp(min=0).sum()


@free.wrong("You average over the dimensions at the end; they must be summed.")
def averaged_over_dimensions(kl: Tensor, floor: float) -> Tensor:
    return kl.mean(0).clamp(min=floor).mean()


@free.wrong("You sum over the batch before the floor; it must be averaged.")
def batch_summed(kl: Tensor, floor: float) -> Tensor:
    return kl.sum(0).clamp(min=floor).sum()


@free.wrong(
    "No dimension is raised to the floor: it is not used, or it is compared with the sum of all "
    "dimensions. Each dimension has its own."
)
def floor_not_used(kl: Tensor, floor: float) -> Tensor:
    return kl.mean(0).sum()


@free.wrong("You add the floor. It is a lower limit: the larger of KL and floor.")
def floor_added(kl: Tensor, floor: float) -> Tensor:
    return (kl.mean(0) + floor).sum()


@free.wrong("You average over the latent dimensions (dim=1); the batch is dim=0.")
def wrong_axis(kl: Tensor, floor: float) -> Tensor:
    return kl.mean(1).clamp(min=floor).sum()


@free.wrong("You return one number for each dimension: sum them.")
def not_summed(kl: Tensor, floor: float) -> Tensor:
    return kl.mean(0).clamp(min=floor)


# --- beta_vae.cyclical --------------------------------------------------------------------------

cyclical = Exercise(
    "beta_vae.cyclical",
    "cyclical_schedule",
    contract=(
        "cyclical_schedule(steps, cycles, ramp): returns a float tensor (steps,), beta at the "
        "steps 0, 1, ..., steps - 1. The steps fall into `cycles` equal cycles (steps is a "
        "multiple of cycles). In each, beta rises in a line from 0, its value at the first step, "
        "to 1 over the share `ramp` of the cycle, 0 < ramp <= 1, and stays 1 for the rest."
    ),
    hints=(
        "Find out how far into its cycle a step is, as a share between 0 and 1. Everything else "
        "follows from this one number.",
        "A cycle has steps / cycles steps; `%` gives the place in the cycle. The line reaches 1 "
        "where the share is `ramp`; after that it must not go on.",
        "length = steps // cycles; share = (torch.arange(steps) % length) / length; "
        "return (share / ramp).clamp(max=1)",
    ),
    see="chapter 4, 'Exercise 4: a schedule for beta'",
    forbids=(
        "coursekit.objectives.cyclical_annealing",
        "coursekit.objectives.linear_annealing",
        "coursekit.objectives.schedules.cyclical_annealing",
        "coursekit.objectives.schedules.linear_annealing",
    ),
)


@cyclical.inputs
def _cycles(g: Generator) -> tuple[int, int, float]:
    """Cycles are powers of two: a cycle's first step is then exact in any arithmetic."""
    cycles = (2, 4)[_upto(2, g)]
    return cycles * (8 + _upto(20, g)), cycles, (0.25, 0.6, 0.75)[_upto(3, g)]


def _linear(g: Generator) -> tuple[int, int, float]:
    return 3 + _upto(50, g), 1, 1.0


def _upto(n: int, g: Generator) -> int:
    return int(torch.randint(n, (), generator=g))


@cyclical.reference
def _cyclical(steps: int, cycles: int, ramp: float) -> Tensor:
    length = steps // cycles
    return torch.tensor([min(1.0, (step % length) / (ramp * length)) for step in range(steps)])


cyclical.values("rises, stays at 1 and starts anew in every cycle", points=2)
cyclical.values(
    "becomes linear annealing with one cycle and ramp = 1",
    hidden=True,
    hint="With cycles = 1 and ramp = 1, beta is step / steps.",
    inputs=_linear,
)


@cyclical.wrong("`ramp` is not used: your beta rises through all of the cycle.")
def rises_all_the_way(steps: int, cycles: int, ramp: float) -> Tensor:
    return _cyclical(steps, cycles, 1.0)


@cyclical.wrong("Your beta never starts anew: there is one cycle only.")
def one_cycle(steps: int, cycles: int, ramp: float) -> Tensor:
    return _cyclical(steps, 1, ramp)


@cyclical.wrong("Your line goes on above 1: beta stays at 1 once it is there.")
def not_clipped(steps: int, cycles: int, ramp: float) -> Tensor:
    length = steps // cycles
    return (torch.arange(steps) % length) / (ramp * length)


@cyclical.wrong("After the ramp your beta is 0; it must stay at 1 until the cycle ends.")
def falls_to_zero(steps: int, cycles: int, ramp: float) -> Tensor:
    length = steps // cycles
    share = (torch.arange(steps) % length) / length
    return torch.where(share < ramp, share / ramp, torch.zeros(()))


@cyclical.wrong(
    "Your ramp is a share of all steps; it is a share of a cycle, so that every cycle reaches 1."
)
def ramp_of_all_steps(steps: int, cycles: int, ramp: float) -> Tensor:
    return ((torch.arange(steps) % (steps // cycles)) / (ramp * steps)).clamp(max=1)


@cyclical.wrong("Your beta rises during the share 1 - ramp: `ramp` is the share that rises.")
def share_that_stays(steps: int, cycles: int, ramp: float) -> Tensor:
    return _cyclical(steps, cycles, 1 - ramp)


@cyclical.wrong("You are one step ahead: at the first step of a cycle beta is 0.")
def one_step_ahead(steps: int, cycles: int, ramp: float) -> Tensor:
    length = steps // cycles
    return ((torch.arange(steps) % length + 1) / (ramp * length)).clamp(max=1)


@cyclical.wrong("Your schedule is upside down: beta falls from 1 to 0.")
def upside_down(steps: int, cycles: int, ramp: float) -> Tensor:
    return 1 - _cyclical(steps, cycles, ramp)


@cyclical.wrong("You return one cycle; wanted is beta at all steps, (steps,).")
def only_the_first_cycle(steps: int, cycles: int, ramp: float) -> Tensor:
    return _cyclical(steps // cycles, 1, ramp)


# --- beta_vae.active_units ----------------------------------------------------------------------

active = Exercise(
    "beta_vae.active_units",
    "active_units",
    contract=(
        "active_units(mu, threshold): mu (N, L), the posterior means of N >= 2 images. Returns "
        "(active, activity): activity (L,) is the variance of each dimension's mean over the "
        "images (divide by N - 1), active the number of dimensions whose activity is above "
        "threshold."
    ),
    hints=(
        "A dimension that says nothing about the image has the same mean for every image.",
        "The variance is over the images, dim=0. torch's var divides by N - 1. Compare with the "
        "threshold and count.",
        "activity = mu.var(dim=0); return (activity > threshold).sum(), activity",
    ),
    see="chapter 4, 'Exercise 3: active units'",
    forbids=("coursekit.metrics.active_units",),
)


@active.inputs
def _means(g: Generator) -> tuple[Tensor, float]:
    """Columns of known spread around a mean that is not 0, some on each side of any threshold."""
    noise = torch.randn(30, 6, generator=g)
    noise = (noise - noise.mean(0)) / noise.std(0)
    spread = torch.tensor([1.1, 0.3, 0.15, 0.07, 0.02, 0.0])[torch.randperm(6, generator=g)]
    return spread * noise + torch.randn(6, generator=g), (0.003, 0.05)[_upto(2, g)]


def _two_images(g: Generator) -> tuple[Tensor, float]:
    return torch.randn(2, 1, generator=g), 0.01


@active.reference
def _active(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    centered = mu - mu.mean(0)
    activity = centered.square().sum(0) / (len(mu) - 1)
    return torch.tensor(float((activity > threshold).sum())), activity


active.values("returns the number of active dimensions and their activity", points=2)
active.values(
    "holds for two images and one dimension",
    hidden=True,
    hint="Try mu of shape (2, 1): divide by N - 1 = 1.",
    inputs=_two_images,
)
active.untouched()


@active.wrong("You return the standard deviation; the activity is the variance.")
def standard_deviation(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    return _counted(mu.std(0), threshold)


@active.wrong("You divide by N; the contract asks for N - 1, which has no bias.")
def divided_by_n(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    return _counted(mu.var(0, correction=0), threshold)


@active.wrong("You took the variance over the dimensions (dim=1); the images are dim=0.")
def over_dimensions(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    return _counted(mu.var(1), threshold)


@active.wrong(
    "You took the mean of mu^2, which is not 0 for a dimension that is constant. Subtract the "
    "mean first."
)
def not_centered(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    return _counted(mu.square().mean(0), threshold)


@active.wrong("`threshold` is not used: you compare with 0.01.")
def fixed_threshold(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    return _counted(mu.var(0), 0.01)


@active.wrong("You counted the dimensions that are NOT active.")
def inactive(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    count, activity = _active(mu, threshold)
    return mu.shape[1] - count, activity


@active.wrong("You return the share of active dimensions; wanted is their number.")
def share(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    count, activity = _active(mu, threshold)
    return count / mu.shape[1], activity


@active.wrong("You return which dimensions are active; wanted is how many.")
def mask(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    activity = mu.var(0)
    return activity > threshold, activity


@active.wrong("The order is turned round: first the number, then the activity.")
def order_turned(mu: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    count, activity = _counted(mu.var(0), threshold)
    return activity, count


def _counted(activity: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    return (activity > threshold).sum(), activity


# --- beta_vae.mig -------------------------------------------------------------------------------

gap = Exercise(
    "beta_vae.mig",
    "mig",
    contract=(
        "mig(information, entropy): information (L, F), the mutual information of each of L >= 2 "
        "latent dimensions with each of F factors; entropy (F,), the factors' entropies; all in "
        "nats. Returns a scalar: for each factor the largest information minus the second "
        "largest, over the factor's entropy; averaged over the factors."
    ),
    hints=(
        "Work factor by factor: which two latent dimensions know most about it?",
        "Sort the columns: information.sort(dim=0, descending=True).values has the best "
        "dimensions in row 0, the second best in row 1. Both have shape (F,).",
        "top = information.topk(2, dim=0).values; return ((top[0] - top[1]) / entropy).mean()",
    ),
    see="chapter 4, 'Exercise 2: the mutual information gap'",
    forbids=("coursekit.metrics.mig", "coursekit.metrics.disentanglement.mig"),
)


@gap.inputs
def _matrix(g: Generator) -> tuple[Tensor, Tensor]:
    entropy = 1 + 2 * torch.rand(4, generator=g)
    return torch.rand(6, 4, generator=g) * entropy, entropy


def _two_dimensions(g: Generator) -> tuple[Tensor, Tensor]:
    """Two dimensions, and a factor that both know equally well: its gap is 0."""
    entropy = 1 + torch.rand(2, generator=g)
    information = torch.rand(2, 2, generator=g) * entropy
    information[1, 0] = information[0, 0]
    return information, entropy


@gap.reference
def _gap(information: Tensor, entropy: Tensor) -> Tensor:
    top = information.topk(2, dim=0).values
    return ((top[0] - top[1]) / entropy).mean()


gap.values("averages the gap of each factor, as a share of its entropy", points=2)
gap.values(
    "holds for two dimensions that know a factor equally well",
    hidden=True,
    hint="If two dimensions have the same information about a factor, its gap is 0.",
    inputs=_two_dimensions,
)
gap.untouched()


@gap.wrong("The gap is missing: subtract the information of the second best dimension.")
def best_alone(information: Tensor, entropy: Tensor) -> Tensor:
    return (information.amax(0) / entropy).mean()


@gap.wrong("You do not divide by the entropy: factors with many values would count for more.")
def without_entropy(information: Tensor, entropy: Tensor) -> Tensor:
    top = information.topk(2, dim=0).values
    return (top[0] - top[1]).mean()


@gap.wrong("You subtract the worst dimension; wanted is the second best.")
def best_and_worst(information: Tensor, entropy: Tensor) -> Tensor:
    return ((information.amax(0) - information.amin(0)) / entropy).mean()


@gap.wrong("You subtract the average of the dimensions; wanted is the second best alone.")
def best_and_average(information: Tensor, entropy: Tensor) -> Tensor:
    return ((information.amax(0) - information.mean(0)) / entropy).mean()


@gap.wrong("You subtract the first two rows without sorting the columns.")
def unsorted(information: Tensor, entropy: Tensor) -> Tensor:
    return ((information[0] - information[1]) / entropy).mean()


@gap.wrong("You sum over the factors; average them, so that 1 is the best score.")
def summed(information: Tensor, entropy: Tensor) -> Tensor:
    return _gap(information, entropy) * len(entropy)


@gap.wrong("You return one gap for each factor: average them.")
def each_factor(information: Tensor, entropy: Tensor) -> Tensor:
    top = information.topk(2, dim=0).values
    return (top[0] - top[1]) / entropy


@gap.wrong(
    "You divide the average gap by the average entropy. Divide factor by factor, then average."
)
def ratio_of_averages(information: Tensor, entropy: Tensor) -> Tensor:
    top = information.topk(2, dim=0).values
    return (top[0] - top[1]).mean() / entropy.mean()


@gap.wrong("The sign is turned round: the best minus the second best.")
def negative(information: Tensor, entropy: Tensor) -> Tensor:
    return -_gap(information, entropy)


@gap.wrong("You divide by the best information; the contract asks for the factor's entropy.")
def over_the_best(information: Tensor, entropy: Tensor) -> Tensor:
    top = information.topk(2, dim=0).values
    return ((top[0] - top[1]) / top[0]).mean()
