"""The training loops, what they can call, evaluation and checkpoints."""

from coursekit.training.adversarial import alternating_step, fit_adversaries, gan_losses
from coursekit.training.callbacks import tensorboard
from coursekit.training.checkpoint import load_checkpoint, load_weights, save_checkpoint
from coursekit.training.cost import multiply_adds
from coursekit.training.density import code_sampler, divergence_step, fit_density
from coursekit.training.ema import move_average
from coursekit.training.latents import RowAdam, fit_latents, infer_latents, row_step, search_codes
from coursekit.training.loop import evaluate, fit, one_epoch
from coursekit.training.run import default_device
from coursekit.training.schedules import warmup_cosine

__all__ = [
    "RowAdam",
    "alternating_step",
    "code_sampler",
    "default_device",
    "divergence_step",
    "evaluate",
    "fit",
    "fit_adversaries",
    "fit_density",
    "fit_latents",
    "gan_losses",
    "infer_latents",
    "load_checkpoint",
    "load_weights",
    "move_average",
    "multiply_adds",
    "one_epoch",
    "row_step",
    "save_checkpoint",
    "search_codes",
    "tensorboard",
    "warmup_cosine",
]
