"""Exercises of the chapter that sets GANs against VAEs: the game, its losses, two measures."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from coursekit.exercises import (
    Answer,
    Failed,
    FreeText,
    close,
    gradients,
    rand,
    randn,
    record,
    tensor,
    untouched,
    values,
)

LOSSES = (
    "coursekit.objectives.adversarial.bce_discriminator",
    "coursekit.objectives.adversarial.saturating_generator",
    "coursekit.objectives.adversarial.non_saturating_generator",
)


def _network(g: Generator) -> nn.Module:
    """A discriminator of points (B, 3), with scores (B,) of both signs."""
    network = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(1.5 * randn(g, *parameter.shape))
    return network


def _certain(g: Generator, score: float) -> nn.Module:
    """A discriminator whose scores are all near the one given."""
    linear = nn.Linear(3, 1)
    with torch.no_grad():
        linear.weight.copy_(randn(g, 1, 3))
        linear.bias.fill_(score)
    return nn.Sequential(linear, nn.Flatten(0))


def _slopes(loss: object, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradients of a loss; 0 where none flows."""
    scalar = tensor(loss, (), "the loss")
    if not scalar.requires_grad:
        raise Failed("no gradient flows back from the loss: was it detached?")
    return torch.autograd.grad(scalar, inputs, allow_unused=True, materialize_grads=True)


# --- gan_vs_vae.discriminator -------------------------------------------------------------------


def _densities(g: Generator) -> tuple[Tensor, Tensor]:
    return 0.05 + 2 * rand(g, 9), 0.05 + 2 * rand(g, 9)


def _with_gaps(g: Generator) -> tuple[Tensor, Tensor]:
    """Points where one density is 0, points where both are, and points where both are tiny."""
    p_data, p_g = _densities(g)
    p_data[:4], p_g[2:6] = 0.0, 0.0
    p_data[6:], p_g[6:] = 1e-8 * p_data[6:], 1e-8 * p_g[6:]
    return p_data, p_g


@record(
    "gan_vs_vae.discriminator",
    inputs=_densities,
    tests=(
        values(points=2, name="is the share of the data's density"),
        gradients(name="lets the gradient through to both densities"),
        values(
            name="holds where one density or both are 0 or tiny",
            hidden="Try p_data = [0, 1, 0, 1e-8], p_g = [1, 0, 0, 3e-8]: D is 0, 1, 1/4 at the "
            "end and, where neither is found, 1/2.",
            inputs=_with_gaps,
        ),
        untouched(),
    ),
    mistakes={
        "p_data / total": {
            "p_g / total": "This is the probability of being generated; D is that of being real.",
            "p_data / p_g": "This is the ratio of the densities; D is p_data / (p_data + p_g).",
            "(p_data / p_g).log()": "This is the logit of D; D itself is the sigmoid of it.",
            "(p_data > p_g).to(p_data)": "You decide for 0 or 1, but D is a probability.",
            "p_data / (total / 2)": "You divide by the mean of the two densities, not the sum.",
            "p_data / total.sum()": "You normalize over the points; divide by the sum at each.",
            "torch.sigmoid(p_data - p_g)": "The sigmoid belongs to log p_data - log p_g.",
            "p_data**2 / (p_data**2 + p_g**2)": "You squared the densities; D has no squares.",
            "(p_data / total).detach()": "The values are right, but detached.",
        },
    },
    hints=(
        "At one point, D is a single number. Which one maximizes p_data log D + p_g log(1 - D)?",
        "Set the derivative p_data / D - p_g / (1 - D) to 0. Then think of 0 / 0.",
        "D is the share of p_data in the sum of both densities. torch.where can put 1/2 where the "
        "sum is 0.",
    ),
    explanation="The derivative p_data / D - p_g / (1 - D) is 0 at the data's share of the sum.",
    see="chapter 10, 'Exercise 1: the best discriminator'",
)
def optimal_discriminator(p_data, p_g):
    """The best discriminator of two densities.

    p_data, p_g: (N,), densities of the data and of the generator at N points, >= 0.
    Returns: (N,), the probability that a point found there is real; 1/2 where both are 0.
    """
    # 1. The sum of both. 2. The share of the data. 3. Mind 0 / 0.
    ### BEGIN SOLUTION
    total = p_data + p_g
    return torch.where(total > 0, p_data / total, 0.5)
    ### END SOLUTION


