"""Bounds and activity against the linear-Gaussian VAE, of which everything is known exactly."""

import math

import pytest
import torch
from torch.distributions import (
    AffineTransform,
    Independent,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    kl_divergence,
)

from coursekit.metrics import active_units, cost_of_swap, elbo, encode, iwae
from coursekit.models.linear_gaussian import LinearGaussianVAE


@pytest.fixture
def model():
    """An encoder that is right in direction, off in mean and width: every bound has a gap."""
    model = LinearGaussianVAE((1, 3, 4), latent_dim=3)
    model.solve_encoder()
    with torch.no_grad():
        model.A.mul_(0.7)
        model.logvar.add_(1.0)
    return model


def standard_error(values):
    return (values.std() / len(values) ** 0.5).item()


def test_the_oracle_agrees_with_a_dense_gaussian(model):
    x = model.sample(50)
    covariance = model.W @ model.W.T + torch.exp(2 * model.log_noise) * torch.eye(12)
    dense = MultivariateNormal(model.b, covariance)
    torch.testing.assert_close(model.log_prob(x), dense.log_prob(x.flatten(1)))


def test_the_oracle_obeys_bayes_rule(model):
    with torch.no_grad():
        model.b.normal_()
        model.W.normal_()  # columns no longer orthogonal
    x = model.sample(50)
    z = torch.randn(50, 3)
    joint = model.prior.log_prob(z) + model.likelihood(z).log_prob(x)
    torch.testing.assert_close(
        joint - model.true_posterior(x).log_prob(z), model.log_prob(x), rtol=1e-4, atol=1e-4
    )


def test_elbo_is_log_px_minus_the_kl_to_the_true_posterior(model):
    x = model.sample(4)
    repeated = x.repeat_interleave(5000, dim=0)
    estimate = elbo(model, repeated).elbo.view(4, 5000)
    q = model.posterior(x)
    q = MultivariateNormal(q.mean, covariance_matrix=torch.diag_embed(q.variance))
    exact = model.log_prob(x) - kl_divergence(q, model.true_posterior(x))
    for row, value in zip(estimate, exact, strict=True):
        assert abs(row.mean() - value) < 4 * standard_error(row)


def test_bounds_are_ordered_and_rise_to_log_px(model):
    x = model.sample(2000)
    exact = model.log_prob(x).mean().item()
    values = [elbo(model, x, samples=50).elbo.mean().item()]
    values += [iwae(model, x, k).mean().item() for k in (5, 50, 500)]
    values.append(exact)
    assert values == sorted(values)
    assert values[1] - values[0] > 0.1
    assert values[4] - values[3] < 0.02


def test_bounds_are_tight_at_the_optimum(model):
    model.solve_encoder()
    x = model.sample(300)
    # All importance weights are then p(x): any k, any chunk, any seed gives it exactly.
    for k, chunk in ((1, 2000), (7, 2000), (7, 200), (50, 1)):
        bound = iwae(model, x, k, chunk=chunk, seed=k)
        torch.testing.assert_close(bound, model.log_prob(x), rtol=1e-4, atol=1e-4)
    gap = elbo(model, x, samples=20).elbo - model.log_prob(x)
    assert abs(gap.mean()) < 4 * standard_error(gap)


def test_solve_encoder_is_a_maximum_of_the_elbo_when_columns_are_not_orthogonal():
    model = LinearGaussianVAE((6,), latent_dim=2, seed=1)
    with torch.no_grad():
        model.W.normal_()
    model.solve_encoder()
    x = model.sample(20)
    q = model.posterior(x)
    q = MultivariateNormal(q.mean, covariance_matrix=torch.diag_embed(q.variance))
    gap = kl_divergence(q, model.true_posterior(x)).sum()
    for gradient in torch.autograd.grad(gap, [model.A, model.c, model.logvar]):
        assert gradient.abs().max() < 1e-3


def test_iwae_decodes_no_more_than_a_chunk_at_a_time(model, monkeypatch):
    x, sizes = model.sample(30), []
    likelihood = model.likelihood
    monkeypatch.setattr(model, "likelihood", lambda z: sizes.append(len(z)) or likelihood(z))
    iwae(model, x, k=101, batch_size=10, chunk=200)
    assert max(sizes) <= 200
    assert sum(sizes) == 30 * 101
    sizes.clear()
    iwae(model, x, k=2, batch_size=20, chunk=7)
    assert max(sizes) <= 7
    with pytest.raises(ValueError, match="chunk is 0"):
        iwae(model, x, k=2, chunk=0)


def test_elbo_has_the_closed_form_kl_and_parts_that_add_up(model):
    x = model.sample(100)
    parts = elbo(model, x, samples=3, batch_size=33)
    torch.testing.assert_close(parts.elbo, -parts.reconstruction - parts.kl)
    torch.testing.assert_close(parts.kl, kl_divergence(model.posterior(x), model.prior))


