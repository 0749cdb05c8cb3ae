"""The densities of the plane: they integrate to what is known, and points are drawn from them."""

import math

import pytest
import torch
from torch.distributions import Normal

from coursekit import pretrained
from coursekit.plane import log_banana, log_moons, moons
from coursekit.viz import grid_points


def test_the_banana_is_prior_times_likelihood() -> None:
    z = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    likelihood = Normal(z[:, 1] + z[:, 0] ** 2, 0.3).log_prob(torch.tensor(1.5))
    torch.testing.assert_close(log_banana(z), prior + likelihood)


def test_the_moons_have_their_density() -> None:
    points, area = grid_points(3.0, 301)
    p = log_moons(points.flatten(0, 1)).exp()
    assert p.sum().item() * area == pytest.approx(1, abs=1e-4)
    drawn = moons(40_000, torch.Generator().manual_seed(0))
    right = (p * (points.flatten(0, 1)[:, 0] > 0.7)).sum() * area
    share = (drawn[:, 0] > 0.7).float().mean()
    assert share.item() == pytest.approx(right.item(), abs=5 * math.sqrt(0.25 / 40_000) + 0.01)


def test_the_recorded_flows_are_densities_near_their_targets() -> None:
    points, area = grid_points(4.0, 201)
    flow = pretrained.plane("moons").distribution()
    drawn = moons(5_000, torch.Generator().manual_seed(1))
    assert flow.log_prob(points).exp().sum().item() * area == pytest.approx(1, abs=0.01)
    gap = (log_moons(drawn) - flow.log_prob(drawn)).mean().item()
    assert 0 < gap < 0.1
    assert not any(p.requires_grad for p in pretrained.plane("banana").parameters())
    for name in ("sun", "steps"):
        with pytest.raises(ValueError, match="the names are banana and moons"):
            pretrained.plane(name)
