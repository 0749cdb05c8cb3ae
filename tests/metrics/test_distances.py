"""Feature distances and neighbor metrics against closed forms, slow loops and torch-fidelity."""

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from coursekit.metrics import (
    density_coverage,
    diversity,
    frechet_distance,
    kernel_distance,
    memorization,
    nearest_neighbors,
    precision_recall,
)


def normal(n, d, seed, shift=0.0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(n, d, generator=generator, dtype=torch.float64)


def with_moments(mean, covariance, n=200, seed=0):
    """Rows whose sample mean and covariance are exactly these."""
    x = normal(n, len(mean), seed)
    x = x - x.mean(0)
    root = torch.linalg.cholesky(torch.cov(x.T))
    return (
        torch.linalg.solve_triangular(root, x.T, upper=False).T
        @ torch.linalg.cholesky(covariance).T
        + mean
    )


def pair():
    """Two overlapping clouds, one of them skewed and heavy-tailed."""
    return normal(600, 16, 0), normal(500, 16, 1, 0.2, 1.1) ** 3 / 3


# --- Frechet -------------------------------------------------------------------------------------


def test_frechet_of_axis_aligned_gaussians_is_the_closed_form():
    a, b = torch.tensor([1.0, 4.0, 0.25]).double(), torch.tensor([2.0, 1.0, 9.0]).double()
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    found = frechet_distance(
        with_moments(torch.zeros(3).double(), a.diag()), with_moments(mean, b.diag(), seed=1)
    )
    expected = mean.square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert found == pytest.approx(expected.item(), rel=1e-9)


def test_frechet_of_correlated_gaussians_is_the_matrix_square_root():
    m1, m2 = normal(5, 5, 2), normal(5, 5, 3)
    c1, c2 = m1 @ m1.T + torch.eye(5), m2 @ m2.T + torch.eye(5)
    zero = torch.zeros(5).double()
    root = scipy.linalg.sqrtm((c1 @ c2).numpy()).real
    expected = c1.trace() + c2.trace() - 2 * np.trace(root)
    found = frechet_distance(with_moments(zero, c1), with_moments(zero, c2, seed=1))
    assert found == pytest.approx(expected.item(), rel=1e-8)


def test_frechet_agrees_with_torch_fidelity():
    theirs_in = pytest.importorskip("torch_fidelity.metric_fid")

    real, fake = pair()
    theirs = theirs_in.fid_statistics_to_metric(
        theirs_in.fid_features_to_statistics(real),
        theirs_in.fid_features_to_statistics(fake),
        verbose=False,
    )["frechet_inception_distance"]
    assert theirs > 1
    assert frechet_distance(real, fake) == pytest.approx(theirs, rel=1e-6)


def test_frechet_of_fewer_rows_than_features_and_of_constant_features():
    theirs_in = pytest.importorskip("torch_fidelity.metric_fid")

    real, fake = normal(20, 50, 0), normal(30, 50, 1)
    real[:, 0] = fake[:, 0] = 3.0
    theirs = theirs_in.fid_statistics_to_metric(
        theirs_in.fid_features_to_statistics(real),
        theirs_in.fid_features_to_statistics(fake),
        verbose=False,
    )["frechet_inception_distance"]
    assert frechet_distance(real, fake) == pytest.approx(theirs, abs=1e-3)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_frechet_is_biased_upwards_as_its_docstring_says_and_kernel_is_not():
    frechet, kernel = {}, {}
    for n in (50, 200):
        pairs = [(normal(n, 8, 2 * i), normal(n, 8, 2 * i + 1)) for i in range(60)]
        frechet[n] = np.mean([frechet_distance(a, b) for a, b in pairs])
        kernel[n] = np.array([kernel_distance(a, b) for a, b in pairs])
        assert abs(kernel[n].mean()) < 4 * kernel[n].std() / 60**0.5
    assert frechet[50] / frechet[200] == pytest.approx(4, rel=0.15)  # O(1/N)


# --- Kernel --------------------------------------------------------------------------------------


def test_kernel_distance_is_the_double_sum():
    real, fake = normal(12, 3, 0).numpy(), normal(9, 3, 1, 0.5).numpy()

    def k(x, y):
        return (x @ y / 3 + 1) ** 3

    rr = np.mean([k(x, y) for i, x in enumerate(real) for j, y in enumerate(real) if i != j])
    ff = np.mean([k(x, y) for i, x in enumerate(fake) for j, y in enumerate(fake) if i != j])
    rf = np.mean([k(x, y) for x in real for y in fake])
    assert kernel_distance(torch.tensor(real), torch.tensor(fake)) == pytest.approx(
        rr + ff - 2 * rf
    )


def test_kernel_distance_agrees_with_torch_fidelity():
    theirs_in = pytest.importorskip("torch_fidelity.metric_kid")

    real, fake = pair()
    real = real[:500]
    theirs = theirs_in.kid_features_to_metric(
        real, fake, kid_subsets=1, kid_subset_size=500, verbose=False
    )["kernel_inception_distance_mean"]
    assert kernel_distance(real, fake) == pytest.approx(theirs, rel=1e-6)


# --- Neighbors -----------------------------------------------------------------------------------


def test_precision_and_recall_agree_with_torch_fidelity():
    theirs_in = pytest.importorskip("torch_fidelity.metric_prc")

    real, fake = pair()
    for k in (1, 3, 10):
        precision, recall = theirs_in.calculate_precision_recall_full(fake, real, neighborhood=k)
        found = precision_recall(real, fake, k)
        assert 0.02 < precision < 0.98
        assert 0.02 < recall < 0.98
        assert found.precision == pytest.approx(precision, abs=1e-3)
        assert found.recall == pytest.approx(recall, abs=1e-3)


def test_dropping_a_mode_costs_recall_and_coverage_but_not_precision():
    near, far = normal(300, 4, 0), normal(300, 4, 1, shift=20)
    real, fake = torch.cat([near, far]), normal(600, 4, 2)
    both, dropped = precision_recall(real, torch.cat([near, far])), precision_recall(real, fake)
    assert both == (1, 1)
    assert dropped.precision > 0.85
    assert dropped.recall == pytest.approx(0.5, abs=0.06)
    assert density_coverage(real, fake).coverage == pytest.approx(0.5, abs=0.03)


def test_an_outlier_fools_precision_but_not_density():
    real = torch.cat([normal(500, 4, 0), torch.full((1, 4), 50.0).double()])
    fake = normal(500, 4, 1, shift=15)  # no real near it but the outlier, whose ball is vast
    assert precision_recall(real, fake).precision > 0.95
    assert density_coverage(real, fake).density < 0.25


def test_density_and_coverage_are_the_loops_of_the_paper():
    real, fake = normal(40, 3, 0).numpy(), normal(30, 3, 1, 0.5).numpy()
    k = 4
    radius = [np.sort(np.linalg.norm(real - x, axis=1))[k] for x in real]
    inside = np.array(
        [[np.linalg.norm(x - y) < r for y in fake] for x, r in zip(real, radius, strict=True)]
    )
    found = density_coverage(torch.tensor(real), torch.tensor(fake), k)
    assert found.density == pytest.approx(inside.sum() / (k * 30))
    assert found.coverage == pytest.approx(inside.any(axis=1).mean())


def test_density_and_coverage_of_equal_distributions_are_as_expected():
    found = [density_coverage(normal(500, 4, 2 * i), normal(500, 4, 2 * i + 1)) for i in range(10)]
    assert np.mean([f.density for f in found]) == pytest.approx(1, abs=0.03)
    assert np.mean([f.coverage for f in found]) == pytest.approx(1 - 1 / 2**5, abs=0.01)


def test_nearest_neighbors_are_found_across_chunks():
    queries, references = normal(2500, 3, 0), normal(50, 3, 1)
    found = nearest_neighbors(queries, references, k=2)
    all_distances = (queries[:, None] - references[None]).norm(dim=2)
    expected = all_distances.sort(dim=1)
    torch.testing.assert_close(found.distance, expected.values[:, :2])
    assert torch.equal(found.row, expected.indices[:, :2])


def test_memorization_tells_copies_from_fresh_samples():
    train, test = normal(400, 5, 0), normal(400, 5, 1)
    fresh, copies = normal(400, 5, 2), train[:100] + 1e-3 * normal(100, 5, 3)
    assert memorization(fresh, train, test) == pytest.approx(0.5, abs=0.06)
    assert memorization(copies, train, test) > 0.99
    assert memorization(fresh + 100, train, test) == 0
    half = memorization(torch.cat([fresh[:100], copies]), train, test)
    assert half == pytest.approx(0.75, abs=0.06)


def test_memorization_is_the_mann_whitney_statistic_ties_included():
    line = torch.arange(6.0).view(-1, 1)
    samples, test = torch.tensor([[0.2], [1.5], [2.1]]), torch.tensor([[0.2], [3.4], [8.0], [4.0]])
    u = scipy.stats.mannwhitneyu([0.2, 0.4, 3.0, 0.0], [0.2, 0.5, 0.1]).statistic
    assert memorization(samples, line, test) == pytest.approx(u / 12, abs=1e-6)


def test_diversity_is_the_mean_distance_of_pairs():
    x = normal(1200, 3, 0)
    assert diversity(x) == pytest.approx(torch.pdist(x).mean().item())
    assert diversity(torch.ones(5, 3)) == 0
    # The distance of two N(0, I) points in 2-D is Rayleigh with scale sqrt(2): mean sqrt(pi).
    assert diversity(normal(3000, 2, 1)) == pytest.approx(np.sqrt(np.pi), rel=0.02)


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric", [frechet_distance, kernel_distance, precision_recall, density_coverage]
)
def test_bad_features_are_refused(metric):
    good = normal(20, 4, 0)
    with pytest.raises(ValueError, match=r"fake has shape \(20, 2, 2\)"):
        metric(good, good.view(20, 2, 2))
    with pytest.raises(ValueError, match="real has 3 features and fake has 4"):
        metric(good[:, :3], good)
    with pytest.raises(ValueError, match="N >="):
        metric(good[:1], good)
    with pytest.raises(ValueError, match="not finite"):
        metric(good, good / 0)


