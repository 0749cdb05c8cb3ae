"""The learning rate of a training run, as a function of the step."""

import math
from collections.abc import Callable

from coursekit import require


def warmup_cosine(peak: float, steps: int, warmup: float = 0.05) -> Callable[[int], float]:
    """A learning rate that rises from 0 to `peak` and falls to 0 along half a cosine.

    steps: the length of the whole run. warmup: the share of it in which the rate rises linearly.
    Returns: a function of the step for `lr=` of the training loops.

    A model that is evaluated while the rate is high depends on the last few batches, and two
    processors that round differently give two models. With a rate that has fallen to 0 they agree
    closely. Loshchilov and Hutter (2017), "SGDR: stochastic gradient descent with warm restarts",
    equation 5, with one cycle; the warm-up is that of Goyal et al. (2017), "Accurate, large
    minibatch SGD", section 2.2.
    """
    require.at_least("steps", steps, 1)
    require.between("warmup", warmup, 0.0, 1.0)

    def rate(step: int) -> float:
        done = min((step + 0.5) / steps, 1.0)  # so that no step has rate 0
        rise = min(1.0, done / warmup) if warmup > 0 else 1.0
        return peak * rise * 0.5 * (1 + math.cos(math.pi * done))

    return rate
