import math

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli

from coursekit import objectives


@pytest.fixture
def scores():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 7, generator=generator, dtype=torch.float64).unbind()


def test_cross_entropy_is_that_of_a_bernoulli(scores):
    real, fake = scores
    loss = objectives.bce_discriminator(real, fake)
    of_real = -Bernoulli(logits=real).log_prob(torch.ones_like(real)).mean()
    of_fake = -Bernoulli(logits=fake).log_prob(torch.zeros_like(fake)).mean()
    torch.testing.assert_close(loss.real, of_real)
    torch.testing.assert_close(loss.fake, of_fake)
    torch.testing.assert_close(loss.loss, of_real + of_fake)


def test_an_undecided_discriminator_pays_log_4():
    """Goodfellow et al. (2014), theorem 1: at the equilibrium D = 1/2."""
    zero = torch.zeros(4)
    assert objectives.bce_discriminator(zero, zero).loss.item() == pytest.approx(math.log(4))
    assert objectives.non_saturating_generator(zero).loss.item() == pytest.approx(math.log(2))
    assert objectives.saturating_generator(zero).loss.item() == pytest.approx(-math.log(2))


def test_generator_losses_by_their_definition(scores):
    _, fake = scores
    d = torch.sigmoid(fake)
    saturating = objectives.saturating_generator(fake).loss
    torch.testing.assert_close(saturating, torch.log(1 - d).mean())
    torch.testing.assert_close(objectives.non_saturating_generator(fake).loss, -torch.log(d).mean())
    torch.testing.assert_close(objectives.wasserstein_generator(fake).loss, -fake.mean())


def test_the_saturating_loss_saturates_and_the_other_does_not():
    """Slopes at a score of -10, where the discriminator is sure: -D(x) and -(1 - D(x))."""
    slopes = []
    for loss in (objectives.saturating_generator, objectives.non_saturating_generator):
        fake = torch.tensor([-10.0], dtype=torch.float64, requires_grad=True)
        loss(fake).loss.backward()
        slopes.append(fake.grad.item())
    d = 1 / (1 + math.exp(10))
    assert slopes == pytest.approx([-d, -(1 - d)])


def test_scores_far_out_stay_finite():
    far = torch.tensor([-1e4, 1e4])
    for loss in (
        objectives.bce_discriminator(far, far),
        objectives.saturating_generator(far),
        objectives.non_saturating_generator(far),
    ):
        assert all(torch.isfinite(part) for part in loss)


def test_label_smoothing_moves_the_optimum_of_the_real_score():
    """With the target 0.9 the best D(x) is 0.9, and its price the entropy of 0.9."""
    best = torch.tensor([math.log(9.0)], dtype=torch.float64, requires_grad=True)
    part = objectives.bce_discriminator(best, torch.zeros(1), real_label=0.9).real
    part.backward()
    assert part.item() == pytest.approx(-(0.9 * math.log(0.9) + 0.1 * math.log(0.1)))
    assert best.grad.item() == pytest.approx(0.0, abs=1e-12)


def test_hinge_counts_only_scores_inside_the_margin():
    real, fake = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])
    loss = objectives.hinge_discriminator(real, fake)
    assert loss.real.item() == pytest.approx((0.0 + 0.5 + 2.0) / 3)
    assert loss.fake.item() == pytest.approx((0.0 + 1.0 + 2.0) / 3)
    torch.testing.assert_close(loss.loss, loss.real + loss.fake)


def test_wasserstein_critic_by_hand():
    real, fake = torch.tensor([3.0, 1.0]), torch.tensor([0.0, -1.0])
    loss = objectives.wasserstein_critic(real, fake, torch.tensor(0.5), weight=10.0)
    assert [part.item() for part in loss] == [-0.5 - 2.0 + 5.0, 2.0, -0.5, 0.5]


def test_gradient_penalty_of_a_linear_critic():
    """The gradient of w'x is w everywhere, so the penalty is (|w| - 1)^2 exactly."""
    w = torch.tensor([3.0, 0.0, 4.0], requires_grad=True)
    real, fake = torch.rand(5, 3), torch.rand(5, 3)
    penalty = objectives.gradient_penalty(lambda x: x @ w, real, fake)
    assert penalty.item() == pytest.approx((5.0 - 1.0) ** 2)
    penalty.backward()  # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    torch.testing.assert_close(w.grad, 2 * 4.0 * w.detach() / 5.0)


def test_gradient_penalty_looks_between_the_images():
    """For the critic |x|^2 / 2 the gradient is x itself: the norm tells where it was evaluated."""
    real, fake = torch.full((1000, 1, 1, 1), 2.0), torch.full((1000, 1, 1, 1), 4.0)
    generator = torch.Generator().manual_seed(0)
    penalty = objectives.gradient_penalty(
        lambda x: x.flatten(1).square().sum(1) / 2, real, fake, generator
    )
    # E[(x - 1)^2] for x even on [2, 4] is (27 - 1) / 6; its standard error here is 0.08.
    assert penalty.item() == pytest.approx(26 / 6, abs=0.3)


def test_gradient_penalty_is_that_of_finite_differences():
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1), nn.Flatten(0)).double()
    real, fake = torch.rand(2, 6, 3, dtype=torch.float64).unbind()
    with torch.no_grad():  # as in an evaluation
        penalty = objectives.gradient_penalty(critic, real, fake, torch.Generator().manual_seed(1))
        t = torch.rand(6, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        x, step = t * real + (1 - t) * fake, 1e-6
        slope = [
            (critic(x + step * e) - critic(x - step * e)) / (2 * step)
            for e in torch.eye(3, dtype=torch.float64)
        ]
    expected = (torch.stack(slope).square().sum(0).sqrt() - 1).square().mean()
    torch.testing.assert_close(penalty, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: objectives.bce_discriminator(s[:, None], s), r"real has shape \(4, 1\)"),
        (lambda s: objectives.bce_discriminator(s, s[:0]), r"fake has shape \(0,\).*size of zero"),
        (lambda s: objectives.bce_discriminator(s, s, real_label=1.2), "real_label is 1.2"),
        (lambda s: objectives.hinge_discriminator(s, s[None]), "fake has shape"),
        (lambda s: objectives.wasserstein_critic(s, s, s.sum(), weight=-1), "weight is -1"),
        (lambda s: objectives.gradient_penalty(torch.sum, s[:, None], s), "shapes must be the"),
        (
            lambda s: objectives.gradient_penalty(torch.sum, s[:, None], s[:, None]),
            "scores has shape",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.zeros(4))


def test_the_r1_penalty_of_a_linear_discriminator_is_its_squared_slope():
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(6, generator=generator, dtype=torch.float64, requires_grad=True)
    real = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64)
    penalty = objectives.r1_penalty(lambda x: x.flatten(1) @ slope, real)
    torch.testing.assert_close(penalty, slope.square().sum())
    (found,) = torch.autograd.grad(penalty, slope)
    torch.testing.assert_close(found, 2 * slope)
    curved = objectives.r1_penalty(lambda x: x.flatten(1).square().sum(1), real)
    torch.testing.assert_close(curved, 4 * real.flatten(1).square().sum(1).mean())