# --- gan_vs_vae.jsd -----------------------------------------------------------------------------


def _grid(g: Generator) -> tuple[Tensor, Tensor, float]:
    """Two densities that integrate to 1, and a grid that is not one of spacing 1."""
    dx = 0.05 + 0.1 * float(rand(g))
    p_data, p_g = 0.1 + rand(g, 2, 12) ** 2
    return p_data / (p_data.sum() * dx), p_g / (p_g.sum() * dx), dx


def _apart(g: Generator) -> tuple[Tensor, Tensor, float]:
    """Supports that do not meet, with a gap between them: the answer is log 2."""
    p_data, p_g, dx = _grid(g)
    p_data[5:], p_g[:8] = 0.0, 0.0
    return p_data / (p_data.sum() * dx), p_g / (p_g.sum() * dx), dx


@record(
    "gan_vs_vae.jsd",
    inputs=_grid,
    tests=(
        values(points=2, name="gives the divergence in nats"),
        gradients(name="lets the gradient through to both densities", wrt=("p_data", "p_g")),
        values(name="is log 2 where the supports do not meet", inputs=_apart),
        untouched(),
    ),
    mistakes={
        "((p_data + p_g) / 2)": {
            "(p_data + p_g)": "m is the mean of the densities; you took their sum.",
        },
        "(kl_data + kl_g) / 2": {
            "dx * torch.xlogy(p_data, p_data / p_g).sum()": "This is KL(p_data || p_g). Compare "
            "each density with their mean m, and take half of each KL.",
            "dx * torch.xlogy(p_g, p_g / p_data).sum()": "This is KL(p_g || p_data). Compare each "
            "density with their mean m, and take half of each KL.",
            "dx * ((p_data - p_g) * (p_data / p_g).log()).sum() / 2": "This is the mean of the two "
            "KLs. Compare each density with the mean m of both.",
            "dx * (m * (m / p_data).log() + m * (m / p_g).log()).sum() / 2": "You took KL(m || "
            "p_data) and KL(m || p_g): m must be the second argument.",
            "kl_data + kl_g": "The halves are missing: your result is twice the divergence.",
            "kl_data / 2": "This is one half only, that of p_data. Compare p_g with m as well.",
            "(kl_data + kl_g) / 2 / dx": "An integral is a sum times dx: you left dx out.",
            "(kl_data + kl_g) / 2 / len(m)": "You averaged over the grid; take the sum times dx.",
            "(kl_data + kl_g) / 2 / 0.693147": "This is in bits: take the natural logarithm.",
            "((kl_data + kl_g) / 2).sqrt()": "This is the square root, a distance: square it.",
            "((kl_data + kl_g) / 2).detach()": "The value is right, but detached.",
        },
    },
    hints=(
        "Write a function for KL first, then call it twice.",
        "KL(p || m) is the sum of p * (log p - log m), times dx, for p = p_data and for p = p_g. "
        "Where p is 0, its logarithm is -inf and 0 * -inf is nan: torch.xlogy(p, p / m) gives 0 "
        "there, if m is not 0.",
        "Keep m above 0 with a clamp at a tiny number such as 1e-30. Then sum xlogy over the grid "
        "for both densities, add the two sums, and multiply by dx / 2.",
    ),
    explanation="xlogy takes 0 log 0 as 0, and the clamp keeps 0 / 0 away from it.",
    see="chapter 10, 'Exercise 2: the Jensen-Shannon divergence'",
)
def jensen_shannon(p_data, p_g, dx):
    """The Jensen-Shannon divergence of two densities on an even grid, in nats.

    p_data, p_g: (N,), densities >= 0; one or both may be 0 at a point. dx: the spacing.
    Returns: a scalar.
    """
    # 1. The mean m of both densities.
    # 2. Half of KL(p_data || m) plus half of KL(p_g || m); an integral is a sum times dx.
    # 3. 0 log 0 is 0: torch.xlogy knows. Where both are 0, see that you do not divide by m = 0.
    ### BEGIN SOLUTION
    m = ((p_data + p_g) / 2).clamp(min=1e-30)
    kl_data = dx * torch.xlogy(p_data, p_data / m).sum()
    kl_g = dx * torch.xlogy(p_g, p_g / m).sum()
    return (kl_data + kl_g) / 2
    ### END SOLUTION


# --- gan_vs_vae.discriminator_loss --------------------------------------------------------------


