"""The training loop, evaluation and checkpoints."""

from coursekit.training.checkpoint import load_checkpoint, load_weights, save_checkpoint
from coursekit.training.loop import default_device, evaluate, fit

__all__ = [
    "default_device",
    "evaluate",
    "fit",
    "load_checkpoint",
    "load_weights",
    "save_checkpoint",
]
