"""VAE, GAN and VAE-GAN of drawn digits, given the same number of multiply-adds.

    python benchmarks/versus.py --run FOLDER

What was interrupted goes on from FOLDER. Threads: one, unless OMP_NUM_THREADS says otherwise.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import torch
from torch import Tensor, nn

from coursekit import data, metrics, pretrained, training
from coursekit.data import Batch, ImageSet
from coursekit.metrics.features import Classifier
from coursekit.models import GAN, ConvVAE, SmallGAN
from coursekit.models.vae_gan import VAEGAN
from coursekit.noise import seeded
from coursekit.training import gan_losses, multiply_adds, warmup_cosine
from coursekit.training.recipe import vae_loss
from coursekit.training.run import Loss

SHAPE, BATCH = (1, 28, 28), 64
BUDGET = 200e9
"""Multiply-adds of a whole training: about 570 steps of the GAN."""


def vae_gan_losses() -> tuple[Loss, Loss]:
    return (
        lambda model, batch, _: model.discriminator_loss(batch.images),
        lambda model, batch, _: model.generator_loss(batch.images),
    )


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Loss, ...], float]] = {
    "VAE": (lambda: ConvVAE(SHAPE, 16, (16, 32)), (vae_loss(),), 2e-3),
    "GAN": (lambda: SmallGAN(SHAPE), gan_losses(), 1e-3),
    "VAE-GAN": (lambda: VAEGAN(SHAPE, 16, (8, 16)), vae_gan_losses(), 1e-3),
}
"""What builds the model, its losses, and the first learning rate of Adam."""


def cost(name: str) -> int:
    """Multiply-adds of one step: forward and backward, of all turns."""
    build, losses, _ = MODELS[name]
    model, images = build(), torch.rand(BATCH, *SHAPE)
    batch, total = Batch(images, None, torch.arange(BATCH)), 0
    sides = [list(model.parameters())]
    if len(losses) == 2:
        own = list(model.get_submodule("discriminator").parameters())
        rest = [p for p in model.parameters() if not any(p is q for q in own)]
        sides = [own, rest]
    for loss, side in zip(losses, sides, strict=True):
        model.requires_grad_(False)
        for parameter in side:
            parameter.requires_grad_()
        total += multiply_adds(_backward(loss, model, batch))
    return total


def _backward(loss: Loss, model: nn.Module, batch: Batch) -> Callable[[], None]:
    return lambda: loss(model, batch, 0).loss.backward()


@torch.no_grad()
def drawn(model: nn.Module, count: int = 2_000) -> Tensor:
    """Images of the model in eval mode; a VAE shows the mean of p(x|z)."""
    model.eval()
    with seeded(7):
        z = model.prior.sample((count,))  # type: ignore[operator, union-attr]
        if isinstance(model, GAN | VAEGAN):
            return model.generate(z)
        return model.likelihood(z).mean  # type: ignore[operator]


def train(name: str, seed: int, images: ImageSet) -> dict[str, Any]:
    """One training of BUDGET multiply-adds, measured by features of digits-classifier."""
    build, losses, lr = MODELS[name]
    steps = round(BUDGET / cost(name))
    rate = warmup_cosine(lr, steps)
    torch.manual_seed(seed)
    model, start = build(), time.process_time()
    options: dict[str, Any] = {"steps": steps, "batch_size": BATCH, "seed": seed, "device": "cpu"}
    if len(losses) == 2:
        training.fit_adversaries(model, images, *losses, lr=(rate, rate), progress=False, **options)
    else:
        training.fit(model, images, *losses, lr=rate, progress=False, **options)
    found = {"model": name, "seed": seed, "steps": steps}
    found["cpu_seconds"] = round(time.process_time() - start, 1)
    return found | measured(drawn(model))


def measured(images: Tensor) -> dict[str, float]:
    """Against 2,000 real images of the test split."""
    classifier = pretrained.load("digits-classifier")
    assert isinstance(classifier, Classifier)
    reference = data.load("digits", "test", size=2_000).images / 255
    real = metrics.extract(classifier, reference).double()
    fake = metrics.extract(classifier, images).double()
    precision, recall = metrics.precision_recall(real, fake)
    power = metrics.power_spectrum(images).power[8:].mean()
    of_real = metrics.power_spectrum(reference).power[8:].mean()
    found = {
        "distance": metrics.frechet_distance(real, fake),
        "precision": precision,
        "recall": recall,
        "coverage": metrics.density_coverage(real, fake).coverage,
        "fine detail": float(power / of_real),
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[record.OPTIONS])
    parser.add_argument("--run", type=Path, required=True, help="folder to go on from")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    commit = record.source(args.draft)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    images = data.load("digits", size=10_000)
    runs = []
    for seed in args.seeds:
        for name in MODELS:
            kept = args.run / f"{commit}-{name}-{seed}.json"
            if not kept.exists():
                args.run.mkdir(parents=True, exist_ok=True)
                record.write(kept, train(name, seed, images))
            runs.append(json.loads(kept.read_text()))
            print(runs[-1], flush=True)
    fresh = data.load("digits", "test", size=4_000).subset(slice(2_000, 4_000))
    figures = {
        "runs": runs,
        "real": measured(fresh.images / 255),
        "budget": BUDGET,
        "multiply_adds": {name: cost(name) // BATCH for name in MODELS},
        "parameters": {
            name: sum(p.numel() for p in build().parameters())
            for name, (build, _, _) in MODELS.items()
        },
        "train_images": len(images),
        "batch_size": BATCH,
        "cpu_seconds": round(sum(run["cpu_seconds"] for run in runs), 1),
    }
    record.save("gan-vs-vae", args.seeds[0], figures, commit, record.RECORDED)


if __name__ == "__main__":
    main()
