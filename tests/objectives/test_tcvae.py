"""The total correlation of a batch, against Gaussians for which it is known."""

import math

import pytest
import torch

from coursekit.objectives import negative_elbo, tcvae_loss, total_correlation


def test_of_correlated_gaussians_it_is_known():
    """Posteriors of known width around correlated means: q(z) is Gaussian."""
    torch.manual_seed(0)
    for correlation in (0.0, 0.6, 0.9):
        covariance = torch.tensor([[1.0, correlation], [correlation, 1.0]]).double()
        means = torch.randn(3000, 2).double() @ torch.linalg.cholesky(covariance).T
        logvar = torch.full_like(means, math.log(0.1))
        z = means + math.sqrt(0.1) * torch.randn_like(means)
        whole = covariance + 0.1 * torch.eye(2).double()
        exact = whole.diagonal().log().sum() / 2 - whole.logdet() / 2
        assert total_correlation(z, means, logvar).item() == pytest.approx(exact.item(), abs=0.05)


def test_one_image_and_one_dimension_have_none():
    z, mu, logvar = torch.randn(3, 1, 4)
    assert total_correlation(z, mu, logvar).abs() < 1e-6
    z, mu, logvar = torch.randn(3, 8, 1)
    assert total_correlation(z, mu, logvar).abs() < 1e-6


def test_the_loss_adds_it_to_the_negative_elbo():
    torch.manual_seed(0)
    x, logits = torch.rand(5, 1, 4, 4), torch.randn(5, 1, 4, 4)
    mu, logvar, z = torch.randn(3, 5, 3)
    parts = tcvae_loss(x, logits, mu, logvar, z, beta=4.0)
    plain = negative_elbo(x, logits, mu, logvar)
    assert (parts.reconstruction, parts.kl) == (plain.reconstruction, plain.kl)
    assert parts.total_correlation == total_correlation(z, mu, logvar)
    assert torch.isclose(parts.loss, plain.loss + 3 * parts.total_correlation)
    assert torch.isclose(tcvae_loss(x, logits, mu, logvar, z, 1.0).loss, plain.loss)
