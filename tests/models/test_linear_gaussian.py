"""The linear beta-VAE, trained to the end, against what is known of its optimum."""

import math

import pytest
import torch

from coursekit.models.linear_gaussian import optimum

NOISE = 0.5


def images(*lengths):
    """Three orthogonal patterns of 12 numbers, and the covariance of images made from them."""
    patterns = torch.linalg.qr(torch.randn(12, 3, generator=torch.Generator().manual_seed(1))).Q
    W = patterns.double() * torch.tensor(lengths)
    return patterns.double(), W @ W.T + NOISE**2 * torch.eye(12).double()


def test_it_reaches_the_evidence():
    _, covariance = images(3.0, 2.0, 1.0)
    evidence = -(12 * math.log(2 * math.pi) + covariance.logdet().item() + 12) / 2
    assert optimum(covariance, 4, NOISE).loss == pytest.approx(-evidence, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_different_variances_have_axes_and_equal_ones_have_not(seed):
    patterns, covariance = images(3.0, 2.0, 1.0)
    W = optimum(covariance, 3, NOISE, seed=seed).W
    found = (torch.nn.functional.normalize(W, dim=0).T @ patterns).abs()
    assert torch.allclose(found.sort(dim=0).values[-1], torch.ones(3).double(), atol=1e-4)
    patterns, covariance = images(2.0, 2.0, 2.0)
    W = optimum(covariance, 3, NOISE, seed=seed).W
    assert torch.allclose(W.T @ W, 4 * torch.eye(3).double(), atol=1e-3)
    assert (torch.nn.functional.normalize(W, dim=0).T @ patterns).abs().amax(0).min() < 0.99


@pytest.mark.parametrize("beta", [1.0, 4.0, 6.0, 20.0, 40.0])
def test_each_dimension_keeps_what_the_weight_leaves_it(beta):
    _, covariance = images(3.0, 2.0, 1.0)
    kl = optimum(covariance, 3, NOISE, beta).kl.sort(descending=True).values
    variance = torch.tensor([3.0, 2.0, 1.0]).double() ** 2 + NOISE**2
    known = 0.5 * (variance / (beta * NOISE**2)).log()
    assert torch.allclose(kl, known.clamp(min=0), atol=1e-3)
