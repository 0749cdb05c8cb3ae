"""Exercises of the chapter that sets GANs against VAEs: the game, its losses, two measures."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from coursekit.exercises._decorated import Exercise
from coursekit.exercises._exercise import Answer, FreeText
from coursekit.exercises._helpers import Failed, close, tensor

LOSSES = (
    "coursekit.objectives.adversarial.bce_discriminator",
    "coursekit.objectives.adversarial.saturating_generator",
    "coursekit.objectives.adversarial.non_saturating_generator",
)

# --- gan_vs_vae.discriminator -------------------------------------------------------------------

best = Exercise(
    "gan_vs_vae.discriminator",
    "optimal_discriminator",
    contract=(
        "optimal_discriminator(p_data, p_g): densities of the data and of the generator at N "
        "points, (N,) each, >= 0. Returns (N,): the best D at each point, the probability that a "
        "point found there is real. Where both densities are 0, return 1/2."
    ),
    hints=(
        "At one point, D is a single number. Which one maximizes p_data log D + p_g log(1 - D)?",
        "Set the derivative p_data / D - p_g / (1 - D) to 0. Then think of 0 / 0.",
        "total = p_data + p_g; return torch.where(total > 0, p_data / total, 0.5)",
    ),
    see="chapter 10, 'Exercise 1: the best discriminator'",
)


@best.inputs
def _densities(g: Generator) -> tuple[Tensor, Tensor]:
    return 0.05 + 2 * torch.rand(9, generator=g), 0.05 + 2 * torch.rand(9, generator=g)


def _with_gaps(g: Generator) -> tuple[Tensor, Tensor]:
    """Points where one density is 0, and points where both are."""
    p_data, p_g = _densities(g)
    p_data[:4], p_g[2:6] = 0.0, 0.0
    return p_data, p_g


@best.reference
def _best(p_data: Tensor, p_g: Tensor) -> Tensor:
    total = p_data + p_g
    return torch.where(total > 0, p_data / total.clamp(min=1e-30), torch.full_like(p_data, 0.5))


best.values("is the share of the data's density", points=2)
best.gradients("lets the gradient through to both densities")
best.values(
    "holds where one density or both are 0",
    hidden=True,
    hint="Try p_data = [0, 1, 0], p_g = [1, 0, 0]: D is 0, 1 and, where neither is found, 1/2.",
    inputs=_with_gaps,
)
best.untouched()


@best.wrong("This is the probability that the point is generated. D is that of being real.")
def share_of_fakes(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_g / (p_data + p_g)


@best.wrong(
    "p_data / p_g is the ratio of the densities. It can exceed 1; D is p_data / (p_data + p_g)."
)
def ratio(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data / p_g


@best.wrong("This is the logit of D, log p_data - log p_g. D itself is its sigmoid.")
def logit_of_d(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data.log() - p_g.log()


@best.wrong("You decide: 1 where p_data is larger, else 0. D is a probability, and moves evenly.")
def decided(p_data: Tensor, p_g: Tensor) -> Tensor:
    return (p_data > p_g).to(p_data)


@best.wrong("You divide by the mean of the two densities; divide by their sum.")
def over_the_mean(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data / (0.5 * (p_data + p_g))


@best.wrong("You normalize over the points: each stands for itself. Divide by p_data + p_g there.")
def normalized_over_points(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data / (p_data + p_g).sum()


@best.wrong("The sigmoid belongs to log p_data - log p_g, not to the difference of the densities.")
def sigmoid_of_difference(p_data: Tensor, p_g: Tensor) -> Tensor:
    return torch.sigmoid(p_data - p_g)


@best.wrong("You squared the densities. Nothing is squared: D = p_data / (p_data + p_g).")
def squares(p_data: Tensor, p_g: Tensor) -> Tensor:
    return p_data**2 / (p_data**2 + p_g**2)


@best.wrong("The numbers are right, but detached: no gradient would reach the densities.")
def best_detached(p_data: Tensor, p_g: Tensor) -> Tensor:
    return _best(p_data, p_g).detach()


# --- gan_vs_vae.jsd -----------------------------------------------------------------------------

jsd = Exercise(
    "gan_vs_vae.jsd",
    "jensen_shannon",
    contract=(
        "jensen_shannon(p_data, p_g, dx): two densities (N,), >= 0, on an even grid of spacing dx. "
        "Returns the Jensen-Shannon divergence in nats, a scalar: half of KL(p_data || m) plus "
        "half of KL(p_g || m), m the mean of both. An integral is a sum times dx; 0 log 0 is 0, "
        "and where both densities are 0, a point adds nothing."
    ),
    hints=(
        "Write a function for KL first, then call it twice.",
        "KL(p || m) is the sum of p * (log p - log m), times dx, for p = p_data and for p = p_g. "
        "Where p is 0, its logarithm is -inf and 0 * -inf is nan: torch.xlogy(p, p / m) gives 0 "
        "there, if m is not 0.",
        "m = ((p_data + p_g) / 2).clamp(min=1e-30); return 0.5 * dx * "
        "(torch.xlogy(p_data, p_data / m) + torch.xlogy(p_g, p_g / m)).sum()",
    ),
    see="chapter 10, 'Exercise 2: the Jensen-Shannon divergence'",
)


@jsd.inputs
def _grid(g: Generator) -> tuple[Tensor, Tensor, float]:
    """Two densities that integrate to 1, and a grid that is not one of spacing 1."""
    dx = 0.05 + 0.1 * float(torch.rand((), generator=g))
    p_data, p_g = 0.1 + torch.rand(2, 12, generator=g) ** 2
    return p_data / (p_data.sum() * dx), p_g / (p_g.sum() * dx), dx


def _apart(g: Generator) -> tuple[Tensor, Tensor, float]:
    """Supports that do not meet, with a gap between them: the answer is log 2."""
    p_data, p_g, dx = _grid(g)
    p_data[5:], p_g[:8] = 0.0, 0.0
    return p_data / (p_data.sum() * dx), p_g / (p_g.sum() * dx), dx


@jsd.reference
def _jsd(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    m = (0.5 * (p_data + p_g)).clamp(min=1e-30)
    total: Tensor = 0.5 * dx * (torch.xlogy(p_data, p_data / m) + torch.xlogy(p_g, p_g / m)).sum()
    return total


def _kl(a: Tensor, b: Tensor, dx: float) -> Tensor:
    return dx * (a * (a.log() - b.log())).sum()


jsd.values("gives the divergence in nats", points=2)
jsd.gradients("lets the gradient through to both densities", wrt=("p_data", "p_g"))
jsd.values("is log 2 where the supports do not meet", inputs=_apart)
jsd.untouched()


@jsd.wrong("This is KL(p_data || p_g). Compare each with their mean m, and take half of each.")
def kl_forward(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return _kl(p_data, p_g, dx)


@jsd.wrong("This is KL(p_g || p_data). Compare each with their mean m, and take half of each.")
def kl_reverse(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return _kl(p_g, p_data, dx)


@jsd.wrong("This is the mean of the two KLs. Compare each density with the mean m of both.")
def jeffreys(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return 0.5 * (_kl(p_data, p_g, dx) + _kl(p_g, p_data, dx))


@jsd.wrong("The halves are missing: yours is twice the divergence.")
def without_halves(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return 2 * _jsd(p_data, p_g, dx)


@jsd.wrong("m is the mean of the densities; you took their sum. Yours is too low by log 2.")
def sum_for_mean(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return 0.5 * (_kl(p_data, p_data + p_g, dx) + _kl(p_g, p_data + p_g, dx))


@jsd.wrong("An integral is a sum times dx: you left dx out.")
def without_dx(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return _jsd(p_data, p_g, dx) / dx


@jsd.wrong("You averaged over the grid. An integral is the sum over its points, times dx.")
def averaged(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return _jsd(p_data, p_g, dx) / len(p_data)


@jsd.wrong("Your divergence is in bits: take the natural logarithm, not log2.")
def in_bits(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return _jsd(p_data, p_g, dx) / math.log(2)


@jsd.wrong("You took KL(m || p) and KL(m || q): the mean stands behind the bars, not before them.")
def mean_first(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    m = 0.5 * (p_data + p_g)
    return 0.5 * (_kl(m, p_data, dx) + _kl(m, p_g, dx))


@jsd.wrong("This is one half only, that of p_data. p_g has to be compared with m as well.")
def one_half(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return 0.5 * _kl(p_data, 0.5 * (p_data + p_g), dx)


@jsd.wrong("This is the square root, the Jensen-Shannon distance. Return the divergence.")
def distance(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return _jsd(p_data, p_g, dx).sqrt()


@jsd.wrong("The number is right, but detached: no gradient would reach the densities.")
def jsd_detached(p_data: Tensor, p_g: Tensor, dx: float) -> Tensor:
    return _jsd(p_data, p_g, dx).detach()


# --- gan_vs_vae.discriminator_loss --------------------------------------------------------------

Network = Callable[[Tensor], Tensor]

judge = Exercise(
    "gan_vs_vae.discriminator_loss",
    "discriminator_loss",
    contract=(
        "discriminator_loss(discriminator, real, fake): a network from images to scores (B,), a "
        "score being the logit of D; a batch of real and one of generated images, perhaps of "
        "different size. Returns a scalar in nats: the mean of -log D over the real images plus "
        "the mean of -log(1 - D) over the generated ones. No gradient reaches `fake`."
    ),
    hints=(
        "Two cross-entropies, one with target 1 and one with target 0, and their sum. Which of "
        "the two batches comes from a network that must not move now?",
        "-log sigmoid(s) is F.softplus(-s), and -log(1 - sigmoid(s)) is F.softplus(s). "
        "fake.detach() has the values of `fake` and no way back to the generator.",
        "return F.softplus(-discriminator(real)).mean() "
        "+ F.softplus(discriminator(fake.detach())).mean()",
    ),
    see="chapter 10, 'Exercise 3: the loss of the discriminator'",
    forbids=LOSSES,
)


def _network(g: Generator) -> nn.Module:
    """A discriminator of points (B, 3), with scores (B,) of both signs."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(1.5 * torch.randn(parameter.shape, generator=g))
    return network


