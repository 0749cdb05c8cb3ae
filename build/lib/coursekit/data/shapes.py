"""Sprites after the manner of dSprites: one white shape on black, five factors, 737,280 pictures.

Each shape is a signed distance in its own frame; a pixel's coverage is 1/2 minus its distance in
pixels, which smooths the edge. The order and ranges of the factors are those of dSprites, with two
differences: edges are smooth, and the 40 orientations stop one step before the full turn, so that
no two of them are the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coursekit.data.rendered import Factors, draw_in_chunks

CLASSES: tuple[str, ...] = ("square", "ellipse", "heart")
LABEL: str | None = "shape"
SIZES = {"train": 20_000, "validation": 4_000, "test": 4_000}
RESOLUTION = (64, 64)
CHANNELS = 1
CITATION = (
    "Rendered by coursekit.data.shapes, after L. Matthey, I. Higgins, D. Hassabis, A. Lerchner: "
    "dSprites: disentanglement testing sprites dataset, 2017."
)
LICENCE = "CC0-1.0 (computer-generated)"

# Every factor and the values it takes; the last one varies fastest in the full grid.
GRID = {
    "shape": torch.arange(3),
    "scale": torch.linspace(0.5, 1, 6),
    "orientation": torch.arange(40) * (2 * math.pi / 40),
    "x": torch.linspace(0, 1, 32),
    "y": torch.linspace(0, 1, 32),
}
FACTORS: Factors = {
    "shape": len(CLASSES),
    **{name: (float(GRID[name][0]), float(GRID[name][-1])) for name in list(GRID)[1:]},
}
GRID_SIZE = math.prod(len(values) for values in GRID.values())  # 737,280

# As parts of the picture's side: the half-width of a square of scale 1, and the margin that keeps
# every shape inside at every position and angle.
_HALF = 0.165
_MARGIN = 0.275
_CHUNK_PIXELS = 1 << 20  # pixels drawn at a time


def sample_factors(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw `n` points of the grid, each factor uniformly and independently: name -> (n,)."""
    return {
        name: values[torch.randint(len(values), (n,), generator=generator)]
        for name, values in GRID.items()
    }


def grid_factors(index: Tensor) -> dict[str, Tensor]:
    """The factors at these places (N,) of the full grid, 0 <= index < GRID_SIZE."""
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < GRID_SIZE:
        raise ValueError(
            f"index goes from {index.min()} to {index.max()}, but 0 to {GRID_SIZE - 1} are expected"
        )
    places = torch.unravel_index(index, [len(values) for values in GRID.values()])
    return {
        name: values.to(index.device)[place]
        for (name, values), place in zip(GRID.items(), places, strict=True)
    }


def images_from_factors(
    factors: dict[str, Tensor],
    resolution: tuple[int, int] = RESOLUTION,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the shapes: uint8 (N, 1, H, W), on the device of the factors. Nothing is random.

    shape: int64, place in CLASSES. scale: 1 is the largest on the grid. orientation: radians,
    counterclockwise. x and y: 0 is left and top, 1 right and bottom; values between the grid's
    points are drawn just as well.
    """
    return draw_in_chunks(
        lambda chunk: _draw(chunk, resolution), factors, FACTORS, resolution, _CHUNK_PIXELS
    )


def _draw(factors: dict[str, Tensor], resolution: tuple[int, int]) -> Tensor:
    height, width = resolution
    side = min(height, width)
    shape = factors["shape"]
    reach = 1 - 2 * _MARGIN
    columns = torch.arange(width, device=shape.device) + 0.5 - width / 2
    rows = torch.arange(height, device=shape.device) + 0.5 - height / 2
    # Pixel coordinates around the shape's center, in units of its half-width.
    unit = _HALF * side * factors["scale"][:, None]
    across = (columns - (factors["x"][:, None] - 0.5) * reach * width) / unit
    down = (rows - (factors["y"][:, None] - 0.5) * reach * height) / unit
    cos, sin = factors["orientation"].cos()[:, None], factors["orientation"].sin()[:, None]
    pixels = torch.empty(len(shape), 1, height, width, dtype=torch.uint8, device=shape.device)
    for kind, distance_to in enumerate((_square, _ellipse, _heart)):
        chosen = (shape == kind).nonzero()[:, 0]
        if len(chosen) == 0:
            continue
        c, s, a, d = cos[chosen], sin[chosen], across[chosen], down[chosen]
        u = (c * a)[:, None, :] - (s * d)[:, :, None]
        v = (s * a)[:, None, :] + (c * d)[:, :, None]
        covered = distance_to(u, v).mul_(-unit[chosen][..., None]).add_(0.5).clamp_(0, 1)
        pixels[chosen, 0] = covered.mul_(255).add_(0.5).byte()
    return pixels


def attributes_from_factors(factors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Shapes have no binary attributes."""
    return {}


# Signed distances to the outlines, negative inside; u to the right, v down; areas about equal.


def _square(u: Tensor, v: Tensor) -> Tensor:
    return torch.maximum(u.abs_(), v.abs_()).sub_(1)


def _ellipse(u: Tensor, v: Tensor, a: float = 1.55, b: float = 0.82) -> Tensor:
    # First order: f / |grad f| for f = |(u/a, v/b)| - 1, exact on the outline.
    u.div_(a)
    v.div_(b)
    norm = torch.hypot(u, v).clamp_(min=1e-3)
    slope = torch.hypot(u.div_(a), v.div_(b)).clamp_(min=1e-3)
    return norm.square().sub_(norm).div_(slope)


def _heart(u: Tensor, v: Tensor, size: float = 2.1) -> Tensor:
    # Two circular arcs above two straight sides that meet at right angles below, mirrored at the
    # middle. In this frame the tip is at (0, 0), v up, and the lobes' centers are at (1/4, 3/4).
    x = u.abs_().div_(size)
    y = v.div_(-size).add_(0.52)
    radius = math.sqrt(2) / 4
    lobe = torch.hypot(x - 0.25, y - 0.75).sub_(radius)
    notch = torch.hypot(x, y - 1)
    along = (x + y).mul_(0.5).clamp_(min=0)
    side = torch.hypot(x - along, y - along)
    inside = torch.where(x > y, 1.0, -1.0)
    below = torch.minimum(notch, side).mul_(inside)
    return torch.where(x + y > 1, lobe, below).mul_(size)
