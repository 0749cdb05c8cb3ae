"""Five attempts at a sharp VAE and a sixth that can generate; what blocks and attention add.

    python benchmarks/sharper_vaes.py attempts    # 4 CPU-minutes
    python benchmarks/sharper_vaes.py additions   # 2 CPU-minutes
    python benchmarks/sharper_vaes.py published   # 20 CPU-minutes

Writes coursekit/recorded/sharper-attempts.json and sharper-additions.json, and
benchmarks/results/sharper-published.json. Every model gets the same CPU time: the cost of a step is
measured first, and the steps of its training follow from it. --seconds changes the time per model.

attempts: the narrow versions of the five attempts on faces 64x64 (the first one gray), attempt 2
once more with a learned variance, and the U-Net with stochastic skip connections. Attempt 5 is
asked for samples with zeros in place of the encoder's maps, because there is no image to take maps
from.

additions: on faces 32x32, one convolutional VAE three times: plain, with residual blocks, with
self-attention on the 8x8 maps; over seeds.

published: the five attempts as the recipes ladder-1 to ladder-5 have them, with the report's
channels, latents, batch sizes and rates, on faces 64x64. Only the first part of the report's
trainings: all of them would take 20 CPU-hours.
"""

import argparse
import copy
import math
import os
import time
from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit import data, metrics, pretrained
from coursekit.data import Batch, ImageSet
from coursekit.metrics.evaluation import evaluating
from coursekit.metrics.reader import FactorReader, agreement, difference
from coursekit.models import VAE, GaussianVAE, HierarchicalVAE
from coursekit.models.ladder import NARROW, SkipVAE, attempt, block_vae
from coursekit.training import fit, warmup_cosine
from coursekit.training.recipe import bound_loss, hierarchical_loss, skip_loss
from coursekit.training.recipes import RECIPES
from coursekit.training.run import Loss

SIZE, TEST, BATCH, RATE, POINTS = 6_000, 300, 32, 2e-3, 30
FACES = (3, 64, 64)
MODELS: dict[str, tuple[Callable[[], VAE], Loss]] = {
    "1: small, gray": (lambda: attempt(1, narrow=True), bound_loss()),
    "2: deeper, color, MSE": (lambda: attempt(2, narrow=True), bound_loss()),
    "2b: learned variance": (lambda: GaussianVAE(FACES, 32, NARROW[:4]), bound_loss()),
    "3: BCE": (lambda: attempt(3, narrow=True), bound_loss()),
    "4: deeper again": (lambda: attempt(4, narrow=True), bound_loss()),
    "5: U-Net": (lambda: attempt(5, narrow=True), skip_loss),
    "6: stochastic skips": (
        lambda: HierarchicalVAE(FACES, 32, NARROW[:4]),
        hierarchical_loss(lambda step: min(1.0, step / 100)),
    ),
}
BLOCKS = {
    "plain": (False, False),
    "residual": (True, False),
    "attention": (False, True),
}


def steps_in(seconds: float, model: VAE, train: ImageSet, loss: Loss, **how: Any) -> int:
    """How many steps take `seconds` of CPU time, from the cost of 10 steps."""
    probe = copy.deepcopy(model)
    spent = 0.0
    for count in (3, 10):  # the first call prepares kernels
        begin = time.process_time()
        _fit(probe, train, loss, count, seed=0, **how)
        spent = time.process_time() - begin
    return max(1, round(seconds / (spent / 10)))


def _fit(
    model: VAE,
    train: ImageSet,
    loss: Loss,
    steps: int,
    seed: int,
    batch_size: int = BATCH,
    lr: float | None = None,
) -> None:
    fit(
        model,
        train,
        loss,
        steps=steps,
        batch_size=batch_size,
        lr=lr or warmup_cosine(RATE, steps),
        precision="bf16",
        seed=seed,
        progress=False,
        device="cpu",
    )


def trained(
    build: Callable[[], VAE], loss: Loss, train: ImageSet, seconds: float, seed: int, **how: Any
) -> tuple[VAE, dict[str, Any]]:
    """The model after `seconds` of training, its cost, and its curve: means over equal parts.

    how: batch size and learning rate, where they are not those of this file.
    """
    torch.manual_seed(seed)
    model = build()
    steps = steps_in(seconds, model, train, loss, **how)
    parts: list[tuple[float, float]] = []

    def noted(model: VAE, batch: Batch, step: int) -> Any:
        found = loss(model, batch, step)
        parts.append((found.reconstruction.item(), found.kl.item()))
        return found

    begin = time.process_time()
    _fit(model, train, noted, steps, seed, **how)
    spent = time.process_time() - begin
    places = torch.tensor(parts).tensor_split(min(POINTS, steps))
    curve = [[round(v, 3) for v in place.mean(dim=0).tolist()] for place in places]
    return model, {
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "steps": steps,
        "cpu_seconds": round(spent, 1),
        "reconstruction": [point[0] for point in curve],
        "kl": [point[1] for point in curve],
    }


def floor(x: Tensor) -> float:
    """The entropy of the gray values as Bernoulli targets, in nats per image."""
    x = x.double()
    return F.binary_cross_entropy(x, x, reduction="sum").item() / len(x)


