"""Exercises of the chapter on normalizing flows: exact densities of what a network makes."""

import math
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
    unchanged,
    untouched,
    values,
)


def _matrix(g: Generator, dim: int) -> nn.Linear:
    """A layer whose matrix is near a diagonal, of either orientation, and far from singular."""
    layer = nn.Linear(dim, dim)
    with torch.no_grad():
        layer.bias.copy_(0.3 * randn(g, dim))
        while True:
            signs = torch.where(rand(g, dim) < 0.5, -1.0, 1.0)
            layer.weight.copy_(torch.diag(signs * (0.6 + rand(g, dim))) + 0.3 * randn(g, dim, dim))
            if torch.linalg.svdvals(layer.weight).min() > 0.2:
                return layer


def _invertible(g: Generator, dim: int) -> nn.Sequential:
    """A network R^D -> R^D that has an inverse: two matrices and a bend between them."""
    return nn.Sequential(_matrix(g, dim), nn.LeakyReLU(0.4), _matrix(g, dim))


def _turned_over(g: Generator) -> tuple[Any, ...]:
    """Points in three dimensions and a function whose determinant is negative everywhere."""
    y, inverse = randn(g, 5, 3), _invertible(g, 3)
    first, last = (part.weight for part in inverse if isinstance(part, nn.Linear))
    if torch.linalg.det(first) * torch.linalg.det(last) > 0:
        with torch.no_grad():
            last[0] *= -1
    return y, inverse


def _other_dimension(g: Generator) -> tuple[Any, ...]:
    dim = int(torch.randint(1, 3, (1,), generator=g))
    return randn(g, 4, dim), _invertible(g, dim)


# --- flows.density ------------------------------------------------------------------------------


@record(
    "flows.density",
    inputs=_turned_over,
    tests=(
        values(points=3, name="is the density of the transformed points"),
        values(
            name="holds in other dimensions",
            hidden="Try D = 1 and D = 2. Is anything written for D = 3?",
            inputs=_other_dimension,
        ),
        untouched(),
    ),
    mistakes={
        "log_base + log_det": {
            "log_base - log_det": "The sign is that of the other direction. This is the "
            "determinant of the inverse, which is added; the determinant of f is subtracted.",
            "log_base": "The volume is missing: f stretches some regions and squeezes others, and "
            "the log-determinant says by how much.",
        },
        "for row in y]": {
            "for row in z]": "You took the Jacobian of the inverse at z. It belongs to y, the "
            "point that the inverse gets.",
        },
        "torch.linalg.slogdet(jacobian).logabsdet": {
            "torch.logdet(jacobian)": "The determinant may be negative, where f turns the space "
            "over. Its absolute value counts: torch.linalg.slogdet gives log |det|.",
            "torch.linalg.det(jacobian).abs()": "You added the determinant to a log-density: its "
            "logarithm is missing.",
            "jacobian.diagonal(dim1=1, dim2=2).abs().log().sum(dim=1)": "The product of the "
            "diagonal is the determinant of a triangular matrix only.",
        },
        "-0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)": {
            "-0.5 * (y.square() + math.log(2 * math.pi)).sum(dim=1)": "The base density belongs "
            "to z, the point that y came from, and you took it at y.",
            "-0.5 * z.square().sum(dim=1)": "The constant of the Gaussian is missing: "
            "log(2 pi) / 2 per dimension.",
            "-0.5 * (z.square() + math.log(2 * math.pi)).mean(dim=1)": "Log-densities of "
            "independent dimensions add up. You averaged them.",
        },
    },
    hints=(
        "Which z became y? And how large was the region around z that became a unit volume "
        "around y?",
        "The Jacobian of the inverse at one row y_n is torch.autograd.functional.jacobian of the "
        "function of a single row. torch.linalg.slogdet(...).logabsdet is log |det|.",
        "One number per point from the base: the sum over dimensions of -(z^2 + log(2 pi)) / 2. "
        "One number per point from the volume: log |det| of the inverse's Jacobian. Add them.",
    ),
    explanation="A region around y has the probability of the region around z that it came from; "
    "the determinant of the inverse is the ratio of their volumes.",
    see="chapter 8, 'Exercise 1: the density of transformed points'",
    fair=("detached",),
)
def log_density(y, inverse):
    """The log-density of points y = f(z), where z is drawn from N(0, I) and f is invertible.

    y: (N, D). inverse: the inverse of f, from (N, D) to (N, D); it treats each row by itself.
    Returns: (N,), log p(y) in nats.
    """
    # 1. Where did each point come from?
    # 2. The Jacobian of the inverse at each point, (N, D, D), by autograd.
    # 3. The log-density of the base and log |det|, each once per point.
    ### BEGIN SOLUTION
    z = inverse(y)
    rows = [torch.autograd.functional.jacobian(lambda v: inverse(v[None])[0], row) for row in y]
    jacobian = torch.stack(rows)
    log_det = torch.linalg.slogdet(jacobian).logabsdet
    log_base = -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)
    return log_base + log_det
    ### END SOLUTION