@record(
    "gan_vs_vae.discriminator_loss",
    inputs=lambda g: (_network(g), randn(g, 5, 3), randn(g, 8, 3)),
    tests=(
        values(points=2, name="adds the cross-entropies of real and generated images"),
        untouched(),
    ),
    mistakes={
        "fake.detach()": {
            "fake": "A gradient runs back into `fake`, and into the generator: use fake.detach().",
        },
        "F.softplus(-on_real), F.softplus(on_fake)": {
            "F.softplus(on_real), F.softplus(-on_fake)": "The labels are swapped: real images have "
            "the target 1, generated ones 0.",
            "F.softplus(-on_real), F.softplus(-on_fake)": "Both batches have the target 1 here. "
            "The target of the generated images is 0.",
            "-F.softplus(-on_real), -F.softplus(on_fake)": "The sign is flipped: this is the value "
            "that D maximizes. The loss is minus it.",
            "-on_real.log(), -(1 - on_fake).log()": "A score is a logit, not a probability: the "
            "sigmoid is missing before the logarithm.",
            "F.softplus(-on_real.sigmoid()), F.softplus(on_fake.sigmoid())": "The sigmoid comes "
            "twice: functions 'with logits', and softplus here, take the scores.",
            "torch.sigmoid(-on_real), torch.sigmoid(on_fake)": "These are probabilities without a "
            "logarithm: the loss is -log D and -log(1 - D).",
            "-on_real, on_fake": "Mean scores without a sigmoid make a Wasserstein critic; here D "
            "is a probability.",
        },
        "loss_real.mean() + loss_fake.mean()": {
            "(loss_real.mean() + loss_fake.mean()) / 2": "You take half of the sum; the contract "
            "asks for the sum.",
            "torch.cat([loss_real, loss_fake]).mean()": "You average over all images at once. The "
            "batches may differ in size: average each, then add.",
            "loss_real.sum() + loss_fake.sum()": "You summed over the images; average each batch.",
            "loss_real.mean()": "Only the real images count here; add the generated ones' loss.",
        },
    },
    hints=(
        "Two cross-entropies, one with target 1 and one with target 0, and their sum. Which of "
        "the two batches comes from a network that must not move now?",
        "-log sigmoid(s) is F.softplus(-s), and -log(1 - sigmoid(s)) is F.softplus(s). "
        "fake.detach() has the values of `fake` and no way back to the generator.",
        "Take the scores of the real images and of the detached generated ones. Add the mean "
        "softplus of minus the first and the mean softplus of the second.",
    ),
    explanation="softplus stays finite where a logarithm of a sigmoid is -inf, and detach keeps "
    "this step out of the generator.",
    see="chapter 10, 'Exercise 3: the loss of the discriminator'",
    forbids=LOSSES,
)
def discriminator_loss(discriminator, real, fake):
    """Cross-entropy of telling real from generated images, in nats.

    discriminator: a network from images to scores (B,), the logits of D. real, fake: batches.
    Returns: a scalar, the mean of -log D(real) plus the mean of -log(1 - D(fake)).
    No gradient reaches `fake`.
    """
    # 1. The scores of both batches. Which one has to be detached?
    # 2. -log sigmoid(t) is F.softplus(-t). What is -log(1 - sigmoid(t))?
    # 3. The mean over each batch; then the sum of both.
    ### BEGIN SOLUTION
    on_real, on_fake = discriminator(real), discriminator(fake.detach())
    loss_real, loss_fake = F.softplus(-on_real), F.softplus(on_fake)
    return loss_real.mean() + loss_fake.mean()
    ### END SOLUTION


@discriminator_loss.test(
    "moves the discriminator, with no gradient into the generated images", points=2
)
def _no_way_back(answer: Answer, g: Generator) -> None:
    discriminator, real, fake = discriminator_loss.draw(g)
    inputs = [*discriminator.parameters(), fake.requires_grad_()]
    *expected, _ = _slopes(discriminator_loss.solve(discriminator, real, fake), inputs)
    *found, way_back = _slopes(answer(discriminator, real, fake), inputs)
    for slope, right in zip(found, expected, strict=True):
        close(slope, right, "the gradient of the discriminator's weights")
    if way_back.any():
        raise Failed("a gradient runs back into `fake`, and into the generator: detach it")


