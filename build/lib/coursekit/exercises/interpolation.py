"""Exercises of the chapter on moving through a latent space."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize  # noqa: F401  # some mistakes call it

from coursekit.exercises import FreeText, gradients, rand, randn, record, untouched, values

OWN = (
    "coursekit.models.latent.lerp",
    "coursekit.models.latent.slerp",
    "coursekit.models.latent.attribute_vector",
    "coursekit.models.latent.traversal",
)

# --- interpolation.lerp -------------------------------------------------------------------------


@record(
    "interpolation.lerp",
    inputs=lambda g: (randn(g, 6), randn(g, 6), rand(g, 4)),
    tests=(
        values(points=2, name="gives one point of the line per weight"),
        values(
            name="goes on beyond both ends",
            inputs=lambda g: (randn(g, 6), randn(g, 6), rand(g, 4) + torch.tensor([-2, -1, 1, 2])),
        ),
        gradients(name="lets the gradient through to codes and weights"),
        values(
            name="holds for as many weights as dimensions",
            hidden="Try L = 5 dimensions and K = 5 weights: which axis of the result belongs to w?",
            inputs=lambda g: (randn(g, 5), randn(g, 5), rand(g, 5)),
        ),
        untouched(),
    ),
    mistakes={
        "w[:, None]": {
            "torch.linspace(0, 1, len(w))[:, None]": "You ignore the values of w: they need not be "
            "evenly spaced, nor run from 0 to 1.",
            "w.clamp(0, 1)[:, None]": "You clamp w to [0, 1]; outside of it the line goes on.",
        },
        "w * z1 + (1 - w) * z2": {
            "w * z2 + (1 - w) * z1": "Your line runs the other way: at w = 1 it must be at z1, at "
            "w = 0 at z2. (torch.lerp runs from its first argument to its second.)",
            "w * z1 + z2": "The weights of z1 and z2 must add up to 1: they are w and 1 - w.",
            "w * z1 + w * z2": "You weight both codes by w. The weight of z2 is 1 - w.",
            "z2 - w * (z1 - z2)": "The sign of the difference is flipped: add w * (z1 - z2).",
            "(w * z1 + (1 - w) * z2).T": "You return (L, K) instead of (K, L).",
            "normalize(w * z1 + (1 - w) * z2, dim=1) * z1.norm()": "Your codes are scaled to "
            "another length after the mixing. A straight line keeps the sum as it is.",
            "(w * z1 + (1 - w) * z2).detach()": "The values are right, but detached.",
        },
    },
    hints=(
        "One weight gives one row. Write the line for a single number w first.",
        "w has shape (K,), the codes (L,): they must meet as (K, 1) and (L,). w[:, None] does it.",
        "With w as a column, multiply z1 by it and z2 by 1 minus it, and add: broadcasting makes "
        "the K rows.",
    ),
    explanation="With w as a column (K, 1), broadcasting makes one row of (K, L) per weight.",
    see="chapter 5, 'Exercise 1: a straight line'",
    forbids=OWN,
)
def lerp(z1, z2, w):
    """The straight line between two codes.

    z1, z2: (L,) float tensors. w: (K,) weights, of any value.
    Returns: (K, L), row k is w[k] * z1 + (1 - w[k]) * z2; differentiable.
    """
    # 1. Give w an axis, so that (K, 1) meets (L,).
    # 2. Mix.
    ### BEGIN SOLUTION
    w = w[:, None]
    return w * z1 + (1 - w) * z2
    ### END SOLUTION


# --- interpolation.slerp ------------------------------------------------------------------------


def _two_lengths(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of clearly different norm, and an angle below a right one, but hardly ever near 0."""
    z1, z2 = randn(g, 6), randn(g, 6)
    z2 = z2 * torch.sign(z1 @ z2)
    return (1 + rand(g)) * z1 / z1.norm(), (2.5 + rand(g)) * z2 / z2.norm(), rand(g, 4)


