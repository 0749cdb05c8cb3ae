"""Oracles: true factors score 1, noise about 0, shared factors lose what they should lose."""

import math

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from sklearn.metrics import mutual_info_score

from coursekit.metrics import (
    dci,
    disentanglement,
    factor_vae_score,
    mig,
    mutual_information,
    rank_correlation,
    sap,
)

N = 4000


def true_factors(seed=0):
    """A binary, a six-valued, two continuous factors, one of them skewed, one with 32 values."""
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            rng.integers(2, size=N),
            rng.integers(6, size=N) / 5,
            rng.uniform(-1, 1, size=N) ** 3,
            rng.normal(size=N),
            rng.integers(32, size=N),
        ],
        axis=1,
    )


def noise(columns=5, seed=1):
    return np.random.default_rng(seed).normal(size=(N, columns))


def rotated(factors):
    """Every code a mixture of all factors, in equal parts of either sign (Hadamard)."""
    standard = (factors - factors.mean(0)) / factors.std(0)
    return standard @ hadamard(4) / 2


def all_scores(z, v):
    found = dci(z, v)
    return {
        "mig": mig(z, v),
        "factor_vae": factor_vae_score(z, v).adjusted,
        "disentanglement": found.disentanglement,
        "completeness": found.completeness,
        "informativeness": found.informativeness,
        "sap": sap(z, v),
    }


def test_true_factors_score_one():
    v = true_factors()
    for name, score in all_scores(v, v).items():
        assert score > 0.97, name


def test_order_sign_and_scale_of_codes_do_not_matter():
    v = true_factors()
    z = np.stack([3 * v[:, 4], -v[:, 2], 0.01 * v[:, 0], 7 - v[:, 3], -v[:, 1]], axis=1)
    for name, score in all_scores(z, v).items():
        assert score > 0.97, name


def test_noise_scores_about_zero():
    for name, score in all_scores(noise(), true_factors()).items():
        assert abs(score) < 0.05, name


def test_useless_dimensions_cost_little():
    v = true_factors()
    for name, score in all_scores(np.hstack([v, noise(4)]), v).items():
        assert score > 0.95, name


def test_a_rotation_of_all_factors_scores_low_but_informs():
    v = true_factors()[:, 1:]
    scores = all_scores(rotated(v), v)
    assert scores.pop("informativeness") > 0.5
    scores.pop("factor_vae")  # lenient: see its docstring
    for name, score in scores.items():
        assert score < 0.35, name


def test_a_factor_told_twice_has_no_gap_but_harms_no_modularity():
    v = true_factors()
    twice = np.hstack([v, v])
    assert mig(twice, v) == 0
    assert sap(twice, v) == pytest.approx(0, abs=1e-9)
    found = dci(twice, v)
    assert found.disentanglement > 0.97  # each dimension still serves one factor
    assert found.completeness == pytest.approx(1 - math.log(2) / math.log(10), abs=0.05)
    assert factor_vae_score(twice, v).accuracy > 0.97


def test_one_code_for_two_factors_loses_disentanglement_but_not_completeness():
    v = true_factors()[:, :2]
    both = np.stack([v[:, 0] * 6 + v[:, 1] * 5, noise(1)[:, 0]], axis=1)
    found = dci(both, v)
    assert found.informativeness > 0.97
    assert found.completeness > 0.97
    assert found.disentanglement < 0.1
    # The one dimension that serves is named whatever is held, so half of the votes are wrong.
    assert factor_vae_score(both, v).accuracy < 0.8


