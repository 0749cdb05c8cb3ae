"""Maximum likelihood: fit a model with an exact density to points, such as codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal
from torch.nn import Parameter

from coursekit import require
from coursekit.data import ImageSet
from coursekit.models.vae import VAE
from coursekit.noise import seeded
from coursekit.objectives import reparameterize
from coursekit.training.run import Rate, rate


class Density(Protocol):
    """A network that is a density, such as RealNVP."""

    def parameters(self) -> Iterator[Parameter]:
        """Its weights."""

    def distribution(self) -> Distribution:
        """The density: event shape (D,)."""


def fit_density(
    model: Density,
    draw: Callable[[int], Tensor],
    *,
    steps: int,
    batch_size: int = 256,
    lr: Rate = 1e-3,
    seed: int = 0,
) -> Tensor:
    """Minimize the mean of -log p(x) over points by Adam; return it for every step, (steps,).

    draw: draws a batch, from its size to (B, D), by torch's global generator, which is seeded with
    `seed` for the training. lr: the learning rate, or a function of the step. Nats per point.
    Raises FloatingPointError when the loss is not finite.
    """
    require.at_least("steps", steps, 1)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    losses = []
    with seeded(seed):
        for step in range(steps):
            loss = -model.distribution().log_prob(draw(batch_size)).mean()
            if not loss.isfinite():
                raise FloatingPointError(f"step {step}: the loss is {loss.item()}; lower lr")
            optimizer.param_groups[0]["lr"] = rate(lr, step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    return torch.stack(losses)


def code_sampler(vae: VAE, images: ImageSet, batch_size: int = 500) -> Callable[[int], Tensor]:
    """A function that draws codes (B, L) of random images from their posteriors.

    Each image is encoded once, in the mode that the model is in. The draws are those of the
    aggregated posterior: a random image, then a draw from its q(z|x).
    """
    with torch.no_grad():
        parts = [vae.encode(batch.images) for batch in images.batches(batch_size)]
    mu, logvar = (torch.cat(column) for column in zip(*parts, strict=True))

    def draw(count: int) -> Tensor:
        i = torch.randint(len(mu), (count,))
        return reparameterize(mu[i], logvar[i])

    return draw


def divergence_step(
    flow: Callable[[Tensor], tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    log_target: Callable[[Tensor], Tensor],
    z: Tensor,
) -> float:
    """One step of gradient descent on KL(q || target), q being the density of the flow's points.

    flow: z -> (y, log_det). optimizer: holds its weights. log_target: points (B, D) -> (B,).
    z: (B, D), draws from N(0, I). Returns the mean of log q(y) - log_target(y), before the step.
    """
    y, log_det = flow(z)
    loss = (Normal(0.0, 1.0).log_prob(z).sum(dim=1) - log_det - log_target(y)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()
