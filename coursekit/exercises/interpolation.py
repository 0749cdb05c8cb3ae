"""Exercises of the chapter on moving through a latent space."""

import torch
from torch import Generator, Tensor

from coursekit.exercises._decorated import Exercise
from coursekit.exercises._exercise import FreeText

OWN = (
    "coursekit.models.latent.lerp",
    "coursekit.models.latent.slerp",
    "coursekit.models.latent.attribute_vector",
    "coursekit.models.latent.traversal",
)

# --- interpolation.lerp -------------------------------------------------------------------------

lerp = Exercise(
    "interpolation.lerp",
    "lerp",
    contract=(
        "lerp(z1, z2, w): two codes (L,) and K weights w (K,). Returns (K, L), one code a weight: "
        "w * z1 + (1 - w) * z2, so z2 at w = 0 and z1 at w = 1. Weights below 0 and above 1 go "
        "beyond the ends. Differentiable."
    ),
    hints=(
        "One weight gives one row. Write the line for a single number w first.",
        "w has shape (K,), the codes (L,): they must meet as (K, 1) and (L,). w[:, None] does it.",
        "w = w[:, None]; return w * z1 + (1 - w) * z2",
    ),
    see="chapter 5, 'Exercise 1: a straight line'",
    forbids=OWN,
)


