"""The moving average of a network's weights, from which a GAN's images are often drawn."""

import torch
from torch import nn


@torch.no_grad()
def move_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move `average`, of the same architecture, by a share 1 - decay towards `model`.

    Buffers, such as the statistics of batch normalization, are copied. Yazıcı et al. (2019), "The
    Unusual Effectiveness of Averaging in GAN Training".
    """
    for weight, new in zip(average.parameters(), model.parameters(), strict=True):
        weight.lerp_(new, 1 - decay)
    for buffer, now in zip(average.buffers(), model.buffers(), strict=True):
        buffer.copy_(now)
