"""The mistakes that chapter 3 warns of, each trained beside the right program. 6 CPU-minutes.

    python benchmarks/mistakes.py

Writes coursekit/recorded/vae-mistakes.json. The programs train small VAEs on faces of 32x32 pixels
and differ from the right one in one line each. After every epoch three numbers are kept, in nats
per image: what the program itself reports as its training loss, and the negative ELBO and the KL
of test faces, which are computed correctly for the model and the noise that the program has.
"""

import argparse
import copy
import math
import os
import time
from collections.abc import Callable
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import torch
from torch import Tensor, nn

from coursekit import data
from coursekit.data import Batch, ImageSet
from coursekit.models import ConvVAE
from coursekit.noise import seeded
from coursekit.objectives import ELBO, negative_elbo
from coursekit.training import warmup_cosine

SIZE, TEST, RESOLUTION, LATENTS, WIDTHS = 2_560, 320, (32, 32), 16, (8, 16, 64)
EPOCHS, BATCH, RATE = 12, 64, 4e-3
PIXELS = 3 * math.prod(RESOLUTION)
SEEDS = (0, 1)

Noise = Callable[[Tensor], Tensor]


def fresh(mu: Tensor) -> Tensor:
    """Standard normal noise, new at every call."""
    return torch.randn_like(mu)


def kept(rows: int) -> Noise:
    """Noise drawn once: a number for each of `rows` places in the batch and each latent."""
    once = torch.randn(rows, LATENTS)
    return lambda mu: once[: len(mu)] if rows > 1 else once.expand(len(mu), -1)


def mean_per_image(losses: list[float], sizes: list[int]) -> float:
    """The loss of an epoch."""
    return sum(a * b for a, b in zip(losses, sizes, strict=True)) / sum(sizes)


def by_name(model: nn.Module) -> None:
    """The loop over names, which finds no convolution."""
    for name, module in model._modules.items():
        if name.startswith("Conv") and module is not None:
            nn.init.normal_(module.weight, 0, 0.02)  # type: ignore[arg-type]


def by_type(model: nn.Module) -> None:
    """What that loop was meant to do."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0, 0.02)


class Run(NamedTuple):
    """What a program does; the defaults are the right one."""

    noise: Callable[[], Noise] = lambda: fresh
    sigma: Callable[[Tensor], Tensor] = lambda logvar: (logvar / 2).exp()
    weigh: Callable[[ELBO], Tensor] = lambda parts: parts.loss
    report: Callable[[list[float], list[int]], float] = mean_per_image
    initialize: Callable[[nn.Module], None] = lambda model: None
    batches: int | None = None
    """How many batches an epoch sees; None means all."""
    back_to_training: bool = True
    """Whether train() follows the eval() of the first validation."""
    neighbors: int | None = None
    """Test in training mode, in batches of so many; None means in eval mode."""


RUNS = {
    "right": Run(),
    "mean over pixels": Run(weigh=lambda p: p.reconstruction / PIXELS + p.kl),
    "KL summed over the batch": Run(weigh=lambda p: p.reconstruction + BATCH * p.kl),
    "reconstruction summed over the batch": Run(weigh=lambda p: BATCH * p.reconstruction + p.kl),
    "logvar taken for log sigma": Run(sigma=lambda logvar: logvar.exp()),
    "noise drawn once per place": Run(noise=lambda: kept(BATCH)),
    "noise drawn once for all": Run(noise=lambda: kept(1)),
    "tested without eval()": Run(neighbors=8),
    "never back to train()": Run(back_to_training=False),
    "divided by the batch size": Run(report=lambda losses, sizes: sum(losses) / BATCH),
    "break after the first batch": Run(batches=1),
    "initialized by name": Run(initialize=by_name),
    "initialized by type": Run(initialize=by_type),
}


def trained(run: Run, seed: int, train: ImageSet, test: ImageSet) -> dict[str, list[float]]:
    """Train one VAE; what it reports and what is true, after every epoch."""
    torch.manual_seed(seed)
    model = ConvVAE((3, *RESOLUTION), LATENTS, widths=WIDTHS)
    run.initialize(model)
    rate = warmup_cosine(RATE, EPOCHS * (run.batches or math.ceil(len(train) / BATCH)))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    torch.manual_seed(100 + seed)  # the same noise and the same order of images in all runs
    noise, order, step = run.noise(), torch.Generator().manual_seed(seed), 0
    history: dict[str, list[float]] = {"reported": [], "negative ELBO": [], "KL": []}
    for epoch in range(EPOCHS):
        model.train(epoch == 0 or run.back_to_training)
        losses, sizes = [], []
        for batch in list(train.batches(BATCH, shuffle=True, generator=order))[: run.batches]:
            for group in optimizer.param_groups:
                group["lr"] = rate(step)
            losses.append(descend(model, optimizer, run, noise, batch))
            sizes.append(len(batch.images))
            step += 1
        history["reported"].append(run.report(losses, sizes))
        negative, kl = measured(model, run, test)
        history["negative ELBO"].append(negative)
        history["KL"].append(kl)
    return history


def descend(
    model: ConvVAE, optimizer: torch.optim.Optimizer, run: Run, noise: Noise, batch: Batch
) -> float:
    """One step; the loss that the program reports."""
    with torch.autocast("cpu", torch.bfloat16):
        mu, logvar = model.encode(batch.images)
        logits = model.decode(mu + run.sigma(logvar) * noise(mu))
    loss = run.weigh(negative_elbo(batch.images, logits.float(), mu, logvar))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@torch.no_grad()
def measured(model: ConvVAE, run: Run, test: ImageSet) -> tuple[float, float]:
    """Negative ELBO and KL of the test images, with fresh noise of the program's own sigma."""
    model = copy.deepcopy(model).train(run.neighbors is not None)  # looking changes nothing
    negative = rate = 0.0
    with seeded(0):
        for batch in test.batches(run.neighbors or TEST):
            mu, logvar = model.encode(batch.images)
            true = 2 * run.sigma(logvar).log()
            logits = model.decode(mu + (true / 2).exp() * fresh(mu))
            parts = negative_elbo(batch.images, logits, mu, true)
            negative += parts.loss.item() * len(mu) / TEST
            rate += parts.kl.item() * len(mu) / TEST
    return negative, rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], parents=[record.OPTIONS])
    arguments = parser.parse_args()
    commit = record.source(arguments.draft)
    train = data.load("faces", "train", SIZE, RESOLUTION)
    test = data.load("faces", "test", TEST, RESOLUTION)
    x = test.images.double() / 255
    floor = (torch.special.entr(x) + torch.special.entr(1 - x)).flatten(1).sum(1).mean().item()
    start, runs = time.process_time(), {}
    for name, run in RUNS.items():
        histories = [trained(run, seed, train, test) for seed in SEEDS]
        runs[name] = {
            key: [[round(value, 2) for value in history[key]] for history in histories]
            for key in histories[0]
        }
        last = {key: [values[-1] for values in seeds] for key, seeds in runs[name].items()}
        print(f"{time.process_time() - start:5.0f} s  {name:28} {last}", flush=True)
    figures = {
        "train_images": len(train),
        "test_images": len(test),
        "resolution": RESOLUTION,
        "latents": LATENTS,
        "widths": WIDTHS,
        "batch": BATCH,
        "epochs": EPOCHS,
        "seeds": SEEDS,
        "entropy floor": round(floor, 2),
        "cpu_seconds": round(time.process_time() - start),
        "runs": runs,
    }
    record.save("vae-mistakes", 0, figures, commit, record.RECORDED)


if __name__ == "__main__":
    main()