def _certain(g: Generator, score: float) -> nn.Module:
    """A discriminator whose scores are all near the one given."""
    linear = nn.Linear(3, 1)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(1, 3, generator=g))
        linear.bias.fill_(score)
    return nn.Sequential(linear, nn.Flatten(0))


@judge.inputs
def _both(g: Generator) -> tuple[nn.Module, Tensor, Tensor]:
    real, fake = torch.randn(5, 3, generator=g), torch.randn(8, 3, generator=g)
    return _network(g), real, fake


@judge.reference
def _judge(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    s, t = discriminator(real), discriminator(fake.detach())
    return (
        torch.logaddexp(torch.zeros_like(s), -s).mean()
        + torch.logaddexp(torch.zeros_like(t), t).mean()
    )


judge.values("adds the cross-entropies of real and generated images", points=2)


@judge.test("moves the discriminator, with no gradient into the generated images", points=2)
def _no_way_back(answer: Answer, g: Generator) -> None:
    discriminator, real, fake = _both(g)
    parameters = list(discriminator.parameters())
    expected = torch.autograd.grad(_judge(discriminator, real, fake), parameters)
    fake.requires_grad_()
    loss = tensor(answer(discriminator, real, fake), (), "the loss")
    if not loss.requires_grad:
        raise Failed("no gradient reaches the discriminator: was the loss detached?")
    *slopes, way_back = torch.autograd.grad(loss, [*parameters, fake], allow_unused=True)
    for slope, right in zip(slopes, expected, strict=True):
        close(
            torch.zeros_like(right) if slope is None else slope,
            right,
            "the gradient of the discriminator's weights",
        )
    if way_back is not None and way_back.abs().max() > 0:
        raise Failed(
            "a gradient runs back into `fake`, and from there into the generator: detach it. The "
            "discriminator's step must not be paid for, or followed, by the generator"
        )


@judge.test(
    "stays finite where the discriminator is sure",
    hidden=True,
    hint="Try scores of 200 and -200: sigmoid gives exactly 1 or 0 there, and a logarithm -inf.",
)
def _sure(answer: Answer, g: Generator) -> None:
    _, real, fake = _both(g)
    for score in (-200.0, 200.0):
        discriminator = _certain(g, score)
        right = _judge(discriminator, real, fake)  # before the answer, which may spoil its inputs
        close(answer(discriminator, real, fake), right)


judge.untouched()


def _cross_entropy(scores: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, target))