@lerp.inputs
def _pair_and_weights(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    return _code(g, 6), _code(g, 6), torch.rand(4, generator=g)


def _code(g: Generator, size: int) -> Tensor:
    return torch.randn(size, generator=g)


def _beyond(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Weights on both sides of [0, 1]."""
    outside = 1 + 2 * torch.rand(3, generator=g)
    return _code(g, 6), _code(g, 6), torch.cat([-outside, 1 + outside])


def _square(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """As many weights as dimensions: shapes alone do not tell rows from columns."""
    return _code(g, 5), _code(g, 5), torch.rand(5, generator=g)


@lerp.reference
def _lerp(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return z2 + torch.outer(w, z1 - z2)


lerp.values("gives one point of the line for each weight", points=2)
lerp.values("goes on beyond both ends", inputs=_beyond)
lerp.gradients("lets the gradient through to codes and weights")
lerp.values(
    "holds for as many weights as dimensions",
    hidden=True,
    hint="Try L = 5 codes with K = 5 weights: which axis of the result belongs to w?",
    inputs=_square,
)
lerp.untouched()


@lerp.wrong(
    "Your line runs the other way: at w = 1 it must be at z1, at w = 0 at z2. (torch.lerp runs "
    "from its first argument to its second.)"
)
def other_way(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _lerp(z2, z1, w)


@lerp.wrong("The weights of z1 and z2 must add up to 1: w and 1 - w.")
def added(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return w[:, None] * z1 + z2


@lerp.wrong("You weight both codes by w. z2 has the weight 1 - w.")
def same_weight(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return w[:, None] * (z1 + z2)


@lerp.wrong("You add w * z1 to z2; what you must add is w * (z1 - z2). Here the sign is turned.")
def difference_turned(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return z2 + w[:, None] * (z2 - z1)


@lerp.wrong("The result must be (K, L), a row a weight. Yours is (L, K).")
def transposed(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _lerp(z1, z2, w).T


@lerp.wrong("You ignore the values of w: they need not be evenly spaced, nor run from 0 to 1.")
def own_weights(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _lerp(z1, z2, torch.linspace(0, 1, len(w)))


@lerp.wrong("You clamp w to [0, 1]. Outside of it the line goes on: that is extrapolation.")
def clamped(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _lerp(z1, z2, w.clamp(0, 1))


@lerp.wrong(
    "Your codes are scaled to another length after the mixing. A straight line keeps the sum as it "
    "is; paths that keep the norm come in exercise 2."
)
def scaled_line(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    line = _lerp(z1, z2, w)
    result: Tensor = line / line.norm(dim=1, keepdim=True) * z1.norm()
    return result


@lerp.wrong("The numbers are right, but detached: no gradient would flow back through the path.")
def lerp_detached(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _lerp(z1, z2, w).detach()


# --- interpolation.slerp ------------------------------------------------------------------------

slerp = Exercise(
    "interpolation.slerp",
    "slerp",
    contract=(
        "slerp(z1, z2, w): two codes (L,), neither zero nor opposite to each other, and K weights "
        "w (K,) in [0, 1]. Returns (K, L): the direction turns evenly from z2's (w = 0) to z1's "
        "(w = 1), the norm is w * |z1| + (1 - w) * |z2|. Codes of one direction are no exception."
    ),
    hints=(
        "Treat length and direction apart: divide both codes by their norms, turn, multiply by "
        "the norm at the end.",
        "With theta the angle between the unit vectors u1 and u2, the direction is "
        "(sin(w theta) u1 + sin((1 - w) theta) u2) / sin(theta). What if theta is 0?",
        "theta = torch.acos((u1 @ u2).clamp(-1, 1)); where sin(theta) is 0, take u1 as the "
        "direction; with w = w[:, None], return (w * n1 + (1 - w) * n2) * direction",
    ),
    see="chapter 5, 'Exercise 2: an arc'",
    forbids=OWN,
)


@slerp.inputs
def _two_lengths(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of clearly different norm, and an angle that is neither 0 nor near pi."""
    z1, z2 = _code(g, 6), _code(g, 6)
    z2 = torch.where((z1 @ z2) < 0, -z2, z2)
    z1, z2 = z1 / z1.norm(), z2 / z2.norm()
    lengths = 1 + torch.rand(2, generator=g)
    return z1 * lengths[0], z2 * (1.5 + lengths[1]), torch.rand(4, generator=g)


def _one_length(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    z1, z2, w = _two_lengths(g)
    return z1, z2 / z2.norm() * z1.norm(), w


def _one_direction(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Along one axis: the cosine is exactly 1, so that a formula which divides by 0 shows it."""
    lengths, axis = 1 + torch.rand(2, generator=g), torch.zeros(4)
    axis[int(torch.randint(4, (), generator=g))] = 1.0
    return lengths[0] * axis, lengths[1] * axis, torch.rand(3, generator=g)


def _rounded(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Along no axis, where rounding puts the cosine above 1."""
    while True:
        z1 = _code(g, 32)
        if (z1 / z1.norm()) @ (2 * z1 / (2 * z1).norm()) > 1:
            return z1, 2 * z1, torch.rand(3, generator=g)


def _wide(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """An angle above a right one."""
    z1, z2, w = _two_lengths(g)
    return z1, -z2, w


@slerp.reference
def _slerp(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    """Turn z2's direction in the plane of the two, in double precision."""
    a, b, w = z1.double(), z2.double(), w.double()[:, None]
    u1, u2 = a / a.norm(), b / b.norm()
    theta = 2 * torch.atan2((u1 - u2).norm(), (u1 + u2).norm())
    side = u1 - (u1 @ u2) * u2
    side = side / side.norm().clamp(min=1e-12)
    direction = torch.cos(w * theta) * u2 + torch.sin(w * theta) * side
    result: Tensor = ((w * a.norm() + (1 - w) * b.norm()) * direction).to(z1.dtype)
    return result


slerp.values("stays on the sphere between codes of one norm", points=2, inputs=_one_length)
slerp.values("leads evenly from one norm to the other", points=2)
slerp.values(
    "turns through wide angles, too",
    hidden=True,
    hint="Try two codes whose inner product is negative.",
    inputs=_wide,
)
slerp.values(
    "holds for two codes of one direction",
    hidden=True,
    hint="Try z1 = [1, 0] and z2 = [2, 0]: sin(theta) is 0, and 0 / 0 is nan.",
    inputs=_one_direction,
)
slerp.values(
    "holds where rounding puts the cosine above 1",
    hidden=True,
    hint="Rounding can make the inner product of two unit vectors 1.0000001; acos of that is nan.",
    inputs=_rounded,
)
slerp.untouched()


def _arc(z1: Tensor, z2: Tensor, w: Tensor, theta: Tensor) -> Tensor:
    """Shoemake's formula for the two vectors as they are."""
    w = w[:, None]
    return (torch.sin(w * theta) * z1 + torch.sin((1 - w) * theta) * z2) / torch.sin(theta)


def _angle(z1: Tensor, z2: Tensor) -> Tensor:
    return torch.acos((z1 @ z2 / (z1.norm() * z2.norm())).clamp(-1, 1))


@slerp.wrong("This is the straight line. Turn the direction through the angle between the codes.")
def straight(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _lerp(z1, z2, w)


@slerp.wrong("Your arc runs the other way: it must be at z1 for w = 1, at z2 for w = 0.")
def arc_other_way(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _slerp(z2, z1, w)


@slerp.wrong("You return unit vectors: multiply the direction by w * |z1| + (1 - w) * |z2|.")
def unit_vectors(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _slerp(z1 / z1.norm(), z2 / z2.norm(), w)


@slerp.wrong(
    "The formula stands for unit vectors. You put in the codes themselves, so with two different "
    "norms the direction does not turn evenly, and the norm is another."
)
def codes_not_normalized(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _arc(z1, z2, w, _angle(z1, z2))


@slerp.wrong(
    "You scale the straight line to the right length. That is on the sphere, but it does not turn "
    "evenly: it is faster in the middle. Use the angle."
)
def scaled_chord(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    line = _lerp(z1 / z1.norm(), z2 / z2.norm(), w)
    length = _lerp(z1.norm()[None], z2.norm()[None], w)
    result: Tensor = length * line / line.norm(dim=1, keepdim=True)
    return result


@slerp.wrong("Your angle comes from an inner product that is not divided by the two norms.")
def angle_without_norms(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    theta = torch.acos((z1 @ z2).clamp(-1, 1))
    return _lerp(z1.norm()[None], z2.norm()[None], w) * _arc(
        z1 / z1.norm(), z2 / z2.norm(), w, theta
    )


@slerp.wrong("The norm is that of z1 all along; it must go from |z2| at w = 0 to |z1| at w = 1.")
def norm_of_first(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _slerp(z1, z2 / z2.norm() * z1.norm(), w)


@slerp.wrong("You do not divide by sin(theta), so the ends of your path are not z1 and z2.")
def without_sine(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    return _slerp(z1, z2, w) * torch.sin(_angle(z1, z2))


@slerp.wrong("You used the cosine of the angle as if it were the angle: take its acos.")
def cosine_for_angle(z1: Tensor, z2: Tensor, w: Tensor) -> Tensor:
    u1, u2 = z1 / z1.norm(), z2 / z2.norm()
    return _lerp(z1.norm()[None], z2.norm()[None], w) * _arc(u1, u2, w, u1 @ u2)


# --- interpolation.attribute --------------------------------------------------------------------

attribute = Exercise(
    "interpolation.attribute",
    "attribute_vector",
    contract=(
        "attribute_vector(codes, mask): codes (N, L), mask (N,) bool, True for images that have "
        "the attribute. Returns (L,): the mean code with it minus the mean code without it. "
        "Differentiable."
    ),
    hints=(
        "Two groups of codes, two means, one difference.",
        "codes[mask] are the codes with the attribute. How do you get the others? "
        "Over which dimension is the mean?",
        "return codes[mask].mean(dim=0) - codes[~mask].mean(dim=0)",
    ),
    see="chapter 5, 'Exercise 3: an attribute as a vector'",
    forbids=OWN,
)


@attribute.inputs
def _codes_and_mask(g: Generator) -> tuple[Tensor, Tensor]:
    """Groups of unequal size, at least two in each, and a mean that is not 0."""
    mask = torch.rand(12, generator=g) < 0.3
    mask[:2], mask[2:7] = True, False
    return 1 + torch.randn(12, 5, generator=g), mask


def _single(g: Generator) -> tuple[Tensor, Tensor]:
    mask = torch.arange(7) == torch.randint(7, (), generator=g)
    return 1 + torch.randn(7, 7, generator=g), mask


@attribute.reference
def _attribute(codes: Tensor, mask: Tensor) -> Tensor:
    have = mask.to(codes)
    return have @ codes / have.sum() - (1 - have) @ codes / (1 - have).sum()


attribute.values("gives the difference of the two mean codes", points=2)
attribute.gradients("lets the gradient through to the codes")
attribute.values(
    "holds if only one image has the attribute",
    hidden=True,
    hint="Try a mask with a single True, and as many codes as dimensions.",
    inputs=_single,
)
attribute.untouched()


@attribute.wrong("The sign is turned: with the attribute minus without it.")
def without_minus_with(codes: Tensor, mask: Tensor) -> Tensor:
    return -_attribute(codes, mask)


@attribute.wrong(
    "This is the mean code with the attribute. It holds everything that faces have in common; "
    "subtract the mean of those without it."
)
def mean_with(codes: Tensor, mask: Tensor) -> Tensor:
    return codes[mask].mean(0)


@attribute.wrong(
    "You subtract the mean of all codes. Those with the attribute are among them, so your vector "
    "is too short: subtract the mean of those without it."
)
def minus_all(codes: Tensor, mask: Tensor) -> Tensor:
    return codes[mask].mean(0) - codes.mean(0)


@attribute.wrong("You take sums. The groups have different sizes: take means.")
def sums(codes: Tensor, mask: Tensor) -> Tensor:
    return codes[mask].sum(0) - codes[~mask].sum(0)


@attribute.wrong(
    "You divide by the number of all codes: each mean is over its own group. "
    "(A product with the mask, then .mean(), does this.)"
)
def divided_by_all(codes: Tensor, mask: Tensor) -> Tensor:
    have = mask.to(codes)[:, None]
    return (have * codes).mean(0) - ((1 - have) * codes).mean(0)


@attribute.wrong("You scaled the vector to length 1. Its length says how far the two groups lie.")
def to_length_one(codes: Tensor, mask: Tensor) -> Tensor:
    vector = _attribute(codes, mask)
    result: Tensor = vector / vector.norm()
    return result


@attribute.wrong("You take medians; the contract asks for means.")
def medians(codes: Tensor, mask: Tensor) -> Tensor:
    return codes[mask].median(0).values - codes[~mask].median(0).values


@attribute.wrong("You averaged over the dimensions as well: return (L,), one number a dimension.")
def one_number(codes: Tensor, mask: Tensor) -> Tensor:
    return codes[mask].mean() - codes[~mask].mean()


@attribute.wrong("The numbers are right, but detached: no gradient would reach the codes.")
def attribute_detached(codes: Tensor, mask: Tensor) -> Tensor:
    return _attribute(codes, mask).detach()


# --- interpolation.traversal --------------------------------------------------------------------

traverse = Exercise(
    "interpolation.traversal",
    "traversal",
    contract=(
        "traversal(code, dim, values): one code (L,), a dimension dim, K values (K,). Returns "
        "(K, L): K copies of the code, with coordinate dim set to each value in turn. The code "
        "that was given stays as it is. Differentiable."
    ),
    hints=(
        "First make K copies of the code, then change one column.",
        "code.expand(K, -1) is no copy: all rows share memory. code.repeat(K, 1) is one.",
        "codes = code.repeat(len(values), 1); codes[:, dim] = values; return codes",
    ),
    see="chapter 5, 'Exercise 4: one coordinate at a time'",
    forbids=OWN,
)


@traverse.inputs
def _code_and_values(g: Generator) -> tuple[Tensor, int, Tensor]:
    return _code(g, 6), int(torch.randint(1, 5, (), generator=g)), 3 * torch.randn(4, generator=g)


def _edges(g: Generator) -> tuple[Tensor, int, Tensor]:
    dim = 4 * int(torch.randint(2, (), generator=g))
    return _code(g, 5), dim, 3 * torch.randn(5, generator=g)


@traverse.reference
def _traversal(code: Tensor, dim: int, values: Tensor) -> Tensor:
    one = (torch.arange(len(code)) == dim).to(code)
    return code * (1 - one) + torch.outer(values, one)


traverse.values("sets one coordinate to each value and keeps the others", points=2)
traverse.gradients("lets the gradient through to code and values", wrt=("code", "values"))
traverse.values(
    "holds for the first and the last dimension",
    hidden=True,
    hint="Try dim = 0 and dim = L - 1, with as many values as dimensions.",
    inputs=_edges,
)
traverse.untouched()


@traverse.wrong("You add the values to the coordinate. Set it to them.")
def shifted(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return _traversal(code, dim, code[dim] + values)


@traverse.wrong("You multiply the coordinate by the values. Set it to them.")
def multiplied(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return _traversal(code, dim, code[dim] * values)


@traverse.wrong("The other coordinates must keep the values of the code; yours are 0.")
def zeros_elsewhere(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return _traversal(torch.zeros_like(code), dim, values)


@traverse.wrong("All coordinates change in your codes. Only coordinate `dim` may.")
def everything_set(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return values[:, None].repeat(1, len(code)) + 0 * code


@traverse.wrong("You count dimensions from 1: `dim` is an index, and the first is 0.")
def one_too_low(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return _traversal(code, dim - 1, values)


@traverse.wrong(
    "All your rows are the same, those of the last value: they share memory, as after "
    "code.expand(...) or [code] * K. Make copies: code.repeat(K, 1)."
)
def shared_memory(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return _traversal(code, dim, values[-1:].expand(len(values)))


@traverse.wrong("The result must be (K, L), a row a value. Yours is (L, K).")
def traversal_transposed(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return _traversal(code, dim, values).T


@traverse.wrong("You return the code as it was: coordinate `dim` is not set.")
def nothing_set(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return code.repeat(len(values), 1) + 0 * values[:, None]


@traverse.wrong("The numbers are right, but detached: no gradient would reach the code.")
def traversal_detached(code: Tensor, dim: int, values: Tensor) -> Tensor:
    return _traversal(code, dim, values).detach()


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
