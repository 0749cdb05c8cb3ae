"""Handwritten-looking digits: splines through jittered points, inked with a round pen.

A pen of radius r that moves along a curve leaves ink wherever the distance to the curve is below
r. The distance comes from a sum of Gaussians along the curve: for a straight line of unit density
that sum is exp(-d^2 / (2 s^2)) at distance d, so d = s sqrt(-2 log sum). A Gaussian is a product of
one function of x and one of y, hence the sum over the pen's positions is one matrix product per
image, and that is what makes the drawing fast.
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from coursekit.data.rendered import Factors, draw_in_chunks

CLASSES: tuple[str, ...] = tuple("0123456789")
SIZES = {"train": 20_000, "validation": 4_000, "test": 4_000}
LABEL: str | None = "class"
RESOLUTION = (28, 28)
CHANNELS = 1
CITATION = "Rendered by coursekit.data.digits; no outside source."
LICENCE = "CC0-1.0 (computer-generated)"

# Continuous factors and their ranges; lengths are in pixels of a 28x28 picture.
RANGES = {
    "slant": (-0.2, 0.5),  # horizontal shift per unit of height: > 0 leans to the right
    "thickness": (1.6, 3.5),  # diameter of the pen
    "width": (0.8, 1.3),  # horizontal stretch
    "size": (14.5, 18.5),  # height of the pen's path
    "x": (-1.5, 1.5),  # center of mass, measured from the middle of the picture
    "y": (-1.5, 1.5),
}

_JITTER, _DRIFT = 0.03, 0.07  # of the tremor, standard deviations in heights of a digit
_CHUNK_PIXELS = 1 << 19
_POINTS = 72  # pen positions per image
_CONTROLS = 16  # spline points per template, at most

# A way to write a digit: points (x right, y down, height 1) and strokes through them. A stroke is a
# list of point numbers; two strokes that share a point meet there in a corner.
_Template = tuple[list[tuple[float, float]], list[list[int]]]
TEMPLATES: dict[int, list[_Template]] = {
    0: [
        (
            [(0.36, 0.02), (0.14, 0.14), (0.02, 0.45), (0.1, 0.83), (0.31, 1.0), (0.54, 0.86),
             (0.63, 0.52), (0.54, 0.14), (0.34, 0.0)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8]],
        ),
        (
            [(0.5, 0.1), (0.3, 0.0), (0.1, 0.16), (0.02, 0.52), (0.12, 0.88), (0.34, 1.0),
             (0.58, 0.82), (0.66, 0.45), (0.52, 0.1), (0.36, 0.04)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
        ),
    ],
    1: [
        ([(0.32, 0.0), (0.31, 0.33), (0.3, 0.66), (0.3, 1.0)], [[0, 1, 2, 3]]),
        (
            [(0.12, 0.24), (0.24, 0.13), (0.34, 0.0), (0.33, 0.35), (0.32, 0.68), (0.32, 1.0)],
            [[0, 1, 2], [2, 3, 4, 5]],
        ),
        (
            [(0.12, 0.2), (0.32, 0.0), (0.32, 0.5), (0.32, 1.0), (0.1, 1.0), (0.55, 0.99)],
            [[0, 1], [1, 2, 3], [4, 3, 5]],
        ),
    ],
    2: [
        (
            [(0.06, 0.2), (0.2, 0.03), (0.42, 0.02), (0.56, 0.18), (0.5, 0.42), (0.3, 0.68),
             (0.04, 0.98), (0.3, 0.95), (0.64, 0.97)],
            [[0, 1, 2, 3, 4, 5, 6], [6, 7, 8]],
        ),
        (
            [(0.05, 0.18), (0.22, 0.02), (0.45, 0.05), (0.53, 0.25), (0.42, 0.52), (0.22, 0.82),
             (0.06, 0.95), (0.02, 0.84), (0.14, 0.78), (0.34, 0.92), (0.52, 0.99), (0.68, 0.9)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
        ),
    ],
    3: [
        (
            [(0.06, 0.12), (0.25, 0.0), (0.47, 0.06), (0.5, 0.25), (0.38, 0.42), (0.2, 0.47),
             (0.42, 0.5), (0.58, 0.68), (0.48, 0.92), (0.24, 1.0), (0.02, 0.88)],
            [[0, 1, 2, 3, 4, 5], [5, 6, 7, 8, 9, 10]],
        ),
        (
            [(0.04, 0.05), (0.28, 0.03), (0.54, 0.03), (0.4, 0.22), (0.24, 0.42), (0.46, 0.46),
             (0.58, 0.66), (0.48, 0.92), (0.24, 1.0), (0.02, 0.9)],
            [[0, 1, 2], [2, 3, 4], [4, 5, 6, 7, 8, 9]],
        ),
    ],
    4: [
        (
            [(0.14, 0.0), (0.1, 0.25), (0.06, 0.52), (0.32, 0.54), (0.58, 0.5), (0.52, 0.02),
             (0.5, 0.35), (0.47, 0.68), (0.45, 1.0)],
            [[0, 1, 2], [2, 3, 4], [5, 6, 7, 8]],
        ),
        (
            [(0.42, 0.0), (0.22, 0.32), (0.0, 0.65), (0.32, 0.66), (0.68, 0.63), (0.44, 0.0),
             (0.43, 0.5), (0.42, 1.0)],
            [[0, 1, 2], [2, 3, 4], [5, 6, 7]],
        ),
        (
            [(0.1, 0.02), (0.04, 0.3), (0.1, 0.52), (0.3, 0.54), (0.48, 0.36), (0.54, 0.02),
             (0.52, 0.36), (0.5, 0.7), (0.48, 1.0)],
            [[0, 1, 2, 3, 4], [5, 6, 7, 8]],
        ),
    ],
    5: [
        (
            [(0.6, 0.02), (0.36, 0.03), (0.14, 0.03), (0.12, 0.22), (0.1, 0.42), (0.32, 0.38),
             (0.54, 0.52), (0.56, 0.76), (0.4, 0.96), (0.18, 1.0), (0.0, 0.88)],
            [[0, 1, 2], [2, 3, 4], [4, 5, 6, 7, 8, 9, 10]],
        ),
        (
            [(0.64, 0.0), (0.4, 0.04), (0.2, 0.06), (0.12, 0.24), (0.16, 0.4), (0.36, 0.46),
             (0.5, 0.62), (0.46, 0.86), (0.26, 1.0), (0.02, 0.94)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
        ),
    ],
    6: [
        (
            [(0.48, 0.0), (0.26, 0.14), (0.1, 0.4), (0.05, 0.7), (0.16, 0.95), (0.36, 1.0),
             (0.54, 0.84), (0.5, 0.62), (0.32, 0.54), (0.14, 0.64), (0.07, 0.8)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]],
        ),
        (
            [(0.3, 0.0), (0.16, 0.25), (0.08, 0.55), (0.12, 0.86), (0.3, 1.0), (0.5, 0.92),
             (0.56, 0.74), (0.42, 0.62), (0.22, 0.7), (0.12, 0.86)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
        ),
        (
            [(0.42, 0.0), (0.2, 0.22), (0.05, 0.56), (0.12, 0.9), (0.34, 1.0), (0.52, 0.84),
             (0.46, 0.6), (0.24, 0.58), (0.06, 0.76)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8]],
        ),
    ],
    7: [
        (
            [(0.04, 0.06), (0.3, 0.05), (0.58, 0.02), (0.46, 0.32), (0.34, 0.65), (0.26, 1.0)],
            [[0, 1, 2], [2, 3, 4, 5]],
        ),
        (
            [(0.04, 0.06), (0.3, 0.05), (0.58, 0.02), (0.46, 0.32), (0.34, 0.65), (0.26, 1.0),
             (0.18, 0.5), (0.56, 0.45)],
            [[0, 1, 2], [2, 3, 4, 5], [6, 7]],
        ),
        (
            [(0.04, 0.2), (0.06, 0.06), (0.3, 0.06), (0.54, 0.04), (0.52, 0.28), (0.4, 0.6),
             (0.32, 1.0)],
            [[0, 1], [1, 2, 3, 4, 5, 6]],
        ),
    ],
    8: [
        (
            [(0.5, 0.1), (0.32, 0.0), (0.12, 0.1), (0.12, 0.3), (0.32, 0.47), (0.52, 0.66),
             (0.52, 0.9), (0.3, 1.0), (0.08, 0.88), (0.1, 0.65), (0.32, 0.46), (0.52, 0.27),
             (0.52, 0.1)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]],
        ),
        (
            [(0.56, 0.04), (0.34, 0.02), (0.14, 0.14), (0.2, 0.34), (0.38, 0.5), (0.46, 0.72),
             (0.38, 0.95), (0.18, 0.98), (0.08, 0.8), (0.22, 0.58), (0.44, 0.34), (0.62, 0.08)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]],
        ),
    ],
    9: [
        (
            [(0.52, 0.14), (0.34, 0.0), (0.12, 0.1), (0.06, 0.32), (0.2, 0.48), (0.4, 0.42),
             (0.53, 0.16), (0.52, 0.45), (0.48, 0.72), (0.44, 1.0)],
            [[0, 1, 2, 3, 4, 5, 6], [6, 7, 8, 9]],
        ),
        (
            [(0.54, 0.16), (0.36, 0.02), (0.14, 0.1), (0.08, 0.32), (0.22, 0.46), (0.42, 0.38),
             (0.55, 0.12), (0.58, 0.5), (0.48, 0.84), (0.26, 1.0), (0.06, 0.92)],
            [[0, 1, 2, 3, 4, 5, 6], [6, 7, 8, 9, 10]],
        ),
        (
            [(0.54, 0.08), (0.32, 0.0), (0.08, 0.14), (0.08, 0.38), (0.3, 0.48), (0.52, 0.34),
             (0.58, 0.1), (0.52, 0.4), (0.44, 0.7), (0.34, 1.0)],
            [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
        ),
    ],
}  # fmt: skip
STYLES = torch.tensor([len(TEMPLATES[digit]) for digit in range(10)])
FACTORS: Factors = {"class": 10, "style": int(STYLES.max()), **RANGES}


@cache
def _tables() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Control points (T, P, 2), position and tangent bases (T, K, P), free ends (T, K), and the
    first template of every digit (10,).

    A Catmull-Rom spline is linear in its points, so a template is a matrix.
    """
    controls: list[Tensor] = []
    positions: list[Tensor] = []
    tangents: list[Tensor] = []
    ends: list[Tensor] = []
    first: list[int] = []
    for digit in range(10):
        first.append(len(controls))
        for points, strokes in TEMPLATES[digit]:
            xy = torch.tensor(points)
            lengths = torch.tensor(
                [float((xy[stroke][1:] - xy[stroke][:-1]).norm(dim=1).sum()) for stroke in strokes]
            )
            # Largest remainders: the strokes' shares add up to the pen positions there are.
            exact = lengths / lengths.sum() * _POINTS
            counts = exact.floor().long()
            counts[(exact - counts).argsort(descending=True)[: _POINTS - int(counts.sum())]] += 1
            position, tangent = torch.zeros(2, _POINTS, _CONTROLS)
            end = torch.zeros(_POINTS)
            tips = [point for stroke in strokes for point in (stroke[0], stroke[-1])]
            row = 0
            for stroke, count in zip(strokes, counts.tolist(), strict=True):
                end[row] = tips.count(stroke[0]) == 1
                end[row + count - 1] = tips.count(stroke[-1]) == 1
                pieces = len(stroke) - 1
                for i in range(count):
                    u = (i + 0.5) / count * pieces
                    piece = min(int(u), pieces - 1)
                    t = u - piece
                    value = [-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3,
                             t + 4 * t**2 - 3 * t**3, -(t**2) + t**3]  # fmt: skip
                    slope = [-1 + 4 * t - 3 * t**2, -10 * t + 9 * t**2,
                             1 + 8 * t - 9 * t**2, -2 * t + 3 * t**2]  # fmt: skip
                    for k in range(4):
                        at = piece - 1 + k
                        # Beyond its ends a stroke goes on straight: p[-1] = 2 p[0] - p[1].
                        if at < 0:
                            spread = [(stroke[0], 2.0), (stroke[1], -1.0)]
                        elif at > pieces:
                            spread = [(stroke[-1], 2.0), (stroke[-2], -1.0)]
                        else:
                            spread = [(stroke[at], 1.0)]
                        for point, share in spread:
                            position[row, point] += share * value[k] / 2
                            tangent[row, point] += share * slope[k] / 2 * pieces / count
                    row += 1
            padded = torch.zeros(_CONTROLS, 2)
            padded[: len(xy)] = xy
            controls.append(padded)
            positions.append(position)
            tangents.append(tangent)
            ends.append(end)
    return (
        torch.stack(controls),
        torch.stack(positions),
        torch.stack(tangents),
        torch.stack(ends),
        torch.tensor(first),
    )


