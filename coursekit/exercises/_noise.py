"""Is it standard normal noise? Tests that hold for every seed, with a stated false-alarm rate."""

import math

import torch
from torch import Tensor

from coursekit.exercises._helpers import Failed

TAILS = (2.0, 2.5, 3.0, 4.0)
PARTS = 8
"""Over how many tests the rate of false alarms is divided."""


def standard_normal(
    noise: Tensor, what: str = "the noise", alarm: float = 1e-9, precise: bool = True
) -> None:
    """The entries of `noise` (N, L) are independent draws from N(0, 1).

    Truly normal noise is refused with probability below `alarm`, by all these tests together:
    - The distribution functions of the entries, and of sums of two neighbors in a row and in a
      column (they tell shared noise from independent noise), by the Dvoretzky-Kiefer-Wolfowitz
      inequality with Massart's constant, P(sup |F_n - F| > d) <= 2 exp(-2 n d^2).
    - How many entries lie beyond 2, 2.5, 3 and 4, by Chernoff's bound: clamped noise, heavy tails.
    - The cosine of the angle between every two rows, and between every two columns: rows that
      repeat other rows, or their negatives, wherever they stand.
    - Entries whose absolute values agree to 1e-6, if `precise`: tables, pools and mirrored noise.
      For noise that was computed back with larger errors say precise=False.
    From 10,000 entries on, a scale wrong by 20 %, uniform noise of the right variance, a cut at 3
    and shared noise are refused; from 20,000 on, logistic noise of about the right variance.
    """
    noise = noise.detach().double()
    if not torch.isfinite(noise).all():
        raise Failed(f"{what} is not finite")
    rows, columns = _pairs(noise), _pairs(noise.T)
    mean, std = noise.mean(), noise.std()
    refused = any(
        _refused(sample, alarm / PARTS) for sample in (noise, rows, columns) if len(sample)
    )
    if refused and len(rows) and rows.std() > 1.3 * std:
        raise Failed(f"{what} is shared between the rows of a batch")
    if refused and len(columns) and columns.std() > 1.3 * std:
        raise Failed(f"{what} is shared between the dimensions of a latent")
    # Noise with a mean far from 0 looks parallel, too. There, the mean is what to speak of.
    if not refused or (abs(mean) < 0.1 and abs(std - 1) < 0.1):
        if _parallel(noise, alarm / PARTS):
            raise Failed(f"{what} of one row is that of another row again, or its negative")
        if _parallel(noise.T, alarm / PARTS):
            raise Failed(f"{what} of one dimension is that of another again, or its negative")
    if refused and abs(mean) < 0.02 and abs(std - 1) < 0.02:
        raise Failed(f"{what} has mean 0 and variance 1, but it is not Gaussian")
    if refused:
        raise Failed(
            f"{what} is not N(0, 1): its mean is {mean:.2f}, its standard deviation {std:.2f}"
        )
    if precise:
        distinct([noise], what, alarm / PARTS)
    for bound in TAILS:
        share = math.erfc(bound / math.sqrt(2))
        beyond = int((noise.abs() > bound).sum())
        if _unlikely(beyond, noise.numel(), share, alarm / PARTS / len(TAILS)):
            raise Failed(
                f"{what} is not Gaussian: {beyond} of {noise.numel()} numbers lie beyond "
                f"{bound:g}, but about {share * noise.numel():.0f} are expected"
            )


def distinct(samples: list[Tensor], what: str = "the noise", alarm: float = 1e-9) -> None:
    """No number comes again, not even with the other sign, within one sample or in another.

    Of n true draws at most about n^2 times 5.6e-7 neighbors agree to 1e-6 by chance. Refused are
    ten standard deviations and 40 more: of 40,000 numbers, some 1,300 that come again.
    """
    values = torch.cat([sample.detach().float().flatten().abs() for sample in samples])
    near = int((values.sort().values.diff() < 1e-6).sum())
    chance = len(values) ** 2 * 1e-6 / math.sqrt(math.pi)  # the integral of the squared density
    if near > chance + 10 * math.sqrt(chance) + 2 * math.log(1 / alarm):
        raise Failed(f"{what} uses the same numbers again, or their negatives: draw each anew")


def _refused(sample: Tensor, alarm: float) -> bool:
    values = sample.flatten().sort().values
    steps = torch.arange(len(values) + 1, dtype=torch.float64) / len(values)
    below = torch.special.ndtr(values)
    distance = float(torch.maximum(below - steps[:-1], steps[1:] - below).max())
    return distance > math.sqrt(math.log(2 / alarm) / (2 * len(values)))


def _pairs(noise: Tensor) -> Tensor:
    """Sums of two neighboring rows, scaled to variance 1."""
    even = len(noise) // 2 * 2
    return (noise[:even:2] + noise[1:even:2]) / math.sqrt(2.0)


def _parallel(noise: Tensor, alarm: float) -> bool:
    """Whether two rows are more alike, or more opposite, than independent ones can be.

    For independent normal rows of length L the cosine c has the density k (1 - c^2)^((L - 3) / 2),
    so P(|c| > t) <= 2 k (1 - t^2)^((L - 1) / 2) / (t (L - 1)).
    """
    count, length = noise.shape
    if count < 2 or length < 8:
        return False
    directions = noise / noise.norm(dim=1, keepdim=True)
    cosine = directions @ directions.T
    t = float(cosine.fill_diagonal_(0).abs().max().clamp(1e-6, 1 - 1e-12))
    k = math.exp(math.lgamma(length / 2) - math.lgamma((length - 1) / 2)) / math.sqrt(math.pi)
    log_chance = math.log(2 * k / (t * (length - 1))) + (length - 1) / 2 * math.log1p(-t * t)
    return log_chance + math.log(count * (count - 1) / 2) < math.log(alarm)


def _unlikely(found: int, count: int, share: float, alarm: float) -> bool:
    """Whether Chernoff's bound gives so many of `count`, or so few, a chance below `alarm`."""
    rate = found / count

    def part(p: float, q: float) -> float:
        return p * math.log(p / q) if p > 0 else 0.0

    divergence = part(rate, share) + part(1 - rate, 1 - share)
    return count * divergence > math.log(2 / alarm)
