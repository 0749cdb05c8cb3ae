"""What tests need again and again. Each raises `Failed` with a message for the student."""

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

    Tensors, generators, lists, dicts, modules and optimizers are copied; a copied optimizer moves
    the weights of the copied module.
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
    if isinstance(arg, dict):
        return {key: _copy(item, memo) for key, item in arg.items()}
    return deepcopy(arg, memo) if isinstance(arg, Optimizer) else arg


def weights(args: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Parameters and buffers of the modules among the arguments, in a fixed order, and what the
    optimizers among them keep of earlier steps."""
    modules = [arg for arg in args if isinstance(arg, nn.Module)]
    kept = [value for arg in args if isinstance(arg, Optimizer) for value in _kept(arg)]
    return (*(x for module in modules for x in (*module.parameters(), *module.buffers())), *kept)


def _kept(optimizer: Optimizer) -> list[Tensor]:
    state = optimizer.state_dict()["state"]
    values = (state[place][name] for place in sorted(state) for name in sorted(state[place]))
    return [torch.as_tensor(value) for value in values if isinstance(value, Tensor | int | float)]


def unchanged(before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    """`Failed` if the arguments `after` a call are not what they were `before` it.

    Compared are tensors, numbers and lists of them; of modules the weights, the gradients left on
    them, which weights can be trained and the mode; of optimizers state and settings.
    """
    for i, (was, now) in enumerate(zip(before, after, strict=True), start=1):
        if isinstance(was, nn.Module):
            _same_module(was, now)
        elif isinstance(was, Optimizer):
            if len(_kept(was)) != len(_kept(now)) or _settings(was) != _settings(now):
                raise Failed("the optimizer was changed by the call")
            for old, new in zip(_kept(was), _kept(now), strict=True):
                same(new, old, "the optimizer was changed by the call")
        elif not isinstance(was, Generator):  # to be drawn from is what a generator is for
            _same_value(was, now, f"argument {i} was changed by the call")


def _same_value(was: Any, now: Any, message: str) -> None:
    if type(now) is not type(was):
        raise Failed(message)
    if isinstance(was, Tensor):
        same(now, was, message)
        if now.requires_grad != was.requires_grad:
            raise Failed(f"{message}: its requires_grad is another")
        if now.grad is not None and was.grad is None:
            raise Failed(f"{message}: it has a gradient now. Who calls you calls backward()")
    elif isinstance(was, list | tuple | dict):
        if len(was) != len(now):
            raise Failed(f"{message}: it has another length")
        places = was if isinstance(was, dict) else range(len(was))
        for place in places:
            _same_value(was[place], now[place], message)
    elif isinstance(was, int | float | str) and was != now:
        raise Failed(message)


def _same_module(was: nn.Module, now: nn.Module) -> None:
    for old, new in zip(weights((was,)), weights((now,)), strict=True):
        same(new, old, "a network's weights or buffers were changed by the call")
        if old.requires_grad != new.requires_grad:
            how = "frozen" if old.requires_grad else "unfrozen"
            raise Failed(f"the call left a network's weights {how}: their requires_grad is another")
        if (old.grad is None) != (new.grad is None):
            raise Failed("the call left other gradients on a network's weights than there were")
        if old.grad is not None and new.grad is not None:
            same(new.grad, old.grad, "the call changed the gradients on a network's weights")
    for before, after in zip(was.modules(), now.modules(), strict=True):
        if before.training != after.training:
            mode = "training" if before.training else "eval"
            raise Failed(f"a network was in {mode} mode, and the call left it in another")


def _settings(optimizer: Optimizer) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in group.items() if name != "params"}
        for group in optimizer.param_groups
    ]


def tensor(value: object, shape: Sequence[int] | None = None, what: str = "the result") -> Tensor:
    """`value` as a tensor of that shape. A number passes for a tensor of shape (); True is 1."""
    if isinstance(value, int | float):
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
    raise Failed(f"{what}{where} is {_short(value[index], right[index])}")


def _short(value: Tensor, right: Tensor) -> str:
    """Both numbers with three digits: enough to see a mistake, too few to pass the test with."""
    if f"{value:.3g}" != f"{right:.3g}":
        return f"{value:.3g}; expected {right:.3g}"
    return f"{value:.3g}, as expected, but not exactly enough"


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
        if isinstance(part, Tensor | int | float) and not torch.is_complex(torch.as_tensor(part)):
            shape = torch.as_tensor(part).shape  # a number draws its weight as a tensor does
            weight = torch.rand(shape, generator=weights, dtype=torch.float64) + 0.5
            if isinstance(part, Tensor) and part.requires_grad:
                total = total + (part.double() * weight).sum()
    found = torch.autograd.grad(total, [given[i] for i in where], allow_unused=True)
    slopes = [
        torch.zeros_like(given[i]) if slope is None else slope
        for i, slope in zip(where, found, strict=True)
    ]
    return result, slopes


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return "one tensor"
    # What a student's function returned may have stayed in the grader's sandbox; it has a name.
    return str(getattr(value, "_kind", type(value).__name__))