@log_density.wrong(
    "You added the log-determinant to every dimension before summing, so it counts D times. It "
    "belongs to the whole point: add it once. Your density does not integrate to 1."
)
def _in_every_dimension(y, inverse):
    z = inverse(y)
    rows = [torch.autograd.functional.jacobian(lambda v: inverse(v[None])[0], row) for row in y]
    log_det = torch.linalg.slogdet(torch.stack(rows)).logabsdet
    return (-0.5 * (z.square() + math.log(2 * math.pi)) + log_det[:, None]).sum(dim=1)


# --- flows.planar -------------------------------------------------------------------------------


def _layer(g: Generator) -> tuple[Tensor, ...]:
    """Points and a planar layer; in half of the draws w'u < -1, which needs the constraint."""
    w, u, b = randn(g, 4), randn(g, 4), randn(g)
    w = w / w.norm() * (0.8 + rand(g))
    product = 3 * (rand(g) - 0.6) - 0.2
    u = u + (product - w @ u) * w / (w @ w)
    return randn(g, 6, 4), u, w, b


def _folding(g: Generator) -> tuple[Tensor, ...]:
    """A layer with w'u in [-4, -2]: without the constraint it folds the space."""
    z, u, w, b = _layer(g)
    return z, u + (-2 - 2 * rand(g) - w @ u) * w / (w @ w), w, b


@record(
    "flows.planar",
    inputs=_layer,
    tests=(
        values(points=3, name="bends the points and returns log |det|, one number per point"),
        values(
            points=2,
            name="stays invertible for every u and w",
            hidden="Try u = -3 w / |w|^2, so that w'u = -3. Does your layer replace u?",
            inputs=_folding,
        ),
        untouched(),
    ),
    mistakes={
        "u + (F.softplus(product) - 1 - product) * w / (w @ w)": {
            "u": "The constraint is missing. If w'u < -1, the layer folds the space: two points "
            "become one, and there is no density by this formula. Use u_hat.",
            "u + (F.softplus(product) - 1 - product) * w / (w @ w).sqrt()": "You divided by |w|. "
            "To change w'u by an amount, move along w by that amount over |w|^2.",
            "u + (F.softplus(product) - 1) * w / (w @ w)": "After your change, w'u_hat is w'u + "
            "m(w'u). It should be m(w'u): subtract the old w'u as well.",
            "u + (F.softplus(product) - product) * w / (w @ w)": "Your w'u_hat is always "
            "positive. It may go down to -1: m(a) = -1 + log(1 + e^a).",
        },
        "y = z + u_hat * h[:, None]": {
            "y = u_hat * h[:, None]": "The layer adds to z. Without z, all points land on a line.",
            "y = z + u * h[:, None]": "The points move along u, but the determinant is that of a "
            "move along u_hat. Use u_hat in both.",
        },
        "h = torch.tanh(z @ w + b)": {
            "h = torch.tanh(z @ w)": "The offset b of the plane is missing.",
        },
        "torch.log1p((1 - h.square()) * (w @ u_hat))": {
            "torch.log1p((1 - h) * (w @ u_hat))": "The derivative of tanh is 1 - tanh^2.",
            "torch.log1p(h * (w @ u_hat))": "The determinant needs the derivative of tanh, which "
            "is 1 - tanh^2, and you took tanh itself.",
            "torch.log1p((1 - h.square()) * product)": "The determinant belongs to the layer with "
            "u_hat, and you computed it with u.",
            "-torch.log1p((1 - h.square()) * (w @ u_hat))": "The sign is flipped. Return log |det| "
            "of the layer itself; whoever computes a density subtracts it.",
            "((1 - h.square()) * (w @ u_hat)).abs().log()": "The 1 is missing: the Jacobian is "
            "the identity plus a matrix of rank one, and its determinant is 1 + ....",
            "1 + (1 - h.square()) * (w @ u_hat)": "This is the determinant. Return its logarithm.",
            "torch.log1p((1 - h.square()) * (w @ u_hat))[:, None].expand_as(z)": "The determinant "
            "is one number per point, and you return one per dimension. Added to each dimension, "
            "it would count D times, and the density would not integrate to 1.",
        },
    },
    hints=(
        "First replace u by u_hat. What must w'u_hat be? Along which direction can you move u so "
        "that w'u changes and nothing else does?",
        "m(a) = -1 + log(1 + e^a), and log(1 + e^a) is F.softplus(a). u_hat = u + (m(w'u) - w'u) "
        "w / |w|^2. Then h = tanh(w'z + b), one number per point.",
        "The Jacobian is I + u_hat (1 - h^2) w'. The determinant of I + a b' is 1 + b'a. It is "
        "positive thanks to u_hat, so no absolute value is needed.",
    ),
    explanation="The layer moves all points along u_hat, by an amount that depends on w'z alone, "
    "so its Jacobian is the identity plus rank one and its determinant one number.",
    see="chapter 8, 'Exercise 2: a planar layer'",
    forbids=(
        "coursekit.models.planar_flow.Planar",
        "coursekit.models.planar_flow.planar_flows",
        "coursekit.models.planar_flow.planar_layer",
    ),
    fair=("detached",),
)
def planar(z, u, w, b):
    """A planar layer f(z) = z + u_hat tanh(w'z + b), invertible for every u and w.

    z: (B, D), points. u, w: (D,), w is not 0. b: a tensor of shape (), a number.
    u_hat = u + (m(w'u) - w'u) w / |w|^2 with m(a) = -1 + log(1 + e^a).
    Returns: (y, log_det): the points f(z), (B, D); log |det| of the layer's Jacobian, (B,).
    """
    # 1. u_hat, in place of u.
    # 2. How far each point moves: h = tanh(w'z + b).
    # 3. The points, and the log-determinant from the rank-one formula.
    ### BEGIN SOLUTION
    product = w @ u
    u_hat = u + (F.softplus(product) - 1 - product) * w / (w @ w)
    h = torch.tanh(z @ w + b)
    y = z + u_hat * h[:, None]
    return y, torch.log1p((1 - h.square()) * (w @ u_hat))
    ### END SOLUTION