def sample_factors(n: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw the factors of `n` digits independently of each other, each (n,).

    class and style (which way of writing that digit) are int64, the rest float32 in RANGES.
    """
    digit = torch.randint(10, (n,), generator=generator)
    style = (torch.rand(n, generator=generator) * STYLES[digit]).long()
    factors = {"class": digit, "style": style}
    for name, (low, high) in RANGES.items():
        factors[name] = low + (high - low) * torch.rand(n, generator=generator)
    return factors


def images_from_factors(
    factors: dict[str, Tensor],
    resolution: tuple[int, int] = RESOLUTION,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw the digits with these factors: uint8 (N, 1, H, W), white ink on black.

    style: counts around, as some digits have two ways of writing and some three.
    generator: draws the tremor of the hand (CPU); None draws every digit without tremor.
    The picture is made on the device of the factors.
    """
    if generator is not None:
        digit = factors["class"]
        factors = {**factors, "tremor": _tremor(len(digit), generator).to(digit.device)}
    return draw_in_chunks(
        lambda chunk: _draw(chunk, resolution), factors, FACTORS, resolution, _CHUNK_PIXELS
    )


def _draw(factors: dict[str, Tensor], resolution: tuple[int, int]) -> Tensor:
    digit, style = factors["class"], factors["style"]
    device = digit.device
    controls, positions, tangents, ends, first = (table.to(device) for table in _tables())
    template = first[digit] + style % STYLES.to(device)[digit]
    points = controls[template]
    if "tremor" in factors:
        points = points + factors["tremor"]
    path = torch.bmm(positions[template], points)
    step = torch.bmm(tangents[template], points)

    low, high = path[..., 1].amin(1), path[..., 1].amax(1)
    scale = (factors["size"] / (high - low))[:, None]
    # y first: the slant shifts x by height above the middle.
    ys = (path[..., 1] - ((low + high) / 2)[:, None]) * scale
    dy = step[..., 1] * scale
    stretch = scale * factors["width"][:, None]
    slant = factors["slant"][:, None]
    xs = path[..., 0] * stretch - slant * ys
    dx = step[..., 0] * stretch - slant * dy
    # At its end a line leaves half the ink; the other half makes the end round.
    spread = 0.375 * factors["thickness"][:, None]
    length = torch.hypot(dx, dy) + ends[template] * math.sqrt(math.pi / 2) * spread
    total = length.sum(1, keepdim=True)
    xs = xs - (xs * length).sum(1, keepdim=True) / total + factors["x"][:, None]
    ys = ys - (ys * length).sum(1, keepdim=True) / total + factors["y"][:, None]

    # From pixels of a 28x28 picture, measured from its middle, to those of this one.
    unit = min(resolution) / 28
    sigma = spread * unit
    radius = (factors["thickness"] / 2 * unit)[:, None, None]
    density = (length / (math.sqrt(2 * math.pi) * spread)).clamp_(min=1e-12).log_()
    down = _gaussians(ys * unit, sigma, resolution[0], density)
    across = _gaussians(xs * unit, sigma, resolution[1], torch.zeros_like(density))
    ink = torch.bmm(down.transpose(1, 2), across)
    # d = sigma sqrt(-2 log ink); a pixel whose center is d from the path is covered r - d + 1/2.
    distance = ink.clamp_(1e-6, 1).log_().mul_(-2).sqrt_().mul_(sigma[..., None])
    covered = (radius + 0.5 - distance).clamp_(0, 1)
    return covered.mul_(255).add_(0.5).byte()[:, None]


def attributes_from_factors(factors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Digits have no binary attributes."""
    return {}


def _gaussians(center: Tensor, sigma: Tensor, size: int, log_weight: Tensor) -> Tensor:
    """exp(log_weight - (pixel - center)^2 / (2 sigma^2)) for `size` pixels: (N, K, size).

    The exponent is a polynomial in the pixel, so all of them are one matrix product.
    """
    pixel = torch.arange(size, device=center.device) + 0.5 - size / 2
    precision = (1 / sigma**2).expand_as(center)
    constant = log_weight - 0.5 * precision * center**2
    coefficients = torch.stack([constant, precision * center, -0.5 * precision], -1)
    powers = torch.stack([torch.ones_like(pixel), pixel, pixel**2])
    # Where exp would give a denormal number it is slow, and the pixel is black anyway.
    return torch.matmul(coefficients, powers).clamp_(min=-40).exp_()


def _tremor(n: int, generator: torch.Generator) -> Tensor:
    """Displacements (n, P, 2) of the control points: independent jitter and a smooth drift.

    Uniform draws, for torch.rand(n) begins with the same numbers whatever n is; randn does not.
    """
    uniform = torch.rand(n, _CONTROLS + 2, 2, generator=generator)
    normal = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    jitter = _JITTER * normal[:, :_CONTROLS]
    # Neighbors on a stroke move together: a sine along the point numbers.
    phase = 2 * math.pi * uniform[:, _CONTROLS, None]
    along = 0.7 * torch.arange(_CONTROLS)[None, :, None]
    return jitter + _DRIFT * normal[:, _CONTROLS + 1, None] * torch.sin(along + phase)
