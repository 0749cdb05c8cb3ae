"""A flow in the plane, layer by layer: points of a Gaussian on their way, alive in the page."""

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import TransformedDistribution
from torch.distributions.transforms import ComposeTransform, Transform

from coursekit import require
from coursekit.noise import seeded
from coursekit.viz.live import LiveFigure, as_picture, live_figure

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""One per quadrant in which a point starts: right and left above, left and right below."""
_MASSES = (0.9, 0.6, 0.3)  # of the target, inside each contour
_GRID = 101  # points along a side, for the contours


def flow_layers(
    flow: TransformedDistribution,
    log_target: Callable[[Tensor], Tensor],
    limit: float = 3.0,
    count: int = 400,
    seed: int = 0,
) -> LiveFigure:
    """A slider that sends points of the base through the layers of a flow over the plane.

    flow: such as `RealNVP(...).distribution()`, of event shape (2,), with a base whose draws are
    mostly in the picture. log_target: points (N, 2) -> the log-density (N,) that the flow was
    trained for, up to a constant; it is drawn as contours that contain 90, 60 and 30 % of its mass.
    limit: the picture shows [-limit, limit]^2. Between two layers, each point moves on a straight
    line; halfway through a coupling or a planar layer this is such a layer again, with half the
    change.
    """
    require.at_least("count", count, 1)
    if not limit > 0:
        raise ValueError(f"limit is {limit}, but it must be above 0")
    if tuple(flow.event_shape) != (2,):
        raise ValueError(f"flow has event shape {tuple(flow.event_shape)}, but (2,) is expected")
    layers = _flat(flow.transforms)
    with torch.no_grad(), seeded(seed):
        start = flow.base_dist.sample(torch.Size([count]))
        path = _through(layers, start)
        lines = _through(layers, _lattice().to(start.dtype))
        density, levels = _target(log_target, limit)
    contours = [_outline(density, level, limit) for level in levels]
    spec = {
        "limit": limit,
        "colors": COLORS,
        "points": _rounded(path),
        "lines": _rounded(lines),
        "contours": [[_rounded(line) for line in level] for level in contours],
    }
    return live_figure(
        "flow.html",
        f"flow in the plane: {count} points through {len(layers)} layers",
        spec=json.dumps(spec, separators=(",", ":")),
        picture=_picture(path, contours, limit),
        alt=f"Points of the base, after half of the {len(layers)} layers and after all of them, "
        "over contours of the target",
    )


def _flat(transforms: list[Transform]) -> list[Transform]:
    """The layers in order, of a ComposeTransform as well."""
    parts = [t.parts if isinstance(t, ComposeTransform) else [t] for t in transforms]
    return [layer for part in parts for layer in part]


def _through(layers: list[Transform], z: Tensor) -> Tensor:
    """Points (..., 2) before the first layer and after each: (K + 1, ..., 2)."""
    path = [z]
    for layer in layers:
        path.append(layer(path[-1]))
    return torch.stack(path)


def _lattice() -> Tensor:
    """Lines parallel to the axes, (18, 25, 2), in the square of two standard deviations."""
    fine, coarse = torch.linspace(-2, 2, 25), torch.linspace(-2, 2, 9)
    across = torch.stack(torch.meshgrid(coarse, fine, indexing="ij"), dim=-1)
    return torch.cat([across, across.flip(-1)])


def _target(log_target: Callable[[Tensor], Tensor], limit: float) -> tuple[Tensor, list[float]]:
    """The target on a grid (rows of equal height), relative to its peak, and the levels."""
    axis = torch.linspace(-limit, limit, _GRID)
    up, across = torch.meshgrid(axis, axis, indexing="ij")
    log_density = log_target(torch.stack([across, up], dim=-1).flatten(0, 1))
    density = (log_density - log_density.max()).exp().view(_GRID, _GRID).double()
    falling = density.flatten().sort(descending=True).values
    mass = falling.cumsum(0) / falling.sum()
    return density, [falling[int((mass < share).sum())].item() for share in _MASSES]


def _outline(density: Tensor, level: float, limit: float) -> list[Tensor]:
    """Closed lines (N, 2) around where the density is above the level."""
    from contourpy import contour_generator

    # A rim of zeros closes the lines that would leave the picture.
    padded = torch.zeros(_GRID + 2, _GRID + 2, dtype=torch.float64)
    padded[1:-1, 1:-1] = density
    step = 2 * limit / (_GRID - 1)
    axis = torch.linspace(-limit - step, limit + step, _GRID + 2)
    found = contour_generator(axis.numpy(), axis.numpy(), padded.numpy()).lines(level)
    return [torch.as_tensor(line) for line in found]


def _rounded(values: Tensor) -> Any:
    """Nested lists of whole numbers, in thousandths."""
    return (values * 1000).round().to(torch.int64).tolist()


def _picture(path: Tensor, contours: list[list[Tensor]], limit: float) -> str:
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(
        1, 3, figsize=(6.6, 2.5), layout="constrained", dpi=100, sharex=True, sharey=True
    )
    last = len(path) - 1
    quadrant = quadrants(path[0])
    for axes, layer in zip(grid, (0, last // 2, last), strict=True):
        for line in (line for level in contours for line in level):
            axes.plot(line[:, 0], line[:, 1], color="#7a7a7a", linewidth=0.8)
        for number, (color, shape) in enumerate(zip(COLORS, "os^D", strict=True)):
            points = path[layer][quadrant == number]
            axes.plot(points[:, 0], points[:, 1], shape, color=color, markersize=2)
        axes.set(title=f"after layer {layer}" if layer else "base", aspect="equal")
        axes.set(xlim=(-limit, limit), ylim=(-limit, limit))
    return as_picture(figure)


def quadrants(points: Tensor) -> Tensor:
    """The number of the quadrant of each point (N, 2), (N,): 0 to 3, counterclockwise."""
    right, above = points[:, 0] >= 0, points[:, 1] >= 0
    upper = torch.where(right, 0, 1)
    return torch.where(above, upper, torch.where(right, 3, 2))
