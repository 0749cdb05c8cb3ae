"""What kind of difference there is between a wrong answer and the solution, in a sentence.

For answers that make no mistake that the exercise knows. Nothing here knows an exercise: the answer
and the solution are called on the exercise's own inputs, and their results are compared.
"""

import inspect
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from coursekit.exercises import Answer, Exercise, copies, gradients_of
from coursekit.exercises._helpers import floating
from coursekit.grading.checks.verdict import PUBLIC, seeded
from coursekit.grading.sandbox.errors import AnswerError, NotAttempted, NoVerdict

RTOL = 1e-4


def difference(exercise: Exercise, answer: Answer) -> str | None:
    """A sentence about how `answer` differs from the solution, or None if none is known.

    Called with the inputs that `check` uses: it tells nothing about the inputs of grading.
    """
    try:
        return _difference(exercise, answer)
    except (NotAttempted, NoVerdict):
        raise
    except Exception:  # results that cannot be compared are left to the tests' own messages
        return None


def _difference(exercise: Exercise, answer: Answer) -> str | None:
    calls = [_Call(exercise, answer, draw) for draw in range(2)]
    names = list(inspect.signature(exercise.solve).parameters)
    flat = _flat(calls[0].got)
    finite = flat is None or all(part.isfinite().all() for part in flat)
    if finite and (said := _ignored(calls[0], names)) is not None:  # NaN depends on nothing
        return said
    if calls[0].random:
        return None if _flat(calls[0].right) is None else _gradient(calls[0], names)
    rights, gots = [_flat(call.right) for call in calls], [_flat(call.got) for call in calls]
    if rights[0] is None or gots[0] is None or rights[1] is None or gots[1] is None:
        return None
    if len(rights[0]) != len(gots[0]):
        return None
    if len(rights[0]) > 1 and (said := _swapped(gots[0], rights[0])) is not None:
        return said
    wrong = False
    for number, (got, right) in enumerate(zip(gots[0], rights[0], strict=True)):
        if _same(got, right) and _same(gots[1][number], rights[1][number]):
            continue
        wrong = True
        which = "The result" if len(rights[0]) == 1 else f"Result {number + 1}"
        if len(exercise.results) == len(rights[0]):
            which = f"`{exercise.results[number]}`"
        pairs = [(got, right), (gots[1][number], rights[1][number])]
        got, right = next(pair for pair in pairs if not _same(*pair))
        said = (
            _of_values(pairs, calls[0], names)
            or _for_one(calls, number, names)
            or _nearly(got, right)
            or _for_special(calls, number, names)
            or _share(got, right)
        )
        if said is not None:
            return f"{which} {said}"
    if wrong:
        return None
    return _gradient(calls[0], names)


class _Call:
    """The solution and the answer, called with the same arguments and the same random numbers."""

    def __init__(self, exercise: Exercise, answer: Answer, draw: int) -> None:
        self.exercise, self.answer, self.draw = exercise, answer, draw
        with seeded(PUBLIC, f"{exercise.id}/behavior {draw}") as generator:
            self.args = exercise.draw(generator)
        self.right = self.result(exercise.solve, self.args)
        self.got = self.result(answer, self.args)
        others = self.result(exercise.solve, self.args, seed=1, given=1)
        self.random = not _equal(self.right, others)

    def result(self, function: Answer, args: tuple[Any, ...], seed: int = 0, given: int = 0) -> Any:
        """What the function returns. `seed` is for torch's own noise, `given` for generators."""
        copied = copies(args)
        for arg in copied:
            if isinstance(arg, Generator):
                arg.manual_seed(given)
        with seeded(PUBLIC, f"{self.exercise.id}/noise {seed}"):
            result, weights = self.exercise.observe(function, copied)
        if not weights:
            return result
        return (*(result if _several(result) else [result]), *weights)


# --- values -------------------------------------------------------------------------------------

Pairs = list[tuple[Tensor, Tensor]]
"""For each of two draws of the inputs: what came, and what is expected."""


def _of_values(pairs: Pairs, call: _Call, names: list[str]) -> str | None:
    """The end of a sentence that begins with "The result"."""
    got, right = pairs[0]
    if got.shape != right.shape:
        return _of_shapes(got, right)
    if (bad := ~torch.isfinite(got) & torch.isfinite(right)).any():
        return _not_finite(got[bad][0].item(), call.args, names)
    for says, change in _CHANGES.items():
        if all(_same(g, change(r)) and not _same(g, r) for g, r in pairs):
            return says
    factors = torch.cat([(g / r)[r.abs() > 1e-6].flatten() for g, r in pairs])
    if len(factors) > 1 and _constant(factors):
        factor = factors.mean().item()
        return f"is {factor:.4g} times what is expected.{_meaning(factor, call.args, names)}"
    offsets = torch.cat([(g - r).flatten() for g, r in pairs])
    if len(offsets) > 1 and _constant(offsets):
        return f"differs from what is expected by the same number everywhere: {offsets[0]:+.4g}."
    return None


