"""Answers to the exercises of the interpolation chapter: right in different styles, and wrong."""
# ruff: noqa: B905, F841  # students write such things

import math

import numpy as np
import torch
from torch import nn

from coursekit.grading.gradebook.bank import right, wrong

# --- interpolation.lerp -------------------------------------------------------------------------


@right("interpolation.lerp")
def broadcast(z1, z2, w):
    w = w.unsqueeze(1)
    return z1 * w + z2 * (1 - w)


@right("interpolation.lerp")
def torchs_own(z1, z2, w):
    return torch.lerp(z2.expand(len(w), -1), z1.expand(len(w), -1), w[:, None])


@right("interpolation.lerp")
def rows(z1, z2, w):
    return torch.stack([float_w * z1 + (1 - float_w) * z2 for float_w in w])


@right("interpolation.lerp")
def matrix_product(z1, z2, w):
    return torch.stack([w, 1 - w], dim=1) @ torch.stack([z1, z2])


@right("interpolation.lerp")
def from_the_second(z1, z2, w):
    return (z2.double() + torch.einsum("k,l->kl", w.double(), (z1 - z2).double())).float()


@right("interpolation.lerp")
class Line(nn.Module):
    def forward(self, z1, z2, w):
        return torch.vmap(lambda a: a * z1 + (1 - a) * z2)(w)


@wrong("interpolation.lerp", says="change a tensor")
def spoils_the_weights(z1, z2, w):
    result = torch.outer(w.clone(), z1) + torch.outer(1 - w, z2)
    with torch.no_grad():
        w.copy_(1 - w)
    return result


@wrong("interpolation.lerp", says="None")
def no_return(z1, z2, w):
    result = w[:, None] * z1 + (1 - w[:, None]) * z2


# --- interpolation.slerp ------------------------------------------------------------------------


def unit(z):
    return z / z.norm()


def between(u1, u2, w, theta):
    """Directions by the formula that divides by sin(theta)."""
    arc = torch.outer(torch.sin(w * theta), u1) + torch.outer(torch.sin((1 - w) * theta), u2)
    return arc / torch.sin(theta)


@right("interpolation.slerp")
def in_double_precision(z1, z2, w):
    a, b, w = z1.double(), z2.double(), w.double()[:, None]
    u1, u2 = unit(a), unit(b)
    theta = 2 * torch.atan2((u1 - u2).norm(), (u1 + u2).norm())
    side = u1 - (u1 @ u2) * u2
    side = side / side.norm().clamp(min=1e-12)
    direction = torch.cos(w * theta) * u2 + torch.sin(w * theta) * side
    return (w * a.norm() + (1 - w) * b.norm()) * direction


@right("interpolation.slerp")
def turned_in_the_plane(z1, z2, w):
    n1, n2 = torch.linalg.norm(z1), torch.linalg.norm(z2)
    u1, u2 = z1 / n1, z2 / n2
    side = u1 - (u1 @ u2) * u2
    angle = torch.atan2(side.norm(), u1 @ u2)
    side = side / max(side.norm().item(), 1e-9)
    path = torch.outer(torch.cos(w * angle), u2) + torch.outer(torch.sin(w * angle), side)
    return path * (w * n1 + (1 - w) * n2)[:, None]


@right("interpolation.slerp")
def with_loops(z1, z2, w):
    n1, n2 = z1.norm().item(), z2.norm().item()
    cosine = sum(a * b for a, b in zip(z1.tolist(), z2.tolist())) / n1 / n2
    theta = math.acos(max(-1.0, min(1.0, cosine)))
    out = []
    for a in w.tolist():
        if theta < 1e-6:
            p, q = a, 1 - a
        else:
            p = math.sin(a * theta) / math.sin(theta)
            q = math.sin((1 - a) * theta) / math.sin(theta)
        out.append((a * n1 + (1 - a) * n2) * (p * z1 / n1 + q * z2 / n2))
    return torch.stack(out)


@right("interpolation.slerp")
def numpy_slerp(z1, z2, w):
    a, b, t = z1.double().numpy(), z2.double().numpy(), w.double().numpy()[:, None]
    na, nb = np.linalg.norm(a), np.linalg.norm(b)
    theta = np.arccos(np.clip(a @ b / (na * nb), -1, 1))
    if np.isclose(theta, 0):
        return torch.from_numpy(t * a + (1 - t) * b)
    arc = (np.sin(t * theta) * a / na + np.sin((1 - t) * theta) * b / nb) / np.sin(theta)
    return torch.from_numpy(arc * (t * na + (1 - t) * nb))


