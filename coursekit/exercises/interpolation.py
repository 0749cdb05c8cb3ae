"""Exercises of the chapter on moving through a latent space."""

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize  # noqa: F401  # some mistakes call it

from coursekit.exercises import FreeText, gradients, rand, randn, record, untouched, values

OWN = (
    "coursekit.models.latent.lerp",
    "coursekit.models.latent.slerp",
    "coursekit.models.latent.attribute_vector",
    "coursekit.models.latent.matched_vector",
    "coursekit.models.latent.shuffled_lengths",
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
            "torch.linspace(0, 1, len(w))[:, None]": "You ignore the values of w. They need not be "
            "evenly spaced, and need not run from 0 to 1.",
            "w.clamp(0, 1)[:, None]": "You clamp w to [0, 1], but the line goes on outside.",
        },
        "w * z1 + (1 - w) * z2": {
            "w * z2 + (1 - w) * z1": "Your line runs the other way: at w = 1 it must be at z1, at "
            "w = 0 at z2. (torch.lerp runs from its first argument to its second.)",
            "w * z1 + z2": "The weights of z1 and z2 must add up to 1: they are w and 1 - w.",
            "w * z1 + w * z2": "You weight both codes by w. The weight of z2 is 1 - w.",
            "z2 - w * (z1 - z2)": "The sign of the difference is flipped: add w * (z1 - z2).",
            "(w * z1 + (1 - w) * z2).T": "You return (L, K) instead of (K, L).",
            "normalize(w * z1 + (1 - w) * z2, dim=1) * z1.norm()": "You scale the codes to "
            "another norm after mixing them. A straight line keeps the sum as it is.",
            "(w * z1 + (1 - w) * z2).detach()": "The values are right, but detached: no gradient "
            "reaches the codes.",
        },
    },
    hints=(
        "Each weight gives one row of the result. Write the line for a single number w first.",
        "w has shape (K,) and the codes have shape (L,). Broadcasting needs (K, 1) and (L,); "
        "w[:, None] has shape (K, 1).",
        "With w as a column, multiply z1 by w and z2 by 1 - w, and add. Broadcasting makes the K "
        "rows.",
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
    # 1. Give w a second axis: its shape becomes (K, 1), which broadcasts with (L,).
    # 2. Mix the two codes.
    ### BEGIN SOLUTION
    w = w[:, None]
    return w * z1 + (1 - w) * z2
    ### END SOLUTION


# --- interpolation.norm -------------------------------------------------------------------------


def _off_center(g: Generator) -> tuple[Tensor, Tensor]:
    """Codes whose mean is far from 0, and weights on both sides of 0 and 1."""
    return randn(g, 9, 4) + 2 * rand(g, 4), 3 * rand(g, 5) - 1


@record(
    "interpolation.norm",
    inputs=_off_center,
    tests=(
        values(points=2, name="gives the mean over all pairs of codes"),
        values(
            name="holds for codes whose mean is 0",
            inputs=lambda g: (torch.cat([z := randn(g, 6, 4), -z]), 3 * rand(g, 5) - 1),
        ),
        values(
            name="holds for 40,000 codes",
            hidden="With 40,000 codes there are 1.6 billion pairs: do not form them.",
            inputs=lambda g: (randn(g, 40_000, 3) + 2 * rand(g, 3), rand(g, 4)),
        ),
        untouched(),
    ),
    mistakes={
        "codes.square().sum(dim=1).mean()": {
            "codes.square().mean()": "You average the squares over the dimensions, too. A squared "
            "norm is a sum over the dimensions: sum over dim=1, then average over the codes.",
            "codes.norm(dim=1).mean() ** 2": "You square the mean norm. The mean of the squared "
            "norms is larger, by the variance of the norm.",
        },
        "codes.mean(dim=0).square().sum()": {
            "0": "You drop the mixed term. It is 0 only for codes whose mean is 0: the average "
            "of z1 @ z2 over all pairs is the squared norm of the mean code.",
            "codes.mean(dim=0).norm()": "The average of z1 @ z2 is the squared norm of the mean "
            "code; you did not square it.",
            "codes.square().sum(dim=1).mean()": "You treat z1 and z2 as equal in the mixed term. "
            "They are two codes of different pairs: average z1 and z2 separately.",
        },
        "2 * w * (1 - w)": {
            "w * (1 - w)": "The mixed term of a square comes twice.",
            "-2 * w * (1 - w)": "The sign of the mixed term is flipped: the square is that of a "
            "sum, not of a difference.",
        },
        "w**2 + (1 - w) ** 2": {
            "w + (1 - w)": "The weights of the squared norms must be squared, too.",
        },
        "return (w**2 + (1 - w) ** 2) * square + 2 * w * (1 - w) * center": {
            "return 0 * square + center + 0 * w": "This is the squared norm of the mean code, "
            "which is the mean of all middles. The mean of squared norms is larger: average after "
            "you square.",
            "return ((w**2 + (1 - w) ** 2) * square + 2 * w * (1 - w) * center).sqrt()": "You "
            "return the root. The exercise asks for the mean of the squared norm.",
        },
    },
    hints=(
        "Expand the square |w z1 + (1 - w) z2|^2 into three terms, as for numbers. The product of "
        "two codes is the inner product.",
        "Average each term over all pairs. |z1|^2 and |z2|^2 have the same mean. In the mixed "
        "term, z1 and z2 are chosen independently, so each may be averaged by itself.",
        "The mean of z1 @ z2 is m @ m, where m is the mean code. Weight it with 2 w (1 - w), and "
        "the mean of |z|^2 with w^2 + (1 - w)^2.",
    ),
    explanation="In the mixed term both codes can be averaged separately, so the mean over all "
    "pairs needs only the mean code and the mean squared norm.",
    see="chapter 5, 'Exercise 2: how long is the middle?'",
    fair=("detached",),  # no gradient is asked for
)
def mean_square_norm(codes, w):
    """The mean of |w z1 + (1 - w) z2|^2 over all pairs of codes, without forming the pairs.

    codes: (N, L). z1 and z2 are any of the N codes, also the same one: there are N^2 pairs.
    w: (K,) weights, of any value.
    Returns: (K,), one mean per weight.
    """
    # 1. Expand the square on paper. Which averages of the codes do you need?
    # 2. Compute these averages, and combine them for each weight.
    ### BEGIN SOLUTION
    square = codes.square().sum(dim=1).mean()
    center = codes.mean(dim=0).square().sum()
    return (w**2 + (1 - w) ** 2) * square + 2 * w * (1 - w) * center
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
            "1 - w[:, None]": "Your arc runs the other way: w = 1 must give z1, and w = 0 must "
            "give z2.",
        },
        "torch.acos((u1 @ u2).clamp(-1, 1))": {
            "torch.acos((z1 @ z2).clamp(-1, 1))": "The cosine of the angle is the inner "
            "product divided by both norms; you did not divide.",
            "u1 @ u2": "This is the cosine of the angle. The angle is its arc cosine, torch.acos.",
        },
        "direction / torch.sin(theta)": {
            "direction": "Your path does not end in z1 and z2: a division by sin(theta) is "
            "missing.",
            "normalize(w * u1 + (1 - w) * u2, dim=1)": "You scale the straight line to the right "
            "norm. Its direction turns faster in the middle; for an even turn, use the angle.",
        },
        "torch.sin(w * theta) * u1 + torch.sin((1 - w) * theta) * u2": {
            "torch.sin((1 - w) * theta) * u1 + torch.sin(w * theta) * u2": "Your direction turns "
            "the other way: it must be that of z1 at w = 1, and that of z2 at w = 0.",
        },
        "w * n1 + (1 - w) * n2": {
            "n1": "Your norm is |z1| everywhere; it must go from |z2| at w = 0 to |z1| at w = 1.",
        },
        "(w * n1 + (1 - w) * n2) * direction": {
            "direction": "You return unit vectors: multiply by w * |z1| + (1 - w) * |z2|.",
            "(w * n1 + (1 - w) * n2) * normalize(w * z1 + (1 - w) * z2, dim=1)": "You scale the "
            "straight line to the right norm. Its direction turns faster in the middle; for an "
            "even turn, use the angle.",
            "w * z1 + (1 - w) * z2": "This is the straight line. An arc turns the direction.",
            "(torch.sin(w * theta) * z1 + torch.sin((1 - w) * theta) * z2) / torch.sin(theta)": (
                "The formula holds for unit vectors, but you put in the codes themselves: if their "
                "norms differ, the direction does not turn evenly."
            ),
        },
    },
    hints=(
        "Treat norm and direction separately: divide both codes by their norms, find the "
        "direction, and multiply by the norm at the end.",
        "Let e be the unit vector that is perpendicular to u2 in the plane of u1 and u2. The "
        "direction at angle phi from u2 is cos(phi) u2 + sin(phi) e. Which phi belongs to w?",
        "The angle between u1 and u2 is theta, the arc cosine of their inner product, clamped to "
        "[-1, 1]; phi is w theta; e is (u1 - cos(theta) u2) / sin(theta). Where sin(theta) is 0, "
        "the direction is u1. The norm is w |z1| + (1 - w) |z2|.",
    ),
    explanation="The solution inserts e into cos(phi) u2 + sin(phi) e, which gives "
    "(sin(w theta) u1 + sin((1 - w) theta) u2) / sin(theta). Norm and direction are separate, so "
    "the direction turns evenly for any two norms.",
    see="chapter 5, 'Exercise 3: an arc'",
    forbids=OWN,
    fair=("detached",),  # no gradient is asked for
)
def slerp(z1, z2, w):
    """The arc between two codes: the direction turns evenly, the norm changes evenly.

    z1, z2: (L,) float tensors, not zero, not opposite. w: (K,) weights in [0, 1].
    Returns: (K, L), z2 at w = 0 and z1 at w = 1. Codes of the same direction work as well.
    """
    # 1. Norms and unit vectors.
    # 2. The angle between the unit vectors. Rounding can put their inner product above 1.
    # 3. The direction at the share w of the angle. What if the angle is 0?
    # 4. The direction times the norm, which goes evenly from |z2| to |z1|.
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
    see="chapter 5, 'Exercise 4: an attribute as a vector'",
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


