"""What an exercise is: a contract, hints, tests, and the mistakes that are recognized."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Generator

from coursekit.exercises._helpers import (
    close,
    copies,
    floating,
    gradients_of,
    same,
)

Answer = Callable[..., Any]
"""What a student wrote: called like the function that the contract describes."""

Inputs = Callable[[Generator], tuple[Any, ...]]
"""Draws the positional arguments of one call from a generator."""

Function = TypeVar("Function", bound=Answer)
Draw = TypeVar("Draw", bound=Inputs)

Run = Callable[[Answer, Generator], None]
"""A test's body: returns if the answer is right, raises `Failed` with a message if it is not."""


@dataclass(frozen=True)
class Test:
    """One test. A public test runs in `check`; a hidden one only when the notebook is graded."""

    name: str
    run: Run
    points: float
    hidden: bool
    hint: str


@dataclass(frozen=True)
class Misconception:
    """A known mistake: an implementation that makes it, and the sentence that helps."""

    name: str
    says: str
    wrong: Answer


@dataclass(frozen=True)
class FreeText:
    """A question answered in prose and marked by hand.

    The answer is the rest of the markdown cell that says: Your answer to `ID`.
    """

    id: str
    question: str
    rubric: str
    points: float


class Exercise:
    """A function that the student writes.

    id: module and name, as in "vae.kl". function: the name that the grader looks for.
    contract: signature, shapes, units and reduction, in one or two sentences. hints: three, each
    saying more than the last. see: where in the book to look when the hints are spent.
    forbids: coursekit's own answers by dotted name; while this exercise's chapter is graded they
    refuse to run.
    """

    def __init__(
        self,
        id: str,
        function: str,
        *,
        contract: str,
        hints: tuple[str, str, str],
        see: str,
        forbids: Sequence[str] = (),
    ) -> None:
        self.id = id
        self.function = function
        self.contract = contract
        self.hints = hints
        self.see = see
        self.forbids = tuple(forbids)
        self.tests: list[Test] = []
        self.misconceptions: list[Misconception] = []
        self.draw: Inputs = _missing(id, "inputs")
        self.solve: Answer = _missing(id, "reference")

    def __repr__(self) -> str:
        return f"Exercise({self.id!r})"

    @property
    def points(self) -> float:
        return sum(test.points for test in self.tests)

    def inputs(self, draw: Draw) -> Draw:
        """Decorator: the function that draws the arguments of a call from a generator."""
        self.draw = draw
        return draw

    def reference(self, solve: Function) -> Function:
        """Decorator: a right answer, written apart from coursekit's own."""
        self.solve = solve
        return solve

    def wrong(self, says: str) -> Callable[[Function], Function]:
        """Decorator: a wrong answer and what to tell a student whose answer behaves like it."""

        def add(wrong: Function) -> Function:
            self.misconceptions.append(Misconception(wrong.__name__, says, wrong))
            return wrong

        return add

    def test(
        self, name: str, points: float = 1, hidden: bool = False, hint: str = ""
    ) -> Callable[[Run], Run]:
        """Decorator: a test. Draw from the generator it is given, compare, raise `Failed`.

        hint: shown instead of the reason when a hidden test fails.
        """
        if hidden and not hint:
            raise ValueError(f"{self.id}: the hidden test {name!r} needs a hint for the student")
        if any(test.name == name for test in self.tests):
            raise ValueError(f"{self.id}: there are two tests named {name!r}")

        def add(run: Run) -> Run:
            self.tests.append(Test(name, run, points, hidden, hint))
            return run

        return add

    def values(
        self,
        name: str,
        points: float = 1,
        hidden: bool = False,
        hint: str = "",
        inputs: Inputs | None = None,
    ) -> None:
        """Test: on three draws of the inputs the answer returns what the reference returns."""

        def run(answer: Answer, generator: Generator) -> None:
            for _ in range(3):
                args = (inputs or self.draw)(generator)
                close(answer(*copies(args)), self.solve(*copies(args)))

        self.test(name, points, hidden, hint)(run)

    def gradients(
        self,
        name: str,
        points: float = 1,
        hidden: bool = False,
        hint: str = "",
        inputs: Inputs | None = None,
        wrt: Sequence[str] | None = None,
    ) -> None:
        """Test: values agree, and so do gradients with respect to the arguments named in `wrt`.

        wrt: names of the reference's parameters; by default every floating-point tensor.
        """

        def run(answer: Answer, generator: Generator) -> None:
            args = (inputs or self.draw)(generator)
            names = list(inspect.signature(self.solve).parameters)[: len(args)]
            where = [i for i, a in enumerate(args) if floating(a)]
            if wrt is not None:
                where = [names.index(name) for name in wrt]
            expected, slopes = gradients_of(self.solve, args, where, seed=0)
            _, found = gradients_of(answer, args, where, seed=0, expected=expected)
            for i, slope, got in zip(where, slopes, found, strict=True):
                close(got, slope, what=f"the gradient with respect to {names[i]}")

        self.test(name, points, hidden, hint)(run)

    def untouched(
        self,
        name: str = "leaves its inputs as they were",
        points: float = 1,
        hidden: bool = True,
        hint: str = "Does your function change a tensor that it was given, as `x += 1` does?",
    ) -> None:
        """Test: values agree, and no argument was modified by the call."""

        def run(answer: Answer, generator: Generator) -> None:
            args = self.draw(generator)
            given = copies(args)
            close(answer(*given), self.solve(*copies(args)))
            for i, (before, after) in enumerate(zip(args, given, strict=True), start=1):
                if isinstance(before, torch.Tensor):
                    same(after, before, f"argument {i} was changed by the call")

        self.test(name, points, hidden, hint)(run)


def _missing(id: str, what: str) -> Callable[..., Any]:
    def missing(*args: Any) -> Any:
        raise TypeError(f"exercise {id!r} has no {what}: add it with @exercise.{what}")

    return missing
