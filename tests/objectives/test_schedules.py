import pytest

from coursekit.objectives import cyclical_annealing, linear_annealing


def test_linear_annealing_passes_its_published_points():
    """From 0 to 1 over 10,000 steps."""
    assert [linear_annealing(step) for step in (0, 2_500, 10_000, 50_000)] == [0.0, 0.25, 1.0, 1.0]
    assert linear_annealing(5, steps=10, start=0.2, end=0.6) == pytest.approx(0.4)
    assert linear_annealing(10, steps=10, start=0.3, end=0.1) == 0.1


def test_cyclical_annealing_is_that_of_fu_et_al():
    """tau = mod(t - 1, ceil(T / M)) / (T / M), where their t is step + 1, written out again."""
    total, cycles, ramp = 400, 4, 0.5
    for step in range(total):
        tau = (step % (total // cycles)) / (total / cycles)
        expected = tau / ramp if tau <= ramp else 1.0
        assert cyclical_annealing(step, total, cycles, ramp) == pytest.approx(expected)


def test_cyclical_annealing_starts_anew_and_ends_at_the_end():
    betas = [cyclical_annealing(s, steps=100, cycles=4, end=0.5) for s in range(120)]
    assert [step for step, beta in enumerate(betas) if beta == 0.0] == [0, 25, 50, 75]
    assert betas[100:] == [0.5] * 20
    assert max(betas) == 0.5


def test_a_ramp_of_zero_jumps_at_once():
    assert cyclical_annealing(0, ramp=0.0) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_annealing(-1), "step is -1"),
        (lambda: linear_annealing(0, steps=0), "steps is 0"),
        (lambda: cyclical_annealing(-1), "step is -1"),
        (lambda: cyclical_annealing(0, cycles=0), "cycles is 0"),
        (lambda: cyclical_annealing(0, ramp=1.5), "ramp is 1.5"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
