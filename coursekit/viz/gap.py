"""Mean and width of an approximate posterior against the gap of the ELBO, alive in the page."""

import json

import torch
from torch import Tensor
from torch.distributions import Normal

from coursekit import require
from coursekit.viz.curves import show_curves
from coursekit.viz.live import LiveFigure, as_picture, live_figure


def elbo_gap(
    z: Tensor,
    log_joint: Tensor,
    start: tuple[float, float] = (0.8, 0.3),
    mean: tuple[float, float] = (-2.0, 2.0),
    width: tuple[float, float] = (0.1, 1.5),
) -> LiveFigure:
    """Two sliders for q = N(mean, width^2), its ELBO and its gap for a model of one code z.

    z: (N,), equally spaced, from far left to far right of the posterior and of every q. log_joint:
    log p(x, z) there, in nats. start: mean and width to begin with. mean, width: the ranges of the
    sliders. The page integrates over z by the trapezoidal rule. It shows z from -3 to 2.5.
    """
    require.shape("z", z, "N")
    require.same_shape(z=z, log_joint=log_joint)
    z, log_joint = z.double(), log_joint.double()
    steps = z.diff()
    if not (steps > 0).all() or not torch.allclose(steps, steps.mean(), rtol=1e-3):
        raise ValueError("z must rise in equal steps, as torch.linspace makes them")
    reach = 6 * width[1]
    if z[0] > mean[0] - reach or z[-1] < mean[1] + reach or steps.mean() > width[0] / 2:
        raise ValueError(
            f"z goes from {z[0]:g} to {z[-1]:g} in steps of {steps.mean():g}, but q of mean "
            f"{mean[0]:g} to {mean[1]:g} and width {width[0]:g} to {width[1]:g} needs z from "
            f"{mean[0] - reach:g} to {mean[1] + reach:g} in steps of at most {width[0] / 2:g}"
        )
    evidence = torch.trapezoid(log_joint.exp(), z).log()
    at, wide = torch.tensor(start).double()
    log_q = Normal(at, wide).log_prob(z)
    gap = torch.trapezoid(log_q.exp() * (log_q - log_joint + evidence), z)
    sums = f"ELBO {evidence - gap:.3f} + gap {gap:.3f} = log p(x) {evidence:.3f} nats"
    picture = as_picture(
        show_curves(
            z,
            {"q(z)": log_q.exp()},
            shaded={"p(z|x)": (log_joint - evidence).exp()},
            xlabel=f"z\n{sums}",
            xlim=(-3, 2.5),
        )
    )
    spec = {
        "ends": [z[0].item(), z[-1].item()],
        "joint": [float(f"{value:.9g}") for value in log_joint.tolist()],
        "start": start,
        "mean": mean,
        "width": width,
    }
    return live_figure(
        "gap.html",
        f"gap of the ELBO: sliders for the mean ({mean[0]:g} to {mean[1]:g}) and the width "
        f"({width[0]:g} to {width[1]:g}) of q",
        spec=json.dumps(spec, separators=(",", ":")),
        picture=picture,
        alt=f"The true posterior and q with mean {start[0]:g} and width {start[1]:g}: {sums}",
    )
