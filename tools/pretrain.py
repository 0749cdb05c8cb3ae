"""Train the models that are shipped with coursekit, and ship them.

    python tools/pretrain.py train faces-vae-32   # into runs/faces-vae-32; run it again to go on
    python tools/pretrain.py ship faces-vae-32    # weights, card and picture from that run

`train` does what `coursekit train NAME` does, and notes commit, machine and CPU-seconds beside the
checkpoints, over all parts of a run that was interrupted. The models that measure others,
faces-reader and digits-classifier, and the flows of codes, faces-flow-3 and others, are trained by
`ship` itself, in a few minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, cast

import chapters
import torch
from torch import nn

from coursekit import data, metrics, pretrained
from coursekit.data import faces
from coursekit.files import replacing
from coursekit.metrics.reader import factor_reader
from coursekit.models import VAE, AutoDecoder, RealNVP, pca
from coursekit.noise import seeded
from coursekit.pretrained.scores import IMAGES, decoded, measure, rebuilt, sampled
from coursekit.training import (
    code_sampler,
    fit_density,
    infer_latents,
    load_checkpoint,
    load_weights,
    warmup_cosine,
)
from coursekit.training.recipe import Recipe
from coursekit.training.recipes import train
from coursekit.training.shipped import SHIPPED, Architecture
from coursekit.viz import show_images, show_rows

sys.path.append(str(chapters.ROOT / "benchmarks"))
import record

PICTURES = chapters.BOOK / "_static" / "gallery"


def place(runs: Path, name: str, seed: int) -> Path:
    """The folder of a run: that of a seed other than 0 says so."""
    return runs / (f"{name}-{seed}" if seed else name)


def run(name: str, folder: Path, seed: int = 0) -> None:
    """Train until the recipe's last epoch; what earlier calls have done is kept."""
    path = folder / "origin.json"
    earlier = json.loads(path.read_text()) if path.exists() else {"cpu_seconds": 0.0, "commits": []}
    commits = list(dict.fromkeys([*earlier["commits"], record.commit()]))
    begin = time.process_time()

    def note(row: dict[str, float]) -> None:
        spent = earlier["cpu_seconds"] + time.process_time() - begin
        origin = {"commits": commits, "machine": record.machine(), "cpu_seconds": spent}
        record.write(path, origin | {"last": row})

    resume = (folder / "last.pt").exists()
    train(name, seed=seed, out=folder, resume=resume, on_epoch=note)


def ship(name: str, folder: Path, seed: int = 0) -> None:
    """Write weights and card into the package, and the picture of the gallery."""
    if name in HERE:
        model, about = HERE[name]()
    else:
        model, about = trained(name, folder, seed)
    path = pretrained.WEIGHTS / f"{name}.pt"
    path.parent.mkdir(exist_ok=True)
    pretrained.save(model, path)
    about = {"name": name, **about, "sha256": pretrained.digest(path), "scores": {}}
    card = pretrained.WEIGHTS / f"{name}.json"
    record.write(card, about)
    model = pretrained.load(name)  # the weights as they are shipped, in half precision
    about["scores"] = {what: float(f"{score:.6g}") for what, score in measure(model, about).items()}
    record.write(card, about)
    print(json.dumps(about["scores"], indent=2), f"{path.stat().st_size / 1e6:.2f} MB", sep="\n")
    if name not in MEASURING:
        _picture(name, model, about)


def trained(name: str, folder: Path, seed: int = 0) -> tuple[nn.Module, dict[str, Any]]:
    """The model of a finished run, and what its card says of it."""
    recipe, origin = SHIPPED[name], json.loads((folder / "origin.json").read_text())
    architecture = recipe.build
    assert isinstance(architecture, Architecture)
    model = architecture.kind(**architecture.arguments)
    path = folder / "last.pt"
    state = load_checkpoint(path)
    load_weights(model, state["model"], path)
    arguments, more, begin = architecture.arguments, {}, time.process_time()
    epochs = recipe.settings["epochs"]
    if origin["last"]["epoch"] != epochs:
        sys.exit(f"{path} is of epoch {origin['last']['epoch']:.0f} of {epochs}: train on first")
    if isinstance(model, AutoDecoder):
        model = with_test_codes(model, recipe, seed)
        arguments = arguments | {"count": model.location.num_embeddings}
        more = {"test_images": IMAGES}
    return model, {
        "about": recipe.about,
        "model": architecture.kind.__name__,
        "arguments": arguments,
        "parameters": _parameters(model),
        "command": f"coursekit train {name}" + (f" --seed {seed}" if seed else ""),
        "data": recipe.data,
        "resolution": list(recipe.resolution or (28, 28)),
        **({"fixed": dict(recipe.fixed)} if recipe.fixed else {}),
        "images": recipe.size,
        **more,
        "steps": state["step"],
        "seed": seed,
        "cpu_seconds": round(origin["cpu_seconds"] + time.process_time() - begin),
        "machine": origin["machine"],
        "commits": origin["commits"],
    }


