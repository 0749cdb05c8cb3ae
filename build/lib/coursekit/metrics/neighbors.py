"""Fidelity, variety and memorization by nearest neighbors, of feature vectors or of pixels."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from coursekit import require
from coursekit.metrics.distances import check_features


class PrecisionRecall(NamedTuple):
    precision: float
    """Share of fakes within the real manifold: fidelity. Higher is better."""
    recall: float
    """Share of reals within the fake manifold: variety. Higher is better."""


class DensityCoverage(NamedTuple):
    density: float
    """How densely fakes sit among reals, 0 … above 1; 1 for equal distributions."""
    coverage: float
    """Share of reals with a fake nearby, 0 … 1. Higher is better."""


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> PrecisionRecall:
    """Improved precision and recall (Kynkaanniemi et al., 2019) of features (N, D) and (M, D).

    A manifold is the union of balls around its points, each reaching to the k-th nearest other
    point. Both in 0 … 1. Both depend on N and M: compare only at the same sizes. One outlier
    makes a large ball, which flatters precision: see `density_coverage`.
    """
    require.at_least("k", k, 1)
    real, fake = check_features(k + 1, real=real, fake=fake)
    return PrecisionRecall(_share_within(fake, real, k), _share_within(real, fake, k))


def density_coverage(real: Tensor, fake: Tensor, k: int = 5) -> DensityCoverage:
    """Density and coverage (Naeem et al., 2020) of features (N, D) and (M, D).

    Balls are drawn around reals only, reaching to the k-th nearest other real. Density counts in
    how many of them a fake lies, over k; coverage is the share of reals whose ball holds a fake.
    Higher is better for both. For equal distributions and N = M, density is 1 in expectation and
    coverage 1 - 1/2^k, nearly: take k so that this is close to 1.
    """
    require.at_least("k", k, 1)
    real, fake = check_features(k + 1, real=real, fake=fake)
    radii = _radii(real, k)
    inside = torch.cat(
        [torch.cdist(r, fake) < radius[:, None] for r, radius in _chunks(real, radii)]
    )
    density = inside.sum().item() / (k * len(fake))
    return DensityCoverage(density, inside.any(dim=1).double().mean().item())


class Neighbors(NamedTuple):
    distance: Tensor
    """(N, k) Euclidean distances, nearest first."""
    row: Tensor
    """(N, k) rows of the reference set."""


def nearest_neighbors(queries: Tensor, references: Tensor, k: int = 1) -> Neighbors:
    """The k rows of `references` (M, D) nearest to each row of `queries` (N, D)."""
    queries, references = check_features(1, queries=queries, references=references)
    if not 1 <= k <= len(references):
        raise ValueError(f"k is {k}, but there are {len(references)} references to choose from")
    found = [
        torch.cdist(chunk, references).topk(k, dim=1, largest=False)
        for chunk in queries.split(_CHUNK)
    ]
    return Neighbors(torch.cat([f.values for f in found]), torch.cat([f.indices for f in found]))


def memorization(samples: Tensor, train: Tensor, test: Tensor) -> float:
    """Do samples (N, D) sit nearer to the training set than fresh data does? 0 … 1, best 0.5.

    The probability that a random sample is nearer to its nearest training row than a random test
    row is to its own, ties counted half: the data-copying test of Meehan, Chaudhuri and Dasgupta
    (2020) over all of space at once. Near 1: copies. Near 0: samples are far from the data. By
    pixels, blurred samples are near everything and can score high as well, so look at the
    neighbors. Needs a test set from the same distribution as `train`; no bias in N.
    """
    samples, train, test = check_features(1, samples=samples, train=train, test=test)
    of_samples = nearest_neighbors(samples, train).distance.flatten()
    of_test = nearest_neighbors(test, train).distance.flatten().sort().values
    above = len(of_test) - torch.searchsorted(of_test, of_samples, right=True)
    ties = len(of_test) - torch.searchsorted(of_test, of_samples) - above
    return ((above + 0.5 * ties).mean() / len(of_test)).item()


def diversity(features: Tensor) -> float:
    """Mean Euclidean distance between two different rows of (N, D); no bias in N.

    0 means that all samples are the same. Not "the more the better": compare with the diversity
    of as many real images, and within a class to find collapse that hides behind the classes.
    """
    (features,) = check_features(features=features)
    n = len(features)
    total = torch.stack(
        [torch.cdist(rows, features).sum() for rows in features.split(_CHUNK)]
    ).sum()
    return total.item() / (n * (n - 1))


_CHUNK = 1000  # rows of a distance matrix at a time


def _radii(points: Tensor, k: int) -> Tensor:
    """Distance from each point to the k-th nearest other point."""
    # The nearest of k + 1 is the point itself.
    return nearest_neighbors(points, points, k + 1).distance[:, k]


def _share_within(points: Tensor, manifold: Tensor, k: int) -> float:
    radii = _radii(manifold, k)
    inside = [(torch.cdist(p, manifold) <= radii).any(dim=1) for p in points.split(_CHUNK)]
    return torch.cat(inside).double().mean().item()


def _chunks(points: Tensor, radii: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(points.split(_CHUNK), radii.split(_CHUNK), strict=True)
