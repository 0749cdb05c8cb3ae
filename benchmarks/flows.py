"""Flows: in the plane, as posteriors of small VAEs, and as priors of the shipped ones.

    python benchmarks/flows.py plane   # two small flows with all their weights; half a minute
    python benchmarks/flows.py vaes    # VAE, planar flows, IAF, with four schedules; 3 minutes
    python benchmarks/flows.py prior   # what the shipped flows of codes gain; a minute

Each writes coursekit/recorded/NAME.json. The minutes are CPU time. `vaes --data mnist` takes
another set of images by name, and only prints.
"""

import argparse
import os
import time
from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any, NamedTuple, cast

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from coursekit import data, metrics, pretrained
from coursekit.data import ImageSet
from coursekit.metrics.reader import FactorReader, difference
from coursekit.metrics.redraw import redraw_error
from coursekit.models import IAFVAE, VAE, ConvVAE, PlanarFlow, PlanarFlowVAE, RealNVP
from coursekit.noise import seeded
from coursekit.objectives import cyclical_annealing, linear_annealing
from coursekit.plane import log_banana, log_moons, moons
from coursekit.training import code_sampler, fit, fit_density, warmup_cosine
from coursekit.training.recipe import bound_loss
from coursekit.training.run import Loss

# --- in the plane ---------------------------------------------------------------------------------

BANANA, MOONS = {"dim": 2, "flows": 8}, {"dim": 2, "couplings": 8, "hidden": 16}
PLANE_STEPS = 2_000


def plane(args: argparse.Namespace) -> None:
    """A planar flow of the banana and RealNVP of the two moons, with their weights."""
    begin = time.process_time()
    torch.manual_seed(args.seeds[0])
    banana = PlanarFlow(**BANANA)
    rate, adam = warmup_cosine(1e-2, PLANE_STEPS), torch.optim.Adam(banana.parameters())
    for step in range(PLANE_STEPS):
        q = banana.distribution()
        z = q.rsample(torch.Size([256]))
        loss = (q.log_prob(z) - log_banana(z)).mean()
        adam.param_groups[0]["lr"] = rate(step)
        adam.zero_grad()
        loss.backward()
        adam.step()
    nvp = RealNVP(**MOONS)
    fit_density(nvp, moons, steps=PLANE_STEPS, lr=warmup_cosine(5e-3, PLANE_STEPS))
    with torch.no_grad(), seeded(1):
        q, points = banana.distribution(), moons(20_000)
        z = q.sample(torch.Size([20_000]))
        bound = (log_banana(z) - q.log_prob(z)).mean().item()
        found = -nvp.distribution().log_prob(points).mean().item()
        true = -log_moons(points).mean().item()
    figures = {
        "banana": _written("PlanarFlow", BANANA, banana) | {"ELBO": round(bound, 4)},
        "moons": _written("RealNVP", MOONS, nvp)
        | {"nats per point": round(found, 4), "of the true density": round(true, 4)},
        "steps": PLANE_STEPS,
        "cpu_seconds": round(time.process_time() - begin, 1),
    }
    record.save("plane-flows", args.seeds[0], figures, args.commit, record.RECORDED)


