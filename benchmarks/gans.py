"""GANs: one that a core trains in a minute, five losses side by side, the published ones on MNIST.

    python benchmarks/gans.py minute --run FOLDER
        # conditional SmallGAN on drawn digits: quality against steps and CPU-seconds, of weights
        # as they are and averaged, without and with R1
    python benchmarks/gans.py losses
        # one network, five losses and two variants, on a ring of eight modes
    python benchmarks/gans.py published mnist-cgan --epochs 4 --run FOLDER
        # a GAN of the MNIST comparison

What was interrupted goes on from FOLDER. `published` reads MNIST from
COURSEKIT_DATA. Threads: one, unless OMP_NUM_THREADS says otherwise.
"""

import argparse
import itertools
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from coursekit import data, metrics, objectives, training
from coursekit.data import Batch, ImageSet
from coursekit.files import write_text
from coursekit.metrics.evaluation import evaluating
from coursekit.metrics.features import Classifier
from coursekit.models import DCGAN, GAN, MLPGAN, MLPVAE, ConditionalGAN, SmallConvVAE, SmallGAN
from coursekit.noise import seeded
from coursekit.training import gan_losses, multiply_adds, recipes, warmup_cosine
from coursekit.training.run import Loss

DECAY = 0.995
"""Of the averaged weights: they follow the last 200 steps or so."""


def averaged(module: nn.Module) -> AveragedModel:
    """The exponential moving average of weights and buffers."""
    return AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)


# --- a GAN that one core trains in a minute -------------------------------------------------------


