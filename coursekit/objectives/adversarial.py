"""Losses of the adversarial game, as functions of the discriminator's scores.

A score is a logit: any real number, one per image, large where the image looks real; its sigmoid is
the probability D(x) that the image is real. `real` and `fake` hold the scores (B,) of real and of
generated images. All losses are averaged over the batch; those with a logarithm are in nats.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit import require


class DiscriminatorLoss(NamedTuple):
    """What the discriminator minimizes, and its parts: scalars."""

    loss: Tensor
    """real + fake."""
    real: Tensor
    """The part that real images cause."""
    fake: Tensor
    """The part that generated images cause."""


class CriticLoss(NamedTuple):
    """What the critic of a WGAN-GP minimizes, and its parts: scalars."""

    loss: Tensor
    """fake - real + weight * penalty; real - fake estimates the Wasserstein distance."""
    real: Tensor
    """Mean score of real images."""
    fake: Tensor
    """Mean score of generated images."""
    penalty: Tensor
    """Mean of (|gradient of the critic| - 1)^2 between real and generated images, unweighted."""


class GeneratorLoss(NamedTuple):
    """What the generator minimizes: a scalar."""

    loss: Tensor


def bce_discriminator(real: Tensor, fake: Tensor, real_label: float = 1.0) -> DiscriminatorLoss:
    """Cross-entropy of telling real from fake: -log D(x) and -log(1 - D(G(z))), in nats.

    Goodfellow et al. (2014), equation 1. With real_label = 0.9 the real images' target is 0.9:
    one-sided label smoothing, Salimans et al. (2016), section 3.4, which keeps the discriminator
    from ever surer scores. Only the real label: smoothing the fake one would reward the generator
    for staying where it is.
    """
    _scores(real=real, fake=fake)
    require.between("real_label", real_label, 0.0, 1.0)
    of_real = F.binary_cross_entropy_with_logits(real, torch.full_like(real, real_label))
    of_fake = F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
    return DiscriminatorLoss(of_real + of_fake, of_real, of_fake)


def saturating_generator(fake: Tensor) -> GeneratorLoss:
    """E[log(1 - D(G(z)))] in nats: the generator's side of the minimax game.

    Its gradient vanishes where the discriminator is sure of itself, that is early in training.
    Goodfellow et al. (2014), equation 1.
    """
    _scores(fake=fake)
    return GeneratorLoss(F.logsigmoid(-fake).mean())


def non_saturating_generator(fake: Tensor) -> GeneratorLoss:
    """-E[log D(G(z))] in nats: the same fixed point. Goodfellow et al. (2014)."""
    _scores(fake=fake)
    return GeneratorLoss(-F.logsigmoid(fake).mean())


def hinge_discriminator(real: Tensor, fake: Tensor) -> DiscriminatorLoss:
    """E[max(0, 1 - real)] + E[max(0, 1 + fake)]: scores beyond the margin 1 count no more.

    Lim and Ye (2017), "Geometric GAN"; Miyato et al. (2018). Its generator loss is
    `wasserstein_generator`.
    """
    _scores(real=real, fake=fake)
    of_real, of_fake = F.relu(1.0 - real).mean(), F.relu(1.0 + fake).mean()
    return DiscriminatorLoss(of_real + of_fake, of_real, of_fake)


def wasserstein_critic(
    real: Tensor, fake: Tensor, penalty: Tensor, weight: float = 10.0
) -> CriticLoss:
    """The critic's loss of a WGAN-GP: mean fake score - mean real score + weight * penalty.

    penalty: from `gradient_penalty`. Gulrajani et al. (2017), equation 3, whose lambda is `weight`.
    """
    _scores(real=real, fake=fake)
    require.at_least("weight", weight, 0.0)
    return CriticLoss(
        fake.mean() - real.mean() + weight * penalty, real.mean(), fake.mean(), penalty
    )


def wasserstein_generator(fake: Tensor) -> GeneratorLoss:
    """-E[score]: the generator's loss of WGAN, WGAN-GP and of the hinge loss."""
    _scores(fake=fake)
    return GeneratorLoss(-fake.mean())


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    generator: torch.Generator | None = None,
) -> Tensor:
    """E[(|gradient of critic at x| - 1)^2], x drawn evenly between a real and a generated image.

    critic: images (B, ...) -> scores (B,), each score a function of its own image alone, so no
    BatchNorm. real, fake: images of one shape (B, ...). The norm runs over all pixels of an image.
    Returns a scalar that can be differentiated again. Gulrajani et al. (2017), section 4.
    """
    require.same_shape(real=real, fake=fake)
    require.at_least("batch size", len(real), 1)
    shape = (len(real),) + (1,) * (real.ndim - 1)
    t = torch.rand(shape, generator=generator, dtype=real.dtype, device=real.device)
    with torch.enable_grad():  # so that it can be evaluated under no_grad too
        x = (t * real + (1.0 - t) * fake).detach().requires_grad_()
        scores = critic(x)
        _scores(scores=scores)
        (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - 1.0).square().mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E[|gradient of the discriminator's score at x|^2] over real images x.

    discriminator: images (B, ...) -> scores (B,), each a function of its own image alone. The loss
    of the discriminator gets weight / 2 times this. Returns a scalar that can be differentiated
    again. Mescheder, Geiger and Nowozin (2018), equation 9.
    """
    require.at_least("batch size", len(real), 1)
    with torch.enable_grad():
        x = real.detach().requires_grad_()
        scores = discriminator(x)
        _scores(scores=scores)
        (slope,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return slope.flatten(1).square().sum(dim=1).mean()


def _scores(**scores: Tensor) -> None:
    for name, score in scores.items():
        require.shape(name, score, "B")
