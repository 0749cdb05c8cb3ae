"""Checkpoints: written beside their name and moved into place, read without running anything."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from coursekit.files import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, lists, dicts) to `path`, all of it or nothing.

    Raises OSError, naming the folder, where it cannot be written.
    """
    try:
        with replacing(path) as part, part.open("wb") as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch turns a full disk into a RuntimeError
        raise OSError(
            f"cannot write the checkpoint {path}: {error}; "
            "choose a folder that can be written, or make room on the disk"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote. Only tensors and plain values are ever loaded.

    Raises FileNotFoundError, PermissionError, or ValueError where it is no checkpoint of ours.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is no checkpoint at {path}: train with checkpoints={str(path.parent)!r} first"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:  # says nothing of what the file holds
        raise
    except Exception as error:  # torch.load raises whatever a damaged file leads it to
        raise ValueError(
            f"{path} is damaged or not a checkpoint of coursekit: "
            "delete it and train again, or use another"
        ) from error
    if not isinstance(state, dict) or "model" not in state:
        raise ValueError(f"{path} is not a checkpoint of coursekit: it holds no model")
    return state


def load_weights(model: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Copy `weights` into `model`, or raise a ValueError that names the first difference."""
    own = model.state_dict()
    for name in own | weights:
        here = tuple(own[name].shape) if name in own else "absent"
        there = tuple(weights[name].shape) if name in weights else "absent"
        if here != there:
            raise ValueError(
                f"{path} is a checkpoint of another model: parameter {name!r} is {there} "
                f"in the file and {here} in this {type(model).__name__}; "
                "build the model as it was trained, or choose another folder"
            )
    model.load_state_dict(weights)
