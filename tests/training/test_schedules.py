"""Learning rates as functions of the step."""

import math

import pytest

from coursekit.training import warmup_cosine


@pytest.mark.parametrize("steps", [200, 1000, 1234])
def test_it_rises_to_the_peak_and_falls_to_nearly_0(steps: int) -> None:
    lr = warmup_cosine(3e-3, steps)
    rates = [lr(step) for step in range(steps)]
    top = rates.index(max(rates))
    assert 0.03 < top / steps < 0.06  # the warm-up is 5 percent
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0.99 * 3e-3 < rates[top] <= 3e-3
    assert 0 < rates[0] < 0.2 * 3e-3
    assert 0 < rates[-1] < 1e-4 * 3e-3


def test_it_is_half_a_cosine_after_the_warmup() -> None:
    lr = warmup_cosine(1.0, 100, warmup=0.1)
    for step in range(10, 100):
        assert lr(step) == pytest.approx((1 + math.cos(math.pi * (step + 0.5) / 100)) / 2)
    assert lr(4) == pytest.approx(0.45 * (1 + math.cos(math.pi * 0.045)) / 2)


def test_without_a_warmup_it_only_falls() -> None:
    lr = warmup_cosine(1.0, 10, warmup=0.0)
    rates = [lr(step) for step in range(10)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.99


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.5, 1.0])
def test_no_step_of_the_run_vanishes(warmup: float) -> None:
    for steps in (1, 2, 3, 50):
        lr = warmup_cosine(1.0, steps, warmup)
        assert all(0 < lr(step) <= 1 for step in range(steps))
    assert warmup_cosine(1.0, 1)(0) == pytest.approx(0.5)


def test_steps_beyond_the_run_have_no_rate() -> None:
    lr = warmup_cosine(1.0, 10)
    assert lr(10) == pytest.approx(0, abs=1e-12)
    assert lr(1000) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("steps", "warmup", "message"),
    [(0, 0.05, "steps"), (-1, 0.05, "steps"), (10, -0.1, "warmup"), (10, 1.1, "warmup")],
)
def test_what_is_no_schedule_is_refused(steps: int, warmup: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        warmup_cosine(1.0, steps, warmup)
