"""What a training step costs, counted and not timed: the same on every machine."""

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(work: Callable[[], object]) -> int:
    """Multiply-adds of the matrix products and convolutions that `work()` runs.

    A backward pass inside `work` is counted too. What works element by element (activations,
    normalization, the optimizer) is not; in the networks of this course it is a few percent.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2  # it counts a multiply-add as two operations