def test_mutual_information_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    v = np.stack([rng.integers(5, size=N), rng.integers(20, size=N)], axis=1)
    z = np.stack(
        [(v[:, 0] + rng.integers(3, size=N)) % 5, v[:, 1] // 3, rng.integers(9, size=N)], 1
    )
    expected = [[mutual_info_score(code, factor) for factor in v.T] for code in z.T]
    np.testing.assert_allclose(mutual_information(z, v), expected, atol=1e-12)


def test_mutual_information_of_a_gaussian_pair_nears_its_closed_form():
    rho, n = 0.9, 200_000
    rng = np.random.default_rng(0)
    x, e = rng.normal(size=(2, n))
    y = rho * x + math.sqrt(1 - rho**2) * e
    exact = -0.5 * math.log(1 - rho**2)  # 0.830 nats; 20 bins lose some of it
    found = mutual_information(x[:, None], y[:, None])[0, 0]
    assert 0.93 * exact < found < exact
    # The same under any increasing transformation, up to bins cut through equal values.
    bent = mutual_information(np.exp(x)[:, None], (y**3)[:, None])[0, 0]
    assert bent == pytest.approx(found, abs=1e-9)


def test_the_bias_of_mutual_information_is_as_documented():
    z, v = noise(5), noise(5, seed=2)
    assert mutual_information(z, v).mean() == pytest.approx(19 * 19 / (2 * N), rel=0.1)


def test_mig_of_a_noisy_channel_is_its_closed_form():
    rng = np.random.default_rng(0)
    v = rng.integers(2, size=(50_000, 1))
    flip = rng.random(v.shape) < 0.1
    z = np.hstack([v ^ flip, rng.integers(2, size=v.shape)])
    lost = -(0.1 * math.log(0.1) + 0.9 * math.log(0.9))
    assert mig(z, v) == pytest.approx(1 - lost / math.log(2), abs=0.01)


def test_means_flatter_mig_where_samples_do_not():
    """A drowned dimension: q(z|x) = N(1e-3 v, 1). Its mean knows v, a sample does not."""
    v = true_factors()[:, 2:3]
    means = np.hstack([1e-3 * v, np.zeros_like(v)])
    samples = means + noise(2)
    assert mig(means, v) > 0.97
    assert mig(samples, v) < 0.05


def test_sap_of_continuous_factors_is_a_gap_of_r_squared():
    rng = np.random.default_rng(0)
    v = rng.normal(size=(100_000, 1))
    z = np.hstack([v + rng.normal(size=v.shape), v + 2 * rng.normal(size=v.shape)])
    assert sap(z, v) == pytest.approx(1 / 2 - 1 / 5, abs=0.01)


def test_sap_of_a_binary_factor_is_the_scaled_accuracy():
    rng = np.random.default_rng(0)
    v = (rng.random((50_000, 1)) < 0.2).astype(int)
    z = np.hstack([v ^ (rng.random(v.shape) < 0.1), rng.normal(size=v.shape)])
    # Balanced accuracy 0.9, guessing 0.5.
    assert sap(z, v) == pytest.approx(0.8, abs=0.02)


def test_factor_vae_by_chance_is_one_in_f():
    assert factor_vae_score(noise(), true_factors()).accuracy == pytest.approx(0.2, abs=0.04)


def test_dci_importance_names_the_dimension_of_each_factor():
    v = true_factors()
    found = dci(v[:, ::-1], v)
    assert found.importance.argmax(axis=0).tolist() == [4, 3, 2, 1, 0]
    np.testing.assert_allclose(found.importance.sum(axis=0), 1)


def test_dci_of_codes_that_say_nothing_is_refused():
    factors = np.random.default_rng(0).integers(0, 3, size=(500, 2))
    with pytest.raises(ValueError, match="codes say nothing of any factor"):
        dci(np.zeros((500, 2)), factors)


def test_a_factor_that_no_code_tells_is_served_by_none():
    found = disentanglement._one_minus_entropy(np.array([[0.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    np.testing.assert_allclose(found, [0, 1, 0], atol=1e-12)


def test_constant_codes_are_left_out_of_the_factor_vae_score():
    v = true_factors()
    constant = np.tile([0.905, 0.546], (N, 1))  # of standard deviation 1e-16 and not 0
    assert constant.std(axis=0).all()
    assert factor_vae_score(np.hstack([v, constant]), v).adjusted > 0.97


@pytest.mark.parametrize("name", ["votes", "batch_size"])
def test_a_vote_needs_another_to_be_scored_by_and_a_variance_two_codes(name):
    v = true_factors()
    with pytest.raises(ValueError, match=f"{name} is 1, but it must be at least 2"):
        factor_vae_score(v, v, **{name: 1})


@pytest.mark.parametrize("score", [mig, dci, sap, factor_vae_score])
def test_tensors_give_what_arrays_give_and_a_seed_fixes_it(score):
    v = true_factors()[:500, 1:]
    z = rotated(v)
    once, again = score(z, v), score(torch.tensor(z, requires_grad=True), torch.tensor(v))
    assert str(once) == str(again)


@pytest.mark.parametrize("score", [mig, dci, sap, factor_vae_score, mutual_information])
def test_bad_input_is_refused(score):
    v = true_factors()
    with pytest.raises(ValueError, match=r"codes has shape \(4000,\)"):
        score(v[:, 0], v)
    with pytest.raises(ValueError, match="codes has 3999 rows and factors 4000"):
        score(v[1:], v)
    with pytest.raises(ValueError, match="codes has values that are not finite"):
        score(v + np.inf, v)
    with pytest.raises(ValueError, match="factors column 1 is constant"):
        score(v, np.hstack([v[:, :1], np.ones((N, 1))]))


def test_scores_that_compare_dimensions_need_two():
    v = true_factors()
    with pytest.raises(ValueError, match="K >= 2"):
        mig(v[:, :1], v)
    with pytest.raises(ValueError, match="K >= 2"):
        factor_vae_score(v, v[:, :1])
    with pytest.raises(ValueError, match="constant in every column"):
        factor_vae_score(np.zeros((N, 3)), v)


def test_rank_correlation_is_spearmans():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    factors = rng.integers(0, 6, size=(500, 2)).astype(float)
    codes = np.stack(
        [np.exp(factors[:, 0]), -factors[:, 1] + rng.normal(size=500), 0 * factors[:, 0]], 1
    )
    found = rank_correlation(codes, factors)
    assert found[0, 0] == pytest.approx(1)
    assert (found[2] == 0).all()
    for row, column in ((0, 1), (1, 0), (1, 1)):
        expected = abs(spearmanr(codes[:, row], factors[:, column]).statistic)
        assert found[row, column] == pytest.approx(expected)
