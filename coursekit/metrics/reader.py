"""A network that reads the factors of a rendered picture, and what can be measured with it.

The factors of a rendered set are known, so two questions about a model have an answer: which
factors survive reconstruction, and are the factors of samples distributed as in the data?
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coursekit import require
from coursekit.data import Batch, ImageSet
from coursekit.data.rendered import Factors
from coursekit.metrics.evaluation import evaluating, image_batches
from coursekit.noise import seeded
from coursekit.training import fit, warmup_cosine

CIRCULAR = ("clothes", "background", "orientation")
"""Factors whose range closes to a circle: hues and angles."""

TOLERANCE = 0.1
"""A continuous factor is read correctly if it is off by at most this share of its range."""


class FactorReader(nn.Module):
    """A convolutional network from images (B, C, H, W) to their factors.

    factors: names with a number of values (discrete) or a range (continuous), as the renderer's
    FACTORS. Four 3x3 convolutions of stride 2 (32, 64, 128, 128 channels) with batch normalization
    and ReLU, Linear to 128 and ReLU, and a linear head with one logit per value of a discrete
    factor, one number per continuous one, and two, cosine and sine, where the range is a circle.
    """

    def __init__(self, image_shape: tuple[int, int, int], factors: Factors) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.factors = {k: v if isinstance(v, int) else (v[0], v[1]) for k, v in factors.items()}
        self.widths = [
            values if isinstance(values, int) else 2 if name in CIRCULAR else 1
            for name, values in self.factors.items()
        ]
        channels, height, width = image_shape
        layers: list[nn.Module] = []
        for out in (32, 64, 128, 128):
            layers += [nn.Conv2d(channels, out, 3, 2, 1), nn.BatchNorm2d(out), nn.ReLU()]
            channels, height, width = out, (height + 1) // 2, (width + 1) // 2
        hidden = [nn.Flatten(), nn.Linear(channels * height * width, 128), nn.ReLU()]
        self.network = nn.Sequential(*layers, *hidden, nn.Linear(128, sum(self.widths)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (B, C, H, W) in [0, 1] -> what the head says of each factor, (B, outputs)."""
        require.images(x, self.image_shape)
        return dict(zip(self.factors, self.network(x).split(self.widths, dim=1), strict=True))

    def read(self, images: ImageSet | Tensor, *, batch_size: int = 500) -> dict[str, Tensor]:
        """The factors of images (N, C, H, W), uint8 or floats in [0, 1]: name -> (N,)."""
        parts: dict[str, list[Tensor]] = {name: [] for name in self.factors}
        with evaluating(self) as device:
            for x in image_batches(images, batch_size, device):
                for name, out in self(x).items():
                    parts[name].append(self._value(name, out).cpu())
        return {name: torch.cat(values) for name, values in parts.items()}

    def _value(self, name: str, out: Tensor) -> Tensor:
        values = self.factors[name]
        if isinstance(values, int):
            return out.argmax(dim=1)
        low, high = values
        if name in CIRCULAR:
            share = torch.atan2(out[:, 1], out[:, 0]) / (2 * math.pi) % 1.0
        else:
            share = out[:, 0]
        return low + (high - low) * share

    def loss(self, x: Tensor, factors: dict[str, Tensor]) -> Tensor:
        """Cross-entropy in nats or squared error of the scaled factor, summed over factors."""
        total = x.new_zeros(())
        for name, out in self(x).items():
            values, true = self.factors[name], factors[name]
            if isinstance(values, int):
                total = total + F.cross_entropy(out, true)
                continue
            share = (true - values[0]) / (values[1] - values[0])
            if name in CIRCULAR:
                angle = 2 * math.pi * share
                total = total + F.mse_loss(out, torch.stack([angle.cos(), angle.sin()], dim=1))
            else:
                total = total + F.mse_loss(out[:, 0], share) * 12  # a uniform factor has 1/12
        return total


class _Loss(NamedTuple):
    loss: Tensor


def factor_reader(
    data: ImageSet, factors: Factors, *, epochs: int = 20, seed: int = 0, progress: bool = True
) -> FactorReader:
    """Train a `FactorReader` on a rendered set with its true factors; returned in eval mode."""
    _, channels, height, width = data.images.shape
    with seeded(seed):
        reader = FactorReader((channels, height, width), factors)

    def loss(model: FactorReader, batch: Batch, step: int) -> _Loss:
        return _Loss(model.loss(batch.images, {k: v[batch.index] for k, v in data.factors.items()}))

    rate = warmup_cosine(2e-3, epochs * math.ceil(len(data) / 128))
    fit(reader, data, loss, epochs=epochs, lr=rate, seed=seed, progress=progress, device="cpu")
    return reader.eval()


def agreement(
    factors: Factors, read: dict[str, Tensor], true: dict[str, Tensor]
) -> dict[str, float]:
    """For each factor, the share of pictures in which it was read correctly: 0 … 1.

    A discrete factor must be equal; a continuous one may be off by a tenth of its range, so that a
    constant guess is right for a fifth of the pictures of a uniform factor.
    """
    result = {}
    for name, values in factors.items():
        off = (read[name].double() - true[name].double()).abs()
        if not isinstance(values, int):
            off = off / (values[1] - values[0])
            off = torch.minimum(off, 1 - off).abs() if name in CIRCULAR else off
        result[name] = (off <= (0 if isinstance(values, int) else TOLERANCE)).double().mean().item()
    return result


def difference(
    factors: Factors, read: dict[str, Tensor], reference: dict[str, Tensor]
) -> dict[str, float]:
    """For each factor, how differently it is distributed in two sets of pictures: 0 … 1.

    Total variation of a discrete factor; largest difference of the distribution functions of a
    continuous one (Kolmogorov and Smirnov). Two samples of 500 of the same distribution differ by
    about 0.05.
    """
    result = {}
    for name, values in factors.items():
        a, b = read[name], reference[name]
        if isinstance(values, int):
            shares = [torch.bincount(x, minlength=values).double() / len(x) for x in (a, b)]
            result[name] = 0.5 * (shares[0] - shares[1]).abs().sum().item()
        else:
            places = torch.cat([a, b]).sort().values
            below = [
                torch.searchsorted(x.sort().values, places, right=True).double() / len(x)
                for x in (a.contiguous(), b.contiguous())
            ]
            result[name] = (below[0] - below[1]).abs().max().item()
    return result
