import math

import pytest
import torch
from torch.distributions import Independent, Laplace, MultivariateNormal, Normal, Uniform
from torch.distributions import kl_divergence as library_kl

from coursekit import objectives

NOISE = 0.7


def prior(latent_dim=2):
    return Independent(Normal(torch.zeros(latent_dim), torch.ones(latent_dim)), 1)


def likelihood(z):
    """p(x|z) = N(z, NOISE^2 I), as images of (1, 1, 2): p(x) = N(0, (1 + NOISE^2) I) exactly."""
    return Independent(Normal(z[:, None, None, :], NOISE), 3)


def exact_posterior(x):
    variance = NOISE**2 / (1 + NOISE**2)
    mean = x.flatten(1) / (1 + NOISE**2)
    return Independent(Normal(mean, math.sqrt(variance)), 1)


@pytest.fixture
def x():
    return torch.randn(6, 1, 1, 2, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def log_px(x):
    return MultivariateNormal(torch.zeros(2), (1 + NOISE**2) * torch.eye(2)).log_prob(x.flatten(1))


def test_every_bound_is_exact_at_the_true_posterior(x, log_px):
    weights = objectives.log_weights(x, exact_posterior(x), prior(), likelihood, samples=5)
    torch.testing.assert_close(weights, log_px.expand(5, 6))
    bound = objectives.iwae(x, exact_posterior(x), prior(), likelihood, samples=5)
    torch.testing.assert_close(bound.loss, -log_px.mean())
    torch.testing.assert_close(bound.negative_elbo, -log_px.mean())
    assert bound.effective_samples.item() == pytest.approx(5.0, rel=1e-4)


def test_iwae_tightens_from_the_elbo_to_log_px(x, log_px):
    torch.manual_seed(1)
    q = Independent(Normal(torch.zeros(6, 2), 1.0), 1)  # the prior: a poor posterior
    n = 4000
    losses = {
        k: -(objectives.log_weights(x, q, prior(), likelihood, k * n))
        .view(k, n, 6)
        .logsumexp(0)
        .sub(math.log(k))
        .mean()
        for k in (1, 4, 16, 64)
    }
    # The ELBO by hand: E_q log p(x|z) with z ~ N(0, I), and KL = 0.
    expected = 2 * 0.5 * math.log(2 * math.pi * NOISE**2)
    expected += ((x.flatten(1).square().sum(1) + 2) / (2 * NOISE**2)).mean()
    assert losses[1].item() == pytest.approx(expected.item(), abs=0.1)
    assert losses[1] > losses[4] > losses[16] > losses[64] > -log_px.mean()
    assert losses[64].item() == pytest.approx(-log_px.mean().item(), abs=0.05)


def test_iwae_is_logsumexp_of_its_own_weights(x):
    q = Independent(Normal(torch.zeros(6, 2), 1.0), 1)
    torch.manual_seed(2)
    weights = objectives.log_weights(x, q, prior(), likelihood, samples=3).exp()
    torch.manual_seed(2)
    bound = objectives.iwae(x, q, prior(), likelihood, samples=3)
    torch.testing.assert_close(bound.loss, -weights.mean(0).log().mean())
    torch.testing.assert_close(bound.negative_elbo, -weights.log().mean())
    effective = weights.sum(0).square() / weights.square().sum(0)
    torch.testing.assert_close(bound.effective_samples, effective.mean())


def test_weights_belong_to_their_image(x):
    """Sample k of image b must meet image b: with a sharp posterior a mix-up would show."""
    q = Independent(Normal(10.0 * torch.arange(12.0).view(6, 2), 1e-3), 1)
    images = 10.0 * torch.arange(12.0).view(6, 1, 1, 2)
    weights = objectives.log_weights(
        images,
        q,
        Independent(Normal(torch.zeros(2), 1e3), 1),
        lambda z: Independent(Normal(z[:, None, None, :], 0.1), 3),
        4,
    )
    assert weights.std() < 5


def test_elbo_is_that_of_the_closed_form_functions():
    generator = torch.Generator().manual_seed(3)
    mu, logvar = torch.randn(2, 5, 2, generator=generator).unbind()
    x = torch.rand(5, 1, 1, 2, generator=generator)
    q = Independent(Normal(mu, torch.exp(logvar / 2)), 1)

    def bernoulli(z):
        return Independent(
            torch.distributions.Bernoulli(logits=z[:, None, None, :], validate_args=False), 3
        )

    torch.manual_seed(4)
    elbo = objectives.elbo_from_distributions(x, q, prior(), bernoulli, beta=0.3)
    torch.manual_seed(4)
    logits = objectives.reparameterize(mu, logvar)[:, None, None, :]
    expected = objectives.negative_elbo(x, logits, mu, logvar, beta=0.3)
    for part, other in zip(elbo, expected, strict=True):
        torch.testing.assert_close(part, other)


class WithoutClosedForm(Independent):
    """A posterior of which torch.distributions knows no KL."""


@torch.distributions.register_kl(WithoutClosedForm, Independent)
def _no_closed_form(p, q):
    raise NotImplementedError


def test_where_no_closed_form_is_known_the_kl_is_estimated_without_bias():
    mu, sigma, n = torch.tensor([1.0, -0.5]), torch.tensor([0.5, 2.0]), 200_000
    base = Normal(mu.expand(n, 2), sigma.expand(n, 2))
    exact = library_kl(Independent(base, 1), prior())[0]
    torch.manual_seed(5)
    x = torch.zeros(n, 1, 1, 2)
    q = WithoutClosedForm(base, 1)
    estimate = objectives.elbo_from_distributions(x, q, prior(), likelihood).kl
    # log q - log p has standard deviation 3 here: a standard error of 0.007.
    assert estimate.item() == pytest.approx(exact.item(), abs=0.03)


@pytest.mark.parametrize("family", [Normal, Laplace, Uniform])
def test_kl_by_dimension_sums_to_the_kl(family):
    a, b = torch.rand(4, 3) * 0.4, 0.5 + torch.rand(4, 3) * 0.4
    q = Independent(family(a, b), 1)
    p = Independent(family(torch.zeros(3), torch.ones(3)), 1)
    by_dimension = objectives.kl_by_dimension(q, p)
    assert by_dimension.shape == (4, 3)
    torch.testing.assert_close(by_dimension.sum(1), library_kl(q, p))


def test_free_bits_by_hand():
    """Means over the batch are 0.4 and 2.0: the first is lifted to 0.5, the second stays.

    It is the mean that is lifted, not each image's KL: 0.7 is above the floor and 0.1 below it.
    """
    kl = torch.tensor([[0.1, 1.0], [0.7, 3.0]], requires_grad=True)
    value = objectives.free_bits(kl, floor=0.5)
    assert value.item() == pytest.approx(2.5)
    value.backward()
    torch.testing.assert_close(kl.grad, torch.tensor([[0.0, 0.5], [0.0, 0.5]]))


def test_elbo_with_free_bits_reports_the_kl_itself(x):
    q = Independent(Normal(torch.tensor([[0.0, 2.0]]).expand(6, 2), 1.0), 1)  # KL 0 and 2
    elbo = objectives.elbo_from_distributions(x, q, prior(), likelihood, beta=0.5, floor=0.5)
    assert elbo.kl.item() == pytest.approx(2.0)
    torch.testing.assert_close(elbo.loss - elbo.reconstruction, torch.tensor(0.5 * 2.5))


def test_gradient_flows_through_the_sample(x):
    """The same gradient as with the sample and the KL written out."""
    q = exact_posterior(x)
    mean, scale = q.mean.clone().requires_grad_(), q.stddev.clone().requires_grad_()
    torch.manual_seed(6)
    z = Normal(mean, scale).rsample()
    expected = -(
        likelihood(z).log_prob(x) - library_kl(Independent(Normal(mean, scale), 1), prior())
    ).mean()
    grads = torch.autograd.grad(expected, (mean, scale))
    torch.manual_seed(6)
    loss = objectives.elbo_from_distributions(
        x, Independent(Normal(mean, scale), 1), prior(), likelihood
    ).loss
    torch.testing.assert_close(torch.autograd.grad(loss, (mean, scale)), grads)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"beta": -0.1}, "beta is -0.1"),
        ({"beta": math.nan}, "beta is nan"),
        ({"floor": -1.0}, "floor is -1"),
        ({"x": torch.zeros(6, 1, 2, 2)}, "the likelihood is of"),
        ({"x": torch.zeros(6, 1, 1, 1)}, "the likelihood is of"),
        ({"prior": MultivariateNormal(torch.zeros(2), torch.eye(2)), "floor": 0.5}, "floor=0"),
    ],
)
def test_bad_input_is_named(x, change, message):
    arguments = {
        "x": x,
        "posterior": exact_posterior(x),
        "prior": prior(),
        "likelihood": likelihood,
    }
    with pytest.raises(ValueError, match=message):
        objectives.elbo_from_distributions(**(arguments | change))


def test_effective_samples_stay_between_1_and_k(monkeypatch):
    """At log-weights this low, those of a large image, float32 resolves steps of 0.008 only."""
    log_w = torch.full((50, 6), -66386.1)
    monkeypatch.setattr(objectives.bounds, "log_weights", lambda *_: log_w)
    equal = objectives.iwae(None, None, None, None, 50).effective_samples
    assert equal.item() == pytest.approx(50, rel=1e-4)
    log_w[0] += 1000
    one = objectives.iwae(None, None, None, None, 50).effective_samples
    assert one.item() == pytest.approx(1, rel=1e-4)


def test_iwae_needs_a_sample(x):
    with pytest.raises(ValueError, match="samples is 0"):
        objectives.iwae(x, exact_posterior(x), prior(), likelihood, samples=0)
    with pytest.raises(ValueError, match="the likelihood is of"):
        objectives.iwae(x[..., :1], exact_posterior(x), prior(), likelihood, samples=2)