@discriminator_loss.test(
    "stays finite where the discriminator is sure",
    hidden="Try scores of 200 and -200: sigmoid gives exactly 1 or 0 there, and a logarithm -inf.",
)
def _sure(answer: Answer, g: Generator) -> None:
    _, real, fake = discriminator_loss.draw(g)
    for score in (-200.0, 200.0):
        discriminator = _certain(g, score)
        expected = discriminator_loss.solve(discriminator, real, fake)
        close(answer(discriminator, real, fake), expected)


# --- gan_vs_vae.generator_loss ------------------------------------------------------------------


@record(
    "gan_vs_vae.generator_loss",
    inputs=lambda g: (_network(g), randn(g, 6, 3)),
    tests=(
        values(points=2, name="is the cross-entropy of being taken for real"),
        gradients(points=2, name="sends the gradient through the discriminator to the images"),
        untouched(),
    ),
    mistakes={
        "discriminator(fake)": {
            "discriminator(fake.detach())": "You detached `fake`: then nothing tells the generator "
            "how to change its images.",
        },
        "F.softplus(-scores).mean()": {
            "-F.softplus(scores).mean()": "This is the saturating loss, log(1 - D). It has nearly "
            "no gradient where D is sure that an image is fake. Minimize -log D.",
            "F.softplus(scores).mean()": "You minimize -log(1 - D): that is the discriminator's "
            "side. The target is 1, not 0.",
            "-F.softplus(-scores).mean()": "The sign is flipped: minimize -log D, not log D.",
            "F.softplus(-scores).mean().detach()": "The value is right, but detached: no gradient "
            "reaches the images.",
            "F.softplus(-scores).sum()": "You summed over the images; average.",
            "F.softplus(-scores)": "Return one number: the mean over the images.",
            "-scores.log().mean()": "A score is a logit, not a probability: the sigmoid is missing "
            "before the logarithm.",
            "-scores.mean()": "The mean score alone is the loss of a Wasserstein generator.",
            "1 - scores.sigmoid().mean()": "The logarithm is missing: take -log D, not 1 - D.",
            "-scores.sigmoid().mean()": "The logarithm is missing: take -log D, not -D.",
            "-scores.sigmoid().mean().log()": "Take the mean of -log D, not -log of the mean D.",
            "F.softplus(-scores.sigmoid()).mean()": "The sigmoid comes twice: functions 'with "
            "logits', and softplus here, take the scores.",
        },
    },
    hints=(
        "The generator wants its images to be taken for real: the cross-entropy with which target?",
        "Target 1. -log sigmoid(s) is F.softplus(-s). And this time the gradient must pass "
        "through the discriminator: nothing is detached.",
        "Take the scores of the generated images, and average the softplus of minus the scores.",
    ),
    explanation="-log D is steep where D is near 0, so the worst images change most.",
    see="chapter 10, 'Exercise 4: the loss of the generator'",
    forbids=LOSSES,
)
def generator_loss(discriminator, fake):
    """The non-saturating loss, in nats.

    discriminator: a network from images to scores (B,), the logits of D. fake: generated images.
    Returns: a scalar, the mean of -log D(fake). The gradient flows through to `fake`.
    """
    ### BEGIN SOLUTION
    scores = discriminator(fake)
    return F.softplus(-scores).mean()
    ### END SOLUTION


@generator_loss.test(
    "keeps its gradient where the discriminator is sure",
    hidden="Try a score of -200: the loss is 200, and its slope is -1, neither inf nor 0.",
)
def _far_off(answer: Answer, g: Generator) -> None:
    discriminator = _certain(g, -200.0)
    fake = (10 * randn(g, 6, 3)).requires_grad_()  # so that the scores differ from each other
    expected = generator_loss.solve(discriminator, fake)
    (right,) = _slopes(expected, [fake])
    loss = answer(discriminator, fake)
    close(loss, expected)
    close(_slopes(loss, [fake])[0], right, "the gradient", rtol=1e-3)


# --- gan_vs_vae.feature_distance ----------------------------------------------------------------


def _cloud(g: Generator, size: int, dim: int) -> Tensor:
    """Correlated features of no particular mean, in double precision."""
    mix = torch.eye(dim) + 0.7 * randn(g, dim, dim)
    return (randn(g, size, dim) @ mix + randn(g, dim)).double()


