"""Maximum likelihood of points and of codes."""

import math

import pytest
import torch

from coursekit import data
from coursekit.models import RealNVP, SmallConvVAE
from coursekit.training import code_sampler, divergence_step, fit_density


def shifted(count):
    return 2.0 + 0.5 * torch.randn(count, 2)


def test_the_loss_comes_down_to_the_entropy():
    torch.manual_seed(0)
    losses = fit_density(RealNVP(2, 4, 8), shifted, steps=80, lr=0.03)
    entropy = 2 * math.log(0.5 * math.sqrt(2 * math.pi * math.e))
    assert losses.shape == (80,)
    assert losses[0] > entropy + 1
    assert entropy - 0.15 < losses[-10:].mean() < entropy + 0.25


def test_a_seed_gives_the_same_training_and_leaves_the_global_generator():
    runs = []
    for _ in range(2):
        torch.manual_seed(0)
        model, before = RealNVP(2, 2, 4), torch.get_rng_state()
        runs.append(fit_density(model, shifted, steps=5, seed=3))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(*runs)


def test_a_loss_that_is_not_finite_stops_the_training():
    with pytest.raises(FloatingPointError, match="step 0: the loss is inf; lower lr"):
        fit_density(RealNVP(2, 2, 4), lambda n: torch.full((n, 2), 1e30), steps=3)
    with pytest.raises(ValueError, match="steps is 0"):
        fit_density(RealNVP(2, 2, 4), shifted, steps=0)


def test_codes_are_draws_from_the_posteriors_of_random_images():
    torch.manual_seed(1)
    vae, images = SmallConvVAE().eval(), data.load("digits", size=3)
    with torch.no_grad():
        mu = vae.encode(images.images / 255)[0]
        vae.to_logvar.bias.fill_(-30.0)  # nearly no noise: a draw is one of the means
        draw = code_sampler(vae, images, batch_size=2)
    assert draw(50).shape == (50, 2)
    near = torch.cdist(draw(50), mu).min(dim=1)
    assert near.values.max() < 1e-3
    assert set(near.indices.tolist()) == {0, 1, 2}


def test_a_step_goes_down_the_divergence_from_a_gaussian():
    """Of y = m + z against N(3, I), whose KL divergence is (m - 3)^2 / 2."""
    m = torch.zeros(1, requires_grad=True)
    z = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))

    def flow(noise):
        return m + noise, torch.zeros(len(noise))

    def target(y):
        return torch.distributions.Normal(3.0, 1.0).log_prob(y).sum(1)

    losses = [divergence_step(flow, torch.optim.SGD([m], lr=0.5), target, z) for _ in range(20)]
    assert losses[0] == pytest.approx(4.5, abs=0.2)
    assert losses[-1] == pytest.approx(0, abs=0.05)
    assert m.item() == pytest.approx(3, abs=0.1)