@pytest.mark.parametrize(
    ("metric", "shapes", "message"),
    [
        (diversity, [(1, 3)], r"features has shape \(1, 3\)"),
        (nearest_neighbors, [(2, 3), (2, 4)], "queries has 3 features and references has 4"),
        (memorization, [(2, 3), (2, 3), (2, 4)], "train has 3 features and test has 4"),
        (memorization, [(2,), (2, 3), (2, 3)], "samples has shape"),
    ],
)
def test_an_error_names_the_argument(metric, shapes, message):
    with pytest.raises(ValueError, match=message):
        metric(*map(torch.zeros, shapes))


def test_memorization_names_the_set_that_is_not_finite():
    good = normal(5, 2, 0)
    with pytest.raises(ValueError, match="test has values that are not finite"):
        memorization(good, good, good * torch.nan)


@pytest.mark.parametrize("metric", [precision_recall, density_coverage])
def test_no_neighbors_are_refused(metric):
    x = normal(5, 2, 0)
    with pytest.raises(ValueError, match="k is 0, but it must be at least 1"):
        metric(x, x, k=0)


def test_too_many_neighbors_are_refused():
    x = normal(5, 2, 0)
    with pytest.raises(ValueError, match="N >= 6"):
        precision_recall(x, x, k=5)
    with pytest.raises(ValueError, match="k is 6"):
        nearest_neighbors(x, x, k=6)