# --- flows.step ---------------------------------------------------------------------------------


class _Stretch(nn.Module):
    """A small flow: each dimension is scaled and shifted. z (B, D) -> y (B, D), log_det (B,)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(dim))
        self.log_scale = nn.Parameter(torch.zeros(dim))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        y = self.shift + torch.exp(self.log_scale) * z
        return y + 0.1 * torch.tanh(y), (
            self.log_scale + torch.log1p(0.1 * (1 - torch.tanh(y).square()))
        ).sum(dim=1)


def _ridge(y: Tensor) -> Tensor:
    """The log of a target density up to a constant, (B, D) -> (B,)."""
    bent = y[:, 1] - 0.5 * y[:, 0].square()
    return -0.5 * y[:, 0].square() - 2.0 * bent.square() + 1.3


def _training(g: Generator) -> tuple[Any, ...]:
    flow = _Stretch(2)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(0.4 * randn(g, 2))
    for parameter in flow.parameters():
        parameter.grad = torch.ones_like(parameter)  # left by an earlier step
    return flow, torch.optim.SGD(flow.parameters(), lr=0.1), _ridge, randn(g, 7, 2)


def _with_adam(g: Generator) -> tuple[Any, ...]:
    flow, _, target, z = _training(g)
    return flow, torch.optim.Adam(flow.parameters(), lr=0.01), target, z


@record(
    "flows.step",
    inputs=_training,
    tests=(
        values(points=3, name="moves the flow down the divergence, and returns it"),
        values(
            name="works with another optimizer",
            hidden="Try torch.optim.Adam. Do you use the optimizer's zero_grad and step?",
            inputs=_with_adam,
        ),
    ),
    mistakes={
        "log_base - log_det": {
            "log_base + log_det": "The sign of the log-determinant is flipped: where the flow "
            "stretches the space, the density falls. With a plus, the loss rewards a flow that "
            "shrinks everything to a point.",
            "log_base": "The log-determinant is missing, so the loss does not know the density of "
            "the flow's points. It would move all of them to the peak of the target.",
        },
        "(log_q - log_target(y)).mean()": {
            "(log_q + log_target(y)).mean()": "The sign of the target is flipped: the loss is "
            "log q - log target.",
            "(log_q - log_target(z)).mean()": "The target must be taken at the flow's points y, "
            "and you took it at the noise z.",
            "(log_target(y) - log_q).mean()": "This is minus the divergence: descent would make "
            "it worse.",
            "(log_q - log_target(y)).sum()": "Average over the points. A sum makes the step grow "
            "with the batch.",
        },
        "-0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)": {
            "-0.5 * (y.square() + math.log(2 * math.pi)).sum(dim=1)": "The base density belongs "
            "to the noise z, not to the points y.",
            "0.0 * z.sum(dim=1)": "The base density is missing. It does not change the gradient, "
            "but without it the loss is no divergence, not even up to the target's constant.",
            "-0.5 * z.square().sum(dim=1)": "The constant of the Gaussian is missing: "
            "log(2 pi) / 2 per dimension.",
        },
        "optimizer.zero_grad()": {
            "pass": "The gradients of an earlier step are still there: clear them first.",
        },
        "optimizer.step()": {"pass": "The flow does not move: optimizer.step() is missing."},
    },
    hints=(
        "Which density do the flow's points have? Start from that of the noise, and use what the "
        "flow returns beside the points.",
        "log q(y) = log N(z; 0, I) - log_det. The loss is the mean over the batch of log q(y) - "
        "log_target(y).",
        "The noise has the log-density -(z^2 + log(2 pi)) / 2, summed over dimensions. Subtract "
        "log_det and the target at y, and average; then zero_grad, backward, step, and return the "
        "loss as a float.",
    ),
    explanation="The mean of log q - log p over points that the flow draws is KL(q || p), and the "
    "noise does not depend on the weights, so the gradient runs through the points.",
    see="chapter 8, 'Exercise 3: fit a flow to a density'",
    forbids=("coursekit.training.density.divergence_step",),
    fair=("changes its inputs in place",),  # that is what a step does
)
def flow_step(flow, optimizer, log_target, z):
    """One step of gradient descent on KL(q || target), q being the density of the flow's points.

    flow: a network; flow(z) returns (y, log_det), the points and log |det| of its Jacobian.
    optimizer: holds the weights of the flow. z: (B, D), draws from N(0, I).
    log_target: from points (B, D) to log-densities (B,), perhaps without their constant.
    Returns: a float: the mean of log q(y) - log_target(y) over the batch, before the step.
    """
    # 1. The points, and the log-density that they have under the flow.
    # 2. The loss, one number. Then clear, backward, step.
    ### BEGIN SOLUTION
    y, log_det = flow(z)
    log_base = -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1)
    log_q = log_base - log_det
    loss = (log_q - log_target(y)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
    ### END SOLUTION


# --- flows.coupling -----------------------------------------------------------------------------


def _coupled(g: Generator, dim: int = 4) -> tuple[Any, ...]:
    net = nn.Sequential(nn.Linear(dim, 6), nn.Tanh(), nn.Linear(6, 2 * dim))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.8 * randn(g, *parameter.shape))
    keep = torch.randperm(dim, generator=g) < dim // 2
    return net, keep, randn(g, 5, dim), randn(g, 5, dim)


def _both_ways(answer: Answer, net: nn.Module, keep: Tensor, z: Tensor, other: Tensor) -> Any:
    layer = answer(net, keep)
    result = layer(z)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Failed("calling the layer should return two results, the points and log_det")
    return (*result, layer.inverse(other))


@record(
    "flows.coupling",
    inputs=_coupled,
    tests=(),
    probe=_both_ways,
    mistakes={
        "torch.tanh(s) * ~self.keep, t * ~self.keep": {
            "torch.tanh(s), t": "The kept coordinates must neither be scaled nor shifted: set "
            "their s and t to 0.",
        },
        "s, t = self.net(kept": {
            "t, s = self.net(kept": "The first D outputs of the network are s, and the shifts t "
            "follow.",
        },
        "self.net(kept * self.keep)": {
            "self.net(kept)": "Your network sees the coordinates that move. Then the inverse "
            "cannot compute the same scale and shift, because it does not know them: show the "
            "network the kept coordinates only, with 0 for the others.",
            "self.net(kept * ~self.keep)": "Your network sees the coordinates that move, and not "
            "those that stay. keep is True where a coordinate stays.",
        },
        "torch.tanh(s) * ~self.keep": {
            "s * ~self.keep": "The log-scale is tanh(s): without a bound, one layer can scale by "
            "e^20, and the training blows up.",
            "torch.tanh(s)": "The kept coordinates must not be scaled, nor count in log_det: set "
            "their log-scale to 0.",
            "torch.tanh(s) * self.keep": "You scale the coordinates that should stay.",
        },
        "t * ~self.keep": {
            "t": "The kept coordinates must not be shifted: set their shift to 0.",
            "t * self.keep": "You shift the coordinates that should stay.",
        },
        "z * torch.exp(s) + t, s.sum(dim=1)": {
            "z * torch.exp(s) + t, -s.sum(dim=1)": "The sign of log_det is flipped: scaling by "
            "e^s multiplies the volume by e^s.",
            "z * torch.exp(s) + t, s": "log_det is one number per point: the sum of the "
            "log-scales.",
            "z * torch.exp(s) + t, s.exp().sum(dim=1)": "The determinant is the product of the "
            "scales e^s, so its logarithm is the sum of s.",
            "(z + t) * torch.exp(s), s.sum(dim=1)": "Scale first, then shift: z exp(s) + t.",
        },
        "(y - t) * torch.exp(-s)": {
            "y * torch.exp(-s) - t": "The inverse undoes the last operation first: subtract the "
            "shift, then divide by the scale.",
            "(y - t) * torch.exp(s)": "The inverse divides by the scale.",
            "(y + t) * torch.exp(-s)": "The inverse subtracts the shift.",
        },
    },
    hints=(
        "The kept coordinates are the same before and after the layer. So both directions can "
        "feed the network with the same numbers.",
        "net(z * keep) has 2D outputs: chunk(2, dim=1) gives s and t. Take tanh of s, and set "
        "both to 0 where a coordinate is kept, by * ~keep.",
        "Forward: z exp(s) + t, and the sum of s over dimensions. Inverse: s and t from y * keep, "
        "then (y - t) exp(-s).",
    ),
    explanation="The kept half is visible on both sides, so scale and shift are known in both "
    "directions; the Jacobian is triangular, and its determinant is the product of the scales.",
    see="chapter 8, 'Exercise 4: a coupling layer'",
    forbids=(
        "coursekit.models.realnvp.AffineCoupling",
        "coursekit.models.realnvp.CouplingLayer",
        "coursekit.models.RealNVP",
    ),
    fair=("detached",),
)
class Coupling(nn.Module):
    """A coupling layer: some coordinates stay, and decide how the others are scaled and shifted.

    net: from (B, D) to (B, 2D): D numbers s, then D shifts t. It is shown the kept coordinates,
    with 0 in the place of the others. keep: (D,) bool, True where a coordinate stays.
    A coordinate that moves becomes z exp(tanh(s)) + t.
    forward: z (B, D) -> (y, log_det), of shapes (B, D) and (B,). inverse: y (B, D) -> z (B, D).
    """

    def __init__(self, net, keep):
        super().__init__()
        self.net, self.keep = net, keep

    def scale_and_shift(self, kept):
        ### BEGIN SOLUTION
        s, t = self.net(kept * self.keep).chunk(2, dim=1)
        return torch.tanh(s) * ~self.keep, t * ~self.keep
        ### END SOLUTION

    def forward(self, z):
        ### BEGIN SOLUTION
        s, t = self.scale_and_shift(z)
        return z * torch.exp(s) + t, s.sum(dim=1)
        ### END SOLUTION

    def inverse(self, y):
        ### BEGIN SOLUTION
        s, t = self.scale_and_shift(y)
        return (y - t) * torch.exp(-s)
        ### END SOLUTION


def _compare(answer: Answer, args: tuple[Any, ...], which: tuple[int, ...]) -> None:
    """Of the points, log_det and the inverse, those at `which` are what the solution gives."""
    exercise, names = exercise_of(Coupling), ("`y`", "`log_det`", "the inverse")
    given = copies(args)
    found, right = exercise.observe(answer, given)[0], exercise.observe(exercise.solve, args)[0]
    for i in which:
        close(found[i], right[i], names[i])
    unchanged(args, given)


@exercise_of(Coupling).test("scales and shifts the coordinates that are not kept", points=2)
def _forward_is_right(answer: Answer, g: Generator) -> None:
    for _ in range(3):
        _compare(answer, _coupled(g), (0, 1))


@exercise_of(Coupling).test("has an inverse that undoes it", points=2)
def _inverse_is_right(answer: Answer, g: Generator) -> None:
    for _ in range(3):
        _compare(answer, _coupled(g), (2,))


@exercise_of(Coupling).test(
    "works for any number of dimensions",
    hidden="Try D = 3, where one coordinate is kept and two move.",
)
def _odd_dimensions(answer: Answer, g: Generator) -> None:
    _compare(answer, _coupled(g, 3), (0, 1, 2))


# --- flows.dequantize ---------------------------------------------------------------------------


def _hill(x: Tensor) -> Tensor:
    """The log of a density of images, (B, C, H, W) -> (B,), up to a constant."""
    return (3.0 - 4.0 * (x - 0.4).square() - x.pow(3)).flatten(1).sum(dim=1)


def _pictures(g: Generator) -> tuple[Any, ...]:
    levels = int(torch.randint(3, 30, (1,), generator=g))
    images = torch.randint(levels, (4, 1, 3, 2), generator=g)
    seed = int(torch.randint(10**6, (1,), generator=g))
    return images, _hill, levels, Generator().manual_seed(seed)


@record(
    "flows.dequantize",
    inputs=_pictures,
    tests=(
        values(points=3, name="bounds the log-probability of the discrete images"),
        values(
            name="holds for color images with 256 levels",
            hidden="Try images of shape (2, 3, 4, 4) with 256 levels: how many numbers is that?",
            inputs=lambda g: (
                torch.randint(256, (2, 3, 4, 4), generator=g),
                _hill,
                256,
                Generator().manual_seed(int(torch.randint(10**6, (1,), generator=g))),
            ),
        ),
        untouched(),
    ),
    mistakes={
        "(images + noise) / levels": {
            "(images + noise / 2) / levels": "Your noise covers half of each gray level. A density "
            "can be twice as high there without knowing anything: log 2 per pixel for free, 44 "
            "nats on an image of 8x8. Noise must fill the whole level.",
            "(images + noise - 0.5) / levels": "The noise must lie in [0, 1), above the gray "
            "value. Shifted by a half, pixels leave the interval [0, 1].",
            "images / levels": "The noise is missing. On separate gray values a density can grow "
            "without limit.",
            "images / levels + noise": "The noise is as wide as the whole range. It should be as "
            "wide as one gray level: add it before you divide.",
            "(images + noise) / (levels - 1)": "Gray value plus noise lies in [0, levels), so "
            "divide by levels. Else the correction does not fit, either.",
            "(images + noise) / 255": "Divide by the number of levels, which is an argument here.",
            "images + noise": "The pixels are not scaled to [0, 1].",
        },
        "- images[0].numel() * math.log(levels)": {
            "+ images[0].numel() * math.log(levels)": "The sign of the correction is flipped. A "
            "gray level has the width 1 / levels, so its probability is the density times that, "
            "which is less.",
            "": "This is the density of scaled pixels. The probability of one gray level is about "
            "the density times its width, 1 / levels, for each pixel.",
            "- math.log(levels)": "The correction counts once per number of the image, not once "
            "per image.",
            "- images.numel() * math.log(levels)": "You counted the numbers of the whole batch. "
            "The correction is per image.",
            "- images[0].numel() * math.log2(levels)": "This is in bits. The result is in nats.",
            "- images[0].numel() * math.log(256)": "The number of gray levels is an argument.",
        },
        "return log_density(x) - images[0].numel() * math.log(levels)": {
            "return images[0].numel() * math.log(levels) - log_density(x)": "This is -log P, what "
            "a loss would be. Return the bound on log P.",
        },
        "torch.rand(images.shape, generator=generator)": {
            "torch.randn(images.shape, generator=generator)": "The noise must be uniform: only "
            "then does the average over it add up the probability of a gray level.",
            "torch.rand(len(images), 1, 1, 1, generator=generator)": "Each pixel needs noise of "
            "its own, and you drew one number per image.",
        },
    },
    hints=(
        "A gray value k stands for the interval [k, k + 1). What noise fills this interval? How "
        "wide is the interval after division by the number of levels?",
        "noise = torch.rand(images.shape, generator=generator), x = (images + noise) / levels. "
        "Then the log-density of x needs a correction, log(1 / levels) per number of the image.",
        "images[0].numel() counts the numbers of one image. Subtract this count times the natural "
        "logarithm of levels from the log-density.",
    ),
    explanation="The interval of a gray value has the width 1 / levels per pixel, so log P is at "
    "least the average log-density over the noise minus log(levels) per pixel.",
    see="chapter 8, 'Exercise 5: from a density to a probability'",
    forbids=(
        "coursekit.units.bits_per_dimension",
        "coursekit.units.nats_per_image",
        "coursekit.units.dequantized",
    ),
    fair=("detached",),
)
def log_probability(images, log_density, levels, generator):
    """A lower bound on log P of discrete images, from a density of pixels in [0, 1].

    images: (B, C, H, W), whole numbers 0 ... levels - 1. levels: the number of gray levels.
    log_density: from pixels in [0, 1], (B, C, H, W), to log-densities (B,) in nats.
    generator: draws the noise, one call of torch.rand for the whole batch.
    Returns: (B,), nats per image.
    """
    # 1. Noise that fills the gray level. 2. Scale to [0, 1]. 3. The correction for the width.
    ### BEGIN SOLUTION
    noise = torch.rand(images.shape, generator=generator)
    x = (images + noise) / levels
    return log_density(x) - images[0].numel() * math.log(levels)
    ### END SOLUTION


# --- flows.masks --------------------------------------------------------------------------------


def _sizes(g: Generator) -> tuple[int, int]:
    dim = int(torch.randint(3, 7, (1,), generator=g))
    return dim, dim + int(torch.randint(0, 9, (1,), generator=g))


def _dependencies(answer: Answer, dim: int, hidden: int) -> Any:
    """Which output can see which input, as 0 and 1, and the shapes of the masks."""
    result = answer(dim, hidden)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Failed("expected two results, the masks of the first and of the second layer")
    masks = []
    for mask, what in zip(result, ("the first mask", "the second mask"), strict=True):
        mask = tensor(mask, what=what).detach().double()
        if not ((mask == 0) | (mask == 1)).all():
            raise Failed(f"{what} has other entries than 0 and 1, or False and True")
        masks.append(mask)
    first, second = masks
    shapes = torch.tensor([*first.shape, *second.shape]).double()
    if first.shape != (hidden, dim) or second.shape != (dim, hidden):
        return shapes, torch.zeros(dim, dim)
    return shapes, (second @ first > 0).double()


@record(
    "flows.masks",
    inputs=_sizes,
    tests=(),
    probe=_dependencies,
    mistakes={
        "degrees[:, None] >= inputs": {
            "degrees[:, None] > inputs": "Both of your comparisons are strict, so output i does "
            "not see input i - 1. A hidden unit of degree d may see the inputs 1 to d, d included.",
            "degrees[:, None] <= inputs": "The order is reversed: a hidden unit of degree d must "
            "see the inputs up to d, and yours sees those from d on.",
            "(degrees[:, None] >= inputs).T": "The mask of a linear layer has the shape (outputs, "
            "inputs), here (hidden, dim).",
        },
        "inputs[:, None] > degrees": {
            "inputs[:, None] >= degrees": "Neither of your comparisons is strict, so output i sees "
            "input i, itself. Then the layer cannot be inverted, and the Jacobian's diagonal is "
            "not what the formula says.",
            "inputs[:, None] < degrees": "The order is reversed: output i may see hidden units "
            "whose degree is less than i.",
            "(inputs[:, None] > degrees).T": "The mask of a linear layer has the shape (outputs, "
            "inputs), here (dim, hidden).",
        },
    },
    hints=(
        "Give every hidden unit a degree d, and let it see the inputs 1 to d. Which outputs may "
        "then see this hidden unit?",
        "Output i may see hidden units of degree d < i. Degrees 1 to dim - 1 must all occur.",
        "Let the degrees run through 1 to dim - 1 again and again. First mask: degree >= input, "
        "(hidden, dim). Second mask: output > degree, (dim, hidden). One comparison is strict.",
    ),
    explanation="A path from input j to output i goes through a unit with j <= d < i, which "
    "exists exactly if j < i.",
    see="chapter 8, 'Exercise 6: masks that respect an order'",
    forbids=("coursekit.models.iaf.AutoregressiveNet",),
)
def made_masks(dim, hidden):
    """Masks of two linear layers, dim -> hidden -> dim, whose output i sees the inputs before i.

    dim: D > 1. hidden: the hidden units, at least D - 1.
    Returns: (first, second), bool tensors of shapes (hidden, dim) and (dim, hidden), True where a
    weight stays. There is a path from input j to output i if and only if j < i.
    """
    # 1. A degree for each hidden unit. 2. What it may see. 3. Who may see it.
    ### BEGIN SOLUTION
    inputs = torch.arange(1, dim + 1)
    degrees = torch.arange(hidden) % (dim - 1) + 1
    return degrees[:, None] >= inputs, inputs[:, None] > degrees
    ### END SOLUTION


@made_masks.wrong(
    "Both masks are transposed: that of a linear layer has the shape (outputs, inputs), here "
    "(hidden, dim) and (dim, hidden)."
)
def _transposed(dim, hidden):
    first, second = made_masks.solve(dim, hidden)
    return first.T, second.T


def _respects_the_order(answer: Answer, dim: int, hidden: int) -> None:
    shapes, seen = _dependencies(answer, dim, hidden)
    found, right = shapes.int().tolist(), [hidden, dim, dim, hidden]
    for which, at in (("first", slice(0, 2)), ("second", slice(2, 4))):
        if found[at] != right[at]:
            raise Failed(
                f"the {which} mask has shape {tuple(found[at])}; expected {tuple(right[at])}"
            )
    for i, j in (seen != torch.ones(dim, dim).tril(-1)).nonzero().add(1).tolist():
        case = f"should not see input {j}, and does"
        if j < i:
            case = f"should see input {j}, and does not"
        raise Failed(f"for dim = {dim} and hidden = {hidden}, output {i} {case}")


@made_masks.test("lets output i see exactly the inputs before i", points=4)
def _order(answer: Answer, g: Generator) -> None:
    _respects_the_order(answer, *_sizes(g))


@made_masks.test(
    "does so for the smallest hidden layer",
    hidden="Try dim = 5 and hidden = 4: every hidden unit is needed, with degrees 1 to 4.",
)
def _smallest(answer: Answer, g: Generator) -> None:
    dim = int(torch.randint(3, 9, (1,), generator=g))
    _respects_the_order(answer, dim, dim - 1)


# --- flows.rate ---------------------------------------------------------------------------------


def _prior(z: Tensor) -> Tensor:
    """The log-density of a bent prior, (B, L) -> (B,), up to a constant."""
    bent = z[:, 0] - 0.3 * z[:, 1].square()
    return -0.7 * bent.square() - 0.4 * (z[:, 1:] - 0.2).square().sum(dim=1) - 1.1


def _codes(g: Generator) -> tuple[Any, ...]:
    seed = int(torch.randint(10**6, (1,), generator=g))
    return randn(g, 6, 3), randn(g, 6, 3) - 1, _prior, Generator().manual_seed(seed)


@record(
    "flows.rate",
    inputs=_codes,
    tests=(
        values(points=3, name="estimates the divergence of each posterior from the prior"),
        untouched(),
    ),
    mistakes={
        "torch.exp(logvar / 2)": {
            "torch.exp(logvar)": "exp(logvar) is the variance. The noise is multiplied by the "
            "standard deviation, exp(logvar / 2).",
        },
        "eps.square() + logvar + math.log(2 * math.pi)": {
            "eps.square() + math.log(2 * math.pi)": "The width of the posterior is missing in its "
            "log-density: a narrow posterior is high. Add logvar.",
            "eps.square() + logvar": "The constant of the Gaussian is missing. It does not cancel "
            "here: a prior given by its log-density has its own.",
            "eps.square() - logvar + math.log(2 * math.pi)": "The sign of logvar is flipped: a "
            "wide posterior is low.",
            "eps.square() + logvar / 2 + math.log(2 * math.pi)": "log sigma is logvar / 2, and "
            "the factor 1/2 in front already halves it.",
            "z.square() + logvar + math.log(2 * math.pi)": "The posterior's log-density needs "
            "(z - mu)^2 / sigma^2, which is the square of the noise.",
        },
        "log_q - log_prior(z)": {
            "log_prior(z) - log_q": "The sign is flipped: a divergence is log q - log p.",
            "log_q - log_prior(mu)": "Both densities belong to the same point, the draw z. You "
            "took the prior at mu.",
            "-log_prior(z)": "This is the cross-entropy only. The divergence also has log q.",
        },
        ".sum(dim=1)": {
            ".mean(dim=1)": "Log-densities of independent dimensions add up. You averaged them.",
        },
    },
    hints=(
        "The divergence has no closed form for this prior. It is an average over q: which draw "
        "estimates it, and which two densities do you need there?",
        "z = mu + exp(logvar / 2) eps with eps = torch.randn(mu.shape, generator=generator). The "
        "log-density of q at z: (z - mu)^2 / sigma^2 is eps^2, and log sigma^2 is logvar.",
        "log q = -1/2 times the sum over dimensions of eps^2 + logvar + log(2 pi). Return log q "
        "minus log_prior(z), one number per image.",
    ),
    explanation="KL(q || p) is the mean of log q - log p over draws of q; one draw per image is an "
    "unbiased estimate.",
    see="chapter 8, 'Exercise 7: what a better prior is worth'",
    fair=("detached",),
)
def rate(mu, logvar, log_prior, generator):
    """KL(q(z|x) || p(z)) of each image, estimated from one draw, for a prior given by its density.

    mu, logvar: (B, L), mean and log-variance of the Gaussian posteriors.
    log_prior: from codes (B, L) to log-densities (B,). generator: draws the noise, one call of
    torch.randn for the whole batch.
    Returns: (B,), nats per image; single estimates may be negative.
    """
    # 1. One draw z per image. 2. log q(z|x) at this draw. 3. The difference to log p(z).
    ### BEGIN SOLUTION
    eps = torch.randn(mu.shape, generator=generator)
    z = mu + torch.exp(logvar / 2) * eps
    log_q = -0.5 * (eps.square() + logvar + math.log(2 * math.pi)).sum(dim=1)
    return log_q - log_prior(z)
    ### END SOLUTION


@rate.wrong(
    "This is the closed form of the KL to N(0, I). Here the prior is any density, given by "
    "log_prior: draw z, and average log q - log p there."
)
def _to_standard(mu, logvar, log_prior, generator):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=1)


@rate.wrong(
    "Your sigma is exp(logvar), in the draw and in log q. That is the variance: sigma is "
    "exp(logvar / 2)."
)
def _variance_for_scale(mu, logvar, log_prior, generator):
    eps = torch.randn(mu.shape, generator=generator)
    z = mu + torch.exp(logvar) * eps
    return -0.5 * (eps.square() + 2 * logvar + math.log(2 * math.pi)).sum(dim=1) - log_prior(z)


@rate.wrong(
    "z is right. But log q takes exp(logvar), the variance, for sigma: torch.distributions.Normal "
    "wants exp(logvar / 2)."
)
def _variance_in_density(mu, logvar, log_prior, generator):
    z = mu + torch.exp(logvar / 2) * torch.randn(mu.shape, generator=generator)
    q = torch.distributions.Normal(mu, torch.exp(logvar))
    return q.log_prob(z).sum(dim=1) - log_prior(z)


@rate.wrong(
    "You took the density of z under N(0, I). log q is that of the posterior, with the mean mu "
    "and the variance exp(logvar)."
)
def _standard_posterior(mu, logvar, log_prior, generator):
    z = mu + torch.exp(logvar / 2) * torch.randn(mu.shape, generator=generator)
    return -0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=1) - log_prior(z)


# --- Questions answered in prose ----------------------------------------------------------------

bridges = FreeText(
    "flows.bridges",
    "A flow with a standard Gaussian base is trained on points that lie on two rings, one inside "
    "the other, with nothing between them. Its samples always show a few points between the rings. "
    "Why can no flow of this kind avoid them completely, and what could one change?",
    "One point: the flow is continuous with a continuous inverse, so the image of the plane is "
    "connected (it has the topology of the base); a density that is positive everywhere stays "
    "positive everywhere, and only thin bridges are possible. One point: a change that helps, such "
    "as another base (a mixture), a discrete choice in front, several flows, more layers to thin "
    "the bridge, or a model whose map is not a bijection.",
    2,
)
directions = FreeText(
    "flows.directions",
    "You need (a) a posterior q(z|x) for a VAE, (b) the exact likelihood of test codes, and (c) a "
    "prior from which you draw thousands of codes. For each, say whether you would take a planar "
    "flow, RealNVP or an inverse autoregressive flow, and what the wrong choice would cost.",
    "One point: a VAE's posterior needs fast draws and the density of its own draws only, so "
    "planar flows or IAF (one pass) fit. One point: the likelihood of given points needs the "
    "inverse: RealNVP has it in one pass, IAF takes L passes, planar flows need a numerical "
    "search. One point: a prior must be trained on given codes and sampled, so both directions "
    "count: RealNVP; an autoregressive flow is fast in one direction only.",
    3,
)
floor = FreeText(
    "flows.floor",
    "A better prior lowered the KL term of a trained VAE by several nats, and its samples hardly "
    "look better. Give two reasons why the samples can stay poor, and a measurement that "
    "tells you beforehand how much a better prior can improve them.",
    "One point: the decoder is unchanged, and what it loses in reconstruction it also loses in "
    "samples. One point: another reason, such as that nats measure densities while the picture "
    "changes little, that the flow still puts codes between the clusters, or that the old prior "
    "was already near the aggregated posterior. One point: decode codes of real images, drawn "
    "from their posteriors (a perfect prior), and measure these pictures as the samples are "
    "measured; they mark what any prior can reach.",
    3,
)
