"""Quality: our figures beside published ones. Every figure is kept in results/, with its command.

    python benchmarks/quality.py binary-mnist   # likelihood, dynamic binarization, 6,889 steps
    python benchmarks/quality.py binary-mnist --steps 40000
    python benchmarks/quality.py grey-mnist     # the MLP VAE that everybody knows
    python benchmarks/quality.py autodecoders   # Fashion-MNIST, codes found by optimization
    python benchmarks/quality.py linear-decoder # PCA on the same images

Defaults are the full benchmark; --size and --epochs make it smaller, and are recorded. MNIST and
Fashion-MNIST are read from COURSEKIT_DATA. Threads: one, unless OMP_NUM_THREADS says otherwise.
Four targets on MNIST (grey, thresholded, static, dynamic) differ by up to 15 nats: each figure
names its own.
"""

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import tables
import torch
from torch import nn

from coursekit import data, metrics, training
from coursekit.data import ImageSet
from coursekit.models import MLPVAE, PCA, VAE, AutoDecoder, VariationalAutoDecoder, pca
from coursekit.training import recipes, warmup_cosine

Figure = dict[str, object]
FAST = "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
"""The precision of convolutions: bf16 where the processor computes in it."""


def figure(what: str, ours: float, reference: float | None = None, source: str = "") -> Figure:
    """One row: what was measured, ours, the reference."""
    return {"what": what, "ours": round(ours, 4), "reference": reference, "source": source}


@contextmanager
def cpu_seconds(spent: dict[str, float], name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    spent[name] = round(spent.get(name, 0.0) + time.process_time() - start, 1)


# --- dynamically binarized MNIST ------------------------------------------------------------------


STEPS = 6_889


def plain_vae(latent_dim: int = 32) -> VAE:
    """Two convolutions and a linear layer each way, 3.33 M parameters, for images 1 x 28 x 28."""
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 4, stride=2, padding=1),
        nn.SiLU(),
        nn.Conv2d(32, 64, 4, stride=2, padding=1),
        nn.SiLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 512),
        nn.SiLU(),
    )
    decoder = nn.Sequential(
        nn.Linear(latent_dim, 512),
        nn.SiLU(),
        nn.Linear(512, 64 * 7 * 7),
        nn.SiLU(),
        nn.Unflatten(1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1),
        nn.SiLU(),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
    )
    model = VAE((1, 28, 28), latent_dim, encoder, 512, decoder)
    return model.to(memory_format=torch.channels_last)


def binary_mnist(args: argparse.Namespace) -> None:
    train = data.load("mnist").binarize("dynamic")
    test = data.load("mnist", "test").binarize("static", seed=0)
    torch.manual_seed(args.seed)
    model, spent = plain_vae(), {}
    with cpu_seconds(spent, "training"):
        training.fit(
            model,
            train,
            recipes.vae_loss(),
            steps=args.steps,
            batch_size=128,
            lr=warmup_cosine(3e-3, args.steps),
            precision=FAST,
            seed=args.seed,
            device="cpu",
        )
    with cpu_seconds(spent, "evaluation"):
        elbo = metrics.elbo(model, test)
        iwae = metrics.iwae(model, test.subset(slice(500)), k=500)
    target = f"dynamically binarized MNIST, {args.steps:,} steps of 128 images"
    source = "conv VAE with half the hidden units, as many steps, measured apart from this code"
    reference = [(-90.7, source), (-84.4, source)] if args.steps == STEPS else [(), ()]
    save(
        f"binary-mnist-{args.steps}",
        args,
        spent,
        [
            figure(f"{target}: test ELBO", elbo.elbo.mean().item(), *reference[0]),
            figure(f"{target}: IWAE-500, first 500", iwae.mean().item(), *reference[1]),
        ],
        parameters=sum(p.numel() for p in model.parameters()),
        rate=round(elbo.kl.mean().item(), 3),
        standard_error={
            "elbo": round((elbo.elbo.std() / len(elbo.elbo) ** 0.5).item(), 3),
            "iwae": round((iwae.std() / len(iwae) ** 0.5).item(), 3),
        },
    )