class Flow:
    """The model with its posterior written as a transformed distribution: no KL, no mean known."""

    def __init__(self, model):
        self.model, self.prior, self.likelihood = model, model.prior, model.likelihood

    def posterior(self, x):
        q = self.model.posterior(x)
        base = Independent(Normal(torch.zeros_like(q.mean), torch.ones_like(q.mean)), 1)
        return TransformedDistribution(base, AffineTransform(q.mean, q.stddev, event_dim=1))


def test_posteriors_without_closed_forms_give_the_same_in_the_mean(model):
    x = model.sample(2000)
    flow = Flow(model)
    sampled, exact = elbo(flow, x, samples=4), elbo(model, x, samples=4)
    for a, b in zip(sampled, exact, strict=True):  # the reconstructions are of the same draws
        assert abs((a - b).mean()) <= 4 * standard_error(a - b)
    assert not torch.equal(sampled.kl, exact.kl)
    torch.testing.assert_close(
        active_units(flow, x).activity, active_units(model, x).activity, atol=0.03, rtol=0
    )
    difference = encode(flow, x).means - encode(model, x).means
    spread = model.posterior(x).stddev / 8  # of a mean of 64
    torch.testing.assert_close((difference / spread).std(), torch.tensor(1.0), atol=0.05, rtol=0)


def test_activity_is_one_minus_the_posterior_variance(model):
    with torch.no_grad():
        model.W[:, 1] = 0  # nothing depends on this dimension: its posterior is the prior
    model.solve_encoder()
    found = active_units(model, model.sample(20_000))
    # Var(z) = 1 = Var(E[z|x]) + E[Var(z|x)], for data of the model itself.
    torch.testing.assert_close(found.activity, 1 - model.logvar.exp(), atol=0.02, rtol=0)
    assert found.active == 2
    assert active_units(model, model.sample(2000), threshold=0.99).active == 0


def test_a_model_is_left_as_it_was_and_a_seed_fixes_the_result(model):
    x = model.sample(50)
    model.train()
    before = torch.get_rng_state()
    assert torch.equal(iwae(model, x, 3, seed=5), iwae(model, x, 3, seed=5))
    assert not torch.equal(iwae(model, x, 3, seed=5), iwae(model, x, 3, seed=6))
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training


def test_each_layer_is_left_in_its_own_mode(model):
    model.frozen = torch.nn.BatchNorm1d(3)
    model.train()
    model.frozen.eval()
    elbo(model, model.sample(2))
    assert model.training
    assert not model.frozen.training


def test_a_model_that_does_more_in_train_is_told_of_both_changes(model, monkeypatch):
    told, train = [], model.train
    monkeypatch.setattr(model, "train", lambda mode=True: told.append(mode) or train(mode))
    elbo(model, model.sample(2))
    assert told == [False, True]


def test_noise_is_independent_of_images_drawn_with_the_same_seed(model):
    model.solve_encoder()
    x = model.sample(2000, seed=3)
    noise = (encode(model, x, seed=3).samples - encode(model, x).means) / model.posterior(x).stddev
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(2000, 3, generator=generator)  # the codes that x was made from
    assert abs((noise * drawn).mean()) < 4 / 6000**0.5


def test_uint8_images_are_read_as_floats(model):
    grey = torch.arange(24, dtype=torch.uint8).view(2, 1, 3, 4)
    assert torch.equal(elbo(model, grey).elbo, elbo(model, grey.float() / 255).elbo)


def test_codes_are_samples_and_means_of_the_posterior(model):
    x = model.sample(5000)
    codes = encode(model, x, batch_size=999)
    q = model.posterior(x)
    torch.testing.assert_close(codes.means, q.mean)
    noise = (codes.samples - codes.means) / q.stddev
    assert abs(noise.mean()) < 0.03
    assert math.isclose(noise.std().item(), 1, abs_tol=0.03)


def test_bad_input_is_refused(model):
    with pytest.raises(ValueError, match="data is empty"):
        elbo(model, torch.zeros(0, 1, 3, 4))
    with pytest.raises(ValueError, match="k is 0"):
        iwae(model, model.sample(2), 0)
    with pytest.raises(ValueError, match="samples is 0"):
        elbo(model, model.sample(2), samples=0)
    with pytest.raises(TypeError, match="int64"):
        elbo(model, torch.zeros(2, 1, 3, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="at least 2"):
        active_units(model, model.sample(1))
    with pytest.raises(ValueError, match="latent_dim is 13"):
        LinearGaussianVAE((12,), latent_dim=13)
    with pytest.raises(ValueError, match="noise is 0"):
        LinearGaussianVAE((12,), latent_dim=1, noise=0.0)


def test_a_code_that_counts_is_missed_and_one_that_does_not_is_not():
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    logits = torch.logit(x.clamp(0.05, 0.95))
    entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / 5

    def shape(z):
        return z.view(-1, 1, 2, 2)

    own, swapped = cost_of_swap(lambda x: (logits.flatten(1), []), lambda z, maps: shape(z), x)
    assert torch.isclose(own, entropy)
    assert swapped > own + 0.1
    own, swapped = cost_of_swap(lambda x: (logits.flatten(1), [logits]), lambda z, m: m[0], x)
    assert own == swapped == entropy
