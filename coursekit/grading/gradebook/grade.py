"""Grades submissions: one row for each, whatever it does."""

import contextlib
import hashlib
import hmac
import os
import platform
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch

import coursekit
from coursekit import exercises
from coursekit.exercises import Exercise, FreeText, Test
from coursekit.grading.checks.difference import difference
from coursekit.grading.checks.verdict import Outcome, behavior, guarded, recognize, run_test
from coursekit.grading.gradebook import notebook
from coursekit.grading.sandbox.errors import AnswerError, NoSandbox, NotAttempted, ServerLost
from coursekit.grading.sandbox.levels import Walls, start
from coursekit.grading.sandbox.server import Server
from coursekit.grading.sandbox.student import Student

Row = dict[str, Any]

LOST = 2
"""After this many time-outs or crashes in an exercise, its other tests are not run."""

MAX_PROSE = 20_000

MAX_CELLS = 50
"""How many cells with errors a row lists."""


class BadTests(ValueError):
    """The tests themselves are wrong: they refuse the solution, or cannot be loaded."""


@dataclass(frozen=True)
class Assignment:
    """What to grade by. It travels to other processes and machines, so it holds no objects."""

    chapter: str
    secret: bytes
    hidden: tuple[tuple[str, str], ...] = ()
    """Name and source of the instructor's own modules, which add tests."""
    walls: Walls = field(default_factory=Walls)
    only: tuple[str, ...] = ()
    """The exercises to grade; all if it is empty."""


def load(assignment: Assignment) -> tuple[list[Exercise], list[FreeText]]:
    """Fresh exercises with the instructor's hidden tests. `BadTests` if they do not load."""
    found, questions = exercises.chapter(assignment.chapter)
    for name, source in assignment.hidden:
        scope: dict[str, Any] = {"__name__": Path(name).stem}
        try:
            exec(compile(source, name, "exec"), scope)
            scope["add"]({exercise.id: exercise for exercise in found})
        except KeyError as error:
            raise BadTests(
                f"{name} has no {error}: define add(exercises), which is given the chapter's "
                "exercises by id and adds tests to them"
            ) from error
        except Exception as error:
            raise BadTests(f"{name} does not load: {type(error).__name__}: {error}") from error
    return found, questions


def self_test(found: Sequence[Exercise], secret: bytes) -> None:
    """Every test must pass its own solution under this secret. `BadTests` if one does not."""
    for exercise in found:
        for test in exercise.tests:
            outcome = run_test(exercise, test, guarded(exercise.solve), secret)
            if not outcome.passed:
                raise BadTests(
                    f"{exercise.id}: the test {test.name!r} refuses the solution: {outcome.message}"
                )


def sentences(exercise: Exercise, entry: Row) -> list[str]:
    """What a student is told about an answer, from the exercise's entry in a row."""
    known = [m.says for m in exercise.misconceptions if m.name == entry["misconception"]]
    return known or [entry["difference"]] * bool(entry["difference"])


def digest_of_tests(assignment: Assignment) -> str:
    """Changes when the tests, their inputs or the grader's version do."""
    state = hashlib.sha256(f"{coursekit.__version__} {torch.__version__}".encode())
    source = Path(exercises.__file__).parent
    for name in ("_exercise.py", "_helpers.py", "_noise.py", f"{module(assignment.chapter)}.py"):
        state.update((source / name).read_bytes())
    for name, text in assignment.hidden:
        state.update(f"{name}\0{text}\0".encode())
    state.update(hmac.digest(assignment.secret, b"tests", "sha256"))
    return state.hexdigest()[:16]


def module(chapter: str) -> str:
    """The module of coursekit.exercises that holds a chapter's exercises."""
    found, questions = exercises.chapter(chapter)
    return (found or questions)[0].id.split(".")[0]