def _of_shapes(got: Tensor, right: Tensor) -> str | None:
    if got.dim() > 1 and _same(got.mT, right):
        return "is transposed: rows and columns are swapped."
    if got.numel() == right.numel() and _same(got.reshape(right.shape), right):
        return f"has the right entries in another shape, {tuple(got.shape)}."
    for axis in range(got.dim()):
        for says, reduce in (("sum", torch.sum), ("average", torch.mean)):
            if _same(reduce(got, dim=axis), right):
                return f"is right but for the {says} over dimension {axis}, which is missing."
    for says, reduced in (("summed", right.sum), ("averaged", right.mean)):
        for axis in range(right.dim()):
            if _same(got, reduced(dim=axis)):
                return f"is {says} over dimension {axis}, which must be kept."
        if _same(got, reduced()):
            return f"is {says} over everything; keep the shape {tuple(right.shape)}."
    return None


def _not_finite(value: float, args: tuple[Any, ...], names: list[str]) -> str:
    for name, arg in zip(names, args, strict=False):
        if isinstance(arg, Tensor) and arg.is_floating_point():
            for special in (0, 1):
                if (arg == special).any():
                    return (
                        f"is {value} somewhere, and {name} holds exact values of {special}: "
                        "0 * log(0), log(0) or a division by 0 gives that."
                    )
    return (
        f"is {value} somewhere, where a number is expected: look for a logarithm of something that "
        "is not positive, a division by 0, or an exponential that is too large."
    )


def _reversed(x: Tensor) -> Tensor:
    return x.flip(0) if x.dim() else x


_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "has the opposite sign of what is expected.": torch.neg,
    "is transposed: rows and columns are swapped.": lambda x: x.mT if x.dim() > 1 else x,
    "has its rows in reverse order.": _reversed,
    "is the square of what is expected.": torch.square,
    "is the square root of what is expected.": torch.sqrt,
    "is the logarithm of what is expected.": torch.log,
    "is the exponential of what is expected.": torch.exp,
    "is 1 divided by what is expected.": torch.reciprocal,
    "is 1 minus what is expected.": lambda x: 1 - x,
    "is the absolute value of what is expected.": torch.abs,
    "is right, but cut off at 0 and 1.": lambda x: x.clamp(0, 1),
    "is right, but negative values became 0.": lambda x: x.clamp(min=0),
    "is the same in each row: the mean over the rows.": lambda x: _over_rows(x, torch.mean),
    "is the same in each row: the sum over the rows.": lambda x: _over_rows(x, torch.sum),
    "has the first row in all rows.": lambda x: x[:1].expand_as(x) if x.dim() else x,
    "went through a softmax over the last dimension.": lambda x: _softmax(x),
    "is a running sum over the last dimension.": lambda x: x.cumsum(-1) if x.dim() else x,
    "is always 0.": torch.zeros_like,
    "is always 1.": torch.ones_like,
}
"""By the end of a sentence: what makes of the right result the one that came."""


def _over_rows(x: Tensor, reduce: Callable[..., Tensor]) -> Tensor:
    return reduce(x, dim=0, keepdim=True).expand_as(x) if x.dim() else x


def _softmax(x: Tensor) -> Tensor:
    return x.softmax(-1) if x.dim() else x


def _meaning(factor: float, args: tuple[Any, ...], names: list[str]) -> str:
    """Where a factor may come from: a mean for a sum, bits for nats, a forgotten half."""
    for known, says in (
        (2.0, "A factor 1/2 is missing, or a term counts twice."),
        (0.5, "A factor 1/2 is too much."),
        (math.log(2), "That is log 2: logarithms to base 2 and natural ones are mixed up."),
        (1 / math.log(2), "That is 1 / log 2: the logarithm must be the natural one."),
        (1 / 255, "That is 1/255: pixels are scaled once too often."),
        (255.0, "That is 255: pixels are not scaled to [0, 1]."),
    ):
        if math.isclose(factor, known, rel_tol=1e-3):
            return f" {says}"
    for name, arg in zip(names, args, strict=False):
        shape = tuple(arg.shape) if isinstance(arg, Tensor) else ()
        for size, what in _sizes(shape):
            if size > 1 and math.isclose(factor, 1 / size, rel_tol=1e-3):
                return f" {size} is {what} of {name}: a mean stands where a sum belongs."
            if size > 1 and math.isclose(factor, size, rel_tol=1e-3):
                return f" {size} is {what} of {name}: a sum stands where a mean belongs."
    return " A constant factor is missing or too much."


