"""The game of a GAN on a line, one step at a time, alive in the page."""

import json
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Normal

from coursekit.viz.live import LiveFigure, as_picture, live_figure

Peak = tuple[float, float, float]
"""Weight, mean and standard deviation."""


def gan_game(
    data: Sequence[Peak] = ((1.0, 1.5, 0.7),),
    start: tuple[float, float] = (-1.5, 1.0),
    degree: int = 2,
    rates: tuple[float, float] = (0.5, 0.2),
    view: tuple[float, float] = (-5.0, 5.0),
) -> LiveFigure:
    """Buttons for the steps of a discriminator and a generator on a line.

    data: a mixture of Gaussians within (-10, 10), whose weights add up to 1. The generator is a
    Gaussian; start: its first mean and standard deviation. The discriminator's score is a
    polynomial in x / 2 of this degree; the best one for a single Gaussian has degree 2. rates: of
    the discriminator and the generator, in plain gradient steps. Both gradients are exact up to
    quadrature, so every run is the same. The generator lowers the mean of -log D. view: the ends
    of the picture.
    """
    if abs(sum(weight for weight, _, _ in data) - 1) > 1e-6:
        raise ValueError(f"the weights of data are {[w for w, _, _ in data]}, and must add up to 1")
    for _, mean, width in [*data, (1.0, *start)]:
        if not (width >= 0.05 and abs(mean) + 4 * width <= 12):
            raise ValueError(
                f"a Gaussian has mean {mean:g} and width {width:g}, but it must lie between -12 "
                "and 12 with a width of at least 0.05"
            )
    if degree < 1:
        raise ValueError(f"degree is {degree}, but a discriminator needs at least 1")
    x = torch.linspace(*view, 401)
    p_data = sum((w * Normal(m, s).log_prob(x).exp() for w, m, s in data), torch.zeros(401))
    p_g = Normal(*start).log_prob(x).exp()
    spec = {
        "data": data,
        "start": start,
        "degree": degree,
        "unit": 2,
        "rates": rates,
        "view": view,
    }
    return live_figure(
        "game.html",
        f"GAN game: a generator from mean {start[0]:g} and width {start[1]:g}, a discriminator of "
        f"degree {degree}",
        spec=json.dumps(spec),
        picture=_picture(x, p_data, p_g),
        alt="The densities of the data and of the generator, the first discriminator, which is "
        "one half everywhere, and the best one",
    )


def _picture(x: Tensor, p_data: Tensor, p_g: Tensor) -> str:
    """The start of the game, in the colors of the page."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.8, 3.2), dpi=100, layout="constrained")
    axes.fill_between(x, p_data, color="#7a7a7a", alpha=0.35, label="real data")
    axes.plot(x, p_g, "--", color="#d55e00", label="generator")
    axes.axhline(0.5, color="#0072b2", label="D(x)")
    axes.plot(x, p_data / (p_data + p_g), ":", color="black", label="best D(x)")
    axes.set(xlabel="x", xlim=(x[0].item(), x[-1].item()))
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return as_picture(figure)