# --- interpolation.shuffled ---------------------------------------------------------------------


def _orders(g: Generator, count: int, n: int) -> Tensor:
    return torch.stack([torch.randperm(n, generator=g) for _ in range(count)])


def _codes_mask_orders(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    return *_codes_and_mask(g), _orders(g, 4, 12)


@record(
    "interpolation.shuffled",
    inputs=_codes_mask_orders,
    tests=(
        values(points=2, name="gives one length per order of the labels"),
        values(
            name="leaves the labels as they are where the order does",
            hidden="Try orders = torch.arange(N)[None]: the labels stay where they are.",
            inputs=lambda g: (*_codes_and_mask(g), torch.arange(12)[None]),
        ),
        values(
            name="holds if only one image has the attribute",
            hidden="Try a mask with a single True, and K = N = L.",
            inputs=lambda g: (*_single(g), _orders(g, 7, 7)),
        ),
        untouched(),
    ),
    mistakes={
        "codes[m].mean(dim=0)": {
            "codes[m].sum(dim=0)": "You take the sum of one group and the mean of the other; take "
            "both means.",
            "codes[mask].mean(dim=0)": "One of your two groups has the true labels; both must have "
            "the shuffled ones.",
        },
        "mask[orders]": {
            "mask[orders.argsort(dim=1)]": "You shuffle the codes, or undo each order. That is a "
            "control, too, but image i must get the label of image order[i]: mask[order].",
            "mask.expand(len(orders), -1)": "You did not shuffle the labels, so that all your "
            "lengths are that of the true vector.",
        },
        "torch.stack(vectors).norm(dim=1)": {
            "torch.stack(vectors)": "You return the vectors; the exercise asks for their lengths.",
            "torch.stack(vectors).norm(dim=0)": "You take the norm over the orders: return one "
            "number per order, (K,).",
            "torch.stack(vectors).norm()": "You return one number for all orders: return (K,).",
            "torch.stack(vectors).square().sum(dim=1)": "These are squared lengths: take the root.",
            "torch.stack(vectors).mean(dim=0).norm().expand(len(orders))": "You average the "
            "vectors before you take the length. Take the length of each vector.",
            "torch.stack(vectors).abs().sum(dim=1)": "You add up absolute values; a length is the "
            "root of the sum of squares.",
        },
    },
    hints=(
        "Which of the two, codes or labels, must stay as it is, so that only their connection is "
        "lost?",
        "mask[order] are the shuffled labels. What would you compute with true labels? Compute the "
        "same with these, once per order.",
        "For each row of orders: shuffle the mask, subtract the mean of the codes without the "
        "shuffled label from the mean with it, and take the norm over dim 0. Stack the K norms.",
    ),
    explanation="Shuffling keeps the codes and the sizes of both groups, and removes the "
    "connection between label and picture. So these lengths are what chance alone gives.",
    see="chapter 5, 'Exercise 5: what chance alone would give'",
    forbids=OWN,
    fair=("detached",),  # no gradient is asked for
)
def shuffled_lengths(codes, mask, orders):
    """The lengths of the attribute vectors of shuffled labels.

    codes: (N, L) float tensor. mask: (N,) bool, the true labels.
    orders: (K, N) int64; each row is a permutation of 0 ... N - 1, which says for each image whose
    label it gets.
    Returns: (K,), one length (norm) per permutation.
    """
    # 1. Shuffle the labels, once per row of orders.
    # 2. Compute the attribute vector of each, as in exercise 4, and its norm.
    ### BEGIN SOLUTION
    vectors = [codes[m].mean(dim=0) - codes[~m].mean(dim=0) for m in mask[orders]]
    return torch.stack(vectors).norm(dim=1)
    ### END SOLUTION


# --- interpolation.matched ----------------------------------------------------------------------


def _correlated(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Two attributes that mostly occur together, and codes that both of them move."""
    mask = torch.tensor([True] * 8 + [False] * 9)
    other = torch.tensor([True] * 6 + [False] * 9 + [True] * 2)
    v, u = randn(g, 5), 1 + rand(g, 5)
    codes = 1 + mask[:, None] * v + other[:, None] * u + 0.3 * randn(g, 17, 5)
    order = torch.randperm(17, generator=g)
    return codes[order], mask[order], other[order]


def _rare(g: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """One image each of two of the four combinations."""
    mask = torch.tensor([True] * 6 + [False] * 6)
    other = torch.tensor([True] * 5 + [False] * 6 + [True])
    order = torch.randperm(12, generator=g)
    return randn(g, 12, 4) + 2 * other[order][:, None], mask[order], other[order]


@record(
    "interpolation.matched",
    inputs=_correlated,
    tests=(
        values(points=2, name="gives the vector of the first attribute alone"),
        gradients(name="lets the gradient through to the codes"),
        values(
            name="holds if a combination occurs once",
            hidden="Try data in which a single image has the second attribute but not the first.",
            inputs=_rare,
        ),
        untouched(),
    ),
    mistakes={
        "(other, ~other)": {
            "(other | True,)": "This is the vector of exercise 4. The images with the attribute "
            "have the second attribute more often, so the difference contains it, too.",
            "(~other,)": "You use only the images without the second attribute. Use those with it "
            "as well: both groups count equally.",
            "(other,)": "You use only the images with the second attribute. Use those without it "
            "as well: both groups count equally.",
        },
        "torch.stack(differences).mean(dim=0)": {
            "torch.stack(differences).sum(dim=0)": "You add the two differences; take their mean.",
            "-torch.stack(differences).mean(dim=0)": "The sign is flipped: subtract the mean code "
            "without the attribute from the mean code with it.",
            "other.float().mean() * differences[0] + (~other).float().mean() * differences[1]": (
                "You weight the two differences by the sizes of their groups; the contract asks "
                "for equal weights."
            ),
            "codes[mask].mean(dim=0) - codes[~mask].mean(dim=0) - "
            "(codes[other].mean(dim=0) - codes[~other].mean(dim=0))": "You subtract the whole "
            "vector of the second attribute. It contains a part of the first one, for the same "
            "reason. Compare only images that agree in the second attribute.",
            "codes[mask & ~other].mean(dim=0) - codes[~(mask & ~other)].mean(dim=0)": "You compare "
            "the images with the first attribute alone to all others, of which some have the "
            "second one. Compare only images that agree in the second attribute.",
            "(lambda v, o: v - (v @ o) / (o @ o) * o)(codes[mask].mean(dim=0) - "
            "codes[~mask].mean(dim=0), codes[other].mean(dim=0) - codes[~other].mean(dim=0))": (
                "You remove the direction of the second attribute from the plain vector. That "
                "direction contains a part of the first attribute, so you remove too much. Compare "
                "only images that agree in the second attribute."
            ),
            "torch.stack(differences).mean(dim=0).detach()": "The values are right, but detached: "
            "no gradient reaches the codes.",
        },
        "codes[mask & group].mean(dim=0)": {
            "codes[mask].mean(dim=0)": "Your images with the attribute come from all data, those "
            "without it from one group: take both from the same group.",
        },
    },
    hints=(
        "Why does the plain difference of means contain the second attribute? In which share of "
        "each of its two groups does the second attribute occur?",
        "Among the images that all have the second attribute, the two means agree in it, so it "
        "cancels in their difference. The same holds among the images that all lack it.",
        "Take the attribute vector of exercise 4 twice, among codes[other] and among "
        "codes[~other], each with its part of the mask. Return the mean of both.",
    ),
    explanation="Within each group, all images agree in the second attribute, so it cancels in "
    "the difference of the two means.",
    see="chapter 5, 'Exercise 6: two attributes that come together'",
    forbids=OWN,
)
def matched_vector(codes, mask, other):
    """The attribute vector of `mask`, without the second attribute `other`.

    codes: (N, L) float tensor. mask, other: (N,) bool; all four combinations of them occur.
    Returns: (L,), differentiable. Images with `other` and images without it have the same weight
    in the result, however many there are of each.
    """
    # Compare only images that agree in the second attribute.
    ### BEGIN SOLUTION
    differences = [
        codes[mask & group].mean(dim=0) - codes[~mask & group].mean(dim=0)
        for group in (other, ~other)
    ]
    return torch.stack(differences).mean(dim=0)
    ### END SOLUTION


# --- questions ----------------------------------------------------------------------------------

shell = FreeText(
    "interpolation.shell",
    "In 100 dimensions the code 0 has the highest prior density of all codes, yet practically no "
    "sample lies near it. How can both be true?",
    "One point: density is per volume. One point: the volume of a shell grows as r^99, so nearly "
    "all probability lies at r close to 10. Full marks need both, and their product.",
    2,
)
between = FreeText(
    "interpolation.between",
    "A paper shows ten sharp midpoints between training images and concludes that its model has "
    "learned how faces vary. Which two controls would you ask for, and what would each show?",
    "One point for each of two controls with what it shows, such as: midpoints of randomly chosen "
    "pairs with a measure over all of them (the ten were not picked); samples from the prior and "
    "plain reconstructions in the same measure (how much of the quality is due to interpolation); "
    "pixel mixtures (the measure can fail); the nearest training images of the midpoints, or test "
    "images as ends (no memorizing).",
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
