"""What an exercise is: a solution, inputs, tests, hints, and the mistakes that are recognized."""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Generator

from coursekit.exercises._helpers import (
    Failed,
    NotJudged,
    close,
    copies,
    floating,
    gradients_of,
    unchanged,
    weights,
)

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"

Answer = Callable[..., Any]
"""What a student wrote: called like the function that the contract describes."""

Inputs = Callable[[Generator], tuple[Any, ...]]
"""Draws the positional arguments of one call from a generator."""

Function = TypeVar("Function", bound=Answer)

Run = Callable[[Answer, Generator], None]
"""A test's body: returns if the answer is right, raises `Failed` with a message if it is not."""

Probe = Callable[..., Any]
"""probe(answer, *arguments): what of an answer is compared with the solution."""

Mistakes = Mapping[str, Mapping[str, str]]
"""Edits of the solution: a piece of its code, what a mistake writes instead, and what to say."""


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
    """A function or class that the student writes. Made by `record`, which explains the arguments.

    Attributes: id, as in "vae.kl"; function, the name that the grader looks for; solve, the
    solution; tests; mistakes, the edits; misconceptions, edits and functions; hints; explanation;
    see; forbids.
    """

    def __init__(
        self,
        solve: Answer,
        id: str,
        *,
        inputs: Inputs,
        tests: "Sequence[Callable[[Exercise], Test]]",
        hints: tuple[str, str, str],
        explanation: str,
        see: str,
        mistakes: Mistakes | None = None,
        forbids: Sequence[str] = (),
        probe: Probe | None = None,
        fair: Sequence[str] = (),
    ) -> None:
        self.id = id
        self.function = solve.__name__
        self.solve = solve
        self.draw = inputs
        self.hints = hints
        self.explanation = explanation
        self.see = see
        self.forbids = tuple(forbids)
        self.probe = probe
        self.fair = tuple(fair)
        self.tests: list[Test] = []
        for make in tests:
            self._add(make(self))
        self.mistakes = mistakes or {}
        self._wrong: list[Misconception] = []

    def __repr__(self) -> str:
        return f"Exercise({self.id!r})"

    def copy(self) -> "Exercise":
        """The same exercise, to which tests and mistakes can be added on their own."""
        made = copy(self)
        made.tests, made._wrong = list(self.tests), list(self._wrong)
        return made

    @property
    def points(self) -> float:
        return sum(test.points for test in self.tests)

    @cached_property
    def source(self) -> str:
        """The exercise's cell in `solutions/`: docstring, numbered steps, solution block."""
        lines = textwrap.dedent(inspect.getsource(self.solve)).rstrip().split("\n")
        return "\n".join(lines[ast.parse("\n".join(lines)).body[0].lineno - 1 :])

    @cached_property
    def code(self) -> str:
        """The solution without docstrings, comments and markers."""
        return _bare(self.source)

    @cached_property
    def results(self) -> tuple[str, ...]:
        """The names of several results, where the contract says "Returns: (one, other)"."""
        found = re.search(r"Returns: \(([a-z_]+(?:, [a-z_]+)+)\)", inspect.getdoc(self.solve) or "")
        return tuple(found[1].split(", ")) if found else ()

    def observe(
        self, answer: Answer, args: tuple[Any, ...]
    ) -> tuple[Any, tuple[torch.Tensor, ...]]:
        """What is compared: the result, or what the probe makes of it, and the modules' weights
        and what optimizers keep.

        The arguments are not copied: a call may change them.
        """
        result = answer(*args) if self.probe is None else self.probe(answer, *args)
        if isinstance(result, tuple) and len(result) == len(self.results):
            result = namedtuple("Results", self.results)(*result)  # messages use the names
        return result, weights(args)

    @property
    def misconceptions(self) -> list[Misconception]:
        """The known mistakes: first the edits of the solution, then the functions."""
        return [*self._edits, *self._wrong]

    @cached_property
    def _edits(self) -> list[Misconception]:
        return [
            Misconception(f"{old.strip()} → {new.strip()}", says, self.edited(old, new))
            for old, changes in self.mistakes.items()
            for new, says in changes.items()
        ]

    def edited(self, old: str, new: str) -> Answer:
        """The solution with one piece of its code replaced.

        Raises ValueError if the piece does not occur exactly once.
        """
        if (count := self.code.count(old)) != 1:
            raise ValueError(
                f"{self.id}: the mistake replaces {old!r}, which occurs {count} times in the "
                f"solution, but exactly once is expected:\n{self.code}"
            )
        return self.compiled(self.code.replace(old, new))

    def compiled(self, code: str) -> Answer:
        """The function that `code` defines, in the names of the solution's module."""
        scope = dict(self.solve.__globals__ if inspect.isfunction(self.solve) else _names(self))
        exec(compile(code, f"<{self.id}>", "exec"), scope)
        return scope[self.function]

    def wrong(self, says: str) -> Callable[[Function], Function]:
        """Decorator: a wrong answer that no edit makes, and what to tell a student who makes it."""

        def add(wrong: Function) -> Function:
            self._wrong.append(Misconception(wrong.__name__, says, wrong))
            return wrong

        return add

    def test(self, name: str, points: float = 1, hidden: str = "") -> Callable[[Run], Run]:
        """Decorator: a test. Draw from the generator it is given, compare, raise `Failed`.

        name completes the sentence "it ...". hidden: for a hidden test, what a student reads
        instead of the reason when it fails.
        """

        def add(run: Run) -> Run:
            self._add(Test(name, run, points, bool(hidden), hidden))
            return run

        return add

    def _add(self, test: Test) -> None:
        if any(other.name == test.name for other in self.tests):
            raise ValueError(f"{self.id}: there are two tests named {test.name!r}")
        self.tests.append(test)


