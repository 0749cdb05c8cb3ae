"""Recipes: a model, its data, its loss and its settings, each under one name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import nn

from coursekit import data as sets
from coursekit.data import ImageSet
from coursekit.files import write_text
from coursekit.models.autodecoder import AutoDecoder, Family, VariationalAutoDecoder
from coursekit.models.autoencoder import Autoencoder
from coursekit.models.gan import DCGAN, MLPGAN, ConditionalGAN
from coursekit.models.ladder import attempt
from coursekit.models.planar_flow import PlanarFlowVAE
from coursekit.models.small_conv_vae import SmallConvVAE
from coursekit.models.vae import ConvVAE
from coursekit.noise import seeded
from coursekit.objectives import cyclical_annealing, linear_annealing
from coursekit.training.adversarial import fit_adversaries, gan_losses
from coursekit.training.latents import fit_latents
from coursekit.training.loop import fit
from coursekit.training.recipe import (
    Recipe,
    autodecoder_loss,
    autoencoder_loss,
    bound_loss,
    skip_loss,
    vae_loss,
    variational_autodecoder_loss,
)
from coursekit.training.run import Loss, world
from coursekit.training.shipped import SHIPPED

if TYPE_CHECKING:
    import pandas as pd

Shape = tuple[int, int, int]


class Trained(NamedTuple):
    model: nn.Module
    history: pd.DataFrame


def train(
    name: str,
    *,
    data: str | None = None,
    size: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    **settings: Any,
) -> Trained:
    """Train the system called `name` (see RECIPES), with its published settings unless told.

    data: another image set, by name. size: how many training images; a tenth as many give the
    validation figures, by which `best.pt` is chosen. They come from the validation split; the
    downloaded sets but celeba have none, so there they come from the test split, and a figure for
    a paper needs other images than those. seed: of rendered images, first weights and training.
    out: a folder for `last.pt`, `best.pt` and `history.csv`. resume: go on from out's `last.pt`.
    settings: other arguments of the recipe's loop: epochs, batch_size, lr, device, precision …

    Raises ValueError for an unknown name, and where `out` already holds a run that is not resumed.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"there is no recipe {name!r}: {hint}The names are {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    folder = None if out is None else Path(out)
    if folder is not None and (folder / "last.pt").exists() and not resume:
        raise ValueError(
            f"{folder} already holds a run: go on with it by --resume (resume=True), or choose "
            "another folder"
        )
    images = _load(recipe, data, "train", recipe.size if size is None else size, seed)
    settings = recipe.settings | {"recipe": name} | settings
    if recipe.loop is fit:
        split = "validation" if "validation" in sets.splits(images.name) else "test"
        settings["validation"] = _load(recipe, data, split, max(1, len(images) // 10), seed)
    with seeded(seed):
        model = recipe.build(images)
    history = recipe.loop(
        model, images, *recipe.losses, seed=seed, checkpoints=folder, resume=resume, **settings
    )
    if folder is not None and world()[0] == 0:
        write_text(folder / "history.csv", history.to_csv())
    return Trained(model, history)


def _shape(images: ImageSet) -> Shape:
    _, channels, height, width = images.images.shape
    return channels, height, width


def _celeba(latent_dim: int) -> Recipe:
    return Recipe(
        about=f"beta-VAE on faces, {latent_dim} latents, beta 0.3 (Higgins et al., 2017)",
        published_on="celeba",
        data="faces",
        size=30_000,
        resolution=(218, 178),
        build=lambda images: ConvVAE(_shape(images), latent_dim),
        loop=fit,
        losses=(vae_loss(beta=0.3),),
        settings={"epochs": 50, "batch_size": 64, "lr": 1e-4},
    )


def _autodecoder(family: Family | None) -> Recipe:
    def build(images: ImageSet) -> nn.Module:
        if family is None:
            return AutoDecoder(len(images), image_shape=_shape(images))
        return VariationalAutoDecoder(len(images), image_shape=_shape(images), family=family)

    kind = "auto-decoder" if family is None else f"variational auto-decoder, {family} latents"
    return Recipe(
        about=f"{kind} (Park et al., 2019; Zadeh et al., 2019)",
        published_on="fashion_mnist",
        data="digits",
        size=60_000,
        build=build,
        loop=fit_latents,
        losses=(autodecoder_loss if family is None else variational_autodecoder_loss,),
        settings={"epochs": 30, "batch_size": 64, "lr": 1e-2},
    )


def _ladder(number: int, about: str, epochs: int, batch_size: int, lr: float) -> Recipe:
    return Recipe(
        about=f"attempt {number} at a sharp VAE: {about}",
        data="faces",
        size=20_000,
        resolution=(64, 64),
        grey=number == 1,
        build=lambda images: attempt(number),
        loop=fit,
        losses=(skip_loss if number == 5 else bound_loss(),),
        settings={"epochs": epochs, "batch_size": batch_size, "lr": lr},
    )


def _annealed_vae(about: str, model: Callable[[Shape], nn.Module], loss: Loss) -> Recipe:
    """The convolutional VAE that was tuned, its variants, and the autoencoder beside them."""
    return Recipe(
        about=about,
        data="faces",
        size=20_000,
        build=lambda images: model(_shape(images)),
        loop=fit,
        losses=(loss,),
        settings={"epochs": 50, "batch_size": 128, "lr": 1e-3},
    )


RECIPES: dict[str, Recipe] = {
    "celeba-vae-3": _celeba(3),
    "celeba-vae-100": _celeba(100),
    "autodecoder": _autodecoder(None),
    "vad-normal": _autodecoder("normal"),
    "vad-laplace": _autodecoder("laplace"),
    "vad-uniform": _autodecoder("uniform"),
    "ladder-1": _ladder(1, "small and grey, 20 latents", 50, 512, 1e-3),
    "ladder-2": _ladder(2, "deeper, in color, 128 latents, squared error", 50, 128, 1e-3),
    "ladder-3": _ladder(3, "the same with cross-entropy", 50, 128, 1e-3),
    "ladder-4": _ladder(4, "deeper again", 80, 128, 1e-4),
    "ladder-5": _ladder(5, "skip connections around the code, which collapses", 100, 256, 1e-4),
    "mnist-vae-2": Recipe(
        about="small convolutional VAE, 2 latents (Kingma and Welling, 2014)",
        published_on="mnist",
        data="digits",
        size=60_000,
        build=lambda images: SmallConvVAE(_shape(images), latent_dim=2),
        loop=fit,
        losses=(vae_loss(),),
        settings={"epochs": 30, "batch_size": 128, "lr": 1e-3},
    ),
    "mnist-gan": Recipe(
        about="DCGAN (Radford, Metz and Chintala, 2016)",
        published_on="mnist",
        data="digits",
        size=60_000,
        build=lambda images: DCGAN(_shape(images)),
        loop=fit_adversaries,
        losses=gan_losses(),
        settings={"epochs": 50, "batch_size": 256, "lr": (1e-4, 1e-4), "betas": (0.9, 0.999)},
    ),
    "mnist-cgan": Recipe(
        about="conditional GAN (Mirza and Osindero, 2014)",
        published_on="mnist",
        data="digits",
        size=60_000,
        build=lambda images: ConditionalGAN(_shape(images), classes=len(images.classes)),
        loop=fit_adversaries,
        losses=gan_losses(),
        settings={"epochs": 20, "batch_size": 64, "lr": (3e-4, 3e-4), "betas": (0.9, 0.999)},
    ),
    "autoencoder": _annealed_vae(
        "convolutional autoencoder, squared error (Hinton and Salakhutdinov, 2006)",
        Autoencoder,
        autoencoder_loss,
    ),
    "vae-annealed": _annealed_vae(
        "VAE, 128 latents, beta from 0 to 1 in 10,000 steps (Bowman et al., 2016)",
        lambda shape: ConvVAE(shape, 128),
        vae_loss(linear_annealing),
    ),
    "vae-free-bits": _annealed_vae(
        "VAE, 128 latents, 0.5 nats per dimension free (Kingma et al., 2016)",
        lambda shape: ConvVAE(shape, 128),
        bound_loss(floor=0.5),
    ),
    "vae-cyclical": _annealed_vae(
        "VAE, 128 latents, beta in cycles (Fu et al., 2019)",
        lambda shape: ConvVAE(shape, 128),
        vae_loss(cyclical_annealing),
    ),
    "vae-planar-flows": _annealed_vae(
        "VAE, 128 latents through 4 planar flows, annealed (Rezende and Mohamed, 2015)",
        lambda shape: PlanarFlowVAE(shape, 128, flows=4),
        bound_loss(linear_annealing),
    ),
    "mlp-gan": Recipe(
        about="fully connected GAN, two time scales, smoothed labels (Goodfellow et al., 2014)",
        data="digits",
        size=60_000,
        build=lambda images: MLPGAN(_shape(images)),
        loop=fit_adversaries,
        losses=gan_losses(real_label=0.9),
        settings={"epochs": 50, "batch_size": 128, "lr": (4e-4, 1e-4)},
    ),
    **SHIPPED,
}


def _load(recipe: Recipe, name: str | None, split: str, size: int, seed: int) -> ImageSet:
    fixed = recipe.fixed if name is None else None  # factors of the recipe's own set
    images = sets.load(name or recipe.data, split, size, recipe.resolution, seed, fixed)
    return images.greyscale() if recipe.grey else images
