"""Densities of a model with one hidden number, and the ELBO over mean and width of q."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from coursekit.viz.curves import BLUE, GREY, RED, show_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def show_joint(
    log_joint: Callable[[Tensor, Tensor], Tensor],
    decoder: Callable[[Tensor], Tensor],
    log_prior: Callable[[Tensor], Tensor],
    x: float,
    *,
    codes: tuple[float, float],
    readings: tuple[float, float],
) -> "Figure":
    """Draw p(x, z) as a map with a cut at the reading x, and below it cut, posterior and prior.

    log_joint: takes x and z, which broadcast. decoder: the mean of x for a code.
    codes, readings: the range of z and of x that is shown. The posterior is the cut divided by its
    area within that range, so the range must hold nearly all of it.
    """
    import matplotlib.pyplot as plt

    z, rows = torch.linspace(*codes, 501), torch.linspace(*readings, 201)
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(4.8, 5.4), sharex=True, dpi=100, layout="constrained"
    )
    density = log_joint(rows[:, None], z).exp()
    top.pcolormesh(*(t.numpy() for t in (z, rows, density)), cmap="Greys", rasterized=True)
    top.plot(z.numpy(), decoder(z).numpy(), color=BLUE, label="decoder")
    top.axhline(x, color=RED, linestyle="--", label=f"the reading, $x = {x:g}$")
    top.set(ylabel="x", ylim=readings, title="joint density $p(x, z)$")
    top.legend(loc="upper left")
    cut = log_joint(torch.tensor(x), z).exp()
    curves = {"posterior $p(z|x)$": cut / torch.trapezoid(cut, z), "prior": log_prior(z).exp()}
    show_curves(z, curves, shaded={"cut $p(x, z)$": cut}, axes=bottom)
    bottom.set(xlabel="z", xlim=codes, ylim=(0, None))
    bottom.legend(loc="upper left")
    return figure


def show_landscape(
    mu: Tensor,
    sigma: Tensor,
    values: Tensor,
    path: Sequence[Sequence[float]],
    *,
    top: float,
    title: str = "ELBO in nats",
) -> "Figure":
    """Draw contour lines of `values` over the mean and the width of q, with a path to the best.

    mu: (M,), sigma: (S,), values: (S, M). path: pairs (mu, sigma), or longer rows that begin so.
    top: what no value passes; the lines lie from 12 to 0.1 below it.
    """
    import matplotlib.pyplot as plt

    below = torch.tensor([12.0, 8.0, 5.0, 3.0, 2.0, 1.2, 0.7, 0.4, 0.2, 0.1])
    figure, axes = plt.subplots(figsize=(4.8, 3.0), dpi=100, layout="constrained")
    grid = (t.detach().numpy() for t in (mu, sigma, values))
    levels = (top - below).tolist()
    lines = axes.contour(*grid, levels, colors=GREY, linewidths=0.8, linestyles="solid")
    axes.clabel(lines, fontsize=8.5, fmt="%.1f")
    axes.plot([point[0] for point in path], [point[1] for point in path], color=RED)
    axes.plot(path[-1][0], path[-1][1], "o", color=RED)
    axes.set(xlabel=r"mean $\mu$ of q", ylabel=r"width $\sigma$ of q", title=title)
    return figure


def show_searches(
    z1: Tensor, z2: Tensor, values: Tensor, paths: Sequence[Tensor], label: str = ""
) -> "Figure":
    """Draw a function of two coordinates as a map, with searches that descend on it.

    z1: (M,), across. z2: (K,), up. values: (K, M), drawn dark where they are small. paths: (T, 2)
    each, with a ring where the search begins and a dot where it ends. label: what the values are.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.8, 4.0), dpi=100, layout="constrained")
    grid = (t.detach().numpy() for t in (z1, z2, values))
    drawn = axes.pcolormesh(*grid, cmap="cividis", rasterized=True)
    figure.colorbar(drawn, ax=axes, label=label)
    for path in paths:
        line = path.detach().numpy()
        axes.plot(*line.T, color="white", linewidth=1.6)
        axes.plot(*line[0], "o", color="white", markerfacecolor="none", markersize=6)
        axes.plot(*line[-1], "o", color=RED, markeredgecolor="white", markersize=8)
    limits = {
        "xlim": (z1.min().item(), z1.max().item()),
        "ylim": (z2.min().item(), z2.max().item()),
    }
    axes.set(xlabel="z[0]", ylabel="z[1]", **limits)
    return figure
