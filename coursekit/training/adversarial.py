"""The loop for adversaries: a discriminator, or critic, against the rest of the model."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from coursekit import require
from coursekit.data import Batch, ImageSet
from coursekit.models.gan import GAN
from coursekit.objectives import adversarial as losses
from coursekit.training.run import (
    Loss,
    Options,
    Parts,
    Precision,
    Rate,
    adam,
    default_device,
    descend,
    prepare,
    rate,
    run,
    world,
)

if TYPE_CHECKING:
    import pandas as pd

Game = Literal["non-saturating", "saturating", "hinge", "wgan-gp"]


def fit_adversaries(
    model: nn.Module,
    train: ImageSet,
    discriminator_loss: Loss,
    generator_loss: Loss,
    *,
    lr: tuple[Rate, Rate] = (1e-4, 1e-4),
    betas: tuple[float, float] = (0.5, 0.999),
    discriminator_steps: int = 1,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    compile: bool = False,
    **options: Any,
) -> "pd.DataFrame":
    """Train `model.discriminator` and all the rest of `model` against each other, with Adam.

    discriminator_loss, generator_loss: loss(model, batch, step), as for `fit`; `gan_losses` makes
        the usual ones. The first moves the discriminator's weights only, the second all others.
    lr: learning rates of discriminator and generator, each a number or a function of the step;
        two different ones are the two time-scale update rule (Heusel et al., 2017).
    discriminator_steps: the generator moves after every so many batches; the discriminator, or
        critic, with every batch.

    The history has the columns `train_discriminator_<part>` and `train_generator_<part>`, means
    over all images. There is no validation loss, since each side's loss measures the other side,
    and so no `best.pt`. One process only. All else is as in `fit`: epochs or steps, batch_size,
    seed, checkpoints, resume, on_epoch, progress.
    """
    chosen = Options(**options)
    require.at_least("discriminator_steps", discriminator_steps, 1)
    if world()[1] > 1:
        raise ValueError("fit_adversaries runs in one process: start it without torchrun")
    device = torch.device(device or default_device())
    train = train.to(device)
    judge = prepare(model, discriminator_loss, device, precision, compile)
    forge = prepare(model, generator_loss, device, precision, compile)
    own = set(model.get_submodule("discriminator").parameters())
    learned = [p for p in model.parameters() if p.requires_grad]
    weights = {
        "discriminator": [p for p in learned if p in own],
        "generator": [p for p in learned if p not in own],
    }
    for side, parameters in weights.items():
        if not parameters:
            raise ValueError(f"the {side} is frozen: set requires_grad on what it is to learn")
    turns = {
        "discriminator": (judge, adam(weights["discriminator"], lr[0], betas), lr[0]),
        "generator": (forge, adam(weights["generator"], lr[1], betas), lr[1]),
    }

    def update(batch: Batch, step: int) -> dict[str, Tensor]:
        values: dict[str, Tensor] = {}
        for side, (loss, optimizer, side_lr) in turns.items():
            if side == "generator" and (step + 1) % discriminator_steps:
                continue
            # Gradients only for the side that moves: the other's would be computed for nothing.
            for name, parameters in weights.items():
                for parameter in parameters:
                    parameter.requires_grad_(name == side)
            parts = descend({optimizer: side_lr}, loss(model, batch, step), step)
            values |= {f"{side}_{part}": value for part, value in parts.items()}
        return values

    try:
        return run(
            model,
            [optimizer for _, optimizer, _ in turns.values()],
            train,
            update,
            chosen,
            must_agree={
                "discriminator lr": rate(lr[0], 0),
                "generator lr": rate(lr[1], 0),
                "betas": list(betas),
                "discriminator_steps": discriminator_steps,
                "precision": precision,
                "compile": compile,
            },
        )
    finally:
        for parameter in learned:
            parameter.requires_grad_(True)


def alternating_step(
    generator: Callable[[Tensor], Tensor],
    discriminator: Callable[[Tensor], Tensor],
    g_optimizer: Optimizer,
    d_optimizer: Optimizer,
    real: Tensor,
    z: Tensor,
) -> tuple[float, float]:
    """One step of the plain game: the discriminator's turn, then the generator's. Both losses.

    generator: noise -> images. discriminator: images -> scores (B,). `fit_adversaries` is the loop
    for models, batches and other losses; this is its step where there are two networks only.
    """
    fake = generator(z)
    d_loss = losses.bce_discriminator(discriminator(real), discriminator(fake.detach())).loss
    d_optimizer.zero_grad()
    d_loss.backward()
    d_optimizer.step()
    g_loss = losses.non_saturating_generator(discriminator(fake)).loss
    g_optimizer.zero_grad()
    g_loss.backward()
    g_optimizer.step()
    return d_loss.item(), g_loss.item()


def gan_losses(
    game: Game = "non-saturating",
    real_label: float = 1.0,
    penalty_weight: float = 10.0,
    r1_weight: float = 0.0,
) -> tuple[Loss, Loss]:
    """The losses of discriminator and generator, for `fit_adversaries`, of a GAN.

    game: which of the losses in `coursekit.objectives.adversarial`.
    real_label: 0.9 smooths the discriminator's target; cross-entropy games only.
    penalty_weight: of the gradient penalty, "wgan-gp" only.
    r1_weight: gamma of the R1 penalty, gamma / 2 times the squared slope of the discriminator at
        real images (Mescheder et al., 2018); cross-entropy games only.
    A ConditionalGAN is given the labels of the real images, to generate for and to judge by.
    """
    if game not in ("non-saturating", "saturating", "hinge", "wgan-gp"):
        raise ValueError(
            f"game is {game!r}, but non-saturating, saturating, hinge or wgan-gp is expected"
        )
    require.at_least("r1_weight", r1_weight, 0.0)
    if r1_weight and game not in ("non-saturating", "saturating"):
        raise ValueError(f"r1_weight is {r1_weight}, but game {game!r} has no R1 penalty: leave it")

    def scores(model: GAN, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Generated images, and the labels that both sides are told."""
        labels = batch.labels if hasattr(model, "classes") else None
        noise = model.prior.sample(torch.Size([len(batch.images)]))
        return model.generate(noise, labels), labels

    def discriminator_loss(model: GAN, batch: Batch, step: int) -> Parts:
        fakes, labels = scores(model, batch)
        real = model.discriminate(batch.images, labels)
        fake = model.discriminate(fakes, labels)
        if game == "wgan-gp":
            penalty = losses.gradient_penalty(
                lambda x: model.discriminate(x, labels), batch.images, fakes
            )
            return losses.wasserstein_critic(real, fake, penalty, penalty_weight)
        if game == "hinge":
            return losses.hinge_discriminator(real, fake)
        value = losses.bce_discriminator(real, fake, real_label)
        if r1_weight:
            penalty = losses.r1_penalty(lambda x: model.discriminate(x, labels), batch.images)
            value = value._replace(loss=value.loss + r1_weight / 2 * penalty)
        return value

    def generator_loss(model: GAN, batch: Batch, step: int) -> Parts:
        fakes, labels = scores(model, batch)
        fake = model.discriminate(fakes, labels)
        if game == "saturating":
            return losses.saturating_generator(fake)
        if game == "non-saturating":
            return losses.non_saturating_generator(fake)
        return losses.wasserstein_generator(fake)

    return discriminator_loss, generator_loss
