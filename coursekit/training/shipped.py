"""Recipes of the models whose weights come with coursekit: see `coursekit.pretrained`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from coursekit.data import ImageSet
from coursekit.models.vae import ConvVAE
from coursekit.training.loop import fit
from coursekit.training.recipe import Recipe, vae_loss
from coursekit.training.schedules import warmup_cosine


@dataclass(frozen=True)
class Architecture:
    """A class of coursekit.models and its arguments, which do not depend on the training set."""

    kind: type[nn.Module]
    arguments: dict[str, Any]

    def __call__(self, images: ImageSet) -> nn.Module:
        return self.kind(**self.arguments)


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


SHIPPED: dict[str, Recipe] = {
    "faces-vae-3": _faces("VAE of faces, 3 latents (Kingma and Welling, 2014)", 3),
    "faces-vae-32": _faces("VAE of faces, 32 latents", 32),
    "faces-vae-100": _faces("VAE of faces, 100 latents", 100),
    "faces-vae-3-small": _faces("small VAE of faces, 3 latents", 3, NARROW),
}