class Judge:
    """Draws from a generator, measured by features of a classifier of the real images."""

    def __init__(self, classifier: Classifier, test: ImageSet, count: int) -> None:
        self.classifier, self.labels = classifier, torch.arange(10).repeat(count // 10)
        self.real = metrics.extract(classifier, test.subset(slice(count)))

    @torch.no_grad()
    def draw(self, model: GAN, generator: nn.Module) -> Tensor:
        """One image per label, in [0, 1], of the model with `generator` in its place, in eval mode.

        Models that know no labels ignore them.
        """
        own, model.generator = model.generator, generator
        with seeded(7), evaluating(model):
            codes = model.prior.sample(self.labels.shape)
            told = self.labels if hasattr(model, "classes") else None
            parts = [
                model.generate(z, None if told is None else told[i * 500 : (i + 1) * 500])
                for i, z in enumerate(codes.split(500))
            ]
        model.generator = own
        return torch.cat(parts)

    def __call__(self, model: GAN, generator: nn.Module | None = None) -> dict[str, float]:
        images = self.draw(model, generator or model.generator)
        fake = metrics.extract(self.classifier, images)
        precision, recall = metrics.precision_recall(self.real[:2000], fake[:2000])
        found = {
            "distance": metrics.frechet_distance(fake, self.real),
            "precision": precision,
            "recall": recall,
        }
        if hasattr(model, "classes"):
            predicted = metrics.predict(self.classifier, images)
            found["label accuracy"] = metrics.label_accuracy(predicted, self.labels)
        return {name: round(float(value), 4) for name, value in found.items()}


MINUTE: dict[str, dict[str, Any]] = {"plain": {}, "R1": {"r1_weight": 0.1}}
"""What is told to `gan_losses`."""


def minute(args: argparse.Namespace) -> None:
    train, test = data.load("digits", size=10_000), data.load("digits", "test", size=2_000)
    judge = Judge(metrics.classifier(train, progress=False), test, 2_000)
    per_epoch = math.ceil(len(train) / 64)
    looked = [math.ceil(steps / per_epoch) for steps in (450, 900, 1800, 2700, 3600)]
    runs = []
    for name in args.variants:
        for seed in args.seeds:
            kept = args.run / f"{args.commit}-{name}-{seed}.json"
            if not kept.exists():
                record.write(kept, _minute(name, MINUTE[name], seed, train, judge, looked))
            runs += json.loads(kept.read_text())
    fresh = data.load("digits", "test", size=4_000, seed=1)
    floor = metrics.extract(judge.classifier, fresh.subset(slice(2_000, 4_000)))
    figures = {
        "runs": runs,
        "real against real": round(metrics.frechet_distance(floor, judge.real), 4),
        "train_images": len(train),
        "batch_size": 64,
        "averaging": DECAY,
        "multiply_adds": costs(),
        "cpu_seconds": sum(r["seconds"][-1] for r in runs if not r["averaged"]),
    }
    record.save("gan-minute", args.seeds[0], figures, args.commit, record.RECORDED)


def _minute(
    name: str,
    settings: dict[str, Any],
    seed: int,
    train: ImageSet,
    judge: Judge,
    looked: list[int],
) -> list[dict[str, Any]]:
    """One training: the curve of the weights as they are, and that of their moving average."""
    torch.manual_seed(seed)
    model = SmallGAN(classes=10)
    average = averaged(model.generator)
    discriminator_loss, generator_loss = gan_losses(**settings)

    def then_average(model: GAN, batch: Batch, step: int) -> Any:
        average.update_parameters(model.generator)
        return generator_loss(model, batch, step)

    steps: list[int] = []
    seconds: list[float] = []
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    spent, since = 0.0, time.process_time()

    def look(row: dict[str, float]) -> None:
        nonlocal spent, since
        spent += time.process_time() - since
        if row["epoch"] in looked:
            steps.append(int(row["epoch"]) * math.ceil(len(train) / 64))
            seconds.append(round(spent, 1))
            found[False].append(judge(model))
            found[True].append(judge(model, average.module))
            print(name, seed, steps[-1], seconds[-1], found[False][-1], found[True][-1], flush=True)
        since = time.process_time()

    training.fit_adversaries(
        model,
        train,
        discriminator_loss,
        then_average,
        epochs=looked[-1],
        batch_size=64,
        lr=(1e-3, 1e-3),
        seed=seed,
        device="cpu",
        progress=False,
        on_epoch=look,
    )
    return [
        {
            "variant": name,
            "averaged": averaging,
            "seed": seed,
            "steps": steps,
            "seconds": seconds,
            **{what: [values[what] for values in curve] for what in curve[0]},
        }
        for averaging, curve in found.items()
    ]


def costs() -> dict[str, int]:
    """Multiply-adds per image and training step, both sides of a GAN, of images (1, 28, 28)."""
    images, labels = torch.rand(64, 1, 28, 28), torch.arange(64) % 10
    batch = Batch(images, labels, torch.arange(64))
    models: dict[str, tuple[nn.Module, tuple[Loss, ...]]] = {
        "SmallGAN": (SmallGAN(), gan_losses()),
        "SmallGAN, 10 classes": (SmallGAN(classes=10), gan_losses()),
        "SmallGAN, 10 classes, R1": (SmallGAN(classes=10), gan_losses(r1_weight=0.1)),
        "MLPGAN": (MLPGAN(), gan_losses()),
        "DCGAN": (DCGAN(), gan_losses()),
        "ConditionalGAN": (ConditionalGAN(), gan_losses()),
        "MLPVAE": (MLPVAE(), (recipes.vae_loss(),)),
        "SmallConvVAE, 16 latents": (SmallConvVAE(latent_dim=16), (recipes.vae_loss(),)),
    }
    found = {}
    for name, (model, losses) in models.items():
        sides = [list(model.parameters())]
        if isinstance(model, GAN):
            sides = [list(model.discriminator.parameters()), list(model.generator.parameters())]
        found[name] = 0
        for loss, own in zip(losses, sides, strict=True):
            model.requires_grad_(False)
            for parameter in own:
                parameter.requires_grad_()
            step = _backward(loss, model, batch)
            found[name] += multiply_adds(step) // len(images)
    return found


def _backward(loss: Loss, model: nn.Module, batch: Batch) -> Callable[[], None]:
    return lambda: loss(model, batch, 0).loss.backward()


# --- one network, five losses ---------------------------------------------------------------------

ANGLES = torch.arange(8) * math.pi / 4
RING = 2 * torch.stack([ANGLES.cos(), ANGLES.sin()], dim=1)
"""The centers of eight round Gaussians of standard deviation WIDTH."""
WIDTH = 0.1
PLAYERS: dict[str, dict[str, Any]] = {
    "saturating": {},
    "non-saturating": {},
    "hinge, spectral norm": {"spectral": True},
    "WGAN-GP": {},
    "non-saturating, R1": {},
    "non-saturating, labels 0.9": {},
    "non-saturating, two rates": {"rates": (4e-3, 1e-3)},
}


def points(count: int) -> Tensor:
    """Draws from the eight Gaussians: (count, 2)."""
    return RING[torch.randint(len(RING), (count,))] + WIDTH * torch.randn(count, 2)


def network(inputs: int, outputs: int, spectral: bool = False) -> nn.Sequential:
    """Three layers of 64 units."""
    wrap = spectral_norm if spectral else lambda layer: layer
    sizes = (inputs, 64, 64, 64, outputs)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [wrap(nn.Linear(a, b)), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1])