def examined(model: VAE, test: ImageSet) -> dict[str, Any]:
    """What the trained model does with test images and with codes from its prior."""
    x = test.images.float() / 255
    with evaluating(model, 0):
        rebuilt = model.reconstruct(x)
        drawn = model.decode(model.prior.sample(torch.Size([len(x)]))).sigmoid()
        figures: dict[str, Any] = {
            "rmse": 255 * (rebuilt - x).square().mean().sqrt().item(),
            "sharpness": _sharpness(rebuilt) / _sharpness(x),
        }
        if type(model) is SkipVAE:
            posterior, likelihood = model.through_skips(x)
            rec = -likelihood(posterior.sample()).log_prob(x).mean().item()
            kl = torch.distributions.kl_divergence(posterior, model.prior).mean().item()
        elif isinstance(model, HierarchicalVAE):
            logits, kls = model.terms(x)
            rec = F.binary_cross_entropy_with_logits(logits, x, reduction="sum").item() / len(x)
            kl = kls.sum(dim=1).mean().item()
            figures["kl by group"] = kls.mean(dim=0).tolist()
        else:
            found = metrics.elbo(model, test)
            rec, kl = found.reconstruction.mean().item(), found.kl.mean().item()
    figures |= {"reconstruction": rec, "kl": kl}
    if isinstance(model, GaussianVAE):
        figures["scale"] = model.log_scale.exp().item()
    else:
        figures["above the floor"] = rec - floor(x)
    if not isinstance(model, HierarchicalVAE):
        figures["active units"] = metrics.active_units(model, test).active
    if x.shape[1] == 3:
        reader = cast(FactorReader, pretrained.load("faces-reader"))
        kept = agreement(reader.factors, reader.read(rebuilt), test.factors)
        apart = difference(reader.factors, reader.read(drawn), reader.read(test))
        figures["factors kept"] = fmean(kept.values())
        figures["kept"] = kept
        figures["samples differ"] = fmean(apart.values())
    return _rounded(figures)


def _sharpness(x: Tensor) -> float:
    return metrics.sharpness(x).mean().item()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def attempts(args: argparse.Namespace) -> None:
    train = data.load("faces", "train", SIZE, FACES[1:])
    test = data.load("faces", "test", TEST, FACES[1:])
    rows = []
    for name, (build, loss) in MODELS.items():
        gray = name.startswith("1")
        seen = [s.greyscale() if gray else s for s in (train, test)]
        model, cost = trained(build, loss, seen[0], args.seconds, args.seed)
        rows.append({"attempt": name, **cost, "test": examined(model, seen[1])})
        brief = {k: v for k, v in rows[-1]["test"].items() if k != "kept"}
        print(name, cost["steps"], cost["cpu_seconds"], brief, flush=True)
    reader = cast(FactorReader, pretrained.load("faces-reader"))
    read = agreement(reader.factors, reader.read(test), test.factors)
    figures = {
        **_setting(args, FACES[1:]),
        "floor": round(floor(test.images / 255), 2),
        "read": _rounded(read),
        "rows": rows,
    }
    record.save("sharper-attempts", args.seed, figures, args.commit, record.RECORDED)


def additions(args: argparse.Namespace) -> None:
    shape = (3, 32, 32)
    train = data.load("faces", "train", SIZE, shape[1:])
    test = data.load("faces", "test", TEST, shape[1:])
    base, rows = floor(test.images / 255), []
    x = test.images.float() / 255
    for seed in args.seeds:
        for name, blocks in BLOCKS.items():
            model, cost = trained(
                partial(block_vae, shape, 32, NARROW[:3], *blocks),
                bound_loss(),
                train,
                args.seconds,
                seed,
            )
            elbo = metrics.elbo(model, test)
            with evaluating(model, 0):
                sharp = _sharpness(model.reconstruct(x)) / _sharpness(x)
            found = {
                "negative ELBO above the floor": -elbo.elbo.mean().item() - base,
                "kl": elbo.kl.mean().item(),
                "sharpness": sharp,
            }
            keep = {k: cost[k] for k in ("parameters", "steps", "cpu_seconds")}
            rows.append({"variant": name, "seed": seed, **keep, **_rounded(found)})
            print(rows[-1], flush=True)
    figures = {**_setting(args, shape[1:]), "seeds": args.seeds, "rows": rows}
    record.save("sharper-additions", args.seeds[0], figures, args.commit, record.RECORDED)


def published(args: argparse.Namespace) -> None:
    test, rows = data.load("faces", "test", TEST, FACES[1:]), []
    for number in range(1, 6):
        recipe = RECIPES[f"ladder-{number}"]
        train = data.load("faces", "train", recipe.size, FACES[1:])
        seen = [s.greyscale() if recipe.grey else s for s in (train, test)]
        how = {name: recipe.settings[name] for name in ("batch_size", "lr")}
        build = cast(Callable[[], VAE], partial(recipe.build, seen[0]))
        model, cost = trained(build, *recipe.losses, seen[0], args.seconds, args.seed, **how)
        of = recipe.settings["epochs"] * math.ceil(recipe.size / how["batch_size"])
        name = recipe.about.removeprefix("attempt ").replace(" at a sharp VAE", "")
        rows.append({"attempt": name, "of": of, **how, **cost, "test": examined(model, seen[1])})
        print({k: v for k, v in rows[-1].items() if k not in ("test", "kl")}, flush=True)
    figures = {"test_images": TEST, "resolution": FACES[1:], "seconds": args.seconds, "rows": rows}
    record.save("sharper-published", args.seed, figures, args.commit)


def _setting(args: argparse.Namespace, resolution: tuple[int, ...]) -> dict[str, Any]:
    return {
        "train_images": SIZE,
        "test_images": TEST,
        "resolution": resolution,
        "batch": BATCH,
        "seconds": args.seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for function, seconds in ((attempts, 20.0), (additions, 8.0), (published, 150.0)):
        command = commands.add_parser(function.__name__, parents=[record.OPTIONS])
        command.set_defaults(run=function)
        command.add_argument("--seconds", type=float, default=seconds, help="CPU time per model")
        command.add_argument("--seed", type=int, default=0)
        if function is additions:
            command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    args.commit = record.source(args.draft)
    torch.set_num_threads(1)
    args.run(args)


if __name__ == "__main__":
    main()