# --- grey MNIST -----------------------------------------------------------------------------------


def grey_mnist(args: argparse.Namespace) -> None:
    train, test = data.load("mnist", size=args.size), data.load("mnist", "test")
    torch.manual_seed(args.seed)
    model, spent = MLPVAE(), {}
    epochs = args.epochs or 10
    steps = epochs * math.ceil(len(train) / 128)
    with cpu_seconds(spent, "training"):
        history = training.fit(
            model,
            train,
            recipes.vae_loss(),
            epochs=epochs,
            lr=lambda step: 3e-3 * (1 - step / steps),  # higher than usual, let down to 0
            validation=test,
            seed=args.seed,
            device="cpu",
        )
    last = history.iloc[-1]
    save(
        "grey-mnist",
        args,
        spent,
        [
            figure(
                "MNIST, grey pixels as Bernoulli: test loss of the MLP VAE, 10 epochs",
                last.validation_loss,
                105.0,
                "pytorch/examples",
            )
        ],
        history=[round(v, 3) for v in history.validation_loss],
        train_loss=round(last.train_loss, 3),
    )


# --- auto-decoders on Fashion-MNIST ---------------------------------------------------------------

PUBLISHED = {"AD": 0.1186, "VAD normal": 0.1112, "VAD laplace": 0.1118, "VAD uniform": 0.1644}
BATCH = {"AD": 64}
"""Images per step; 32 for the others."""
CODE_RATE, NEW_RATE = 0.04, 0.2
"""Learning rates of the codes in training, and of those of new images. Laplace was tried with two
rates on 256 images of the training set that no model was trained on, under SparseAdam; these are
the rates with about the same steps under RowAdam. Nothing was tried on test images."""
RANDOM_CODE_RATE, NEW_RANDOM_RATE = 0.2, 0.3
"""The same for codes that start at random, which have a longer way to go. Not tuned for RowAdam."""


@torch.no_grad()
def grey_levels_error(model: AutoDecoder, images: ImageSet) -> float:
    """Mean over batches of 64 of |x - x_hat|_F / numel, pixels in 0 … 255: the published unit.

    For a batch of 64, RMSE in grey levels = 224 times this; a smaller last batch is left out.
    """
    model.eval()
    errors = [
        255 * (batch.images - model.decode(model.codes(batch.index))).norm() / batch.images.numel()
        for batch in images.batches(64, drop_last=True)
    ]
    return torch.stack(errors).mean().item()


def pixels(images: ImageSet) -> torch.Tensor:
    return images.images.float() / 255


def trained_autodecoder(
    name: str, train: ImageSet, test: ImageSet, principal: PCA | None, args: argparse.Namespace
) -> tuple[float, float]:
    """The errors of the training images and of test images, as published. Without `principal`,
    codes start at random."""
    torch.manual_seed(args.seed)
    if name == "AD":
        model, loss = AutoDecoder(len(train)), recipes.autodecoder_loss
    else:
        model = VariationalAutoDecoder(len(train), family=name.split()[1])
        loss = recipes.variational_autodecoder_loss
    if principal is not None:
        model.start_at(principal.codes(pixels(train)))
    rate, new_rate = (CODE_RATE, NEW_RATE) if principal else (RANDOM_CODE_RATE, NEW_RANDOM_RATE)
    settings = {"seed": args.seed, "device": "cpu", "precision": FAST}
    batch_size = BATCH.get(name, 32)
    steps = args.epochs * math.ceil(len(train) / batch_size)
    training.fit_latents(
        model,
        train,
        loss,
        epochs=args.epochs,
        batch_size=batch_size,
        lr=warmup_cosine(3e-3, steps),
        latent_lr=warmup_cosine(rate, steps),
        **settings,
    )
    found, _ = training.infer_latents(
        model,
        test,
        loss,
        start=principal.codes(pixels(test)) if principal else None,
        epochs=args.test_epochs,
        batch_size=256,  # the decoder is fixed: the batch is no longer part of the method
        lr=warmup_cosine(new_rate, args.test_epochs * math.ceil(len(test) / 256)),
        **settings,
    )
    return grey_levels_error(model, train), grey_levels_error(found, test)