@judge.wrong(
    "A gradient runs back into `fake`, and from there into the generator: use fake.detach()."
)
def not_detached(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    return _cross_entropy(discriminator(real), 1.0) + _cross_entropy(discriminator(fake), 0.0)


@judge.wrong("The labels are swapped: real images have the target 1, generated ones 0.")
def labels_swapped(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    fake = fake.detach()
    return _cross_entropy(discriminator(real), 0.0) + _cross_entropy(discriminator(fake), 1.0)


@judge.wrong("Both batches have the target 1 here. That of the generated images is 0.")
def all_real(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    fake = fake.detach()
    return _cross_entropy(discriminator(real), 1.0) + _cross_entropy(discriminator(fake), 1.0)


@judge.wrong("You take half of the sum. The contract, and the value 2 JSD - log 4, are without it.")
def half(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * not_detached(discriminator, real, fake.detach())


@judge.wrong(
    "You average over all images at once. Average real and generated ones apart, then add: the "
    "batches may differ in size."
)
def one_mean(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    scores = torch.cat([discriminator(real), discriminator(fake.detach())])
    targets = torch.cat([torch.ones(len(real)), torch.zeros(len(fake))])
    return F.binary_cross_entropy_with_logits(scores, targets)


@judge.wrong("You summed over the images; average over each batch.")
def summed(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    s, t = discriminator(real), discriminator(fake.detach())
    return F.softplus(-s).sum() + F.softplus(t).sum()


@judge.wrong("The sign is turned: this is the value that D maximizes. The loss is minus it.")
def value_of_the_game(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    return -_judge(discriminator, real, fake)


@judge.wrong("A score is a logit, not a probability: the sigmoid is missing before the logarithm.")
def scores_as_probabilities(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    s, t = discriminator(real), discriminator(fake.detach())
    return -(s.log().mean() + (1 - t).log().mean())


@judge.wrong(
    "The sigmoid comes twice: binary_cross_entropy_with_logits takes scores, not probabilities."
)
def two_sigmoids(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    s, t = discriminator(real), discriminator(fake.detach())
    return _cross_entropy(s.sigmoid(), 1.0) + _cross_entropy(t.sigmoid(), 0.0)


@judge.wrong("Probabilities without a logarithm: the loss is -log D and -log(1 - D).")
def probabilities(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    return (1 - discriminator(real).sigmoid()).mean() + discriminator(
        fake.detach()
    ).sigmoid().mean()


@judge.wrong("Only the real images count here. Add the cross-entropy of the generated ones.")
def only_real(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    return _cross_entropy(discriminator(real), 1.0)


@judge.wrong(
    "Mean scores without a sigmoid: this is a Wasserstein critic. Here D is a probability."
)
def critic(discriminator: Network, real: Tensor, fake: Tensor) -> Tensor:
    return discriminator(fake.detach()).mean() - discriminator(real).mean()


# --- gan_vs_vae.generator_loss ------------------------------------------------------------------

forge = Exercise(
    "gan_vs_vae.generator_loss",
    "generator_loss",
    contract=(
        "generator_loss(discriminator, fake): a network from images to scores (B,), a score being "
        "the logit of D, and generated images. Returns a scalar in nats, the non-saturating loss: "
        "the mean of -log D over the generated images. The gradient flows through to `fake`."
    ),
    hints=(
        "The generator wants its images to be taken for real: the cross-entropy with which target?",
        "Target 1. -log sigmoid(s) is F.softplus(-s). And this time the gradient must pass "
        "through the discriminator: nothing is detached.",
        "return F.softplus(-discriminator(fake)).mean()",
    ),
    see="chapter 10, 'Exercise 4: the loss of the generator'",
    forbids=LOSSES,
)


@forge.inputs
def _fakes(g: Generator) -> tuple[nn.Module, Tensor]:
    return _network(g), torch.randn(6, 3, generator=g)


@forge.reference
def _forge(discriminator: Network, fake: Tensor) -> Tensor:
    s = discriminator(fake)
    return torch.logaddexp(torch.zeros_like(s), -s).mean()


forge.values("is the cross-entropy of being taken for real", points=2)
forge.gradients("sends the gradient through the discriminator to the images", points=2)


@forge.test(
    "keeps its gradient where the discriminator is sure",
    hidden=True,
    hint="Try a score of -200: the loss is 200, and its slope is -1, neither inf nor 0.",
)
def _far_off(answer: Answer, g: Generator) -> None:
    fake = 10 * _fakes(g)[1]  # so that the scores differ from -200, and from each other
    discriminator = _certain(g, -200.0)
    expected = _forge(discriminator, fake.requires_grad_())
    (right,) = torch.autograd.grad(expected, fake)
    loss = tensor(answer(discriminator, fake), (), "the loss")
    close(loss, expected)
    if not loss.requires_grad:
        raise Failed("no gradient flows back from the loss")
    (slope,) = torch.autograd.grad(loss, fake, allow_unused=True)
    close(torch.zeros_like(fake) if slope is None else slope, right, "the gradient", rtol=1e-3)


forge.untouched()


@forge.wrong(
    "This is the saturating loss, log(1 - D). It has nearly no gradient where D is sure that an "
    "image is fake. Minimize -log D."
)
def saturating(discriminator: Network, fake: Tensor) -> Tensor:
    return -F.softplus(discriminator(fake)).mean()


@forge.wrong("You minimize -log(1 - D): that is the discriminator's side. The target is 1, not 0.")
def own_enemy(discriminator: Network, fake: Tensor) -> Tensor:
    return F.softplus(discriminator(fake)).mean()


@forge.wrong("The sign is turned: as it stands, the generator avoids to be taken for real.")
def sign_turned(discriminator: Network, fake: Tensor) -> Tensor:
    return -_forge(discriminator, fake)


@forge.wrong("You detached `fake`: then nothing tells the generator how to change its images.")
def fake_detached(discriminator: Network, fake: Tensor) -> Tensor:
    return _forge(discriminator, fake.detach())


@forge.wrong("The number is right, but detached: no gradient reaches the images.")
def loss_detached(discriminator: Network, fake: Tensor) -> Tensor:
    return _forge(discriminator, fake).detach()


@forge.wrong("You summed over the images; average.")
def forge_summed(discriminator: Network, fake: Tensor) -> Tensor:
    return F.softplus(-discriminator(fake)).sum()


@forge.wrong("Return one number: the mean over the images.")
def one_an_image(discriminator: Network, fake: Tensor) -> Tensor:
    return F.softplus(-discriminator(fake))


@forge.wrong("A score is a logit, not a probability: the sigmoid is missing before the logarithm.")
def score_as_probability(discriminator: Network, fake: Tensor) -> Tensor:
    return -discriminator(fake).log().mean()


@forge.wrong("The mean score without a logarithm is the loss of a Wasserstein generator.")
def wasserstein(discriminator: Network, fake: Tensor) -> Tensor:
    return -discriminator(fake).mean()


@forge.wrong("The logarithm is missing: the loss is -log D, not 1 - D or -D.")
def without_logarithm(discriminator: Network, fake: Tensor) -> Tensor:
    return 1 - discriminator(fake).sigmoid().mean()


@forge.wrong("The logarithm is missing: the loss is -log D, not -D.")
def minus_probability(discriminator: Network, fake: Tensor) -> Tensor:
    return -discriminator(fake).sigmoid().mean()


@forge.wrong("First the logarithm, then the mean: you took -log of the mean D.")
def log_of_mean(discriminator: Network, fake: Tensor) -> Tensor:
    return -discriminator(fake).sigmoid().mean().log()


@forge.wrong("The sigmoid comes twice: the function with logits takes scores, not probabilities.")
def sigmoid_twice(discriminator: Network, fake: Tensor) -> Tensor:
    return _cross_entropy(discriminator(fake).sigmoid(), 1.0)


# --- gan_vs_vae.feature_distance ----------------------------------------------------------------

frechet = Exercise(
    "gan_vs_vae.feature_distance",
    "feature_distance",
    contract=(
        "feature_distance(real, fake): features (N, D) and (M, D). Fit a Gaussian to each: mean, "
        "and covariance with N - 1. Returns the squared Frechet distance of the two Gaussians, a "
        "scalar: |mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2))."
    ),
    hints=(
        "Three parts: the squared distance of the means, the two traces, and the trace of a "
        "matrix root. torch.cov wants one variable a row.",
        "The trace of a matrix root is the sum of the roots of its eigenvalues. Those of S_r S_f "
        "are real and >= 0, up to rounding: torch.linalg.eigvals(S_r @ S_f).real.clamp(min=0).",
        "Sr, Sf = torch.cov(real.T), torch.cov(fake.T); "
        "root = torch.linalg.eigvals(Sr @ Sf).real.clamp(min=0).sqrt().sum(); "
        "return (real.mean(0) - fake.mean(0)).square().sum() + Sr.trace() + Sf.trace() - 2 * root",
    ),
    see="chapter 10, 'Exercise 5: a distance between two sets of pictures'",
    forbids=("coursekit.metrics.frechet_distance",),
)


def _cloud(g: Generator, size: int, dim: int) -> Tensor:
    """Correlated features of no particular mean, in double precision."""
    points = torch.randn(size, dim, generator=g, dtype=torch.float64)
    mix = torch.eye(dim, dtype=torch.float64) + 0.7 * torch.randn(
        dim, dim, generator=g, dtype=torch.float64
    )
    return points @ mix + torch.randn(dim, generator=g, dtype=torch.float64)


@frechet.inputs
def _clouds(g: Generator) -> tuple[Tensor, Tensor]:
    return _cloud(g, 15, 4), _cloud(g, 12, 4)


def _few(g: Generator) -> tuple[Tensor, Tensor]:
    """Fewer points than features: the covariances are singular."""
    return _cloud(g, 6, 8), 2 * _cloud(g, 5, 8)


@frechet.reference
def _frechet(real: Tensor, fake: Tensor) -> Tensor:
    r, f = real.double() - real.double().mean(0), fake.double() - fake.double().mean(0)
    r, f = r / math.sqrt(len(r) - 1), f / math.sqrt(len(f) - 1)
    # tr (R'R F'F)^(1/2) is the nuclear norm of R F'.
    cross: Tensor = torch.linalg.svdvals(r @ f.T).sum()
    means = (real.double().mean(0) - fake.double().mean(0)).square().sum()
    return means + r.square().sum() + f.square().sum() - 2 * cross


frechet.values("gives the distance of two clouds", points=3)


@frechet.test("is 0 for a set and itself")
def _itself(answer: Answer, g: Generator) -> None:
    real, fake = _clouds(g)
    right = _frechet(real, fake)
    close(answer(real, fake), right)
    close(answer(real, real), torch.zeros(()), "the distance of a set from itself", atol=1e-3)


frechet.values(
    "holds for fewer points than features",
    hidden=True,
    hint="Eigenvalues that should be 0 may come out as -1e-17, and the root of that is nan.",
    inputs=_few,
)
frechet.untouched()


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), torch.cov(x.T)


def _root_trace(a: Tensor, b: Tensor) -> Tensor:
    roots: Tensor = torch.linalg.eigvals(a @ b).real.clamp(min=0).sqrt()
    return roots.sum()


@frechet.wrong("The means are missing: add |mu_r - mu_f|^2.")
def without_means(real: Tensor, fake: Tensor) -> Tensor:
    (_, a), (_, b) = _moments(real), _moments(fake)
    return a.trace() + b.trace() - 2 * _root_trace(a, b)


@frechet.wrong("Only the means are compared. Two sets may share their mean and differ in spread.")
def only_means(real: Tensor, fake: Tensor) -> Tensor:
    means: Tensor = (real.mean(0) - fake.mean(0)).square().sum()
    return means


@frechet.wrong("The distance of the means must be squared.")
def means_not_squared(real: Tensor, fake: Tensor) -> Tensor:
    distance: Tensor = torch.dist(real.mean(0), fake.mean(0))
    return distance + without_means(real, fake)


@frechet.wrong("You average the squared difference of the means over the features; sum it.")
def means_averaged(real: Tensor, fake: Tensor) -> Tensor:
    return (real.mean(0) - fake.mean(0)).square().mean() + without_means(real, fake)


@frechet.wrong("The factor 2 before the root is missing.")
def root_once(real: Tensor, fake: Tensor) -> Tensor:
    (_, a), (_, b) = _moments(real), _moments(fake)
    return _frechet(real, fake) + _root_trace(a, b)


@frechet.wrong(
    "Your root is taken element by element. It is a matrix root: sum the roots of the eigenvalues."
)
def root_of_elements(real: Tensor, fake: Tensor) -> Tensor:
    (_, a), (_, b) = _moments(real), _moments(fake)
    root = (a @ b).diagonal().clamp(min=0).sqrt().sum()
    return only_means(real, fake) + a.trace() + b.trace() - 2 * root


@frechet.wrong(
    "You compare the standard deviations of single features only. The covariances between "
    "features count as well."
)
def only_variances(real: Tensor, fake: Tensor) -> Tensor:
    spreads: Tensor = (real.std(0) - fake.std(0)).square().sum()
    return only_means(real, fake) + spreads


@frechet.wrong("Your covariances are divided by N; divide by N - 1.")
def divided_by_n(real: Tensor, fake: Tensor) -> Tensor:
    a, b = torch.cov(real.T, correction=0), torch.cov(fake.T, correction=0)
    return only_means(real, fake) + a.trace() + b.trace() - 2 * _root_trace(a, b)


@frechet.wrong("This is the square root of the distance asked for. Return its square.")
def rooted(real: Tensor, fake: Tensor) -> Tensor:
    return _frechet(real, fake).sqrt()


@frechet.wrong(
    "You took the squared difference of the covariance matrices. The formula has "
    "tr(S_r + S_f - 2 (S_r S_f)^(1/2))."
)
def squared_difference(real: Tensor, fake: Tensor) -> Tensor:
    (_, a), (_, b) = _moments(real), _moments(fake)
    return only_means(real, fake) + (a - b).square().sum()


@frechet.wrong("The root is missing: you subtract 2 tr(S_r S_f) itself.")
def no_root(real: Tensor, fake: Tensor) -> Tensor:
    (_, a), (_, b) = _moments(real), _moments(fake)
    return only_means(real, fake) + a.trace() + b.trace() - 2 * (a @ b).trace()


# --- gan_vs_vae.precision_recall ----------------------------------------------------------------

manifold = Exercise(
    "gan_vs_vae.precision_recall",
    "precision_recall",
    contract=(
        "precision_recall(real, fake, k): features (N, D) and (M, D). Around each point of a set "
        "lies a ball that reaches to its k-th nearest other point of that set. Returns "
        "(precision, recall), two scalars: the share of fakes that lie in a ball (<=) of at least "
        "one real, and the share of reals that lie in a ball of at least one fake."
    ),
    hints=(
        "Write a function share(points, manifold, k) and call it twice, with the sets exchanged.",
        "Among the distances of a set to itself, the nearest point is the point itself, at 0: "
        "the radius is the (k + 1)-th smallest, torch.cdist(x, x).kthvalue(k + 1, dim=1).values.",
        "def share(a, b): radius = torch.cdist(b, b).kthvalue(k + 1, dim=1).values; "
        "return (torch.cdist(a, b) <= radius).any(dim=1).double().mean()\n"
        "return share(fake, real), share(real, fake)",
    ),
    see="chapter 10, 'Exercise 6: precision and recall'",
    forbids=("coursekit.metrics.precision_recall",),
)

Shares = tuple[Tensor, Tensor]


@manifold.inputs
def _two_sets(g: Generator) -> tuple[Tensor, Tensor, int]:
    """Sets that overlap in part, of different size and spread."""
    real = torch.randn(24, 2, generator=g, dtype=torch.float64)
    fake = 0.6 * torch.randn(18, 2, generator=g, dtype=torch.float64)
    return real, fake + torch.tensor([0.9, 0.0]), 3


def _other_k(g: Generator) -> tuple[Tensor, Tensor, int]:
    real, fake, _ = _two_sets(g)
    return real[:, :1], fake[:20, :1], 1


@manifold.reference
def _manifold(real: Tensor, fake: Tensor, k: int) -> Shares:
    return _share(fake, real, _radii(real, k)), _share(real, fake, _radii(fake, k))


def _distances(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, None] - b[None]).square().sum(-1).sqrt()


def _radii(x: Tensor, k: int) -> Tensor:
    """To the k-th nearest other point; k = 0 gives the point itself."""
    return _distances(x, x).sort(dim=1).values[:, k]


def _share(points: Tensor, centers: Tensor, radii: Tensor) -> Tensor:
    return (_distances(points, centers) <= radii).any(dim=1).double().mean()


manifold.values("gives both shares", points=3)


@manifold.test("tells one picture, drawn again and again, from a good generator")
def _constant(answer: Answer, g: Generator) -> None:
    real, fake, k = _two_sets(g)
    close(answer(real, fake, k), _manifold(real, fake, k))
    neighbor = _distances(real[:1], real).argsort()[0, 1]
    copies = (0.5 * (real[0] + real[neighbor])).repeat(18, 1)
    close(answer(real, copies, k), (torch.ones(()), torch.zeros(())), "for 18 copies the result")


manifold.values(
    "holds for k = 1 and one feature",
    hidden=True,
    hint="Is the point itself among its k nearest? Does k appear as a fixed number?",
    inputs=_other_k,
)
manifold.untouched()


@manifold.wrong("Precision and recall are exchanged: precision looks at fakes in balls of reals.")
def exchanged(real: Tensor, fake: Tensor, k: int) -> Shares:
    return _manifold(fake, real, k)


@manifold.wrong(
    "A point is its own nearest neighbor, at distance 0. Leave it out: your balls are too small."
)
def itself_counted(real: Tensor, fake: Tensor, k: int) -> Shares:
    return _manifold(real, fake, k - 1)


@manifold.wrong("Your balls are too large by one neighbor: they reach to the (k + 1)-th.")
def one_too_far(real: Tensor, fake: Tensor, k: int) -> Shares:
    return _manifold(real, fake, k + 1)


@manifold.wrong(
    "You test the ball around the point itself. The balls stand around the points of the other set."
)
def own_balls(real: Tensor, fake: Tensor, k: int) -> Shares:
    return manifold_of_own(fake, real, k), manifold_of_own(real, fake, k)


def manifold_of_own(points: Tensor, others: Tensor, k: int) -> Tensor:
    inside = _distances(points, others) <= _radii(points, k)[:, None]
    return inside.any(dim=1).double().mean()


@manifold.wrong("You look at the ball of the nearest point only. Any ball will do: it may be a "
                "farther point that has a larger one.")  # fmt: skip
def nearest_only(real: Tensor, fake: Tensor, k: int) -> Shares:
    def share(points: Tensor, centers: Tensor) -> Tensor:
        nearest, which = _distances(points, centers).min(dim=1)
        return (nearest <= _radii(centers, k)[which]).double().mean()

    return share(fake, real), share(real, fake)


@manifold.wrong("You use one radius for all, the mean. Each point has a ball of its own.")
def one_radius(real: Tensor, fake: Tensor, k: int) -> Shares:
    return (
        _share(fake, real, _radii(real, k).mean()),
        _share(real, fake, _radii(fake, k).mean()),
    )


@manifold.wrong("You average over all pairs. A point counts once, if it lies in any ball.")
def over_pairs(real: Tensor, fake: Tensor, k: int) -> Shares:
    return (
        (_distances(fake, real) <= _radii(real, k)).double().mean(),
        (_distances(real, fake) <= _radii(fake, k)).double().mean(),
    )


@manifold.wrong("Your recall uses the balls of the reals (it is a coverage). It takes the fakes'.")
def coverage(real: Tensor, fake: Tensor, k: int) -> Shares:
    covered = (_distances(fake, real) <= _radii(real, k)).any(dim=0).double().mean()
    return _manifold(real, fake, k)[0], covered


@manifold.wrong("You require a point to lie in all balls; one is enough.")
def in_all(real: Tensor, fake: Tensor, k: int) -> Shares:
    return (
        (_distances(fake, real) <= _radii(real, k)).all(dim=1).double().mean(),
        (_distances(real, fake) <= _radii(fake, k)).all(dim=1).double().mean(),
    )


@manifold.wrong("You return numbers of points. Divide by how many there are.")
def counts(real: Tensor, fake: Tensor, k: int) -> Shares:
    precision, recall = _manifold(real, fake, k)
    return precision * len(fake), recall * len(real)


# --- questions ----------------------------------------------------------------------------------

compare = FreeText(
    "gan_vs_vae.compare",
    "Compare the VAE, the GAN and the conditional GAN of this chapter in about 300 words: "
    "architecture, inputs and outputs, losses, training, ease of sampling, interpolation, quality. "
    "Mark each statement on quality as measured here or as known from elsewhere. End with one task "
    "that suits each of the three.",
    "One point each. Architecture: encoder and decoder here, generator and discriminator there, of "
    "which the latter is thrown away. Inputs and outputs: image to code to image, noise "
    "to image, noise and label to image. Losses: one bound minimized by both networks; a game of "
    "two losses, neither of which measures quality. Training: the VAE's loss falls and can be "
    "validated, the game has to be balanced. Sampling and interpolation: one pass of the decoder "
    "or generator each; only the VAE has an encoder, so only it can walk between two given "
    "pictures; only the conditional GAN is told what to draw. Quality: at least two figures of the "
    "chapter with their spread, and no claim that goes beyond its budget. Tasks: three that follow "
    "from the above, such as compression or anomaly scores, textures, samples of a given class.",
    7,
)
perfect = FreeText(
    "gan_vs_vae.perfect",
    "A colleague's generator has a smaller feature distance to your test set than a fresh real set "
    "of the same size has. What may have happened, and which two measurements would you ask for?",
    "One point: the samples may be copies (of training or even test images), the features may not "
    "see the fault, or the sample sizes differ. One point: a measure of copying, nearest neighbors "
    "or the memorization test, and a second one such as features of another network, the same "
    "number of samples, or looking at the pictures beside their nearest neighbors.",
    2,
)
stuck = FreeText(
    "gan_vs_vae.stuck",
    "The discriminator's loss is 0.01, the generator's is 7, and the pictures are noise. Why will "
    "training longer with the saturating loss not help? Name two things to change.",
    "One point: D is nearly 1 on real and nearly 0 on generated images, so the two sets hardly "
    "overlap; log(1 - D) is flat there and its gradient is nearly 0. One point for two of: the "
    "non-saturating loss, a weaker or slower discriminator (lower rate, dropout, fewer steps), "
    "noise on its inputs, label smoothing, a Wasserstein critic with gradient penalty.",
    2,
)