def _sizes(shape: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    for axis, size in enumerate(shape):
        yield size, f"the size of dimension {axis}"
    if len(shape) > 1:
        yield math.prod(shape[1:]), "the number of entries per row"
        yield math.prod(shape), "the number of entries"


def _right_for(call: _Call, number: int, args: tuple[Any, ...]) -> bool:
    """Whether this result of the answer is right for other arguments."""
    try:
        with warnings.catch_warnings():
            # The covariance of one row is NaN, and some libraries crash on NaN: where the
            # solution warns or is not finite, the answer is not called.
            warnings.simplefilter("error")
            rights = _flat(call.result(call.exercise.solve, args))
        if rights is None or not all(right.isfinite().all() for right in rights):
            return False
        gots = _flat(call.result(call.answer, args))
    except (AnswerError, RuntimeError, ValueError, IndexError, Warning):
        return False
    if gots is None or len(gots) != len(rights):
        return False
    # Where 0 is expected, or 1, much is right by chance.
    right = rights[number]
    return bool(right.any() and (right != 1).any()) and _same(gots[number], right)


def _for_one(calls: list[_Call], number: int, names: list[str]) -> str | None:
    """Whether an answer that is wrong is right where an argument has a single row, or column."""
    for axis, of in ((0, "row"), (-1, "column")):
        args = [call.args for call in calls]
        wide = [i for i, a in enumerate(args[0]) if isinstance(a, Tensor) and a.dim() > 1]
        if not wide or (size := args[0][wide[0]].shape[axis]) < 2:
            continue
        ones = [tuple(_first(arg, axis, size) for arg in given) for given in args]
        if all(_right_for(call, number, one) for call, one in zip(calls, ones, strict=True)):
            if axis == 0 and _row_by_row(calls[0], number, ones[0]):
                return "is right for a batch of one and wrong for more: rows get mixed up."
            return (
                f"is right where {names[wide[0]]} has one {of}, and wrong for more: look at what "
                f"you do along the {'first' if axis == 0 else 'last'} dimension."
            )
    return None


def _row_by_row(call: _Call, number: int, one: tuple[Any, ...]) -> bool:
    """Whether the solution treats the rows independently, so that they are a batch."""
    rows, row = _flat(call.right), _flat(call.result(call.exercise.solve, one))
    if rows is None or row is None or not rows[number].dim():
        return False
    return _same(rows[number][:1], row[number])


def _for_special(calls: list[_Call], number: int, names: list[str]) -> str | None:
    """A number or a vector for which an answer that is wrong is right, if it is 0 or 1."""

    def right_with(call: _Call, place: int, value: int) -> bool:
        arg = call.args[place]
        special = torch.full_like(arg, value) if isinstance(arg, Tensor) else float(value)
        return _right_for(call, number, (*call.args[:place], special, *call.args[place + 1 :]))

    for place, (name, arg) in enumerate(zip(names, calls[0].args, strict=False)):
        if isinstance(arg, float) or (floating(arg) and arg.dim() < 2):
            for value in (1, 0):
                if all(right_with(call, place, value) for call in calls):
                    return (
                        f"is right where {name} is {value} everywhere, and wrong elsewhere: look "
                        f"at what you do with {name}."
                    )
    return None


def _first(arg: Any, axis: int, size: int) -> Any:
    """The first row or column of a tensor that has `size` of them; anything else as it is."""
    if isinstance(arg, Tensor) and arg.dim() and arg.shape[axis] == size:
        return arg.narrow(axis, 0, 1)
    return arg


def _nearly(got: Tensor, right: Tensor) -> str | None:
    """Whether all rows but one are right, or all entries nearly right."""
    if got.shape != right.shape or not right.numel():
        return None
    good = torch.isclose(got, right, rtol=RTOL, atol=RTOL / 10)
    if right.dim() and len(right) > 1 and good[0].all() and not good[1:].any():
        return "is right in the first row only."
    if right.dim() and len(right) > 1 and good[:-1].all():
        return "is right but for the last row."
    error = ((got - right).abs() / right.abs().clamp(min=1e-12)).max().item()
    if error < 0.02:
        return (
            f"is off by at most {error:.1%}: look for a small number that is added for safety, an "
            "approximation, or low precision."
        )
    return None


def _share(got: Tensor, right: Tensor) -> str | None:
    """How much of the result is right, where some of it is."""
    if got.shape != right.shape or not right.numel():
        return None
    good = torch.isclose(got, right, rtol=RTOL, atol=RTOL / 10)
    if good.any():
        positive = good[right > 0].all() and not good[right < 0].any()
        where = " (those that must be positive)" if positive and (right < 0).any() else ""
        return f"is right in {int(good.sum())} of {good.numel()} entries{where}."
    return None


def _swapped(gots: list[Tensor], rights: list[Tensor]) -> str | None:
    """Whether the results are right but for their order."""
    for i in range(len(rights)):
        for j in range(i):
            moved = list(rights)
            moved[i], moved[j] = moved[j], moved[i]
            if not _same(rights[i], rights[j]) and all(map(_same, gots, moved)):
                return f"Results {j + 1} and {i + 1} are swapped."
    return None


# --- arguments and gradients --------------------------------------------------------------------


def _ignored(call: _Call, names: list[str]) -> str | None:
    """An argument that changes the solution's result and not the answer's."""
    with seeded(PUBLIC, f"{call.exercise.id}/other") as generator:
        draws = [call.exercise.draw(generator) for _ in range(3)]
    for place, name in enumerate(names[: len(call.args)]):
        moved = False
        for other in draws:
            args, given = _with(call.args, place, other[place])
            right = call.result(call.exercise.solve, args, given=given)
            if _equal(right, call.right):
                continue
            if not _equal(call.result(call.answer, args, given=given), call.got):
                break
            moved = True
        else:
            if moved:
                return f"The result does not depend on {name}: it is the same whatever {name} is."
    return None


def _with(args: tuple[Any, ...], place: int, other: Any) -> tuple[tuple[Any, ...], int]:
    """The arguments with another one at `place`, where it fits, and the seed of a generator."""
    arg = args[place]
    if isinstance(arg, Generator):
        return args, 2
    fits = isinstance(arg, Tensor | int | float) and getattr(arg, "shape", 0) == getattr(
        other, "shape", 0
    )
    return ((*args[:place], other, *args[place + 1 :]) if fits else args), 0


def _gradient(call: _Call, names: list[str]) -> str | None:
    """For right values: what is wrong with the gradient."""
    where = [i for i, arg in enumerate(call.args) if floating(arg)]

    def slopes(function: Answer) -> list[Tensor]:
        with seeded(PUBLIC, f"{call.exercise.id}/noise 0"):
            return gradients_of(function, call.args, where, seed=0)[1]

    try:
        right = slopes(call.exercise.solve)
    except Exception:  # the solution has no gradient, so none is asked for
        return None
    try:
        got = slopes(call.answer)
    except AssertionError:
        return (
            "The values are right, but the result is detached: no gradient flows back from it. "
            ".detach(), .item(), .data, torch.tensor(...) and no_grad cut the gradient."
        )
    except AnswerError:
        raise
    except Exception as error:
        return (
            f"The values are right, but the backward pass fails: {str(error)[:200]} An operation "
            "in place, such as `x += 1` or `x[0] = 1`, on a tensor that autograd needs does that."
        )
    for i, a, b in zip(where, got, right, strict=True):
        if not a.any() and b.any():
            return (
                f"No gradient reaches {names[i]}: the result depends on it only through something "
                "that cannot be differentiated. torch.normal(mu, sigma), sampling without "
                "reparametrization, rounding, comparisons and .detach() do that."
            )
    if call.random:
        return None
    for i, a, b in zip(where, got, right, strict=True):
        if not _same(a, b):
            return (
                f"The values are right, but the gradient with respect to {names[i]} is not: a part "
                "of the computation is detached, or clamped."
            )
    return None


# --- comparison ---------------------------------------------------------------------------------


def _flat(result: Any) -> list[Tensor] | None:
    """The results as tensors in double precision, or None if they are of another kind."""
    parts = [part for part in result if part is not None] if _several(result) else [result]
    if not all(isinstance(part, Tensor | int | float) for part in parts):
        return None
    return [torch.as_tensor(part).detach().double() for part in parts]


def _several(result: Any) -> bool:
    return isinstance(result, tuple | list)


def _equal(a: Any, b: Any) -> bool:
    left, right = _flat(a), _flat(b)
    if left is None or right is None or len(left) != len(right):
        return False
    return all(
        x.shape == y.shape and torch.allclose(x, y, rtol=1e-7, atol=1e-9, equal_nan=True)
        for x, y in zip(left, right, strict=True)
    )


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b, rtol=RTOL, atol=RTOL / 10)


def _constant(values: Tensor) -> bool:
    return bool((values - values[0]).abs().max() <= RTOL * values[0].abs().clamp(min=1e-3))
