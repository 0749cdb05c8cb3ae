"""Moves in a latent space: along a line, along an arc, along an attribute, along one coordinate."""

import torch
from torch import Tensor

from coursekit import require

# Below this sine, two float32 directions count as parallel: their plane is rounding noise.
_PARALLEL = 1e-6


def lerp(z1: Tensor, z2: Tensor, w: float | Tensor) -> Tensor:
    """The straight line w * z1 + (1 - w) * z2: z1 at w = 1, z2 at w = 0, beyond them outside.

    z1, z2: codes (..., L), of one shape. w: a number, or K of them. Returns (..., L), or
    (K, ..., L) when w is (K,). `torch.lerp` runs the other way.
    """
    z1, z2, w = _path(z1, z2, w)
    return w * z1 + (1 - w) * z2


def slerp(z1: Tensor, z2: Tensor, w: float | Tensor) -> Tensor:
    """The arc from z2 (w = 0) to z1 (w = 1) around the origin (Shoemake, 1985; White, 2016).

    The direction turns at an even pace through the angle between the two codes; the norm goes
    evenly from one norm to the other, w * |z1| + (1 - w) * |z2|. Codes of equal norm thus stay on
    their sphere, where a straight line cuts through it. Shapes as in `lerp`; w in [0, 1].

    A code of norm 0 has no direction and takes the other's. Codes that point in opposite directions
    are joined by one of the many half circles, always the same; in one dimension there is none, and
    ValueError says so.
    """
    z1, z2, w = _path(z1, z2, w)
    low, high = w.aminmax()
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"w has values in [{low:.3g}, {high:.3g}], but an arc has only those in [0, 1]: "
            "use lerp to go beyond its ends"
        )
    norm1, norm2 = z1.norm(dim=-1, keepdim=True), z2.norm(dim=-1, keepdim=True)
    unit1, unit2 = _unit(z1), _unit(z2)
    unit1, unit2 = torch.where(norm1 > 0, unit1, unit2), torch.where(norm2 > 0, unit2, unit1)

    cosine = (unit1 * unit2).sum(-1, keepdim=True)
    side = unit1 - cosine * unit2  # what of z1 is perpendicular to z2: its norm is the sine
    sine = side.norm(dim=-1, keepdim=True)
    opposite = (sine < _PARALLEL) & (cosine < 0)
    if opposite.any() and z1.shape[-1] == 1:
        raise ValueError("z1 and z2 are opposite numbers, which no arc joins: use lerp")
    side = torch.where(opposite, _perpendicular(unit2), side)

    # atan2 keeps its precision near 0 and pi, where the arccosine loses it.
    angle = w * torch.atan2(sine, cosine)
    direction = torch.cos(angle) * unit2 + torch.sin(angle) * _unit(side)
    return (w * norm1 + (1 - w) * norm2) * direction


def attribute_vector(codes: Tensor, mask: Tensor) -> Tensor:
    """The mean code with an attribute minus the mean code without it, (L,) (Larsen et al., 2016).

    codes: (N, L). mask: (N,) bool, True where the image has the attribute. Adding the result to a
    code should add the attribute; how well it does is a matter of measurement.
    """
    require.shape("codes", codes, "N", "L")
    require.shape("mask", mask, len(codes))
    if mask.dtype != torch.bool:
        raise TypeError(f"mask is {mask.dtype}, but torch.bool is expected: write labels == 3")
    if mask.all() or not mask.any():
        raise ValueError(
            f"mask is {bool(mask[0])} everywhere, but a difference needs codes with the attribute "
            "and codes without it"
        )
    return codes[mask].mean(0) - codes[~mask].mean(0)


def matched_vector(codes: Tensor, mask: Tensor, other: Tensor) -> Tensor:
    """The attribute vector of `mask` among images that agree in a second attribute, (L,).

    codes: (N, L). mask, other: (N,) bool. The mean of two attribute vectors, one of the images with
    `other` and one of those without it. If the two attributes occur together more often than by
    chance, `attribute_vector` adds a part of the second one; this vector does not.
    """
    require.shape("other", other, len(codes))
    if other.dtype != torch.bool:
        raise TypeError(f"other is {other.dtype}, but torch.bool is expected: write labels == 3")
    groups = [attribute_vector(codes[group], mask[group]) for group in (other, ~other)]
    return torch.stack(groups).mean(0)


def shuffled_lengths(codes: Tensor, mask: Tensor, orders: Tensor) -> Tensor:
    """Lengths (K,) of the attribute vectors that remain after the labels are shuffled.

    codes: (N, L). mask: (N,) bool. orders: (K, N), a permutation of 0 … N - 1 in each row. An
    attribute whose vector is no longer than these is not found in the codes.
    """
    require.shape("orders", orders, "K", len(codes))
    return torch.stack([attribute_vector(codes, mask[order]) for order in orders]).norm(dim=1)


def traversal(code: Tensor, dim: int, values: Tensor) -> Tensor:
    """Copies of one code (L,), (K, L), with the coordinate `dim` set to each of `values` (K,)."""
    require.shape("code", code, "L")
    require.shape("values", values, "K")
    require.between("dim", dim, 0, len(code) - 1)
    codes = code.repeat(len(values), 1)
    codes[:, dim] = values.to(codes)
    return codes


def _path(z1: Tensor, z2: Tensor, w: float | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z1, z2, and w with axes after its own, one for each of theirs."""
    require.same_shape(z1=z1, z2=z2)
    weights = torch.as_tensor(w, dtype=z1.dtype, device=z1.device)
    if weights.ndim > 1 or weights.numel() == 0:
        raise ValueError(
            f"w has shape {tuple(weights.shape)}, but a number or a shape (K,) is expected"
        )
    return z1, z2, weights.reshape(weights.shape + (1,) * z1.ndim)


def _unit(z: Tensor) -> Tensor:
    """z / |z|, and zeros where z is zero."""
    norm = z.norm(dim=-1, keepdim=True)
    return z / torch.where(norm > 0, norm, torch.ones_like(norm))


def _perpendicular(unit: Tensor) -> Tensor:
    """A vector perpendicular to each unit vector (..., L): from the axis it leans to least."""
    axis = torch.zeros_like(unit).scatter_(-1, unit.abs().argmin(-1, keepdim=True), 1.0)
    return axis - (axis * unit).sum(-1, keepdim=True) * unit
