"""What tests need again and again. Each raises `Failed` with a message for the student."""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer


class Failed(AssertionError):
    """The answer is not right; the message says why, to the student."""


class NotJudged(Failed):
    """A test that says nothing yet; the message is shown even where the test is hidden."""


def randn(g: Generator, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(shape, generator=g)


def rand(g: Generator, *shape: int) -> Tensor:
    """Uniform numbers in [0, 1)."""
    return torch.rand(shape, generator=g)


def floating(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def copies(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same arguments again, so that a call cannot spoil them.

    Tensors, generators, lists, modules and optimizers are copied; a copied optimizer moves the
    weights of the copied module.
    """
    memo: dict[int, Any] = {}
    return tuple(_copy(arg, memo) for arg in args)


def _copy(arg: Any, memo: dict[int, Any]) -> Any:
    if isinstance(arg, Tensor):
        return arg.detach().clone().requires_grad_(arg.requires_grad)
    if isinstance(arg, Generator):
        return arg.clone_state()
    if isinstance(arg, nn.Module):
        module = deepcopy(arg, memo)
        for old, new in zip(arg.parameters(), module.parameters(), strict=True):
            new.grad = None if old.grad is None else old.grad.clone()  # deepcopy leaves it out
        return module
    if isinstance(arg, list):
        return [_copy(item, memo) for item in arg]
    return deepcopy(arg, memo) if isinstance(arg, Optimizer) else arg


def weights(args: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Parameters and buffers of the modules among the arguments, in a fixed order."""
    modules = [arg for arg in args if isinstance(arg, nn.Module)]
    return tuple(x for module in modules for x in (*module.parameters(), *module.buffers()))


def tensor(value: object, shape: Sequence[int] | None = None, what: str = "the result") -> Tensor:
    """`value` as a tensor of that shape. A plain number passes for a tensor of shape ()."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return tensor(torch.tensor(float(value)), shape, what)
    if value is None:
        raise Failed(f"{what} is None: is the `return` missing?")
    if not isinstance(value, Tensor):
        raise Failed(f"{what} is of type {_kind(value)}; expected a tensor")
    if shape is not None and value.shape != torch.Size(shape):
        raise Failed(f"{what} has shape {tuple(value.shape)}; expected {tuple(shape)}")
    return value


def close(
    actual: object,
    expected: object,
    what: str = "the result",
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> None:
    """`actual` equals `expected`, a tensor, a number or a tuple of them, up to rounding.

    Where None is expected, as of a step that moves weights, any result will do.

    Compared in float64, so an answer that computes in double precision is as right as any other.
    """
    if expected is None:
        return
    if isinstance(expected, tuple | list):
        fields = getattr(expected, "_fields", None)
        names = (
            [f"`{f}`" for f in fields]
            if fields
            else [f"result {i + 1}" for i in range(len(expected))]
        )
        if not isinstance(actual, tuple | list) or len(actual) != len(expected):
            got = f"{len(actual)}" if isinstance(actual, tuple | list) else _kind(actual)
            named = f" ({', '.join(names)})" if fields else ""
            raise Failed(f"expected {len(expected)} results{named}; got {got}")
        for name, a, e in zip(names, actual, expected, strict=True):
            close(a, e, name, rtol, atol)
        return
    right = tensor(expected).detach().double()
    value = tensor(actual, right.shape, what).detach().to("cpu")
    if value.is_complex():
        raise Failed(f"{what} is complex; expected real numbers")
    value = value.double()
    good = torch.isclose(value, right, rtol=rtol, atol=atol, equal_nan=True)
    if good.all():
        return
    index = tuple(int(i) for i in (~good).nonzero()[0])
    where = f" at index {list(index)}" if index else ""
    raise Failed(f"{what}{where} is {value[index]:.5g}; expected {right[index]:.5g}")


def same(actual: Tensor, expected: Tensor, message: str) -> None:
    """Equal to the last bit, or `Failed(message)`."""
    if actual.shape != expected.shape or not torch.equal(actual, expected):
        raise Failed(message)


def gradients_of(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    where: Sequence[int],
    seed: int,
    expected: object = None,
) -> tuple[Any, list[Tensor]]:
    """The result, and the gradients of one random weighted sum of it for the arguments at `where`.

    The result is compared with `expected` first, if that is given.

    The weights make every element of the result count for something else, so that gradients which
    are only right in sum do not pass.
    """
    given = list(copies(args))
    for i in where:
        given[i].requires_grad_()
    result = function(*given)
    if expected is not None:
        close(result, expected)
    parts = result if isinstance(result, tuple | list) else (result,)
    flow = [part for part in parts if isinstance(part, Tensor) and part.requires_grad]
    if not flow:
        raise Failed(
            "no gradient flows back from the result: was it detached, computed under no_grad, "
            "or turned into a number by .item()?"
        )
    weights = Generator().manual_seed(seed)
    total = torch.zeros((), dtype=torch.float64)
    for part in parts:
        if isinstance(part, Tensor) and not part.is_complex():
            weight = torch.rand(part.shape, generator=weights, dtype=torch.float64) + 0.5
            if part.requires_grad:
                total = total + (part.double() * weight).sum()
    found = torch.autograd.grad(total, [given[i] for i in where], allow_unused=True)
    slopes = [
        torch.zeros_like(given[i]) if slope is None else slope
        for i, slope in zip(where, found, strict=True)
    ]
    return result, slopes


def standard_normal(noise: Tensor, what: str = "the noise", alarm: float = 1e-9) -> None:
    """The entries of `noise` (N, L) are independent draws from N(0, 1).

    Compares empirical and true distribution functions of the entries, and of sums of two entries in
    a row and of two in a column (they tell shared noise from independent noise). By the
    Dvoretzky-Kiefer-Wolfowitz inequality with Massart's constant, P(sup |F_n - F| > d) is at most
    2 exp(-2 n d^2): truly normal noise is refused with probability below `alarm`. From 10,000
    entries on, a scale wrong by 20 %, uniform noise of the right variance and shared noise are
    refused.
    """
    noise = noise.detach().double()
    if not torch.isfinite(noise).all():
        raise Failed(f"{what} is not finite")
    rows = _pairs(noise)
    columns = _pairs(noise.T)
    samples = [sample for sample in (noise, rows, columns) if len(sample)]
    if not any(_refused(sample, alarm / len(samples)) for sample in samples):
        return
    mean, std = noise.mean(), noise.std()
    if len(rows) and rows.std() > 1.3 * std:
        raise Failed(f"{what} is shared between the rows of a batch")
    if len(columns) and columns.std() > 1.3 * std:
        raise Failed(f"{what} is shared between the dimensions of a latent")
    if abs(mean) < 0.02 and abs(std - 1) < 0.02:
        raise Failed(f"{what} has mean 0 and variance 1, but it is not Gaussian")
    raise Failed(f"{what} is not N(0, 1): its mean is {mean:.2f}, its standard deviation {std:.2f}")


def _refused(sample: Tensor, alarm: float) -> bool:
    values = sample.flatten().sort().values
    steps = torch.arange(len(values) + 1, dtype=torch.float64) / len(values)
    below = torch.special.ndtr(values)
    distance = float(torch.maximum(below - steps[:-1], steps[1:] - below).max())
    return distance > math.sqrt(math.log(2 / alarm) / (2 * len(values)))


def _pairs(noise: Tensor) -> Tensor:
    """Sums of two neighboring rows, scaled to variance 1."""
    even = len(noise) // 2 * 2
    return (noise[:even:2] + noise[1:even:2]) / math.sqrt(2.0)


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return "one tensor"
    # What a student's function returned may have stayed in the grader's sandbox; it has a name.
    return str(getattr(value, "_kind", type(value).__name__))
