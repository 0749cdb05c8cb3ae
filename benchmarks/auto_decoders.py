"""Auto-decoders on drawn digits: where codes start, how they move, how they are found.

    python benchmarks/auto_decoders.py starts   # PCA or random, all rows or those of the batch
    python benchmarks/auto_decoders.py gap      # the VAE's encoder against optimized posteriors

Threads: one, unless OMP_NUM_THREADS says otherwise.
"""

import argparse
import itertools
import math
import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import torch
from torch import Tensor

from coursekit import data, pretrained
from coursekit.data import ImageSet
from coursekit.models import VAE, AutoDecoder, pca
from coursekit.objectives import kl_divergence, squared_error
from coursekit.training import RowAdam, warmup_cosine

RATES = (0.01, 0.05, 0.25)
"""Learning rates of the codes."""
ARMS = (("random", 50), ("PCA", 50), ("PCA", 10))
"""Where codes start, and the batch size."""


def gray_levels(model: AutoDecoder, images: Tensor) -> float:
    """Root mean square error over all pixels, in gray levels of 256."""
    model.eval()
    with torch.no_grad():
        error = model.decode(model.codes(torch.arange(len(images)))) - images
    return 255 * error.square().mean().sqrt().item()


def descend(
    model: AutoDecoder,
    images: ImageSet,
    sparse: bool,
    rate: float,
    epochs: int,
    batch_size: int,
    seed: int,
) -> list[float]:
    """Train decoder (where it is not frozen) and codes; the training error after each epoch."""
    steps, step = epochs * math.ceil(len(images) / batch_size), 0
    codes = model.location.weight
    model.location.sparse = sparse
    kind = RowAdam if sparse else torch.optim.Adam
    optimizers: dict[torch.optim.Optimizer, Any] = {kind([codes]): warmup_cosine(rate, steps)}
    if weights := [p for p in model.decoder.parameters() if p.requires_grad]:
        optimizers[torch.optim.Adam(weights)] = warmup_cosine(3e-3, steps)
    order, errors = torch.Generator().manual_seed(seed), []
    for _ in range(epochs):
        model.train()
        total = 0.0
        for batch in images.batches(batch_size, shuffle=True, generator=order):
            loss = squared_error(batch.images, model.decode(model.codes(batch.index))).loss
            for optimizer, schedule in optimizers.items():
                optimizer.param_groups[0]["lr"] = schedule(step)
                optimizer.zero_grad()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            total, step = total + loss.item() * len(batch.index), step + 1
        errors.append(255 * math.sqrt(total / images.images.numel()))
    model.location.sparse = False
    return errors


def starts(args: argparse.Namespace) -> None:
    train = data.load("digits", size=1_000)
    x = train.images.float() / 255
    principal = pca(x, 16)
    runs, begin = [], time.process_time()
    for seed, (start, batch_size), sparse, rate in itertools.product(
        args.seeds, ARMS, (False, True), RATES
    ):
        torch.manual_seed(seed)
        model = AutoDecoder(len(x), 16, widths=(32, 16), mix_pixels=False)
        if start == "PCA":
            model.start_at(principal.codes(x))
        curve = descend(model, train, sparse, rate, args.epochs, batch_size, seed)
        run = {"start": start, "batch_size": batch_size, "rows": "batch" if sparse else "all"}
        run["rate"] = rate
        run["error"] = round(gray_levels(model, x), 3)
        runs.append(run | {"seed": seed, "curve": [round(value, 2) for value in curve]})
        print(run, flush=True)
    error = principal.decode(principal.codes(x)) - x
    linear = round(255 * error.square().mean().sqrt().item(), 3)
    figures = {
        "unit": "root mean square error in gray levels",
        "runs": runs,
        "linear": linear,
        "train_images": len(x),
        "epochs": args.epochs,
        "cpu_seconds": round(time.process_time() - begin, 1),
    }
    record.save("autodecoder-starts", args.seeds[0], figures, args.commit, record.RECORDED)


# --- the amortization gap -------------------------------------------------------------------------

LOOKS = (0, 25, 50, 100, 200)
"""After so many steps the bounds are measured."""


def bounds(model: VAE, x: Tensor, mu: Tensor, logvar: Tensor, eps: Tensor) -> Tensor:
    """The ELBO of each image in nats, (B,), averaged over the noise eps (K, B, L)."""
    z = mu + (0.5 * logvar).exp() * eps
    logits = model.decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    log_p = (
        -torch.nn.functional.binary_cross_entropy_with_logits(
            logits, x.expand_as(logits), reduction="none"
        )
        .flatten(2)
        .sum(2)
    )
    return log_p.mean(0) - kl_divergence(mu, logvar)


def refined(model: VAE, x: Tensor, mu: Tensor, logvar: Tensor, seed: int) -> dict[str, list[float]]:
    """Means over the images at each of LOOKS: the ELBO and its KL, with noise of their own."""
    noise = torch.Generator().manual_seed(seed)
    judged = torch.randn(20, *mu.shape, generator=noise)
    mu, logvar = (value.clone().requires_grad_() for value in (mu, logvar))
    adam, rate = torch.optim.Adam([mu, logvar]), warmup_cosine(0.05, LOOKS[-1])
    found: dict[str, list[float]] = {"elbo": [], "kl": []}
    for step in range(LOOKS[-1] + 1):
        if step in LOOKS:
            with torch.no_grad():
                found["elbo"].append(bounds(model, x, mu, logvar, judged).mean().item())
                found["kl"].append(kl_divergence(mu, logvar).mean().item())
        adam.param_groups[0]["lr"] = rate(step)
        eps = torch.randn(2, *mu.shape, generator=noise)
        adam.zero_grad()
        (-bounds(model, x, mu, logvar, eps).sum()).backward()
        adam.step()
    return {name: [round(value, 3) for value in values] for name, values in found.items()}


def gap(args: argparse.Namespace) -> None:
    model = pretrained.load("digits-vae-16")
    assert isinstance(model, VAE)
    runs, begin = [], time.process_time()
    for split in ("train", "test"):
        x = data.load("digits", split, size=args.images).images.float() / 255
        with torch.no_grad():
            mu, logvar = model.encode(x)
        origins = {"the encoder's": (mu, logvar), "the prior": (0 * mu, 0 * logvar)}
        for name, (m, v) in list(origins.items())[: 2 if split == "test" else 1]:
            runs.append({"split": split, "start": name} | refined(model, x, m, v, args.seeds[0]))
            print(runs[-1], flush=True)
    figures = {
        "unit": "nats per image",
        "model": "digits-vae-16",
        "images": args.images,
        "steps": LOOKS,
        "runs": runs,
        "cpu_seconds": round(time.process_time() - begin, 1),
    }
    record.save("amortization-gap", args.seeds[0], figures, args.commit, record.RECORDED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for function in (starts, gap):
        command = commands.add_parser(function.__name__, parents=[record.OPTIONS])
        command.set_defaults(run=function)
        command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        if function is starts:
            command.add_argument("--epochs", type=int, default=10)
        else:
            command.add_argument("--images", type=int, default=50)
    args = parser.parse_args()
    args.commit = record.source(args.draft)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    args.run(args)


if __name__ == "__main__":
    main()