def with_test_codes(model: AutoDecoder, recipe: Recipe, seed: int) -> AutoDecoder:
    """The model with more rows: codes of the first test images, found with the decoder frozen."""
    train = data.load(recipe.data, "train", recipe.size)
    test = data.load(recipe.data, "test", IMAGES)
    start = pca(train.images.float() / 255, model.latent_dim).codes(test.images.float() / 255)
    found, _ = infer_latents(
        model,
        test,
        *recipe.losses,
        lr=warmup_cosine(0.1, 150),
        start=start,
        epochs=150,
        batch_size=IMAGES,
        seed=seed,
        device="cpu",
        progress=False,
    )
    for name, table in list(model.named_children()):
        if isinstance(table, nn.Embedding):
            rows = torch.cat([table.weight, found.get_parameter(f"{name}.weight")]).detach()
            setattr(model, name, nn.Embedding.from_pretrained(rows))
    return model


def _parameters(model: nn.Module) -> dict[str, int]:
    """Trainable parameters of each part of the model, and those that stand alone."""
    parts = {
        name: sum(p.numel() for p in part.parameters())
        for name, part in model.named_children()
        if any(True for _ in part.parameters())
    }
    return parts | {name: p.numel() for name, p in model.named_parameters(recurse=False)}


def _of_measuring(
    name: str, kind: str, about: str, model: nn.Module, arguments: dict[str, Any], **more: Any
) -> tuple[nn.Module, dict[str, Any]]:
    return model, {
        "about": about,
        "model": kind,
        "arguments": arguments,
        "parameters": _parameters(model),
        "command": f"python tools/pretrain.py ship {name}",
        **more,
        "seed": 0,
        "machine": record.machine(),
        "commits": [record.commit()],
    }


def _reader() -> tuple[nn.Module, dict[str, Any]]:
    size, epochs, begin = 20_000, 12, time.process_time()
    images = data.load("faces", size=size)
    model = factor_reader(images, faces.FACTORS, epochs=epochs)
    return _of_measuring(
        "faces-reader",
        "FactorReader",
        "network that reads the 23 factors of a face",
        model,
        {"image_shape": [3, 64, 64], "factors": dict(faces.FACTORS)},
        data="faces",
        resolution=[64, 64],
        images=size,
        steps=epochs * -(-size // 128),
        cpu_seconds=round(time.process_time() - begin),
    )


def _classifier() -> tuple[nn.Module, dict[str, Any]]:
    size, begin = 20_000, time.process_time()
    model = metrics.classifier(data.load("digits", size=size))
    return _of_measuring(
        "digits-classifier",
        "Classifier",
        "classifier of digits, whose features make the feature distance",
        model,
        {"image_shape": [1, 28, 28], "outputs": 10},
        data="digits",
        resolution=[28, 28],
        images=size,
        steps=500,
        cpu_seconds=round(time.process_time() - begin),
    )


def _flow(
    latents: int, steps: int, couplings: int, hidden: int, lr: float
) -> tuple[nn.Module, dict[str, Any]]:
    """A flow of the codes of faces-vae-LATENTS."""
    name, vae, size, begin = (
        f"faces-flow-{latents}",
        f"faces-vae-{latents}",
        20_000,
        time.process_time(),
    )
    arguments = {"dim": latents, "couplings": couplings, "hidden": hidden}
    with seeded(0):
        model = RealNVP(**arguments)
    images = data.load("faces", size=size, resolution=(64, 64))
    draw = code_sampler(cast(VAE, pretrained.load(vae)), images)
    fit_density(model, draw, steps=steps, lr=warmup_cosine(lr, steps))
    return _of_measuring(
        name,
        "RealNVP",
        f"flow of the codes of {vae} (Dinh, Sohl-Dickstein and Bengio, 2017)",
        model,
        arguments,
        **{"codes of": vae},
        data="faces",
        resolution=[64, 64],
        images=size,
        steps=steps,
        cpu_seconds=round(time.process_time() - begin),
    )


MEASURING = {"faces-reader": _reader, "digits-classifier": _classifier}
FLOWS = {
    "faces-flow-3": partial(_flow, 3, 3_000, couplings=8, hidden=64, lr=2e-3),
    "faces-flow-32": partial(_flow, 32, 5_000, couplings=8, hidden=128, lr=1e-3),
}
HERE = MEASURING | FLOWS
"""What `ship` trains itself."""


def _picture(name: str, model: nn.Module, about: dict[str, Any]) -> None:
    """Reconstructions below their originals, and samples, as PNG for dense screens."""
    size = tuple(about["resolution"])
    test = data.load(about["data"], "test", 8, size, fixed=about.get("fixed"))
    x = test.images.float() / 255
    if isinstance(model, RealNVP):
        vae = cast(VAE, pretrained.load(about["codes of"]))
        _save(show_images(decoded(vae, model, 32), columns=8), PICTURES / f"{name}-samples.png")
        return
    if hasattr(model, "encode") or isinstance(model, AutoDecoder):
        rows = {"test": x, "rebuilt": rebuilt(model, x)}
        _save(show_rows(rows), PICTURES / f"{name}-rebuilt.png")
    _save(show_images(sampled(model, 32)[0], columns=8), PICTURES / f"{name}-samples.png")


def _save(figure: Any, path: Path) -> None:
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=160, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command, names in (("train", list(SHIPPED)), ("ship", [*SHIPPED, *HERE])):
        sub = commands.add_parser(command)
        sub.add_argument("name", choices=names)
        sub.add_argument("--seed", type=int, default=0, help="of data, weights and training; 0")
        sub.add_argument("--runs", type=Path, default=Path("runs"), help="default: runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    (run if arguments.command == "train" else ship)(
        arguments.name, place(arguments.runs, arguments.name, arguments.seed), arguments.seed
    )


if __name__ == "__main__":
    main()