@right("interpolation.slerp")
class Arc:
    """sin(w theta) / sin(theta) as a quotient of sinc, which is 1 at 0."""

    def __call__(self, z1, z2, w):
        lengths = torch.stack([z1.norm(), z2.norm()])
        units = torch.stack([z1, z2]) / lengths[:, None]
        theta = torch.arccos(units.prod(dim=0).sum().clamp(-1, 1)) / math.pi
        weights = torch.stack([w, 1 - w], dim=1)
        sines = weights * torch.sinc(weights * theta) / torch.sinc(theta)
        return (sines @ units) * (weights @ lengths)[:, None]


@wrong("interpolation.slerp", says="0 / 0 is nan")
def no_care_at_zero(z1, z2, w):
    theta = torch.acos((unit(z1) @ unit(z2)).clamp(-1, 1))
    return between(unit(z1), unit(z2), w, theta) * (w * z1.norm() + (1 - w) * z2.norm())[:, None]


@wrong("interpolation.slerp", says="acos of that is nan")
def no_clamp(z1, z2, w):
    theta = torch.acos(unit(z1) @ unit(z2))
    direction = unit(z1) if theta == 0 else between(unit(z1), unit(z2), w, theta)
    return direction * (w * z1.norm() + (1 - w) * z2.norm())[:, None]


@wrong("interpolation.slerp", says="inner product is negative")
def shortest_way_round(z1, z2, w):
    # as for quaternions, where z and -z are the same rotation: not so for codes
    theta = torch.acos((unit(z1) @ unit(z2)).abs().clamp(max=1 - 1e-7))
    direction = between(unit(z1), unit(z2) * torch.sign(z1 @ z2), w, theta)
    return direction * (w * z1.norm() + (1 - w) * z2.norm())[:, None]


# --- interpolation.attribute --------------------------------------------------------------------


@right("interpolation.attribute")
def two_means(codes, mask):
    return codes[mask].mean(0) - codes[~mask].mean(0)


@right("interpolation.attribute")
def weighted(codes, mask):
    m = mask.float()
    return (m / m.sum() - (1 - m) / (1 - m).sum()) @ codes


@right("interpolation.attribute")
def with_lists(codes, mask):
    yes = torch.stack([c for c, m in zip(codes, mask) if m])
    no = torch.stack([c for c, m in zip(codes, mask) if not m])
    return yes.sum(0) / len(yes) - no.sum(0) / len(no)


@right("interpolation.attribute")
def with_where(codes, mask):
    m = mask[:, None]
    zero = torch.zeros_like(codes)
    a = torch.where(m, codes, zero).sum(0) / mask.sum()
    return a - torch.where(m, zero, codes).sum(0) / (~mask).sum()


@right("interpolation.attribute")
def by_index(codes, mask):
    yes, no = mask.nonzero().squeeze(1), mask.logical_not().nonzero().squeeze(1)
    return codes.index_select(0, yes).double().mean(0) - codes.index_select(0, no).double().mean(0)


@wrong("interpolation.attribute", says="change a tensor")
def centers_its_input(codes, mask):
    result = codes[mask].mean(0) - codes[~mask].mean(0)
    with torch.no_grad():
        codes -= codes.mean(0)
    return result


# --- interpolation.norm -------------------------------------------------------------------------


@right("interpolation.norm")
def three_terms(codes, w):
    m = codes.mean(0)
    s = (codes**2).sum(1).mean()
    return w**2 * s + (1 - w) ** 2 * s + 2 * w * (1 - w) * (m @ m)


@right("interpolation.norm")
def center_and_spread(codes, w):
    m = codes.mean(0)
    spread = (codes - m).pow(2).sum(1).mean()
    return m.dot(m) + (w**2 + (1 - w) ** 2) * spread


@right("interpolation.norm")
def by_variances(codes, w):
    spread = codes.double().var(dim=0, correction=0).sum()
    center = codes.double().mean(0).norm() ** 2
    return (center + (1 - 2 * w.double() * (1 - w.double())) * spread).float()


@right("interpolation.norm")
def one_weight_at_a_time(codes, w):
    total = codes.sum(dim=0) / len(codes)
    lengths = torch.stack([c @ c for c in codes.T]).sum() / len(codes)
    out = [a * a * lengths + (1 - a) ** 2 * lengths + 2 * a * (1 - a) * total @ total for a in w]
    return torch.stack(out)


@right("interpolation.norm")
def coordinate_by_coordinate(codes, w):
    """Each coordinate of the point is a sum of two independent numbers: mean squared, variance."""
    w = w[:, None]
    mean = w * codes.mean(0) + (1 - w) * codes.mean(0)
    variance = (w**2 + (1 - w) ** 2) * codes.var(0, unbiased=False)
    return (mean**2 + variance).sum(1)