def exercise_of(decorated: Any) -> Exercise:
    """What `record` made of a class; type checkers still take its name for the class."""
    exercise: Exercise = decorated
    return exercise


def record(
    id: str,
    *,
    inputs: Inputs,
    tests: Sequence[Callable[[Exercise], Test]],
    hints: tuple[str, str, str],
    explanation: str,
    see: str,
    mistakes: Mistakes | None = None,
    forbids: Sequence[str] = (),
    probe: Probe | None = None,
    fair: Sequence[str] = (),
) -> Callable[[Answer], Exercise]:
    """Decorator: make an exercise of its solution.

    The text of the decorated function or class, with docstring, numbered steps and the markers
    `### BEGIN SOLUTION` and `### END SOLUTION`, is the exercise's cell in the notebook;
    `make student` writes it there.

    id: module and name, as in "vae.kl". inputs: draws the positional arguments of a call.
    tests: of `values`, `gradients`, `untouched`; others are added with `@NAME.test(...)`.
    hints: three, each saying more than the last; the third stops short of the code.
    explanation: the sentence that `solution` shows with the code.
    see: where in the book to look when the hints are spent.
    mistakes: edits of the solution, as `{".sum(dim=1)": {".mean(dim=1)": "Sum over latents."}}`.
        A piece must occur once in the code (docstring and comments do not count).
    forbids: coursekit's own answers by dotted name; while this exercise's chapter is graded they
        refuse to run.
    probe: for an answer whose result cannot be compared as it is, such as a class: takes the answer
        and the arguments, and returns what to compare, for example the shapes that an encoder's
        instance gives.
    fair: changes that the audit makes of a solution and that are right answers here, such as
        "detached" where no gradient is asked for.
    """

    def make(solve: Answer) -> Exercise:
        return Exercise(
            solve,
            id,
            inputs=inputs,
            tests=tests,
            hints=hints,
            explanation=explanation,
            see=see,
            mistakes=mistakes,
            forbids=forbids,
            probe=probe,
            fair=fair,
        )

    return make


def values(
    points: float = 1,
    name: str = "returns the right values",
    hidden: str = "",
    inputs: Inputs | None = None,
) -> Callable[[Exercise], Test]:
    """Test: on three draws of the inputs the answer returns what the solution returns.

    hidden: for a hidden test, what a student reads when it fails. inputs: instead of the record's.
    """

    def make(exercise: Exercise) -> Test:
        def run(answer: Answer, generator: Generator) -> None:
            for _ in range(3):
                args = (inputs or exercise.draw)(generator)
                expected, moved = exercise.observe(exercise.solve, copies(args))
                result, found = exercise.observe(answer, copies(args))
                close(result, expected)
                if len(found) != len(moved):
                    raise Failed("the optimizer keeps something else than it should after the call")
                for weight, right in zip(found, moved, strict=True):
                    if weight.requires_grad != right.requires_grad:
                        raise Failed(
                            "the call left a network's weights frozen, or unfroze them: look for "
                            "requires_grad"
                        )
                    close(weight, right, what="a weight, or what the optimizer keeps, afterwards")

        return Test(name, run, points, bool(hidden), hidden)

    return make


def gradients(
    points: float = 1,
    name: str = "lets the gradient through",
    hidden: str = "",
    inputs: Inputs | None = None,
    wrt: Sequence[str] | None = None,
) -> Callable[[Exercise], Test]:
    """Test: values agree, and so do gradients with respect to the arguments named in `wrt`.

    wrt: names of the solution's parameters; by default every floating-point tensor.
    """

    def make(exercise: Exercise) -> Test:
        def run(answer: Answer, generator: Generator) -> None:
            args = (inputs or exercise.draw)(generator)
            names = list(inspect.signature(exercise.solve).parameters)[: len(args)]
            where = [i for i, a in enumerate(args) if floating(a)]
            if wrt is not None:
                where = [names.index(name) for name in wrt]
            expected, slopes = gradients_of(exercise.solve, args, where, seed=0)
            _, found = gradients_of(answer, args, where, seed=0, expected=expected)
            for i, slope, got in zip(where, slopes, found, strict=True):
                close(got, slope, what=f"the gradient with respect to {names[i]}")

        return Test(name, run, points, bool(hidden), hidden)

    return make


def untouched(points: float = 1) -> Callable[[Exercise], Test]:
    """Hidden test: no argument was modified by the call. Not judged where values are wrong."""

    def make(exercise: Exercise) -> Test:
        def run(answer: Answer, generator: Generator) -> None:
            args = exercise.draw(generator)
            given = copies(args)
            expected = exercise.solve(*copies(args))
            try:
                close(answer(*given), expected)
            except (AssertionError, RuntimeError) as error:  # wrong, or it raised something
                raise NotJudged("This is judged once the values are right.") from error
            unchanged(args, given)

        hint = "Does your function change a tensor that it was given, as `x += 1` does?"
        return Test("leaves its inputs as they were", run, points, True, hint)

    return make


def _names(exercise: Exercise) -> dict[str, Any]:
    """The names of the module that a solution class stands in."""
    module = inspect.getmodule(exercise.solve)
    return dict(vars(module)) if module else {}


def _bare(source: str) -> str:
    """Python code without comments and docstrings."""
    lines = source.split("\n")
    drop: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            text = node.body[0]
            drop |= set(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column].rstrip()
    kept = (line for number, line in enumerate(lines, start=1) if number not in drop)
    return "\n".join(line for line in kept if line.strip())
