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


@wrong("interpolation.lerp", says="runs the other way")
def reversed_line(z1, z2, w):
    return w[:, None] * z2 + (1 - w[:, None]) * z1


@wrong("interpolation.lerp", says="runs the other way")
def torch_order(z1, z2, w):
    return torch.lerp(z1.expand(len(w), -1), z2.expand(len(w), -1), w[:, None])


@wrong("interpolation.lerp", says="add up to 1")
def no_complement(z1, z2, w):
    return z2 + torch.outer(w, z1)


@wrong("interpolation.lerp", says="weight both codes by w")
def w_twice(z1, z2, w):
    return torch.outer(w, z1) + torch.outer(w, z2)


@wrong("interpolation.lerp", says="(L, K)")
def as_columns(z1, z2, w):
    return z1[:, None] * w + z2[:, None] * (1 - w)


@wrong("interpolation.lerp", says="ignore the values of w")
def evenly(z1, z2, w):
    w = torch.linspace(0, 1, len(w))[:, None]
    return w * z1 + (1 - w) * z2


@wrong("interpolation.lerp", says="clamp")
def stays_between(z1, z2, w):
    w = torch.clamp(w, min=0, max=1)[:, None]
    return w * z1 + (1 - w) * z2


@wrong("interpolation.lerp", says="scaled to another length")
def renormalized(z1, z2, w):
    z = w[:, None] * z1 + (1 - w[:, None]) * z2
    return torch.nn.functional.normalize(z, dim=1) * torch.linalg.norm(z1)


@wrong("interpolation.lerp", says="sign is turned")
def minus(z1, z2, w):
    return z2 - torch.outer(w, z1 - z2)


@wrong("interpolation.lerp", says="detached")
def by_numpy(z1, z2, w):
    a, b, c = z1.detach().numpy(), z2.detach().numpy(), w.detach().numpy()[:, None]
    return torch.from_numpy(c * a + (1 - c) * b)


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


@right("interpolation.slerp")
def as_in_the_book(z1, z2, w):
    return by_the_sines(z1, z2, w)


def by_the_sines(z1, z2, w):
    n1, n2 = z1.norm(), z2.norm()
    u1, u2 = z1 / n1, z2 / n2
    theta = torch.acos((u1 @ u2).clamp(-1, 1))
    w = w[:, None]
    if torch.sin(theta) < 1e-6:
        return (w * n1 + (1 - w) * n2) * u1
    direction = torch.sin(w * theta) * u1 + torch.sin((1 - w) * theta) * u2
    return (w * n1 + (1 - w) * n2) * direction / torch.sin(theta)


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


@wrong("interpolation.slerp", says="straight line")
def a_lerp(z1, z2, w):
    return torch.outer(w, z1) + torch.outer(1 - w, z2)


@wrong("interpolation.slerp", says="other way")
def backwards(z1, z2, w):
    return by_the_sines(z2, z1, w)


@wrong("interpolation.slerp", says="unit vectors: multiply")
def length_forgotten(z1, z2, w):
    return by_the_sines(z1 / z1.norm(), z2 / z2.norm(), w)


@wrong("interpolation.slerp", says="put in the codes themselves")
def shoemake_raw(z1, z2, w):
    theta = torch.acos(torch.cosine_similarity(z1, z2, dim=0))
    a, b = torch.sin(w * theta) / torch.sin(theta), torch.sin((1 - w) * theta) / torch.sin(theta)
    return torch.outer(a, z1) + torch.outer(b, z2)


@wrong("interpolation.slerp", says="faster in the middle")
def normalized_lerp(z1, z2, w):
    u = torch.outer(w, z1 / z1.norm()) + torch.outer(1 - w, z2 / z2.norm())
    return u / u.norm(dim=1, keepdim=True) * (w * z1.norm() + (1 - w) * z2.norm())[:, None]


@wrong("interpolation.slerp", says="norm is that of z1")
def first_norm(z1, z2, w):
    return by_the_sines(z1, z2 * (z1.norm() / z2.norm()), w)


@wrong("interpolation.slerp", says="divide by sin(theta)")
def no_denominator(z1, z2, w):
    u1, u2 = z1 / z1.norm(), z2 / z2.norm()
    theta = torch.acos((u1 @ u2).clamp(-1, 1))
    arc = torch.outer(torch.sin(w * theta), u1) + torch.outer(torch.sin((1 - w) * theta), u2)
    return arc * (w * z1.norm() + (1 - w) * z2.norm())[:, None]


@wrong("interpolation.slerp", says="take its acos")
def no_acos(z1, z2, w):
    u1, u2 = z1 / z1.norm(), z2 / z2.norm()
    theta = u1 @ u2
    arc = torch.outer(torch.sin(w * theta), u1) + torch.outer(torch.sin((1 - w) * theta), u2)
    return arc / torch.sin(theta) * (w * z1.norm() + (1 - w) * z2.norm())[:, None]


@wrong("interpolation.slerp", says="0 / 0 is nan")
def no_care_at_zero(z1, z2, w):
    u1, u2 = z1 / z1.norm(), z2 / z2.norm()
    theta = torch.acos((u1 @ u2).clamp(-1, 1))
    arc = torch.outer(torch.sin(w * theta), u1) + torch.outer(torch.sin((1 - w) * theta), u2)
    return arc / torch.sin(theta) * (w * z1.norm() + (1 - w) * z2.norm())[:, None]


