"""The mean of all faces that a picture may show: the best that a decoder can draw for its code.

The factors of rendered faces are known, so this mean can be computed without any decoder.
"""

import torch
from torch import Tensor

from coursekit.data import faces


def conditional_mean(factors: dict[str, Tensor], resolution: tuple[int, int]) -> Tensor:
    """The mean over the K faces drawn from factors (N, K): images (N, 3, H, W) in [0, 1]."""
    count, draws = factors["skin"].shape
    flat = {name: values.flatten() for name, values in factors.items()}
    images = faces.images_from_factors(flat, resolution)
    return images.view(count, draws, *images.shape[1:]).float().mean(dim=1) / 255


def held(
    factors: dict[str, Tensor], names: tuple[str, ...], draws: int, seed: int
) -> dict[str, Tensor]:
    """Factors (N, draws) of faces that agree with `factors`, (N,) each, in those of `names`.

    All other factors are drawn as in the data.
    """
    count = len(factors["skin"])
    drawn = faces.sample_factors(count * draws, torch.Generator().manual_seed(seed))
    return {
        name: factors[name][:, None].expand(-1, draws)
        if name in names
        else values.view(count, draws)
        for name, values in drawn.items()
    }
