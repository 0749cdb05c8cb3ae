"""Wrong answers that can be made of any solution, without knowing what it computes."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from coursekit.exercises import Answer, Exercise, copies
from coursekit.grading.checks.verdict import alike, behavior, guarded

PAIRS = 12
"""At most so many combinations of two mistakes are tried for an exercise."""


_EFFECTS = ("changes a module", "freezes a module", "leaves gradients switched off")
"""Wrong whatever the results are; `behavior` looks at results and tensors only."""


def mutants(exercise: Exercise) -> dict[str, Answer]:
    """By name: the wrong answers that behave otherwise than the solution.

    A change that makes no difference for this exercise is left out, and so is one that the exercise
    calls fair.
    """
    right = behavior(exercise, guarded(exercise.solve))
    found = {n: guarded(answer) for n, answer in _all(exercise) if n not in exercise.fair}
    return {
        name: answer
        for name, answer in found.items()
        if name in _EFFECTS or not alike(behavior(exercise, answer), right)
    }


def _all(exercise: Exercise) -> Iterator[tuple[str, Answer]]:
    for name, change in _RESULTS.items():
        yield name, _changed_result(exercise.solve, change)
    args = exercise.draw(torch.Generator().manual_seed(0))
    other = exercise.draw(torch.Generator().manual_seed(1))
    yield "constant", lambda *_, **__: exercise.solve(*copies(args))
    yield "computes in float16", _in_half(exercise.solve)
    yield "changes its inputs in place", _in_place(exercise.solve)
    yield "leaves gradients switched off", _switches_off(exercise.solve)
    if any(isinstance(arg, nn.Module) for arg in args):
        yield "changes a module", _spoils_modules(exercise.solve)
        yield "freezes a module", _freezes_modules(exercise.solve)
    for place, value in enumerate(other):
        if isinstance(value, Tensor | int | float):
            yield f"ignores argument {place + 1}", _ignores(exercise.solve, place, value)
    for old, new in (("sum", "mean"), ("mean", "sum")):
        if f".{old}(" in exercise.code:
            code = exercise.code.replace(f".{old}(", f".{new}(")
            yield f"{new} for {old}", exercise.compiled(code)
    yield from _two_mistakes(exercise)


def _two_mistakes(exercise: Exercise) -> Iterator[tuple[str, Answer]]:
    """Combinations of two edits of the solution that do not overlap."""
    pairs = itertools.combinations(exercise.mistakes.items(), 2)
    possible = (
        (f"{one} → {a}, {two} → {b}", exercise.code.replace(one, a).replace(two, b))
        for (one, first), (two, second) in pairs
        for a, b in itertools.product(first, second)
        if one not in two and two not in one and exercise.code.replace(one, a).count(two) == 1
    )
    for name, code in itertools.islice(possible, PAIRS):
        try:
            yield name, exercise.compiled(code)
        except SyntaxError:  # two edits of one line need not fit together
            continue


def _changed_result(solve: Answer, change: Callable[[Tensor], Tensor]) -> Answer:
    def answer(*args: Any, **kwargs: Any) -> Any:
        return _mapped(solve(*args, **kwargs), change)

    return answer


def _repeated(x: Tensor) -> Tensor:
    return x[:1].expand_as(x) if x.dim() else x


_RESULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "detached": torch.Tensor.detach,
    "negated": torch.neg,
    "transposed": lambda x: x.mT if x.dim() > 1 else x,
    "transposed, in the right shape": lambda x: x.mT.reshape(x.shape) if x.dim() > 1 else x,
    "first row repeated": _repeated,
}


def _in_half(solve: Answer) -> Answer:
    def half(x: Tensor) -> Tensor:
        return x.half().to(x.dtype)

    def answer(*args: Any, **kwargs: Any) -> Any:
        return _mapped(solve(*(_mapped(arg, half) for arg in args), **kwargs), half)

    return answer


def _in_place(solve: Answer) -> Answer:
    def answer(*args: Any, **kwargs: Any) -> Any:
        result = solve(*args, **kwargs)
        with torch.no_grad():
            for arg in args:
                if isinstance(arg, Tensor) and arg.is_floating_point():
                    arg += 1
        return result

    return answer


def _spoils_modules(solve: Answer) -> Answer:
    def answer(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            for arg in args:
                if isinstance(arg, nn.Module):
                    for parameter in arg.parameters():
                        parameter.zero_()
        return solve(*args, **kwargs)

    return answer


def _freezes_modules(solve: Answer) -> Answer:
    def answer(*args: Any, **kwargs: Any) -> Any:
        result = solve(*args, **kwargs)
        for arg in args:
            if isinstance(arg, nn.Module):
                arg.requires_grad_(False)
        return result

    return answer


def _switches_off(solve: Answer) -> Answer:
    def answer(*args: Any, **kwargs: Any) -> Any:
        result = solve(*args, **kwargs)
        torch.set_grad_enabled(False)
        return result

    return answer


def _ignores(solve: Answer, place: int, value: Any) -> Answer:
    def answer(*args: Any, **kwargs: Any) -> Any:
        if place < len(args) and (
            not isinstance(value, Tensor) or getattr(args[place], "shape", None) == value.shape
        ):
            args = (*args[:place], value, *args[place + 1 :])
        return solve(*args, **kwargs)

    return answer


def _mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same structure with its floating-point tensors changed."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return change(value)
    if isinstance(value, tuple):
        made = [_mapped(item, change) for item in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    return value