def _one_length(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    z1, z2, w = _two_lengths(g)
    return z1, z2 / z2.norm() * z1.norm(), w


def _wide(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """An angle above a right one."""
    z1, z2, w = _two_lengths(g)
    return z1, -z2, w


def _one_direction(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis: the cosine is exactly 1, so that a formula which divides by 0 shows it."""
    axis = torch.eye(4)[int(torch.randint(4, (), generator=g))]
    return (1 + rand(g)) * axis, (1 + rand(g)) * axis, rand(g, 3)


def _rounded(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Along no axis, where rounding puts the cosine above 1."""
    while True:
        z1 = randn(g, 32)
        if (z1 / z1.norm()) @ (2 * z1 / (2 * z1).norm()) > 1:
            return z1, 2 * z1, rand(g, 3)


@record(
    "interpolation.slerp",
    inputs=_two_lengths,
    tests=(
        values(points=2, name="stays on the sphere between codes of one norm", inputs=_one_length),
        values(name="leads evenly from one norm to the other"),
        values(
            name="turns through wide angles, too",
            hidden="Try two codes whose inner product is negative.",
            inputs=_wide,
        ),
        values(
            name="holds for two codes of one direction",
            hidden="Try z1 = [1, 0] and z2 = [2, 0]: sin(theta) is 0, and 0 / 0 is nan.",
            inputs=_one_direction,
        ),
        values(
            name="holds where rounding puts the cosine above 1",
            hidden="Rounding can make the inner product of two unit vectors 1.0000001; acos of "
            "that is nan.",
            inputs=_rounded,
        ),
        untouched(),
    ),
    mistakes={
        "w[:, None]": {
            "1 - w[:, None]": "Your arc runs the other way: w = 1 must give z1, and w = 0 z2.",
        },
        "torch.acos((u1 @ u2).clamp(-1, 1))": {
            "torch.acos((z1 @ z2).clamp(-1, 1))": "Divide the inner product by the two norms.",
            "u1 @ u2": "This is the cosine of the angle, not the angle: take its acos.",
        },
        "direction / torch.sin(theta)": {
            "direction": "Divide by sin(theta): as it is, your path does not end in z1 and z2.",
            "normalize(w * u1 + (1 - w) * u2, dim=1)": "You scale the straight line to the right "
            "length. It turns faster in the middle; for an even turn, use the angle.",
        },
        "w * n1 + (1 - w) * n2": {
            "n1": "Your norm is that of z1 throughout; it must go from |z2| (w = 0) to |z1|.",
        },
        "(w * n1 + (1 - w) * n2) * direction": {
            "direction": "You return unit vectors: multiply by w * |z1| + (1 - w) * |z2|.",
            "w * z1 + (1 - w) * z2": "This is the straight line; turn the direction instead.",
            "(torch.sin(w * theta) * z1 + torch.sin((1 - w) * theta) * z2) / torch.sin(theta)": (
                "The formula holds for unit vectors, but you put in the codes themselves: if their "
                "norms differ, the direction does not turn evenly."
            ),
        },
    },
    hints=(
        "Treat length and direction apart: divide both codes by their norms, turn, multiply by "
        "the norm at the end.",
        "With theta the angle between the unit vectors u1 and u2, the direction is "
        "(sin(w theta) u1 + sin((1 - w) theta) u2) / sin(theta). What if theta is 0?",
        "theta is the arc cosine of the inner product of u1 and u2, cut off at -1 and 1. Where "
        "sin(theta) is 0, the direction is u1. The norm is w |z1| + (1 - w) |z2|.",
    ),
    explanation="Direction and norm are treated apart, so the turn stays even for any two norms; "
    "where sin(theta) is 0 there is nothing to turn.",
    see="chapter 5, 'Exercise 2: an arc'",
    forbids=OWN,
    fair=("detached",),  # no gradient is asked for
)
def slerp(z1, z2, w):
    """The arc between two codes: even turning, norm from |z2| to |z1|.

    z1, z2: (L,) float tensors, not zero, not opposite. w: (K,) weights in [0, 1].
    Returns: (K, L), z2 at w = 0 and z1 at w = 1. Codes of one direction (theta = 0) work, too.
    """
    # 1. Norms and unit vectors.
    # 2. The angle: acos of the inner product, clamped to [-1, 1].
    # 3. The direction; where sin(theta) is 0, it is u1.
    # 4. Times the norm.
    ### BEGIN SOLUTION
    w, n1, n2 = w[:, None], z1.norm(), z2.norm()
    u1, u2 = z1 / n1, z2 / n2
    theta = torch.acos((u1 @ u2).clamp(-1, 1))
    direction = u1
    if torch.sin(theta) > 1e-6:
        direction = torch.sin(w * theta) * u1 + torch.sin((1 - w) * theta) * u2
        direction = direction / torch.sin(theta)
    return (w * n1 + (1 - w) * n2) * direction
    ### END SOLUTION


# --- interpolation.attribute --------------------------------------------------------------------


def _codes_and_mask(g: Generator) -> tuple[Tensor, Tensor]:
    """Groups of unequal size, at least two in each, and a mean that is not 0."""
    mask = rand(g, 12) < 0.3
    mask[:2], mask[2:7] = True, False
    return 1 + randn(g, 12, 5), mask


def _single(g: Generator) -> tuple[Tensor, Tensor]:
    return 1 + randn(g, 7, 7), torch.arange(7) == torch.randint(7, (), generator=g)


@record(
    "interpolation.attribute",
    inputs=_codes_and_mask,
    tests=(
        values(points=2, name="gives the difference of the two mean codes"),
        gradients(name="lets the gradient through to the codes"),
        values(
            name="holds if only one image has the attribute",
            hidden="Try a mask with a single True, and as many codes as dimensions.",
            inputs=_single,
        ),
        untouched(),
    ),
    mistakes={
        "codes[mask].mean(dim=0) - codes[~mask].mean(dim=0)": {
            "codes[~mask].mean(dim=0) - codes[mask].mean(dim=0)": "The sign is flipped: subtract "
            "the mean without the attribute from the mean with it.",
            "codes[mask].mean(dim=0)": "This is the mean code with the attribute. Subtract the "
            "mean without it: then what all faces have in common cancels.",
            "codes[mask].mean(dim=0) - codes.mean(dim=0)": "You subtract the mean of all codes, "
            "which include those with the attribute: subtract the mean of those without it.",
            "codes[mask].sum(dim=0) - codes[~mask].sum(dim=0)": "You take sums, but the groups "
            "have different sizes: take means.",
            "(codes[mask].sum(dim=0) - codes[~mask].sum(dim=0)) / len(codes)": "You divide by the "
            "number of all codes, as mask * codes and .mean() do; each group has its own number.",
            "normalize(codes[mask].mean(0) - codes[~mask].mean(0), dim=0)": "You scaled the vector "
            "to length 1. Its length says how far apart the two groups lie.",
            "codes[mask].median(dim=0).values - codes[~mask].median(dim=0).values": "You take "
            "medians; the contract asks for means.",
            "codes[mask].mean() - codes[~mask].mean()": "You average over the dimensions, too: "
            "return (L,), one number per dimension.",
            "(codes[mask].mean(dim=0) - codes[~mask].mean(dim=0)).detach()": "The values are "
            "right, but detached: no gradient reaches the codes.",
        },
    },
    hints=(
        "Two groups of codes, two means, one difference.",
        "codes[mask] are the codes with the attribute. How do you get the others? "
        "Over which dimension is the mean?",
        "~mask picks the codes without the attribute. Take both means over dimension 0, the "
        "images, and subtract: with minus without.",
    ),
    explanation="What both groups have in common cancels in the difference of their means.",
    see="chapter 5, 'Exercise 3: an attribute as a vector'",
    forbids=OWN,
)
def attribute_vector(codes, mask):
    """The mean code with an attribute minus the mean code without it.

    codes: (N, L) float tensor. mask: (N,) bool, True where the image has the attribute.
    Returns: (L,), differentiable.
    """
    ### BEGIN SOLUTION
    return codes[mask].mean(dim=0) - codes[~mask].mean(dim=0)
    ### END SOLUTION


# --- interpolation.traversal --------------------------------------------------------------------


def _code_and_values(g: Generator) -> tuple[Tensor, int, Tensor]:
    return randn(g, 6), int(torch.randint(1, 5, (), generator=g)), 3 * randn(g, 4)


def _edges(g: Generator) -> tuple[Tensor, int, Tensor]:
    return randn(g, 5), 4 * int(torch.randint(2, (), generator=g)), 3 * randn(g, 5)


@record(
    "interpolation.traversal",
    inputs=_code_and_values,
    tests=(
        values(points=2, name="sets one coordinate to each value and keeps the others"),
        gradients(name="lets the gradient through to code and values", wrt=("code", "values")),
        values(
            name="holds for the first and the last dimension",
            hidden="Try dim = 0 and dim = L - 1, with as many values as dimensions.",
            inputs=_edges,
        ),
        untouched(),
    ),
    mistakes={
        "code.repeat(len(values), 1)": {
            "torch.zeros(len(values), len(code))": "Your other coordinates are 0: keep the code's.",
        },
        "codes[:, dim] = values": {
            "codes[:, dim] += values": "You add the values to the coordinate. Set it to them.",
            "codes[:, dim] *= values": "You multiply the coordinate by the values. Set it to them.",
            "codes[:] = values[:, None]": "All your coordinates change; only coordinate `dim` may.",
            "codes[:, dim - 1] = values": "You count dimensions from 1; the first index is 0.",
            "codes[:, dim] = values[-1]": "All your rows hold the last value: they share memory, "
            "as after code.expand(...) or [code] * K. Make copies with code.repeat(K, 1).",
            "pass": "You return the code as it was: coordinate `dim` is not set.",
        },
        "return codes": {
            "return codes.T": "You return (L, K) instead of (K, L).",
            "return codes.detach()": "The values are right, but detached.",
        },
    },
    hints=(
        "First make K copies of the code, then change one column.",
        "code.expand(K, -1) is no copy: all rows share memory. code.repeat(K, 1) is one.",
        "Make as many copies as there are values. Then assign the values to column `dim` of all "
        "rows at once.",
    ),
    explanation="repeat gives every row its own memory, so the assignment changes neither another "
    "row nor the code.",
    see="chapter 5, 'Exercise 4: one coordinate at a time'",
    forbids=OWN,
)
def traversal(code, dim, values):
    """Copies of one code, with one coordinate set to each of the values.

    code: (L,). dim: index of the coordinate. values: (K,).
    Returns: (K, L), differentiable. `code` itself stays as it is.
    """
    # 1. K copies: repeat, not expand (whose rows share memory).
    # 2. Set the column.
    ### BEGIN SOLUTION
    codes = code.repeat(len(values), 1)
    codes[:, dim] = values
    return codes
    ### END SOLUTION


# --- questions ----------------------------------------------------------------------------------

shell = FreeText(
    "interpolation.shell",
    "In 100 dimensions a code of norm 0 has the highest prior density of all, and no sample ever "
    "lies near it. How can both be true?",
    "One point: density is per volume. One point: the volume of a shell grows as r^99, so nearly "
    "all probability lies at r close to 10. Full marks need both, and their product.",
    2,
)
bias = FreeText(
    "interpolation.bias",
    "In your data most people with glasses are old. What will your vector for glasses do, and how "
    "would you mend it without new data?",
    "One point: it also ages the face, as the two means differ in both. One point: compare like "
    "with like: balance or weight the groups by age, or take the difference within each age, or "
    "subtract the part along the vector for age.",
    2,
)
map_ = FreeText(
    "interpolation.map",
    "A paper shows a t-SNE map with ten islands, far apart, and concludes that the classes are "
    "well separated in code space. What would you ask for before you believe it?",
    "One point: t-SNE keeps neighbors, not distances, sizes or densities, and shows islands in "
    "noise at a low perplexity. One point for a test in code space itself: accuracy of a nearest "
    "neighbor or linear classifier, or several seeds and perplexities beside a noise control.",
    2,
)