def discriminator_loss(name: str, scores: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """What the discriminator minimizes in the game called `name`."""

    def score(x: Tensor) -> Tensor:
        return scores(x).flatten()

    if name.startswith("hinge"):
        return objectives.hinge_discriminator(score(real), score(fake)).loss
    if name == "WGAN-GP":
        penalty = objectives.gradient_penalty(score, real, fake)
        return objectives.wasserstein_critic(score(real), score(fake), penalty, 1.0).loss
    label = 0.9 if name.endswith("0.9") else 1.0
    loss = objectives.bce_discriminator(score(real), score(fake), label).loss
    if name.endswith("R1"):
        loss = loss + 0.05 * objectives.r1_penalty(score, real)
    return loss


def generator_loss(name: str, scores: Tensor) -> Tensor:
    if name == "saturating":
        return objectives.saturating_generator(scores).loss
    if name.startswith("non-saturating"):
        return objectives.non_saturating_generator(scores).loss
    return objectives.wasserstein_generator(scores).loss


def play(
    name: str,
    seed: int,
    steps: int,
    spectral: bool = False,
    rates: tuple[float, float] = (1e-3, 1e-3),
    turns: int = 1,
) -> tuple[nn.Module, nn.Module]:
    """The generator after so many steps of 128 points, and its average.

    turns: how often the generator moves for each time that the discriminator does.
    """
    torch.manual_seed(seed)
    generator, scores = network(2, 2), network(2, 1, spectral)
    average = averaged(generator)
    sides = (scores, rates[0]), (generator, rates[1])
    adam = [torch.optim.Adam(m.parameters(), lr, betas=(0.5, 0.999), fused=True) for m, lr in sides]
    falling = [warmup_cosine(lr, steps) for _, lr in sides]
    for step in range(steps):
        for optimizer, rate in zip(adam, falling, strict=True):
            optimizer.param_groups[0]["lr"] = rate(step)
        fake = generator(torch.randn(128, 2))
        scores.requires_grad_(True)
        loss = discriminator_loss(name, scores, points(128), fake.detach())
        adam[0].zero_grad()
        loss.backward()
        adam[0].step()
        scores.requires_grad_(False)
        for turn in range(turns):
            fake = fake if turn == 0 else generator(torch.randn(128, 2))
            loss = generator_loss(name, scores(fake).flatten())
            adam[1].zero_grad()
            loss.backward()
            adam[1].step()
        average.update_parameters(generator)
    return generator, average.module


@torch.no_grad()
def coverage(generator: nn.Module) -> dict[str, float]:
    """Of 5,000 draws: modes found, share near a mode, and how unevenly these are spread, in nats.

    A draw belongs to a mode if it lies within three standard deviations of its center. A mode is
    found if it has a tenth of its share of all draws, that is 62.
    """
    with seeded(7):
        drawn = generator(torch.randn(5_000, 2))
    near = torch.cdist(drawn, RING).min(dim=1)
    good = near.indices[near.values < 3 * WIDTH]
    counts = torch.bincount(good, minlength=len(RING)).double()
    shares = counts / counts.sum().clamp(min=1)
    uneven = torch.xlogy(shares, shares * len(RING)).sum()  # KL to equal shares
    return {
        "modes": int((counts >= 62).sum()),
        "share": round(len(good) / len(drawn), 4),
        "uneven": round(uneven.item(), 4),
    }


TURNS = {1: 1_500, 5: 500}
"""How often the generator moves per step of the discriminator, and how many such steps."""


def losses(args: argparse.Namespace) -> None:
    runs = []
    start = time.process_time()
    for name, settings in PLAYERS.items():
        for turns, steps in TURNS.items():
            for seed in args.seeds:
                generator, average = play(name, seed, steps, turns=turns, **settings)
                run: dict[str, Any] = {"loss": name, "turns": turns, "seed": seed}
                run |= {"raw": coverage(generator), "averaged": coverage(average)}
                runs.append(run)
                print(run, flush=True)
    figures = {
        "runs": runs,
        "steps": {str(turns): steps for turns, steps in TURNS.items()},
        "batch_size": 128,
        "modes": len(RING),
        "width": WIDTH,
        "averaging": DECAY,
        "cpu_seconds": round(time.process_time() - start, 1),
    }
    record.save("gan-losses", args.seeds[0], figures, args.commit, record.RECORDED)


# --- the published GANs on MNIST ------------------------------------------------------------------

BATCH = 64


def published(args: argparse.Namespace) -> None:
    """Train to so many epochs, going on from the folder's checkpoint; measure, and save."""
    train, test = data.load("mnist"), data.load("mnist", "test")
    judge = Judge(metrics.classifier(train, progress=False), test, 10_000)
    quick = Judge(judge.classifier, test, 1_000)
    recipe = recipes.RECIPES[args.model]
    clock = args.run / "seconds.json"
    spent = json.loads(clock.read_text()) if clock.exists() else []
    since = time.process_time()
    torch.manual_seed(args.seed)
    model = recipe.build(train)
    assert isinstance(model, GAN)
    assert test.labels is not None

    def look(row: dict[str, float]) -> None:
        nonlocal since
        now = time.process_time()
        spent[int(row["epoch"]) - 1 :] = [round(now - since, 1)]
        write_text(clock, json.dumps(spent))
        print(row, spent, quick(model), flush=True)
        since = time.process_time()

    training.fit_adversaries(
        model,
        train,
        *recipe.losses,
        epochs=args.epochs,
        batch_size=BATCH,
        lr=recipe.settings["lr"],
        betas=(0.5, 0.999),
        seed=args.seed,
        device="cpu",
        precision=args.precision,
        checkpoints=args.run,
        resume=True,
        progress=False,
        on_epoch=look,
    )
    per_epoch = math.ceil(len(train) / BATCH)
    half = len(test) // 2
    real = metrics.extract(judge.classifier, test)
    figures = {
        "model": args.model,
        "about": recipe.about,
        "scores": judge(model),
        "steps": args.epochs * per_epoch,
        "published_steps": recipe.settings["epochs"] * per_epoch,
        "epochs": args.epochs,
        "published_epochs": recipe.settings["epochs"],
        "batch_size": BATCH,
        "lr": recipe.settings["lr"][0],
        "betas": [0.5, 0.999],
        "precision": args.precision,
        "source": "course report: architecture, learning rate, epochs",
        "floor": round(metrics.frechet_distance(real[:half], real[half:]), 4),
        "accuracy": metrics.label_accuracy(
            metrics.predict(judge.classifier, test.images), test.labels
        ),
        "cpu_seconds": {args.model: round(sum(spent), 1)},
    }
    record.save(f"published-{args.model}", args.seed, figures, args.commit)
    print(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for function in (minute, losses, published):
        command = commands.add_parser(function.__name__, parents=[record.OPTIONS])
        command.set_defaults(run_it=function)
        if function is not losses:
            command.add_argument("--run", type=Path, required=True, help="folder to go on from")
        if function is published:
            command.add_argument("model", choices=("mnist-gan", "mnist-cgan"))
            command.add_argument("--epochs", type=int, default=4)
            command.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
            command.add_argument("--seed", type=int, default=0)
        else:
            command.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
        if function is minute:
            command.add_argument("--variants", nargs="+", choices=MINUTE, default=list(MINUTE))
    args = parser.parse_args()
    args.commit = record.source(args.draft)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    args.run_it(args)


if __name__ == "__main__":
    main()
