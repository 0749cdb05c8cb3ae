import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal
from torch.distributions import kl_divergence as library_kl

from coursekit import objectives


@pytest.fixture
def gaussian():
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    logvar = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    return mu, logvar


def test_kl_is_that_of_torch_distributions(gaussian):
    mu, logvar = gaussian
    posterior = Independent(Normal(mu, torch.exp(logvar / 2)), 1)
    prior = Independent(Normal(torch.zeros_like(mu), torch.ones_like(mu)), 1)
    torch.testing.assert_close(objectives.kl_divergence(mu, logvar), library_kl(posterior, prior))


def test_kl_by_hand():
    # sigma = 2, mu = 1: 0.5 * (1 + 4 - 1 - log 4), twice.
    mu, logvar = torch.ones(1, 2), torch.full((1, 2), math.log(4.0))
    expected = torch.tensor([4 - math.log(4)])
    torch.testing.assert_close(objectives.kl_divergence(mu, logvar), expected)
    assert objectives.kl_divergence(torch.zeros(2, 7), torch.zeros(2, 7)).tolist() == [0, 0]


def test_sample_has_the_moments_of_the_posterior():
    mu, logvar = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, math.log(9.0)]])
    n = 200_000
    z = objectives.reparameterize(
        mu.expand(n, 2), logvar.expand(n, 2), torch.Generator().manual_seed(1)
    )
    standard_error = torch.tensor([1.0, 3.0]) / math.sqrt(n)
    assert ((z.mean(0) - mu[0]).abs() < 4 * standard_error).all()
    assert ((z.std(0) - torch.tensor([1.0, 3.0])).abs() < 4 * standard_error).all()


def test_sample_is_reproducible_and_differentiable(gaussian):
    mu, logvar = (t.requires_grad_() for t in gaussian)
    first, second = (
        objectives.reparameterize(mu, logvar, torch.Generator().manual_seed(7)) for _ in range(2)
    )
    assert torch.equal(first, second)
    first.sum().backward()
    torch.testing.assert_close(mu.grad, torch.ones_like(mu))
    # dz/dlogvar = eps * sigma / 2 = (z - mu) / 2
    torch.testing.assert_close(logvar.grad, (first - mu).detach() / 2)


def test_negative_elbo_sums_over_pixels_and_averages_over_the_batch(gaussian):
    mu, logvar = gaussian
    generator = torch.Generator().manual_seed(3)
    x = torch.rand(5, 1, 4, 4, generator=generator, dtype=torch.float64).round()
    logits = torch.randn(5, 1, 4, 4, generator=generator, dtype=torch.float64)
    elbo = objectives.negative_elbo(x, logits, mu, logvar, beta=0.3)
    log_likelihood = Independent(Bernoulli(logits=logits), 3).log_prob(x)
    torch.testing.assert_close(elbo.reconstruction, -log_likelihood.mean())
    torch.testing.assert_close(elbo.kl, objectives.kl_divergence(mu, logvar).mean())
    torch.testing.assert_close(elbo.loss, elbo.reconstruction + 0.3 * elbo.kl)


def test_negative_elbo_gradient_is_that_of_finite_differences(gaussian):
    mu, logvar = (t.requires_grad_() for t in gaussian)
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(5, 1, 2, 2, generator=generator, dtype=torch.float64)
    logits = torch.randn(5, 1, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *args: objectives.negative_elbo(x, *args).loss, (logits, mu, logvar)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mu": torch.zeros(2, 4)}, "mu has shape"),
        ({"logits": torch.zeros(2, 1, 3, 4)}, "x has shape"),
        ({"x": torch.full((2, 1, 3, 3), 255.0)}, "divide uint8 images by 255"),
        ({"beta": -1.0}, "beta is -1"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {
        "x": torch.zeros(2, 1, 3, 3),
        "logits": torch.zeros(2, 1, 3, 3),
        "mu": torch.zeros(2, 5),
        "logvar": torch.zeros(2, 5),
    }
    objectives.negative_elbo(**arguments)
    with pytest.raises(ValueError, match=message):
        objectives.negative_elbo(**(arguments | change))