@wrong("interpolation.slerp", says="acos of that is nan")
def no_clamp(z1, z2, w):
    u1, u2 = z1 / z1.norm(), z2 / z2.norm()
    theta = torch.acos(u1 @ u2)
    if theta == 0:
        return (w * z1.norm() + (1 - w) * z2.norm())[:, None] * u1
    arc = torch.outer(torch.sin(w * theta), u1) + torch.outer(torch.sin((1 - w) * theta), u2)
    return arc / torch.sin(theta) * (w * z1.norm() + (1 - w) * z2.norm())[:, None]


@wrong("interpolation.slerp", says="inner product is negative")
def shortest_way_round(z1, z2, w):
    # as for quaternions, where z and -z are the same rotation: not so for codes
    if z1 @ z2 < 0:
        z2 = -z2
    return by_the_sines(z1, z2, w)


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


@wrong("interpolation.attribute", says="sign is turned")
def removes_it(codes, mask):
    return codes[~mask].mean(0) - codes[mask].mean(0)


@wrong("interpolation.attribute", says="mean code with")
def only_with(codes, mask):
    return torch.mean(codes[mask], dim=0)


@wrong("interpolation.attribute", says="mean of all codes")
def against_everybody(codes, mask):
    return codes[mask].mean(dim=0) - codes.mean(dim=0)


@wrong("interpolation.attribute", says="You take sums")
def summed(codes, mask):
    return (codes * mask[:, None]).sum(0) - (codes * ~mask[:, None]).sum(0)


@wrong("interpolation.attribute", says="number of all codes")
def mean_of_products(codes, mask):
    return (codes * mask[:, None]).mean(0) - (codes * ~mask[:, None]).mean(0)


@wrong("interpolation.attribute", says="length 1")
def unit_length(codes, mask):
    return nn.functional.normalize(codes[mask].mean(0) - codes[~mask].mean(0), dim=0)


@wrong("interpolation.attribute", says="medians")
def robust(codes, mask):
    return torch.quantile(codes[mask], 0.5, dim=0, interpolation="lower") - torch.quantile(
        codes[~mask], 0.5, dim=0, interpolation="lower"
    )


@wrong("interpolation.attribute", says="one number a dimension")
def over_all(codes, mask):
    return codes[mask].mean() - codes[~mask].mean()


@wrong("interpolation.attribute", says="detached")
def under_no_grad(codes, mask):
    with torch.no_grad():
        return codes[mask].mean(0) - codes[~mask].mean(0)


@wrong("interpolation.attribute", says="change a tensor")
def centers_its_input(codes, mask):
    result = codes[mask].mean(0) - codes[~mask].mean(0)
    with torch.no_grad():
        codes -= codes.mean(0)
    return result


# --- interpolation.traversal --------------------------------------------------------------------


@right("interpolation.traversal")
def repeated(code, dim, values):
    codes = code.repeat(len(values), 1)
    codes[:, dim] = values
    return codes


@right("interpolation.traversal")
def cloned(code, dim, values):
    rows = []
    for value in values:
        row = code.clone()
        row[dim] = value
        rows.append(row)
    return torch.stack(rows)


@right("interpolation.traversal")
def joined(code, dim, values):
    left = code[:dim].expand(len(values), -1)
    right_part = code[dim + 1 :].expand(len(values), -1)
    return torch.cat([left, values[:, None], right_part], dim=1)


@right("interpolation.traversal")
def one_hot(code, dim, values):
    e = torch.zeros_like(code)
    e[dim] = 1
    return code + (values - code[dim])[:, None] * e


@right("interpolation.traversal")
def where(code, dim, values):
    return torch.where(torch.arange(len(code)) == dim, values[:, None], code)


@wrong("interpolation.traversal", says="You add the values")
def adds(code, dim, values):
    codes = code.repeat(len(values), 1)
    codes[:, dim] += values
    return codes


@wrong("interpolation.traversal", says="multiply the coordinate")
def scales(code, dim, values):
    codes = code.repeat(len(values), 1)
    codes[:, dim] *= values
    return codes


@wrong("interpolation.traversal", says="yours are 0")
def from_zeros(code, dim, values):
    codes = torch.zeros(len(values), len(code))
    codes[:, dim] = values
    return codes


@wrong("interpolation.traversal", says="All coordinates change")
def whole_row(code, dim, values):
    codes = code.repeat(len(values), 1)
    codes[:] = values[:, None]
    return codes


@wrong("interpolation.traversal", says="count dimensions from 1")
def off_by_one(code, dim, values):
    codes = code.repeat(len(values), 1)
    codes[:, dim - 1] = values
    return codes


@wrong("interpolation.traversal", says="they share memory")
def same_object(code, dim, values):
    row, rows = code.clone(), []
    for value in values:
        row[dim] = value
        rows.append(row)
    return torch.stack(rows)


@wrong("interpolation.traversal", says="Yours is (L, K)")
def columns(code, dim, values):
    codes = code[:, None].repeat(1, len(values))
    codes[dim] = values
    return codes


@wrong("interpolation.traversal", says="is not set")
def sets_a_copy(code, dim, values):
    codes = code.repeat(len(values), 1)
    codes[:, dim].clone().copy_(values)
    return codes


@wrong("interpolation.traversal", says="detached")
def without_gradient(code, dim, values):
    codes = code.detach().repeat(len(values), 1)
    codes[:, dim] = values.detach()
    return codes


@wrong("interpolation.traversal", says="change a tensor")
def spoils_the_code(code, dim, values):
    codes = code.repeat(len(values), 1)
    codes[:, dim] = values
    with torch.no_grad():
        code[dim] = 0.0
    return codes
