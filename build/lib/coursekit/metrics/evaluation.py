"""How every metric runs a network: in eval mode, in batches, with seeded noise."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from coursekit import require
from coursekit.data import ImageSet
from coursekit.noise import seeded

_OFFSET = 0x6D657472


@contextmanager
def evaluating(model: object, seed: int = 0) -> Iterator[torch.device]:
    """Eval mode, no gradients, seeded noise; afterwards all modes and the random state as before.

    Yields the device of the model, where the images must go.
    """
    module = model if isinstance(model, nn.Module) else nn.Module()
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        # Far from the small seeds by which images are drawn: noise from the stream that made
        # an image would be correlated with it, and a bound would no longer be unbiased.
        with torch.no_grad(), seeded(_OFFSET + seed):
            yield device
    finally:
        module.train(modes[0][1])  # a model's own train() may do more than set the modes
        for layer, mode in modes:
            layer.training = mode


def image_batches(data: ImageSet | Tensor, size: int, device: torch.device) -> Iterator[Tensor]:
    """Float images (B, ...) on `device`: of an ImageSet, or of a tensor, uint8 divided by 255."""
    require.at_least("batch_size", size, 1)
    if len(data) == 0:
        raise ValueError("data is empty: give at least one image")
    if isinstance(data, ImageSet):
        yield from (batch.images for batch in data.batches(size, device=device))
    elif data.dtype == torch.uint8:
        yield from (x.to(device).float() / 255 for x in data.split(size))
    elif data.is_floating_point():
        yield from (x.to(device) for x in data.split(size))
    else:
        raise TypeError(f"data is {data.dtype}, but uint8 or float images are expected")