@record(
    "gan_vs_vae.feature_distance",
    inputs=lambda g: (_cloud(g, 15, 4), _cloud(g, 12, 4)),
    tests=(
        values(points=3, name="gives the distance of two clouds"),
        values(
            name="holds for fewer points than features",
            hidden="Eigenvalues that should be 0 may come out as -1e-17, and the root of that is "
            "nan.",
            inputs=lambda g: (_cloud(g, 6, 8), 2 * _cloud(g, 5, 8)),  # singular covariances
        ),
        untouched(),
    ),
    mistakes={
        ".square().sum()": {
            ".norm()": "The distance of the means must be squared.",
            ".square().mean()": "You average the squared difference over the features; sum it.",
        },
        "torch.cov(real.T), torch.cov(fake.T)": {
            "torch.cov(real.T, correction=0), torch.cov(fake.T, correction=0)": "Your covariances "
            "are divided by N; divide by N - 1.",
        },
        "torch.linalg.eigvals(Sr @ Sf).real.clamp(min=0).sqrt().sum()": {
            "(Sr @ Sf).diagonal().clamp(min=0).sqrt().sum()": "Your root is taken element by "
            "element. It is a matrix root: sum the roots of the eigenvalues.",
            "(Sr @ Sf).trace()": "The root is missing: you subtract 2 tr(S_r S_f) itself.",
        },
        "means + ": {"": "The means are missing: add |mu_r - mu_f|^2."},
        "2 * root": {"root": "The factor 2 before the root is missing."},
        "Sr.trace() + Sf.trace() - 2 * root": {
            "0": "Only the means are compared. Two sets may share their mean and differ in spread.",
            "(real.std(0) - fake.std(0)).square().sum()": "You compare the standard deviations of "
            "single features only. The covariances between features count as well.",
            "(Sr - Sf).square().sum()": "You took the squared difference of the covariance "
            "matrices. The formula has tr(S_r + S_f - 2 (S_r S_f)^(1/2)).",
        },
        "means + Sr.trace() + Sf.trace() - 2 * root": {
            "(means + Sr.trace() + Sf.trace() - 2 * root).sqrt()": "This is the square root of the "
            "distance asked for: do not take it.",
        },
    },
    hints=(
        "Three parts: the squared distance of the means, the two traces, and the trace of a "
        "matrix root. torch.cov wants one variable per row.",
        "The trace of a matrix root is the sum of the roots of its eigenvalues. Those of S_r S_f "
        "are real and >= 0, up to rounding: torch.linalg.eigvals(S_r @ S_f).real.clamp(min=0).",
        "Sum the roots of these eigenvalues to r. The result is the sum of the squared differences "
        "of the means, plus both traces, minus 2 r.",
    ),
    explanation="The trace of a matrix root needs only the eigenvalues; the clamp keeps rounding "
    "from making their roots nan.",
    see="chapter 10, 'Exercise 5: a distance between two sets of pictures'",
    forbids=("coursekit.metrics.frechet_distance",),
    fair=("detached",),  # a metric: no gradient is asked for
)
def feature_distance(real, fake):
    """Squared Fréchet distance of the Gaussians fitted to two sets of features.

    real: (N, D). fake: (M, D). Covariances with N - 1.
    Returns: a scalar, |mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^(1/2)).
    """
    # 1. The squared distance of the means.
    # 2. The covariances: torch.cov wants one variable per row.
    # 3. The trace of a matrix root is the sum of the roots of its eigenvalues
    #    (torch.linalg.eigvals; take the real part, and let rounding not go below 0).
    ### BEGIN SOLUTION
    means = (real.mean(dim=0) - fake.mean(dim=0)).square().sum()
    Sr, Sf = torch.cov(real.T), torch.cov(fake.T)
    root = torch.linalg.eigvals(Sr @ Sf).real.clamp(min=0).sqrt().sum()
    return means + Sr.trace() + Sf.trace() - 2 * root
    ### END SOLUTION


@feature_distance.test("is 0 for a set and itself")
def _itself(answer: Answer, g: Generator) -> None:
    real, fake = feature_distance.draw(g)
    expected = feature_distance.solve(real, fake)
    close(answer(real, fake), expected)
    close(answer(real, real), torch.zeros(()), "the distance of a set from itself", atol=1e-3)


# --- gan_vs_vae.precision_recall ----------------------------------------------------------------


