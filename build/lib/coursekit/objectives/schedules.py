"""Schedules for beta, the weight of the KL term: pure functions of the step."""

from coursekit import require


def linear_annealing(step: int, steps: int = 10_000, start: float = 0.0, end: float = 1.0) -> float:
    """Beta that goes from `start` at step 0 to `end` at step `steps`, in a line, and stays there.

    KL annealing lets the decoder learn to use the code before the code has to pay for itself:
    Bowman et al. (2016), "Generating sentences from a continuous space", section 3.1.
    """
    require.at_least("step", step, 0)
    require.at_least("steps", steps, 1)
    fraction = min(step / steps, 1.0)
    # This form is exactly `end` at the end, which start + fraction * (end - start) is not.
    return (1.0 - fraction) * start + fraction * end


def cyclical_annealing(
    step: int,
    steps: int = 10_000,
    cycles: int = 4,
    ramp: float = 0.5,
    start: float = 0.0,
    end: float = 1.0,
) -> float:
    """Beta that starts anew `cycles` times: it rises for the share `ramp` of a cycle, then stays.

    steps: the length of all cycles together; from step `steps` on, beta is `end`.
    Fu et al. (2019), "Cyclical annealing schedule: a simple approach to mitigating KL vanishing",
    whose proportion R is `ramp` and whose M is `cycles`.
    """
    require.at_least("step", step, 0)
    require.at_least("steps", steps, 1)
    require.at_least("cycles", cycles, 1)
    require.between("ramp", ramp, 0.0, 1.0)
    if step >= steps:
        return end
    position = (step * cycles / steps) % 1.0
    fraction = 1.0 if position >= ramp else position / ramp
    return (1.0 - fraction) * start + fraction * end