def autodecoders(args: argparse.Namespace) -> None:
    args.size, args.epochs = args.size or 2_000, args.epochs or 10
    train = data.load("fashion_mnist", size=args.size)
    test = data.load("fashion_mnist", "test", size=args.test_size)
    principal = pca(pixels(train), 100)
    what = "test loss, norm of error over length, batches of 64"
    for name in args.only or PUBLISHED:
        spent: dict[str, float] = {}
        errors, rows = {}, []
        for start in args.starts:
            with cpu_seconds(spent, f"{name}, {start} start"):
                chosen = principal if start == "PCA" else None
                errors[start] = trained_autodecoder(name, train, test, chosen, args)
            reference = (PUBLISHED[name], "course report") if start == "PCA" else ()
            label = f"Fashion-MNIST, {name}, {start} start: {what}"
            rows.append(figure(label, errors[start][1], *reference))
        save(
            f"autodecoder-{name.split()[-1].lower()}",
            args,
            spent,
            rows,
            record.RECORDED,
            model=name,
            train_images=len(train),
            test_images=len(test),
            epochs=args.epochs,
            train_loss={start: round(pair[0], 4) for start, pair in errors.items()},
        )


def linear_decoder(args: argparse.Namespace) -> None:
    """What the best linear decoder does on the same images."""
    train = data.load("fashion_mnist", size=args.size or 2_000)
    test = data.load("fashion_mnist", "test", size=args.test_size)
    spent: dict[str, float] = {}
    with cpu_seconds(spent, "PCA"):
        principal, errors = pca(pixels(train), 100), {}
        for name, images in (("train", train), ("test", test)):
            error = [
                255 * (x - principal.decode(principal.codes(x))).norm() / x.numel()
                for x in pixels(images).split(64)
                if len(x) == 64
            ]
            errors[name] = torch.stack(error).mean().item()
    what = "test loss, norm of error over length, batches of 64"
    rows = [figure(f"Fashion-MNIST, PCA with 100 components: {what}", errors["test"])]
    save(
        "autodecoder-pca", args, spent, rows, record.RECORDED, train_loss=round(errors["train"], 4)
    )


# --- results --------------------------------------------------------------------------------------


def save(
    name: str,
    args: argparse.Namespace,
    spent: dict[str, float],
    rows: list[Figure],
    folder: Path = record.RESULTS,
    **details: object,
) -> None:
    figures = {"rows": rows, "cpu_seconds": spent, **details}
    record.save(name, args.seed, figures, args.commit, folder)
    print(tables.quality(rows))


BENCHMARKS = (binary_mnist, grey_mnist, autodecoders, linear_decoder)


def _name(function: Callable[..., None]) -> str:
    return function.__name__.replace("_", "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for function in BENCHMARKS:
        command = commands.add_parser(_name(function), parents=[record.OPTIONS])
        command.set_defaults(run=function)
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--size", type=int, help="training images")
        if function is not binary_mnist:
            command.add_argument("--epochs", type=int)
        if function is binary_mnist:
            command.add_argument("--steps", type=int, default=STEPS)
        if function in (autodecoders, linear_decoder):
            command.add_argument("--test-size", type=int, default=512)
        if function is autodecoders:
            command.add_argument("--test-epochs", type=int, default=80)
            starts = ["PCA", "random"]
            command.add_argument("--starts", nargs="+", default=starts, choices=starts)
            command.add_argument("--only", nargs="+", choices=PUBLISHED)
    args = parser.parse_args()
    args.commit = record.source(args.draft)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    args.run(args)


if __name__ == "__main__":
    main()
