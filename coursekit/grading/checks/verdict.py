"""Runs an exercise's tests against an answer, and finds out which mistake the answer makes.

The answer may be a function of this process (`check`) or one that stands for a function in the
grader's sandbox (`grade`): the tests do not know the difference.
"""

import hmac
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from coursekit.exercises import (
    Answer,
    Exercise,
    Failed,
    Misconception,
    NotJudged,
    Test,
    copies,
    gradients_of,
)
from coursekit.grading.sandbox.errors import AnswerError, NotAttempted, NoVerdict
from coursekit.grading.sandbox.wire import result_of

PUBLIC = b"public"
"""The secret that seeds the tests in `check`, where nothing is to be kept from the student."""

SAME = 1e-4
"""Two answers behave alike if all numbers agree to this relative error."""

OURS = str(Path(__file__).parents[2])
"""The folder of `coursekit`: its lines, such as those of a test, tell students nothing."""


_NO_GRADIENTS = (
    "the call leaves gradients switched off for everything that follows; write "
    "`with torch.no_grad():` in place of torch.set_grad_enabled(False)"
)


@dataclass(frozen=True)
class Outcome:
    """What came of one test."""

    name: str
    hidden: bool
    passed: bool
    score: float
    max_score: float
    message: str
    seconds: float


def run_test(exercise: Exercise, test: Test, answer: Answer, secret: bytes) -> Outcome:
    """Run one test. Whatever happens in it, the answer is judged by it: nothing is raised.

    `NotAttempted` is the exception: it concerns all of the exercise. `NoVerdict` is another.
    """
    start = time.perf_counter()
    passed, message = False, ""
    with seeded(secret, f"{exercise.id}/{test.name}") as generator:
        try:
            test.run(answer, generator)
            if not torch.is_grad_enabled():
                raise Failed(_NO_GRADIENTS)
            passed = True
        except (NotAttempted, NoVerdict):
            raise
        except NotImplementedError as error:  # of an instance that a student's class made
            raise NotAttempted("not attempted yet") from error
        except NotJudged as error:
            message = str(error)
        except (Failed, AnswerError) as error:
            message = test.hint if test.hidden else str(error)
        except Exception as error:  # the test could not digest what the answer returned
            said = f"the result is not of the kind that the contract asks for ({error})"
            message = test.hint if test.hidden else said
        if not passed and not test.hidden and not torch.is_grad_enabled():
            message = _NO_GRADIENTS  # it is why later comparisons of gradients fail as well
    return Outcome(
        test.name,
        test.hidden,
        passed,
        test.points if passed else 0,
        test.points,
        message,
        time.perf_counter() - start,
    )


@contextmanager
def seeded(secret: bytes, name: str) -> Iterator[Generator]:
    """A generator for a test's inputs; torch's own random numbers seeded apart from it."""
    digest = hmac.digest(secret, name.encode(), "sha256")
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        # torch.manual_seed would queue a seed for GPUs, with a traceback: slow, and it piles up.
        torch.default_generator.manual_seed(int.from_bytes(digest[:7], "big"))
        yield Generator().manual_seed(int.from_bytes(digest[8:15], "big"))


def behavior(exercise: Exercise, answer: Answer) -> list[Any]:
    """What the answer does on fixed inputs: values, gradients, effects, use of randomness.

    A list of tensors and words; two answers that make the same mistake have equal lists.
    """
    seen: list[Any] = []
    for draw in range(2):
        with seeded(PUBLIC, f"{exercise.id}/behavior {draw}") as generator:
            args = exercise.draw(generator)
            given = copies(args)
            try:
                seen += _observed(exercise, answer, given)
                seen += [torch.equal(a, b) for a, b in _tensors(args, given)]
                seen += [g.get_state() for g in given if isinstance(g, Generator)]
                torch.default_generator.manual_seed(
                    draw
                )  # what still changes now comes from the generator alone
                seen += _observed(exercise, answer, copies(args))
            except NoVerdict:
                raise
            except Exception as error:  # the answer's, or ours at what it returned
                # What it says tells one error from another; the line is the student's own.
                what = str(error).split(" (line ")[0] if isinstance(error, AnswerError) else ""
                seen += ["raises", type(error).__name__, what]
                continue
            where = [
                i for i, a in enumerate(args) if isinstance(a, Tensor) and a.is_floating_point()
            ]
            torch.default_generator.manual_seed(draw)
            try:
                seen += gradients_of(answer, args, where, seed=0)[1]
            except NoVerdict:
                raise
            except Exception:
                seen.append("no gradient")
    return seen


def _observed(exercise: Exercise, answer: Answer, args: tuple[Any, ...]) -> list[Any]:
    result, weights = exercise.observe(answer, args)
    return [*_numbers(result), *(weight.detach().clone() for weight in weights)]


def _numbers(result: Any) -> list[Any]:
    parts = result if isinstance(result, tuple | list) else [result]
    return [
        torch.as_tensor(p).detach() if isinstance(p, Tensor | float | int) else type(p).__name__
        for p in parts
    ]


def _tensors(a: tuple[Any, ...], b: tuple[Any, ...]) -> Iterator[tuple[Tensor, Tensor]]:
    return ((x, y) for x, y in zip(a, b, strict=True) if isinstance(x, Tensor))


def alike(a: list[Any], b: list[Any]) -> bool:
    """Whether two behaviors are the same, up to rounding."""
    return len(a) == len(b) and all(_alike(x, y) for x, y in zip(a, b, strict=True))


def _alike(x: Any, y: Any) -> bool:
    if not isinstance(x, Tensor) or not isinstance(y, Tensor):
        return type(x) is type(y) and bool(x == y)
    if x.is_complex() or y.is_complex() or x.shape != y.shape:
        return False
    return torch.allclose(x.double(), y.double(), rtol=SAME, atol=SAME / 10, equal_nan=True)


def recognize(exercise: Exercise, seen: list[Any]) -> str | None:
    """The name of the misconception that behaves like `seen`, or None."""
    for misconception in exercise.misconceptions:
        if alike(seen, _known(exercise, misconception)):
            return misconception.name
    return None


@cache
def _known(exercise: Exercise, misconception: Misconception) -> list[Any]:
    return behavior(exercise, guarded(misconception.wrong))


def guarded(function: Callable[..., Any]) -> Answer:
    """The function, raising `AnswerError` where it raises: what a student's own code throws."""

    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return result_of(function, args, kwargs)
        except NotImplementedError as error:
            raise NotAttempted("not attempted yet") from error
        except RecursionError as error:
            raise AnswerError("it calls itself without end (RecursionError)") from error
        except (Exception, SystemExit) as error:
            raise AnswerError(f"it raises {type(error).__name__}: {error}{_line(error)}") from error

    return call


def _line(error: BaseException) -> str:
    """Where in the student's code it happened: the innermost frame outside libraries and ours."""
    import linecache
    import traceback

    for frame, lineno in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_code.co_filename
        if "site-packages" in name or name.startswith(("<frozen", OURS)):
            continue
        text = linecache.getline(name, lineno).strip()
        if text:
            return f" (line {lineno}: {text})"
    return ""