@wrong("interpolation.norm", says="40,000")
def all_pairs(codes, w):
    if len(codes) > 1000:
        raise MemoryError("an array of pairs")
    inner = (codes @ codes.T).mean()
    square = codes.square().sum(1).mean()
    return (w**2 + (1 - w) ** 2) * square + 2 * w * (1 - w) * inner


@wrong("interpolation.norm", says="at index")
def neighbors_as_pairs(codes, w):
    z1, z2 = codes, codes.roll(1, dims=0)
    return (w[:, None, None] * z1 + (1 - w[:, None, None]) * z2).square().sum(2).mean(1)


# --- interpolation.shuffled ---------------------------------------------------------------------


@right("interpolation.shuffled")
def a_loop(codes, mask, orders):
    lengths = []
    for order in orders:
        label = mask[order]
        lengths.append((codes[label].mean(0) - codes[~label].mean(0)).norm())
    return torch.stack(lengths)


@right("interpolation.shuffled")
def one_matrix_product(codes, mask, orders):
    m = mask[orders].to(codes.dtype)
    vectors = m @ codes / m.sum(1, keepdim=True)
    vectors = vectors - (1 - m) @ codes / (1 - m).sum(1, keepdim=True)
    return torch.linalg.vector_norm(vectors, dim=1)


@right("interpolation.shuffled")
def by_sums(codes, mask, orders):
    """The sum of one group and of all codes give the sum of the other."""
    n, k = len(codes), int(mask.sum())
    with_label = torch.stack([codes[mask[o]].double().sum(0) for o in orders])
    without = codes.double().sum(0) - with_label
    return (with_label / k - without / (n - k)).pow(2).sum(1).sqrt().float()


@right("interpolation.shuffled")
def in_numpy(codes, mask, orders):
    c, m = codes.numpy(), mask.numpy()
    out = []
    for order in orders.numpy():
        label = m[order]
        out.append(np.linalg.norm(c[label].mean(0) - c[~label].mean(0)))
    return torch.tensor(np.array(out), dtype=codes.dtype)


@right("interpolation.shuffled")
def gathered(codes, mask, orders):
    labels = torch.gather(mask.expand(len(orders), -1), 1, orders)
    weights = labels / labels.sum(1, keepdim=True) - ~labels / (~labels).sum(1, keepdim=True)
    return (weights @ codes).norm(dim=-1)


@wrong("interpolation.shuffled", says="did not shuffle the labels")
def codes_shuffled_as_well(codes, mask, orders):
    out = []
    for order in orders:
        c, m = codes[order], mask[order]
        out.append((c[m].mean(0) - c[~m].mean(0)).norm())
    return torch.stack(out)


# --- interpolation.matched ----------------------------------------------------------------------


def vector(codes, mask):
    return codes[mask].mean(0) - codes[~mask].mean(0)


@right("interpolation.matched")
def two_vectors(codes, mask, other):
    return (vector(codes[other], mask[other]) + vector(codes[~other], mask[~other])) / 2


@right("interpolation.matched")
def four_means(codes, mask, other):
    both, only = codes[mask & other].mean(0), codes[mask & ~other].mean(0)
    second, none = codes[~mask & other].mean(0), codes[~mask & ~other].mean(0)
    return 0.5 * (both - second) + 0.5 * (only - none)


@right("interpolation.matched")
def image_weights(codes, mask, other):
    w = torch.zeros(len(codes), dtype=codes.dtype)
    for m in (True, False):
        for o in (True, False):
            cell = (mask == m) & (other == o)
            w[cell] = (1 if m else -1) / (2 * cell.sum())
    return w @ codes


@right("interpolation.matched")
def a_saturated_regression(codes, mask, other):
    """Least squares on both signs and their product: twice the weight of the first sign."""
    a, b = 2 * mask.double() - 1, 2 * other.double() - 1
    design = torch.stack([torch.ones_like(a), a, b, a * b], dim=1)
    weights = torch.linalg.inv(design.T @ design) @ design.T @ codes.double()
    return (2 * weights[1]).to(codes.dtype)


@right("interpolation.matched")
def with_a_loop(codes, mask, other):
    total = torch.zeros(codes.shape[1])
    for value in (0, 1):
        members = other.int() == value
        c, m = codes[members], mask[members]
        total = total + vector(c, m)
    return total / 2


@wrong("interpolation.matched", says="the contract asks for equal weights")
def weighted_by_size(codes, mask, other):
    share = other.double().mean().float()
    groups = vector(codes[other], mask[other]), vector(codes[~other], mask[~other])
    return share * groups[0] + (1 - share) * groups[1]


@wrong("interpolation.matched", says="at index")
def linear_regression(codes, mask, other):
    """Without the product of both attributes, least squares weights the groups unequally."""
    design = torch.stack([torch.ones(len(codes)), mask.float(), other.float()], dim=1)
    return torch.linalg.lstsq(design, codes).solution[1]
