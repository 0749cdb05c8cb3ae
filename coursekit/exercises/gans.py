"""Exercises of the chapter on generative adversarial networks: the game, its step, its cures."""

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from coursekit.exercises import (
    Answer,
    Failed,
    FreeText,
    close,
    copies,
    exercise_of,
    rand,
    randn,
    record,
    tensor,
    untouched,
    values,
)


def _filled(g: Generator, module: nn.Module, scale: float = 1.0) -> nn.Module:
    """The module with weights drawn from `g`."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(scale * randn(g, *parameter.shape))
    return module


# --- gans.optimal -------------------------------------------------------------------------------


@record(
    "gans.optimal",
    inputs=lambda g: (
        0.1 + 2 * rand(g, 9),
        0.1 + 2 * rand(g, 9),
        0.7 + 0.3 * float(rand(g)),
        0.05 + 0.2 * float(rand(g)),
    ),
    tests=(
        values(points=3, name="maximizes the smoothed value at every point"),
        values(
            name="holds where only one of the two densities is above 0",
            hidden="Try p_data = [0, 1] and p_g = [1, 0]: D is fake_label, then real_label.",
            inputs=lambda g: (
                torch.tensor([0.0, 1.0, 0.5]) * (1 + rand(g)),
                torch.tensor([1.0, 0.0, 0.5]) * (1 + rand(g)),
                0.7 + 0.2 * float(rand(g)),
                0.05 + 0.2 * float(rand(g)),
            ),
        ),
        untouched(),
    ),
    mistakes={
        "(real_label * p_data + fake_label * p_g) / (p_data + p_g)": {
            "real_label * p_data / (real_label * p_data + fake_label * p_g)": "You weighted the "
            "densities in D* by the labels. But points of each kind contribute to both logarithms: "
            "collect what multiplies log D, and what multiplies log(1 - D).",
            "real_label * p_data / (real_label * p_data + (1 - fake_label) * p_g)": "Points of "
            "each kind contribute to both logarithms: collect all that multiplies log D, and all "
            "that multiplies log(1 - D).",
        },
        "real_label * p_data + fake_label * p_g": {
            "p_data": "This is the best discriminator for the targets 1 and 0. The labels a and b "
            "change what it maximizes: derive it again.",
            "real_label * p_data": "You left fake_label out. With b > 0, generated points also "
            "contribute to log D.",
            "fake_label * p_data + real_label * p_g": "The two labels are swapped: a belongs to "
            "the data, b to the generator.",
            "real_label * p_data + (1 - fake_label) * p_g": "The coefficient of log D is "
            "a p_data + b p_g. You took 1 - b, which belongs to log(1 - D).",
            "(1 - real_label) * p_data + (1 - fake_label) * p_g": "This is 1 - D, the probability "
            "of being generated.",
        },
        "(p_data + p_g)": {
            "(real_label * p_data + p_g)": "The coefficients of log D and of log(1 - D) add up to "
            "p_data + p_g, because (1 - a) p_data is part of the second one.",
            "(real_label + fake_label)": "Divide by the sum of the densities, not of the labels.",
            "p_g": "This is a ratio of the two coefficients. D is the share of the first in the "
            "sum of both.",
        },
    },
    hints=(
        "Collect what multiplies log D in the integrand, and what multiplies log(1 - D).",
        "For A log D + B log(1 - D), the derivative A / D - B / (1 - D) is 0 at D = A / (A + B).",
        "A is the data's density times a plus the generator's times b. What is A + B?",
    ),
    explanation="A = a p_data + b p_g and A + B = p_data + p_g, so D* is their ratio.",
    see="chapter 9, 'Exercise 1: the best discriminator for smoothed labels'",
    fair=("detached",),
)
def optimal_discriminator(p_data, p_g, real_label, fake_label):
    """The discriminator with the smallest cross-entropy for smoothed labels.

    p_data, p_g: (N,), densities of the data and of the generator; at no point are both 0.
    real_label, fake_label: numbers in [0, 1], the targets a and b of real and generated points.
    Returns: (N,), the best D at each point.
    """
    # 1. On paper: what multiplies log D, what multiplies log(1 - D)?
    # 2. Set the derivative with respect to D to 0.
    ### BEGIN SOLUTION
    return (real_label * p_data + fake_label * p_g) / (p_data + p_g)
    ### END SOLUTION


# --- gans.step ----------------------------------------------------------------------------------


def _players(g: Generator) -> tuple[Any, ...]:
    """Both networks with gradients that an earlier step left, their optimizers, points, noise."""
    generator = _filled(g, nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)), 0.7)
    scores = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0))
    discriminator = _filled(g, scores, 0.7)
    for parameter in (*generator.parameters(), *discriminator.parameters()):
        parameter.grad = torch.ones_like(parameter)
    return (
        generator,
        discriminator,
        torch.optim.SGD(generator.parameters(), lr=0.2),
        torch.optim.SGD(discriminator.parameters(), lr=0.3),
        randn(g, 6, 3),
        randn(g, 5, 2),
    )


def _with_adam(g: Generator) -> tuple[Any, ...]:
    generator, discriminator, _, _, real, z = _players(g)
    adam = (torch.optim.Adam(m.parameters(), lr=0.01) for m in (generator, discriminator))
    return (generator, discriminator, *adam, real, z)


@record(
    "gans.step",
    inputs=_players,
    tests=(
        values(points=4, name="moves the discriminator, then the generator, each by its own loss"),
        values(
            name="works with other optimizers",
            hidden="Try two Adam optimizers. Do you use their zero_grad and step?",
            inputs=_with_adam,
        ),
    ),
    mistakes={
        "fake.detach()": {
            "fake": "The discriminator's backward ran through the generator, too. That frees the "
            "graph which the generator's step needs: give the discriminator fake.detach().",
        },
        "d_optimizer.zero_grad()": {
            "pass": "The discriminator's old gradients are still there, among them those that the "
            "generator's last step wrote into it. Clear them before its backward.",
        },
        "g_optimizer.zero_grad()": {
            "pass": "The generator's old gradients are still there: clear them before its "
            "backward.",
        },
        "d_optimizer.step()": {
            "pass": "The discriminator never moves: call d_optimizer.step(), after the backward "
            "and before the next zero_grad.",
        },
        "g_optimizer.step()": {
            "pass": "The generator never moves. Either g_optimizer.step() is missing, or you "
            "detached the images in the generator's turn as well.",
        },
        "F.softplus(-discriminator(real)).mean() +": {
            "F.softplus(discriminator(real)).mean() +": "The discriminator's target for real "
            "images is 1: -log D is softplus of minus the score.",
            "": "The real images are missing in the discriminator's loss.",
        },
        "F.softplus(discriminator(fake.detach())).mean()": {
            "F.softplus(-discriminator(fake.detach())).mean()": "The discriminator's target for "
            "generated images is 0: -log(1 - D) is softplus of the score itself.",
        },
        "g_loss = F.softplus(-discriminator(fake)).mean()": {
            "g_loss = -F.softplus(discriminator(fake)).mean()": "This is the saturating loss, "
            "log(1 - D). The exercise asks for -log D.",
            "g_loss = F.softplus(discriminator(fake)).mean()": "Your generator wants its images "
            "to be found out: its target must be 1, so the score needs a minus sign.",
            "g_loss = F.softplus(-discriminator(real)).mean()": "The generator's loss must be "
            "about its own images.",
        },
    },
    hints=(
        "Two turns, the discriminator's first. Each turn has a loss, zero_grad, backward and step "
        "of one optimizer. Which network must each backward reach?",
        "The discriminator's loss must not reach the generator: fake.detach(). The generator's "
        "loss must run through the discriminator, so nothing is detached there. Gradients that it "
        "leaves in the discriminator are cleared at the discriminator's next turn.",
        "Generate once. First turn: softplus of minus the scores of the real images, plus softplus "
        "of the scores of the detached generated ones. Second turn: the new discriminator scores "
        "the images that were not detached; softplus of minus these scores.",
    ),
    explanation="Each turn clears, fills and uses the gradients of one player; detach keeps the "
    "first turn out of the generator.",
    see="chapter 9, 'Exercise 2: the alternating step'",
    forbids=(
        "coursekit.objectives.adversarial.bce_discriminator",
        "coursekit.objectives.adversarial.non_saturating_generator",
        "coursekit.training.adversarial.alternating_step",
    ),
    fair=("changes its inputs in place",),  # that is what a step does
)
def gan_step(generator, discriminator, g_optimizer, d_optimizer, real, z):
    """One alternating step: the discriminator's turn, then the generator's.

    generator: noise (B, L) -> images. discriminator: images -> scores (B,), the logits of D.
    g_optimizer, d_optimizer: each holds the weights of its own network.
    real: a batch of images. z: a batch of noise, used in both turns.
    Returns: (d_loss, g_loss), two floats in nats: -log D(real) - log(1 - D(fake)), each averaged
    over its batch, before the discriminator moves; -log D(fake) after it has moved.
    """
    # 1. Generate.
    # 2. The discriminator's turn: loss, clear, backward, step. What must be detached?
    # 3. The generator's turn, against the discriminator that has just moved.
    ### BEGIN SOLUTION
    fake = generator(z)
    of_fake = F.softplus(discriminator(fake.detach())).mean()
    d_loss = F.softplus(-discriminator(real)).mean() + of_fake
    d_optimizer.zero_grad()
    d_loss.backward()
    d_optimizer.step()

    g_loss = F.softplus(-discriminator(fake)).mean()
    g_optimizer.zero_grad()
    g_loss.backward()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()
    ### END SOLUTION


@gan_step.wrong(
    "The discriminator's loss wrote gradients into the generator, and the generator's own were "
    "added to them. detach() the generated images in the discriminator's turn."
)
def _not_detached(generator, discriminator, g_optimizer, d_optimizer, real, z):
    g_optimizer.zero_grad()
    d_optimizer.zero_grad()
    fake = generator(z)
    d_loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
    d_loss.backward(retain_graph=True)
    d_optimizer.step()
    g_loss = F.softplus(-discriminator(fake)).mean()
    g_loss.backward()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


@gan_step.wrong(
    "Your generator plays against the discriminator as it was before its turn. The discriminator "
    "moves first; compute the generator's scores after d_optimizer.step()."
)
def _at_once(generator, discriminator, g_optimizer, d_optimizer, real, z):
    fake = generator(z)
    of_fake = F.softplus(discriminator(fake.detach())).mean()
    d_loss = F.softplus(-discriminator(real)).mean() + of_fake
    g_loss = F.softplus(-discriminator(fake)).mean()
    g_optimizer.zero_grad()
    g_loss.backward()
    d_optimizer.zero_grad()
    d_loss.backward()
    d_optimizer.step()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


@gan_step.wrong(
    "You add both losses and let both networks descend the sum. The two players want opposite "
    "things of the same scores, so each needs a loss and a backward of its own."
)
def _one_sum(generator, discriminator, g_optimizer, d_optimizer, real, z):
    fake = generator(z)
    d_loss = F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
    g_loss = F.softplus(-discriminator(fake)).mean()
    d_optimizer.zero_grad()
    g_optimizer.zero_grad()
    (d_loss + g_loss).backward()
    d_optimizer.step()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


# --- gans.conditional ---------------------------------------------------------------------------


def _labelled(g: Generator, shape: tuple[int, int, int] = (2, 8, 12)) -> tuple[Any, ...]:
    return shape, 4, rand(g, 5, *shape), torch.randint(4, (5,), generator=g)


def _most(found: Tensor) -> bool:
    """Two scores may agree by chance, so one image proves nothing."""
    return bool(found.double().mean() > 0.5)


def _observed(answer: Answer, shape: Any, classes: int, x: Tensor, labels: Tensor) -> Any:
    """What every right discriminator shares, whatever its layers and weights."""
    discriminator = answer(shape, classes)
    scores = tensor(discriminator(x, labels), what="the scores").detach()
    other = tensor(discriminator(x, (labels + 1) % classes), what="the scores").detach()
    rest = torch.cat([labels[:1], (labels[1:] + 1) % classes])  # all but the first change
    own = tensor(discriminator(x, rest), what="the scores").detach()
    alone = tensor(discriminator(x[:1], labels[:1]), what="the score").detach()
    large = tensor(discriminator(1e4 * x, labels), what="the scores").detach()
    changed = (tensor(discriminator(x.flip(1, 2, 3), labels)).detach() - scores).abs()
    return (
        tuple(scores.shape),
        _most((other - scores).abs() > 1e-6),
        _most(changed > 1e-6),
        bool(torch.allclose(alone, scores[:1], atol=1e-4)),
        bool(((large < 0) | (large > 1)).any()),
        _most((own - scores)[1:].abs() > 1e-6),
    )


@record(
    "gans.conditional",
    inputs=_labelled,
    tests=(),
    probe=_observed,
    mistakes={
        "F.one_hot(labels, self.classes)": {
            "F.one_hot(labels[:1].expand(len(x)), self.classes)": "All images of the batch get the "
            "label of the first: each needs its own.",
        },
        "nn.Conv2d(16, 32, 4, stride=2, padding=1),": {
            "nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.BatchNorm2d(32),": "The score of an "
            "image depends on the other images of its batch: leave batch normalization out of the "
            "discriminator. Many do use it, but then D is no function of one image any more.",
        },
        "return self.network(torch.cat([2 * x - 1, maps], dim=1)).flatten()": {
            "return self.network(torch.cat([2 * x - 1, 0 * maps], dim=1)).flatten()": "The score "
            "does not depend on the label.",
            "return self.network(torch.cat([2 * x - 1, maps], dim=1))": "Your scores have shape "
            "(B, 1). They must be (B,): flatten them.",
            "return self.network(torch.cat([2 * x - 1, maps], dim=1)).sigmoid().flatten()": "Your "
            "scores are probabilities. The losses expect logits: leave the sigmoid out.",
            "return self.network(torch.cat([0 * x, maps], dim=1)).flatten()": "The score does "
            "not depend on the image.",
        },
    },
    hints=(
        "A network needs the label as numbers, and a class number is not a quantity. What do you "
        "give it instead, and how can a convolution see it at every pixel?",
        "F.one_hot(labels, K) is (B, K). Give it two more axes and expand it to (B, K, H, W): K "
        "more channels, one of them full of ones. torch.cat puts them beside the image.",
        "Two convolutions of stride 2 with C + K channels of input, LeakyReLU after each, then "
        "Flatten and one Linear layer without a sigmoid. Two halvings leave H/4 x W/4 positions.",
    ),
    explanation="The label is K more channels of the image, so that the first convolution sees "
    "image and class together.",
    see="chapter 9, 'Exercise 6: a conditional discriminator'",
    forbids=(
        "coursekit.models.ConditionalGAN",
        "coursekit.models.SmallGAN",
        "coursekit.models.conditioning.beside_channels",
    ),
)
class ConditionalDiscriminator(nn.Module):
    """The scores of images, given the classes that they should show.

    image_shape: (C, H, W), where H and W are multiples of 4. classes: the number K of classes.
    Called with x, (B, C, H, W) in [0, 1], and labels, (B,) class numbers; it returns (B,) logits.
    The score of an image depends on this image and its own label, and on no other.
    """

    def __init__(self, image_shape, classes):
        super().__init__()
        self.classes = classes
        ### BEGIN SOLUTION
        channels, height, width = image_shape
        self.network = nn.Sequential(
            nn.Conv2d(channels + classes, 16, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(32 * (height // 4) * (width // 4), 1),
        )
        ### END SOLUTION

    def forward(self, x, labels):
        ### BEGIN SOLUTION
        onehot = F.one_hot(labels, self.classes).to(x)
        maps = onehot[:, :, None, None].expand(-1, -1, *x.shape[2:])
        return self.network(torch.cat([2 * x - 1, maps], dim=1)).flatten()
        ### END SOLUTION


@exercise_of(ConditionalDiscriminator).test(
    "gives one score per image, which the image decides", points=1
)
def _scores_images(answer: Answer, g: Generator) -> None:
    _, _, x, _ = inputs = _labelled(g)
    shape, _, by_image, *_ = _observed(answer, *inputs)
    if shape != (len(x),):
        raise Failed(f"the scores have shape {shape}; expected ({len(x)},)")
    if not by_image:
        raise Failed("the score does not depend on the image")


@exercise_of(ConditionalDiscriminator).test("reads the label", points=2)
def _reads_labels(answer: Answer, g: Generator) -> None:
    shape, by_label, by_image, _, _, by_own = _observed(answer, *_labelled(g))
    if len(shape) != 1 or not by_image:
        raise Failed("this is judged once there is one score per image, which the image decides")
    if not by_label:
        raise Failed("the same image has the same score under another label")
    if not by_own:
        raise Failed("the score depends on the label of another image, not on its own")


@exercise_of(ConditionalDiscriminator).test("scores each image by itself, with a logit", points=1)
def _by_itself(answer: Answer, g: Generator) -> None:
    shape, by_label, by_image, by_itself, logits, by_own = _observed(answer, *_labelled(g))
    if len(shape) != 1 or not by_image or not by_label or not by_own:
        raise Failed("this is judged once the score depends on the image and its label")
    if not by_itself:
        raise Failed("an image alone has another score than in a batch: is it batch normalization?")
    if not logits:
        raise Failed("all scores lie in [0, 1]: return the logit, without a sigmoid")


@exercise_of(ConditionalDiscriminator).test(
    "takes images of other sizes and gives gradients to them",
    hidden="Try color images of 16x8, and one_hot of a batch that lacks the last class.",
)
def _other_sizes(answer: Answer, g: Generator) -> None:
    shape, classes = (3, 16, 8), 6
    discriminator = answer(shape, classes)
    x, labels = rand(g, 4, *shape).requires_grad_(), torch.tensor([0, 1, 2, 0])
    scores = tensor(discriminator(x, labels), (4,), "the scores")
    if not scores.requires_grad:
        raise Failed("no gradient flows back from the scores")
    (slope,) = torch.autograd.grad(scores.sum(), x)
    if not slope.flatten(1).any(dim=1).all():
        raise Failed("no gradient reaches the images, so a generator could not learn")
    if not all(_observed(answer, *_labelled(g, (1, 4, 8)))[1:]):
        raise Failed("for images of (1, 4, 8) it is not a discriminator of images and labels")


# --- gans.dirac ---------------------------------------------------------------------------------


@record(
    "gans.dirac",
    inputs=lambda g: (
        2 * randn(g, 7),
        2 * randn(g, 7),
        0.1 + float(rand(g)),
        0.2 + float(rand(g)),
    ),
    tests=(
        values(points=3, name="moves both players at once, by their own gradients"),
        values(
            name="is the plain game for gamma = 0",
            inputs=lambda g: (randn(g, 4), randn(g, 4), 0.1 + float(rand(g)), 0.0),
        ),
        untouched(),
    ),
    mistakes={
        "psi * torch.sigmoid(-psi * theta)": {
            "psi * torch.sigmoid(psi * theta)": "This is the slope of the saturating loss. The "
            "derivative of -log sigmoid(t) is -(1 - sigmoid(t)) = -sigmoid(-t).",
            "torch.sigmoid(-psi * theta)": "The chain rule is not finished: the score psi * theta "
            "changes by psi for each unit of theta.",
            "-psi * torch.sigmoid(-psi * theta)": "Your generator climbs its loss. The slope in "
            "theta is -psi * sigmoid(-psi theta), and descent subtracts it.",
        },
        "theta * torch.sigmoid(psi * theta) + gamma * psi": {
            "theta * torch.sigmoid(psi * theta)": "The penalty is missing in the discriminator's "
            "step. The score's slope in x is psi, so R1 is gamma / 2 * psi^2.",
            "theta * torch.sigmoid(psi * theta) + gamma / 2 * psi": "The derivative of "
            "gamma / 2 * psi^2 is gamma * psi.",
            "theta * torch.sigmoid(psi * theta) + gamma * theta": "The penalty's gradient is for "
            "psi, the discriminator's own weight: gamma * psi.",
            "torch.sigmoid(psi * theta) + gamma * psi": "The chain rule is not finished: the "
            "score psi * theta changes by theta for each unit of psi.",
            "-theta * torch.sigmoid(psi * theta) + gamma * psi": "The sign of the discriminator's "
            "first slope is flipped: a larger psi raises the score of the generated point theta.",
            "theta * torch.sigmoid(-psi * theta) + gamma * psi": "The discriminator's loss for "
            "generated points is softplus(t); its derivative is sigmoid(t), not sigmoid(-t).",
        },
    },
    hints=(
        "Write both losses as functions of the score t = psi * theta. What is the discriminator's "
        "loss on the data, where x = 0?",
        "softplus(t) has the derivative sigmoid(t), softplus(-t) has -sigmoid(-t). Then the chain "
        "rule: dt/dtheta = psi, dt/dpsi = theta. The slope of the score in x is psi.",
        "The generator's slope is minus psi times sigmoid(-t). The discriminator's is theta times "
        "sigmoid(t), plus gamma times psi. Use the old values in both, and subtract lr times each.",
    ),
    explanation="The score at the data is 0 whatever psi is, so only the generated point and the "
    "penalty move the discriminator.",
    see="chapter 9, 'Exercise 3: the smallest GAN'",
    fair=("detached",),
)
def dirac_step(theta, psi, lr, gamma):
    """One step of gradient descent of both players of the smallest GAN, at the same time.

    theta: (N,), where the generator puts its point, in N games. psi: (N,), the discriminators'
    weights. lr: the learning rate of both. gamma: the weight of the R1 penalty.
    Returns: (theta, psi), the new values, each (N,).
    """
    # 1. On paper: the loss of each player, with the score t = psi * theta.
    # 2. The generator's slope in theta, the discriminator's in psi.
    # 3. Both steps from the old values.
    ### BEGIN SOLUTION
    new_theta = theta + lr * (psi * torch.sigmoid(-psi * theta))
    new_psi = psi - lr * (theta * torch.sigmoid(psi * theta) + gamma * psi)
    return new_theta, new_psi
    ### END SOLUTION


@dirac_step.wrong("Your discriminator answers to the new theta. Both move from the old values.")
def _alternating(theta, psi, lr, gamma):
    theta = theta + lr * psi * torch.sigmoid(-psi * theta)
    return theta, psi - lr * (theta * torch.sigmoid(psi * theta) + gamma * psi)


@dirac_step.wrong("Your generator answers to the new psi. Both move from the old values.")
def _alternating_too(theta, psi, lr, gamma):
    psi = psi - lr * (theta * torch.sigmoid(psi * theta) + gamma * psi)
    return theta + lr * psi * torch.sigmoid(-psi * theta), psi


# --- gans.penalty -------------------------------------------------------------------------------


def _critic(g: Generator, size: int = 18) -> nn.Module:
    """A critic of images: scores (B,)."""
    layers = nn.Linear(size, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)
    return _filled(g, nn.Sequential(nn.Flatten(), *layers), 0.6)


def _pairs(g: Generator) -> tuple[Any, ...]:
    seed = int(torch.randint(2**31, (), generator=g))
    return _critic(g), randn(g, 5, 2, 3, 3), randn(g, 5, 2, 3, 3), Generator().manual_seed(seed)


def _flat_pairs(g: Generator) -> tuple[Any, ...]:
    critic, real, fake, generator = _pairs(g)
    return critic, real.flatten(1), fake.flatten(1), generator


@record(
    "gans.penalty",
    inputs=_pairs,
    tests=(
        values(points=2, name="averages the penalty over the images"),
        values(
            name="holds for points as well as for images",
            hidden="Try real and fake of shape (B, D).",
            inputs=_flat_pairs,
        ),
        untouched(),
    ),
    mistakes={
        "rand(len(real), generator=generator)\n    t = t.view(-1, *real[0].ndim * [1])": {
            "rand(real.shape, generator=generator)": "You draw one t per pixel. The "
            "penalty is about the straight line between two images, so each image needs one t.",
            "rand(1, generator=generator)": "One t serves the whole batch. Draw one per image.",
        },
        "t * real + (1 - t) * fake": {
            "real": "You measure the slope at the real images. Measure it between both.",
            "fake": "You measure the slope at the generated images. Measure it between both.",
        },
        "slope.flatten(1).norm(dim=1)": {
            "slope.norm(dim=1)": "Your norm runs over one axis, the channels. An image has one "
            "slope, so the norm runs over all its pixels: flatten first.",
            "slope.norm()": "Your norm runs over the whole batch. Take one norm per image.",
            "slope.flatten(1).square().sum(dim=1)": "The root is missing: this is the squared "
            "norm.",
            "slope.flatten(1).abs().sum(dim=1)": "This is the sum of absolute values. Take the "
            "Euclidean norm.",
            "slope.flatten(1).square().mean(dim=1).sqrt()": "You average over the pixels; the norm "
            "sums their squares.",
            "slope.flatten(1).square().sum(dim=1).sqrt()": "The derivative of a square root is "
            "infinite at 0, so a critic that is flat somewhere gets NaN weights. torch's norm has "
            "the gradient 0 there; or add a tiny number under the root.",
        },
        ".norm(dim=1) - 1)": {
            ".norm(dim=1))": "The target is missing: the norm should be 1, not 0.",
            ".norm(dim=1) - 1).relu()": "This is one-sided: slopes below 1 cost nothing. The "
            "exercise asks for both sides.",
        },
        ".square().mean()": {
            ".square().sum()": "You summed over the images; average.",
            ".abs().mean()": "Square the difference from 1.",
            ".mean().square()": "Square first, then average over the images.",
        },
        "create_graph=True": {
            "retain_graph=True": "The slope came without a graph of its own, so no gradient of the "
            "penalty reaches the critic's weights: create_graph=True.",
        },
        ".detach().requires_grad_()": {
            ".requires_grad_()": "A gradient runs back into `fake`, and into the generator. "
            "Detach the mixture.",
            "": "autograd follows only what requires a gradient: detach the mixture x, then call "
            "x.requires_grad_().",
        },
    },
    hints=(
        "The penalty needs a derivative with respect to the images, and the training then "
        "differentiates it with respect to the weights. What has torch.autograd.grad to keep?",
        "t has shape (B,), and an image has further axes: view t as (B, 1, 1, 1). Each score "
        "depends on its own image only, so the gradient of the sum of the scores holds the "
        "gradient of each. create_graph=True lets you differentiate again.",
        "Draw t with the generator, mix, detach and require gradients. Take the gradient of the "
        "summed scores. Flatten it to one row per image, take the row norms, subtract 1, square, "
        "average.",
    ),
    explanation="One t per image, one norm per image, and a graph through the slope, so that the "
    "critic's weights feel the penalty.",
    see="chapter 9, 'Exercise 4: the gradient penalty'",
    forbids=("coursekit.objectives.adversarial.gradient_penalty",),
)
def gradient_penalty(critic, real, fake, generator):
    """The penalty of WGAN-GP: how far the critic's slope is from 1, between the images.

    critic: images -> scores (B,), each a function of its own image alone.
    real, fake: (B, ...), images of one shape. generator: draws t.
    Returns: a scalar, the mean of (|slope| - 1)^2. It can be differentiated for the critic's
    weights; no gradient reaches `fake`.
    """
    # 1. One t in [0, 1) per image: torch.rand(B, generator=generator), ready to broadcast.
    # 2. x = t * real + (1 - t) * fake, detached, with gradients of its own.
    # 3. The slope of the scores at x, one norm per image.
    ### BEGIN SOLUTION
    t = torch.rand(len(real), generator=generator)
    t = t.view(-1, *real[0].ndim * [1])
    x = (t * real + (1 - t) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1).square().mean()
    ### END SOLUTION


def _slopes(loss: object, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    scalar = tensor(loss, (), "the penalty")
    if not scalar.requires_grad:
        raise Failed("no gradient flows back from the penalty: create_graph=True keeps its graph")
    return torch.autograd.grad(scalar, inputs, allow_unused=True, materialize_grads=True)


@gradient_penalty.test("can be differentiated for the critic's weights", points=2)
def _for_the_critic(answer: Answer, g: Generator) -> None:
    args = gradient_penalty.draw(g)
    found = []
    for function in (gradient_penalty.solve, answer):
        critic, real, fake, generator = copies(args)
        fake.requires_grad_()
        slopes = _slopes(function(critic, real, fake, generator), [*critic.parameters(), fake])
        found.append(slopes)
    for right, slope in zip(found[0][:-1], found[1][:-1], strict=True):
        close(slope, right, "the gradient of the critic's weights")
    if found[1][-1].any():
        raise Failed("a gradient runs back into `fake`, and into the generator")


@gradient_penalty.test(
    "stays finite where the critic is flat",
    hidden="Try a critic whose weights are all 0. The penalty is 1. Is its gradient a number?",
)
def _flat(answer: Answer, g: Generator) -> None:
    critic, real, fake, generator = gradient_penalty.draw(g)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(0.0)
    penalty = answer(critic, real, fake, generator)
    close(penalty, torch.ones(()), "the penalty of a flat critic", rtol=1e-3)
    for slope in _slopes(penalty, list(critic.parameters())):
        if not torch.isfinite(slope).all():
            raise Failed("the gradient is NaN where the slope is 0: the root has no derivative")
    args = gradient_penalty.draw(g)
    close(answer(*copies(args)), gradient_penalty.solve(*args))


# --- gans.average -------------------------------------------------------------------------------


def _trained(g: Generator) -> tuple[Any, ...]:
    """Two networks with batch normalization whose weights and statistics differ."""
    networks = []
    for count in (3, 8):
        network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
        _filled(g, network)
        norm = network[1]
        assert isinstance(norm, nn.BatchNorm1d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        norm.running_mean.copy_(randn(g, 3))
        norm.running_var.copy_(0.5 + rand(g, 3))
        norm.num_batches_tracked.fill_(count)
        networks.append(network)
    return (*networks, 0.5 + 0.45 * float(rand(g)))


@record(
    "gans.average",
    inputs=_trained,
    tests=(
        values(points=3, name="moves the average and leaves the model alone"),
        values(
            name="copies the model where nothing is to be remembered",
            hidden="Try decay = 0: the average is then a copy of the model, buffers included.",
            inputs=lambda g: (*_trained(g)[:2], 0.0),
        ),
    ),
    mistakes={
        "decay * old + (1 - decay) * new": {
            "(1 - decay) * old + decay * new": "The weights are swapped: decay is what remains of "
            "the old average.",
            "new": "You copy the model's weights; the average must remember.",
            "(old + new) / 2": "You take the plain mean; decay is not used.",
        },
        "with torch.no_grad():": {
            "if True:": "A weight that autograd follows cannot be changed in place: do it under "
            "torch.no_grad().",
        },
        "old.copy_(decay * old + (1 - decay) * new)": {
            "old = decay * old + (1 - decay) * new": "`old = ...` gives a name to a new tensor and "
            "leaves the network as it was. Write into its tensor, with copy_.",
        },
        "old.copy_(new)": {
            "pass": "The buffers keep their first values. A generator with batch normalization "
            "would then normalize by statistics that do not belong to its weights.",
            "old.copy_(decay * old + (1 - decay) * new)": "You average the buffers; the contract "
            "asks for a copy (the counter of batches is a whole number).",
        },
    },
    hints=(
        "Two kinds of tensors: parameters, which are averaged, and buffers, which are copied.",
        "zip(average.parameters(), model.parameters()) walks both networks together; .buffers() "
        "does the same for buffers. tensor.copy_(value) writes in place.",
        "Under torch.no_grad(), copy into each parameter of the average: decay times itself plus "
        "(1 - decay) times the model's. Then copy each buffer.",
    ),
    explanation="The average moves by a share 1 - decay towards the model in every step; the "
    "statistics of batch normalization are averages already.",
    see="chapter 9, 'Exercise 5: average the weights'",
    forbids=("coursekit.training.ema.move_average",),
    fair=("changes its inputs in place",),
)
def update_average(average, model, decay):
    """Move the averaged network towards the trained one.

    average, model: networks of the same architecture. decay: a number in [0, 1).
    Every parameter of `average` becomes decay * itself + (1 - decay) * the model's; every buffer
    (the statistics of batch normalization) becomes a copy of the model's. `model` stays.
    """
    ### BEGIN SOLUTION
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.copy_(decay * old + (1 - decay) * new)
        for old, new in zip(average.buffers(), model.buffers(), strict=True):
            old.copy_(new)
    ### END SOLUTION


# --- Questions answered in prose ----------------------------------------------------------------

curves = FreeText(
    "gans.curves",
    "Two trainings end with nearly the same two losses, and one of the generators has lost modes. "
    "Why can the losses not tell you? Name two measurements that can, and say what "
    "each of them would show for a generator that has collapsed.",
    "One point: each loss measures a player against the other player, who moves as well; it has no "
    "fixed scale. One point: two measurements of samples, such as the number of modes or classes "
    "among them, recall or coverage beside precision, distances between samples, a feature "
    "distance, or a look at many samples, each with what a collapse does to it (few modes, low "
    "recall at high precision, small distances).",
    2,
)
haste = FreeText(
    "gans.haste",
    "Suppose that the discriminator is frozen and the generator trains until its loss falls no "
    "more. Where does it put its samples? What happens when the discriminator then moves? Use the "
    "answer to explain why many generator steps per discriminator step lead to mode collapse.",
    "One point: all samples go to the point (or points) with the highest score, because nothing in "
    "the generator's loss rewards variety. One point: the discriminator lowers its score there, "
    "and the generator jumps to the next point; the pair solves max min, not min max, and the "
    "samples travel between modes without covering them.",
    2,
)
tuning = FreeText(
    "gans.tuning",
    "A friend trains a GAN on 200,000 photographs. After an hour the discriminator's loss is 0.02 "
    "and the samples are noise. The friend's plan is: batch normalization in the discriminator, a "
    "smaller learning rate for the discriminator, and training twice as long. Discuss each part, "
    "and give a plan of your own with a reason for every step.",
    "One point: the discriminator separates both sets almost perfectly, so check the generator's "
    "loss (non-saturating?) and its gradient; training longer alone does not help. One point: "
    "batch normalization does not weaken the discriminator and makes a score depend on the batch "
    "(it also rules out a gradient penalty per image); a smaller rate only delays. One point: a "
    "plan with reasons: R1, gradient penalty or spectral norm bound the slope, one-sided smoothing "
    "bounds the confidence, check data range and code first; look at samples with averaged "
    "weights; measure with several seeds.",
    3,
)
