"""Recipes of the models whose weights come with coursekit: see `coursekit.pretrained`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from coursekit.data import ImageSet
from coursekit.models.autodecoder import AutoDecoder, VariationalAutoDecoder
from coursekit.models.burgess_vae import BurgessVAE
from coursekit.models.hierarchical import HierarchicalVAE
from coursekit.models.ladder import NARROW as UNET_WIDTHS
from coursekit.models.ladder import SkipVAE
from coursekit.models.pca import pca
from coursekit.models.small_conv_vae import SmallConvVAE
from coursekit.models.small_gan import SmallGAN
from coursekit.models.vae import ConvVAE
from coursekit.objectives import linear_annealing
from coursekit.training.adversarial import fit_adversaries, gan_losses
from coursekit.training.latents import fit_latents
from coursekit.training.loop import fit
from coursekit.training.recipe import (
    Recipe,
    autodecoder_loss,
    hierarchical_loss,
    skip_loss,
    tc_loss,
    vae_loss,
    variational_autodecoder_loss,
)
from coursekit.training.run import Loss, Precision
from coursekit.training.schedules import warmup_cosine


@dataclass(frozen=True)
class Architecture:
    """A class of coursekit.models and its arguments, which do not depend on the training set."""

    kind: type[nn.Module]
    arguments: dict[str, Any]

    def __call__(self, images: ImageSet) -> nn.Module:
        return self.kind(**self.arguments)


@dataclass(frozen=True)
class FromPCA(Architecture):
    """An auto-decoder whose codes start at the principal components of its training set."""

    def __call__(self, images: ImageSet) -> nn.Module:
        model = super().__call__(images)
        assert isinstance(model, AutoDecoder)
        x = images.images.float() / 255
        model.start_at(pca(x, model.latent_dim).codes(x))
        return model


WIDE, NARROW = (32, 64, 128, 256), (16, 32, 64, 96)


def _faces(about: str, latent_dim: int, widths: Sequence[int] = WIDE) -> Recipe:
    size, epochs, batch_size = 40_000, 14, 64
    arguments = {"image_shape": (3, 64, 64), "latent_dim": latent_dim, "widths": widths}
    return Recipe(
        about=about,
        data="faces",
        size=size,
        resolution=(64, 64),
        build=Architecture(ConvVAE, arguments),
        loop=fit,
        losses=(vae_loss(),),
        settings={
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": warmup_cosine(2e-3, epochs * size // batch_size),
            "precision": "bf16",
        },
    )


def _unet(about: str, kind: type[nn.Module], loss: Loss, epochs: int) -> Recipe:
    """A U-Net of faces: attempt 5 at a sharp VAE in a narrow version, or its repair."""
    size, batch_size = 20_000, 32
    return Recipe(
        about=about,
        data="faces",
        size=size,
        resolution=(64, 64),
        build=Architecture(
            kind, {"image_shape": (3, 64, 64), "latent_dim": 32, "widths": UNET_WIDTHS[:4]}
        ),
        loop=fit,
        losses=(loss,),
        settings={
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": warmup_cosine(2e-3, epochs * size // batch_size),
            "precision": "bf16",
        },
    )


def _digits(about: str, build: Architecture, epochs: int, precision: Precision) -> Recipe:
    size, batch_size = 20_000, 128
    return Recipe(
        about=about,
        data="digits",
        size=size,
        build=build,
        loop=fit,
        losses=(vae_loss(),),
        settings={
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": warmup_cosine(2e-3, epochs * (size // batch_size)),
            "precision": precision,
        },
    )


def _digits_gan(about: str, classes: int) -> Recipe:
    return Recipe(
        about=about,
        data="digits",
        size=20_000,
        build=Architecture(SmallGAN, {"image_shape": (1, 28, 28), "classes": classes}),
        loop=fit_adversaries,
        losses=gan_losses(),
        settings={"epochs": 40, "batch_size": 64, "lr": (1e-3, 1e-3)},
    )


def _digits_decoder(about: str, latent_dim: int, family: str | None = None) -> Recipe:
    """An auto-decoder with a narrow decoder. `tools/pretrain.py` adds codes of test images."""
    size, epochs, batch_size = 2_000, 60, 50
    arguments: dict[str, Any] = {"count": size, "latent_dim": latent_dim}
    arguments |= {"image_shape": (1, 28, 28), "widths": (64, 32), "mix_pixels": False}
    kind: type[AutoDecoder] = AutoDecoder
    if family is not None:
        kind, arguments["family"] = VariationalAutoDecoder, family
    steps = epochs * size // batch_size
    return Recipe(
        about=about,
        data="digits",
        size=size,
        build=FromPCA(kind, arguments),
        loop=fit_latents,
        losses=(autodecoder_loss if family is None else variational_autodecoder_loss,),
        settings={
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": warmup_cosine(3e-3, steps),
            "latent_lr": warmup_cosine(0.1, steps),
            "precision": "bf16",
        },
    )


HEARTS = {"shape": 2, "orientation": 0.0}
"""Upright hearts, whose place x, place y and scale vary."""


def rising(beta: float) -> Callable[[int], float]:
    """A weight that rises from 0 to `beta` over the first 300 steps."""
    return lambda step: linear_annealing(step, 300, end=beta)


def hearts(about: str, loss: Loss) -> Recipe:
    size, epochs, batch_size = 10_000, 8, 64
    return Recipe(
        about=about,
        data="shapes",
        size=size,
        resolution=(32, 32),
        fixed=HEARTS,
        build=Architecture(BurgessVAE, {"image_shape": (1, 32, 32), "latent_dim": 3}),
        loop=fit,
        losses=(loss,),
        settings={
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": warmup_cosine(2e-3, epochs * -(-size // batch_size)),
            "precision": "bf16",
        },
    )


SHIPPED: dict[str, Recipe] = {
    "faces-vae-3": _faces("VAE of faces, 3 latents (Kingma and Welling, 2014)", 3),
    "faces-vae-32": _faces("VAE of faces, 32 latents", 32),
    "faces-vae-100": _faces("VAE of faces, 100 latents", 100),
    "faces-vae-3-small": _faces("small VAE of faces, 3 latents", 3, NARROW),
    "faces-skip-vae": _unet(
        "U-Net with a code and deterministic skip connections, which cannot generate",
        SkipVAE,
        skip_loss,
        epochs=2,
    ),
    "faces-hierarchical-vae": _unet(
        "hierarchical VAE: the U-Net with stochastic skip connections",
        HierarchicalVAE,
        hierarchical_loss(rising(1.0)),
        epochs=3,
    ),
    "digits-vae-2": _digits(
        "VAE of digits, 2 latents",
        Architecture(SmallConvVAE, {"image_shape": (1, 28, 28), "latent_dim": 2}),
        epochs=60,
        precision="fp32",
    ),
    "digits-vae-16": _digits(
        "VAE of digits, 16 latents",
        Architecture(
            ConvVAE, {"image_shape": (1, 28, 28), "latent_dim": 16, "widths": (32, 64, 128)}
        ),
        epochs=30,
        precision="bf16",
    ),
    "hearts-vae": hearts("VAE of hearts, beta = 1", vae_loss()),
    "hearts-beta-vae": hearts("beta-VAE of hearts, beta = 4", vae_loss(rising(4.0))),
    "hearts-tcvae": hearts("beta-TCVAE of hearts, beta = 8", tc_loss(8.0, rising(1.0))),
    "digits-cgan": _digits_gan("small conditional GAN of digits", 10),
    "digits-ad": _digits_decoder("auto-decoder of digits, 16 latents", 16),
    "digits-ad-2": _digits_decoder("auto-decoder of digits, 2 latents", 2),
    "digits-vad": _digits_decoder("variational auto-decoder of digits, normal", 16, "normal"),
    "digits-vad-laplace": _digits_decoder(
        "variational auto-decoder of digits, Laplace", 16, "laplace"
    ),
    "digits-vad-uniform": _digits_decoder(
        "variational auto-decoder of digits, uniform", 16, "uniform"
    ),
}