class Grader:
    """Grades one submission after the other, in a sandbox that it starts once."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.exercises, self.questions = load(assignment)
        only = assignment.only
        self._chosen = [e for e in self.exercises if not only or e.id in only]
        self.versions = {
            "coursekit": coursekit.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "tests": digest_of_tests(assignment),
        }
        self._server: Server | None = None
        self._seed = assignment.secret

    @property
    def server(self) -> Server:
        if self._server is None:
            own = {name for exercise in self.exercises for name in exercise.forbids}
            self._server = start(replace(self.assignment.walls, refuse=tuple(sorted(own))))
        return self._server

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def grade(self, name: str, data: bytes) -> Row:
        """The row of a submission. Trouble of ours gives `status: error` and no score."""
        begin = time.perf_counter()
        # One for each file: what a hand-in is told about its inputs does not help the next one.
        self._seed = hmac.digest(self.assignment.secret, hashlib.sha256(data).digest(), "sha256")
        row = self.empty(name, data)
        try:
            cells = notebook.read(data)
            for attempt in (1, 2):
                try:
                    self._fill(row, cells)
                    break
                except ServerLost:
                    self.close()
                    if attempt == 2:
                        raise
        except notebook.Unreadable as error:
            row |= {"status": "unreadable", "score": 0, "message": str(error)}
        except NoSandbox:
            raise
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            row |= {"status": "error", "score": None, "exercises": {}, "message": message}
        row["seconds"] = round(time.perf_counter() - begin, 4)
        return row

    def empty(self, name: str, data: bytes) -> Row:
        return {
            "submission": name,
            "chapter": module(self.assignment.chapter),
            "sha256": hashlib.sha256(data).hexdigest(),
            "status": "graded",
            "score": 0,
            "max_score": sum(exercise.points for exercise in self.exercises),
            "exercises": {},
            "cells": {},
            "prose": {},
            "message": "",
            "sandbox": self._server.level if self._server else "",
            "warnings": self._server.warnings if self._server else [],
            "seconds": 0.0,
            "versions": self.versions,
        }

    def _fill(self, row: Row, cells: list[notebook.Cell]) -> None:
        for question in self.questions:
            text = notebook.prose(cells, question.id)
            row["prose"][question.id] = None if text is None else text[:MAX_PROSE]
        program = notebook.program(cells)
        graded, errors = self._run(program)
        errors |= program.errors
        row |= {
            "exercises": {e.id: graded[e.id] for e in self._chosen},
            "score": sum(entry["score"] for entry in graded.values()),
            "cells": _listed(errors),
            "sandbox": self.server.level,
            "warnings": self.server.warnings,
        }

    def _run(self, program: notebook.Program) -> tuple[dict[str, Row], dict[int, str]]:
        """The entries of all exercises, and the errors of cells, by number.

        Each answer has a process of its own, in which only what it needs has run. Running
        everything in the notebook is the last resort, for a name that is made in a way that
        reading does not show; the errors of cells that do not mention it stay out.
        """
        by_name = {exercise.function: exercise for exercise in self._chosen}
        spelled = {n: program.spelled([n]) for n in by_name if not program.defines(n)}
        hidden = [name for name in by_name if spelled.get(name)]
        ways = {name: program.slices(name) for name in by_name if program.defines(name)}
        runs = [(program.cells(slices.pop(0)), [name]) for name, slices in ways.items()]
        if hidden:
            runs.append((program.everything(), hidden))
        graded = {
            exercise.id: _entry(exercise, [], _absent(name, program))
            for name, exercise in by_name.items()
            if name not in ways and name not in hidden
        }
        errors: dict[int, str] = {}
        deadline = time.monotonic() + self.assignment.walls.limits.submission
        for parts, names in runs:  # grows where a name held no function
            with Student(self.server, self.assignment.walls.limits, parts, names) as student:
                student.deadline = deadline
                again = [n for n in names if ways.get(n) and not _defines(student, n)]
                runs += [(program.cells(ways[name].pop(0)), [name]) for name in again]
                for name in names:
                    if name not in again:
                        exercise = by_name[name]
                        graded[exercise.id] = self._grade(exercise, program, student)
                shown = student.errors if len(again) < len(names) else {}
                if names == hidden:
                    cells = set[int]().union(*(spelled[name] for name in hidden))
                    shown = {number: shown[number] for number in shown if number in cells}
                errors = shown | errors
        return graded, errors

    def _grade(self, exercise: Exercise, program: notebook.Program, student: Student) -> Row:
        problem = self._problem(exercise, program, student)
        name: str | None = None
        kind: str | None = None
        outcomes: list[Outcome] = []
        if problem is None:
            try:
                outcomes, name, kind = self._run_tests(exercise, student)
            except NotAttempted as error:
                problem = str(error)
            # What an answer keeps of hidden inputs must not reach a public message of the next one.
            # The cells run again for that. A fork of a process in which they have run would not do:
            # a cell can map memory that all of its forks share.
            student.end()
        return _entry(exercise, outcomes, problem, name, kind)

    def _problem(
        self, exercise: Exercise, program: notebook.Program, student: Student
    ) -> str | None:
        """Why the function cannot be tested at all, or None if it can."""
        name = exercise.function
        try:
            if not student.ran:  # else it is known what there is
                student.ready()
        except AnswerError as error:  # the cells alone took all the time
            return f"{name} was not reached: {error}"
        if name not in student.kinds:
            if any(name in s.binds for s in program.statements):
                errors = [f"cell {n}: {text}" for n, text in sorted(student.errors.items())]
                return f"{name} could not be defined. {'; '.join(errors)[:600]}"
            return _absent(name, program)
        return None if student.kinds[name] else f"{name} is not a function"

    def _run_tests(
        self, exercise: Exercise, student: Student
    ) -> tuple[list[Outcome], str | None, str | None]:
        """The outcomes of all tests; the mistake that the answer makes, if it is known; if it is
        not, a sentence about what kind of difference it makes.

        How the answer behaves is looked at by a process that has seen no hidden inputs, so that
        nothing it does with them can reach the student through the mistake that we name.
        """
        answer = student.function(exercise.function)
        lost = student.lost
        outcomes: dict[str, Outcome] = {}
        name: str | None = None
        failed = False
        for hidden in (False, True):
            for test in exercise.tests:
                if test.hidden is not hidden:
                    continue
                if student.lost - lost >= LOST:
                    outcomes[test.name] = _not_run(test, "not run: it hung or crashed before")
                else:
                    outcomes[test.name] = run_test(exercise, test, answer, self._seed)
            failed = any(not outcome.passed for outcome in outcomes.values())
            if failed and name is None and student.lost == lost:
                if hidden:
                    student.end()
                name = recognize(exercise, behavior(exercise, answer))
        kind = None
        if failed and name is None and student.lost == lost:
            kind = difference(exercise, answer)
        return [outcomes[test.name] for test in exercise.tests], name, kind


def _entry(
    exercise: Exercise,
    outcomes: list[Outcome],
    problem: str | None,
    name: str | None = None,
    kind: str | None = None,
) -> Row:
    """What a row says of an exercise. With a problem, no test was run."""
    if problem is not None:
        outcomes = [_not_run(test, problem) for test in exercise.tests]
    return {
        "score": sum(outcome.score for outcome in outcomes),
        "max_score": exercise.points,
        "tests": [asdict(outcome) | {"seconds": round(outcome.seconds, 4)} for outcome in outcomes],
        "problem": problem,
        "misconception": name,
        "difference": kind,
    }


def _absent(name: str, program: notebook.Program) -> str:
    """Why there is no function of that name."""
    broken = [f"cell {n}: {text}" for n, text in sorted(program.errors.items())]
    if broken:
        return f"there is no function {name}. {'; '.join(broken)[:600]}"
    defined = {n for s in program.statements for n in s.binds}
    alike = get_close_matches(name, defined, n=1, cutoff=0.6)
    also = f": was it renamed to {alike[0]}?" if alike else ""
    return f"there is no function {name} in this notebook{also}"


def _not_run(test: Test, why: str) -> Outcome:
    return Outcome(test.name, test.hidden, False, 0, test.points, why, 0.0)


def _defines(student: Student, name: str) -> bool:
    """Whether there is a function of that name once the cells have run."""
    with contextlib.suppress(AnswerError):
        student.ready()
    return student.kinds.get(name, False)


def _listed(errors: dict[int, str]) -> dict[str, str]:
    """The first errors of cells, by number, and a line that counts the others."""
    listed = {str(number): errors[number] for number in sorted(errors)[:MAX_CELLS]}
    if len(errors) > MAX_CELLS:
        listed["…"] = f"{len(errors) - MAX_CELLS:,} more cells have errors"
    return listed


_lock = threading.Lock()
_grader: Grader | None = None


def grade_here(assignment: Assignment, name: str, data: bytes) -> Row:
    """Grade in this process, with a grader that is kept for the next call.

    One at a time: tests seed torch's global random numbers, which threads share.
    """
    global _grader
    with _lock:
        if _grader is None or _grader.assignment != assignment:
            if _grader is not None:
                _grader.close()
            os.environ["OMP_NUM_THREADS"] = "1"
            torch.set_num_threads(1)
            _grader = Grader(assignment)
        return _grader.grade(name, data)


def close_here() -> None:
    """End the sandbox that `grade_here` keeps."""
    global _grader
    with _lock:
        if _grader is not None:
            _grader.close()
            _grader = None


def abandon_here() -> None:
    """The same in the middle of a submission, as a signal's handler does it."""
    if _grader is not None:
        _grader.close()