def _two_sets(g: Generator) -> tuple[Tensor, Tensor, int]:
    """Sets that overlap in part, of different size and spread."""
    real, fake = randn(g, 24, 2).double(), randn(g, 18, 2).double()
    return real, 0.6 * fake + torch.tensor([0.9, 0.0]), 3


def _other_k(g: Generator) -> tuple[Tensor, Tensor, int]:
    real, fake, _ = _two_sets(g)
    return real[:, :1], fake[:, :1], 1


@record(
    "gan_vs_vae.precision_recall",
    inputs=_two_sets,
    tests=(
        values(points=3, name="gives both shares"),
        values(
            name="holds for k = 1 and one feature",
            hidden="Is the point itself among its k nearest? Does k appear as a fixed number?",
            inputs=_other_k,
        ),
        untouched(),
    ),
    mistakes={
        "k + 1": {
            "k": "A point is its own nearest neighbor, at distance 0: leave it out.",
            "k + 2": "Your balls are too large by one neighbor: they reach to the (k + 1)-th.",
        },
        ".values": {
            ".values.mean()": "You use one radius for all, the mean; each point has its own.",
        },
        "torch.cdist(manifold, manifold).kthvalue(k + 1, dim=1)": {
            "torch.cdist(points, points).kthvalue(k + 1, dim=1, keepdim=True)": "You test the ball "
            "around the point itself. The balls stand around the points of the other set.",
        },
        "(distance <= radius).any(dim=1)": {
            "(distance.amin(dim=1) <= radius[distance.argmin(dim=1)])": "You look at the ball of "
            "the nearest point only. Any ball will do: a farther point may have a larger one.",
            "(distance <= radius)": "You average over all pairs; count a point once, if it lies in "
            "any ball.",
            "(distance <= radius).all(dim=1)": "A point need not lie in all balls; one is enough.",
        },
        ".double().mean()": {
            ".double().sum()": "You return numbers of points; divide by how many there are.",
        },
        "share(fake, real), share(real, fake)": {
            "share(real, fake), share(fake, real)": "Precision and recall are exchanged: precision "
            "looks at fakes in balls of reals.",
        },
    },
    hints=(
        "Write a function share(points, manifold) and call it twice, with the sets exchanged.",
        "Among the distances of a set to itself, the nearest point is the point itself, at 0: "
        "the radius is the (k + 1)-th smallest, torch.cdist(x, x).kthvalue(k + 1, dim=1).values.",
        "Compare the distances from the points to the manifold with the manifold's radii. A point "
        "counts if any comparison in its row holds; the share is the mean over the points.",
    ),
    explanation="One function serves both: precision asks for fakes near reals, recall for reals "
    "near fakes.",
    see="chapter 10, 'Exercise 6: precision and recall'",
    forbids=("coursekit.metrics.precision_recall",),
)
def precision_recall(real, fake, k):
    """Fidelity and variety by nearest neighbors.

    real: (N, D), fake: (M, D) features. k: a ball reaches to the k-th nearest OTHER point.
    Returns: (precision, recall), the share of fakes in a ball (<=) around a real, and the share
    of reals in a ball around a fake.
    """

    # 1. The radius of each point: mind that its nearest point is itself.
    # 2. Is a point in any ball?  3. The share, both ways.
    ### BEGIN SOLUTION
    def share(points, manifold):
        radius = torch.cdist(manifold, manifold).kthvalue(k + 1, dim=1).values
        distance = torch.cdist(points, manifold)
        return (distance <= radius).any(dim=1).double().mean()

    return share(fake, real), share(real, fake)
    ### END SOLUTION


@precision_recall.wrong("Your recall is a coverage: it must use balls around the fakes.")
def coverage(real, fake, k):
    precision, _ = precision_recall.solve(real, fake, k)
    radius = torch.cdist(real, real).kthvalue(k + 1, dim=1).values
    return precision, (torch.cdist(fake, real) <= radius).any(dim=0).double().mean()


@precision_recall.test("tells one picture, drawn again and again, from a good generator")
def _constant(answer: Answer, g: Generator) -> None:
    real, fake, k = _two_sets(g)
    expected = precision_recall.solve(real, fake, k)
    close(answer(real, fake, k), expected)
    neighbor = torch.cdist(real[:1], real).argsort()[0, 1]
    copies = (0.5 * (real[0] + real[neighbor])).repeat(18, 1)
    close(answer(real, copies, k), (torch.ones(()), torch.zeros(())), "for 18 copies the result")


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
