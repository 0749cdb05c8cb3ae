"""Models that were trained before: fixed weights that come with coursekit.

    from coursekit import pretrained

    vae = pretrained.load("faces-vae-32")
    pretrained.card("faces-vae-32")["scores"]

A chapter trains the same code for a minute; these were trained for longer, and their figures are
the same on every machine. `coursekit train NAME` trains one anew. All saw rendered data only.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coursekit import models, recorded
from coursekit.files import json_names, read_json
from coursekit.training.checkpoint import load_checkpoint, load_weights, save_checkpoint

WEIGHTS = Path(__file__).parent / "weights"
"""NAME.pt holds a model's weights; NAME.json is its card."""

_MEND = "install coursekit again, or copy both of its files from one version"


def names() -> list[str]:
    """The models that there are, in alphabetical order."""
    return json_names(WEIGHTS)


def card(name: str) -> dict[str, Any]:
    """What is known of a model: architecture, recipe, data, cost, origin, scores.

    Raises ValueError for a name that is not in `names()`.
    """
    return read_json(WEIGHTS, name, "pretrained model")


def load(name: str) -> nn.Module:
    """The model with its weights in float32, in eval mode, without gradients, on the CPU.

    Raises ValueError for a name that is not in `names()`, and where the weights are not those that
    the card describes: a file that is cut short, of another version, or of another model.
    """
    about = card(name)
    path = WEIGHTS / f"{name}.pt"
    if not path.exists():
        raise ValueError(f"the weights of {name} are not at {path}: {_MEND}")
    if (found := digest(path)) != about["sha256"]:
        raise ValueError(
            f"{path} has the SHA-256 {found[:12]}…, but the card of {name} says "
            f"{about['sha256'][:12]}…: the file is damaged or of another version; {_MEND}"
        )
    model = build(about["model"], about["arguments"])
    weights: dict[str, Tensor] = load_checkpoint(path)["model"]
    load_weights(
        model, {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}, path
    )
    return model.eval().requires_grad_(False)


def plane(name: str) -> nn.Module:
    """A small flow of the plane, "banana" (PlanarFlow) or "moons" (RealNVP), as it was recorded.

    Raises ValueError for other names.
    """
    there = recorded.load("plane-flows")["figures"]
    if not isinstance(about := there.get(name), dict):
        raise ValueError(f"there is no flow {name!r}: the names are banana and moons")
    model = build(about["model"], about["arguments"])
    weights = {key: torch.tensor(value) for key, value in about["weights"].items()}
    model.load_state_dict(model.state_dict() | weights)
    return model.eval().requires_grad_(False)


def build(kind: str, arguments: dict[str, Any]) -> nn.Module:
    """A model by the name of its class, with first weights."""
    from coursekit.metrics.features import Classifier
    from coursekit.metrics.reader import FactorReader

    beside: dict[str, type[nn.Module]] = {"Classifier": Classifier, "FactorReader": FactorReader}
    made: nn.Module = (beside.get(kind) or getattr(models, kind))(**arguments)
    return made


def save(model: nn.Module, path: Path) -> None:
    """Write the weights of a model; tensors of 1,000 numbers and more in half precision."""

    def stored(x: Tensor) -> Tensor:
        return x.half() if x.is_floating_point() and x.numel() >= 1000 else x

    save_checkpoint(path, {"model": {k: stored(v) for k, v in model.state_dict().items()}})


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