def _written(kind: str, arguments: dict[str, int], model: nn.Module) -> dict[str, Any]:
    """The model's weights, to five digits after the point."""
    weights = {
        name: torch.round(value.double(), decimals=5).tolist()
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    return {"model": kind, "arguments": arguments, "weights": weights}


# --- as posteriors --------------------------------------------------------------------------------

SIDE = (14, 14)
LATENTS, WIDTHS, IMAGES, STEPS, BATCH = 16, (16, 32), 10_000, 600, 128


class Arm(NamedTuple):
    """A model and its loss."""

    model: Callable[[], nn.Module]
    loss: Loss


def _annealed(step: int) -> float:
    return linear_annealing(step, STEPS // 2)


def _cycles(step: int) -> float:
    return cyclical_annealing(step, int(0.8 * STEPS), cycles=4)


def _plain() -> nn.Module:
    return ConvVAE((1, *SIDE), LATENTS, WIDTHS)


def _planar() -> nn.Module:
    return PlanarFlowVAE((1, *SIDE), LATENTS, WIDTHS, flows=4)


def _iaf() -> nn.Module:
    return IAFVAE((1, *SIDE), LATENTS, WIDTHS, flows=2, hidden=64)


ARMS = {
    "VAE": Arm(_plain, bound_loss()),
    "VAE, KL annealing": Arm(_plain, bound_loss(_annealed)),
    "VAE, free bits": Arm(_plain, bound_loss(floor=0.5)),
    "VAE, cyclical annealing": Arm(_plain, bound_loss(_cycles)),
    "4 planar flows": Arm(_planar, bound_loss()),
    "4 planar flows, KL annealing": Arm(_planar, bound_loss(_annealed)),
    "2 IAF layers": Arm(_iaf, bound_loss()),
}


def vaes(args: argparse.Namespace) -> None:
    """Every arm with every seed: the bound, a closer bound, the KL and the active units."""
    train = data.load(args.data, "train", IMAGES, SIDE).binarize("dynamic")
    test = data.load(args.data, "test", args.test, SIDE).binarize("static")
    runs = []
    for seed in args.seeds:
        for name, arm in ARMS.items():
            begin = time.process_time()
            found = _measured(_trained(arm, train, seed), test)
            seconds = round(time.process_time() - begin, 1)
            runs.append({"arm": name, "seed": seed, **found, "cpu_seconds": seconds})
            print(runs[-1], flush=True)
    figures = {
        "runs": runs,
        "resolution": SIDE,
        "latents": LATENTS,
        "train_images": IMAGES,
        "test_images": args.test,
        "steps": STEPS,
        "batch_size": BATCH,
        "target": "digits, binarized",
        "cpu_seconds": sum(run["cpu_seconds"] for run in runs),
    }
    commit = args.commit if args.data == "digits" else None
    record.save("flow-vaes", args.seeds[0], figures, commit, record.RECORDED)


def _trained(arm: Arm, train: ImageSet, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model = arm.model()
    fit(
        model,
        train,
        arm.loss,
        steps=STEPS,
        batch_size=BATCH,
        lr=warmup_cosine(4e-3, STEPS),
        seed=seed,
        precision="bf16",
        device="cpu",
        progress=False,
    )
    return model.eval()


def _measured(model: Any, test: ImageSet) -> dict[str, float]:
    parts = metrics.elbo(model, test, samples=10)
    close = metrics.iwae(model, test, 50)
    found = {
        "negative ELBO": -parts.elbo.mean().item(),
        "reconstruction": parts.reconstruction.mean().item(),
        "KL": parts.kl.mean().item(),
        "negative IWAE-50": -close.mean().item(),
        "active units": float(metrics.active_units(model, test).active),
    }
    return {what: round(value, 3) for what, value in found.items()}


# --- as priors ------------------------------------------------------------------------------------

DRAWS = 4
"""Sets of 500 pictures, each of which is measured."""


def prior(args: argparse.Namespace) -> None:
    """The pictures that three priors give, beside the limits that no prior can pass."""
    begin = time.process_time()
    train = data.load("faces", size=5_000, resolution=(64, 64))
    test = data.load("faces", "test", 500 * (DRAWS + 1), (64, 64))
    reader = cast(FactorReader, pretrained.load("faces-reader"))
    reference = reader.read(test.subset(slice(500)))

    def measured(sets: list[Tensor]) -> dict[str, dict[str, float]]:
        apart = [difference(reader.factors, reader.read(x), reference) for x in sets]
        redrawn = [redraw_error(reader, x).mean().item() for x in sets]
        return {
            "difference": _summary([fmean(each.values()) for each in apart]),
            "redraw error": _summary(redrawn),
        }

    with torch.no_grad():
        real = list((test.images[500:].float() / 255).split(500))
        figures: dict[str, Any] = {"real faces themselves": measured(real)}
    for latents in (3, 32):
        vae = cast(VAE, pretrained.load(f"faces-vae-{latents}"))
        flow = cast(RealNVP, pretrained.load(f"faces-flow-{latents}")).distribution()
        with torch.no_grad(), seeded(args.seeds[0]):
            codes, held_out = (code_sampler(vae, images) for images in (train, test))
            many = codes(20_000)
            gauss = MultivariateNormal(many.mean(0), many.T.cov())
            priors = {"standard Gaussian": vae.prior, "fitted Gaussian": gauss, "flow": flow}
            draws = {name: _sampler(p) for name, p in priors.items()}
            pictures = {
                name: measured([vae.decode(draw(500)).sigmoid() for _ in range(DRAWS)])
                for name, draw in (draws | {"codes of real faces": codes}).items()
            }
            z = held_out(20_000)
            nats = {name: round(-p.log_prob(z).mean().item(), 3) for name, p in priors.items()}
        figures[str(latents)] = {"pictures": pictures, "nats per code": nats}
        print(latents, figures[str(latents)], flush=True)
    figures |= {"draws": DRAWS, "cpu_seconds": round(time.process_time() - begin, 1)}
    record.save("flow-prior", args.seeds[0], figures, args.commit, record.RECORDED)


def _sampler(distribution: Distribution) -> Callable[[int], Tensor]:
    return lambda count: distribution.sample(torch.Size([count]))


def _summary(values: list[float]) -> dict[str, float]:
    """Mean and standard error."""
    error = stdev(values) / len(values) ** 0.5
    return {"mean": round(fmean(values), 4), "error": round(error, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    for function in (plane, vaes, prior):
        command = commands.add_parser(function.__name__, parents=[record.OPTIONS])
        command.set_defaults(run_it=function)
        seeds = [0, 1, 2] if function is vaes else [0]
        command.add_argument("--seeds", type=int, nargs="+", default=seeds)
        if function is vaes:
            command.add_argument("--data", default="digits", help="an image set by name")
            command.add_argument("--test", type=int, default=250, help="test images")
    args = parser.parse_args()
    args.commit = record.source(args.draft)
    torch.set_num_threads(1)
    args.run_it(args)


if __name__ == "__main__":
    main()
