"""Tests the tests: what they reject although it is right, and what escapes them."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from coursekit.exercises import Answer, Exercise, chapter, copies
from coursekit.exercises._helpers import floating
from coursekit.grading.checks.verdict import PUBLIC, Outcome, behavior, guarded, recognize, run_test
from coursekit.grading.gradebook.bank import Variant, as_notebook, load_bank, notebook
from coursekit.grading.gradebook.grade import Assignment, Grader, Row
from coursekit.grading.gradebook.mutants import mutants
from coursekit.grading.sandbox.errors import NotAttempted

RIGHT = 5
"""How many right variants an exercise needs at least."""


@dataclass
class Report:
    """What the audit found about one exercise. Every list is of complaints; empty is good."""

    exercise: str
    right: int = 0
    wrong: int = 0
    false_rejects: list[str] = field(default_factory=list)
    escapes: list[str] = field(default_factory=list)
    flakes: list[str] = field(default_factory=list)
    unrecognized: list[str] = field(default_factory=list)
    """Wrong answers that lose marks, but with another message than theirs."""
    public: int = 0
    """Wrong answers that the public tests alone catch."""
    missing: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def complaints(self) -> list[str]:
        kinds = {
            "false reject": self.false_rejects,
            "escape": self.escapes,
            "flake": self.flakes,
            "wrong message": self.unrecognized,
            "missing": self.missing,
        }
        return [f"{self.exercise}: {kind}: {c}" for kind, found in kinds.items() for c in found]


def audit(name: str, bank: Path, seeds: int) -> Iterator[Report]:
    """Audit a chapter: every variant in this process with `seeds` secrets, and once sandboxed."""
    exercises, _ = chapter(name)
    module = exercises[0].id.split(".")[0] if exercises else name
    path = bank / f"{module}.py"
    variants = load_bank(path) if path.is_file() else []
    if unknown := {v.exercise for v in variants} - {e.id for e in exercises}:
        raise ValueError(f"{path} has answers to {', '.join(sorted(unknown))}: no such exercise")
    grader = Grader(Assignment(name, b"audit"))
    try:
        for exercise in exercises:
            yield _audit(
                exercise, [v for v in variants if v.exercise == exercise.id], grader, seeds
            )
    finally:
        grader.close()


def _audit(exercise: Exercise, variants: list[Variant], grader: Grader, seeds: int) -> Report:
    begin = time.perf_counter()
    report = Report(exercise.id, missing=list(incomplete(exercise)))
    for variant in variants:
        row = grader.grade(variant.name, as_notebook(variant, exercise))
        if variant.says is None:
            _right(report, exercise, variant, row, seeds)
        else:
            _wrong(
                report, exercise, variant.name, guarded(variant.answer), variant.says, row, seeds
            )
    for mistake in exercise.misconceptions:
        answer = guarded(mistake.wrong)
        _wrong(report, exercise, mistake.name, answer, mistake.says, None, seeds)
    for name, nonsense in _nonsense(exercise).items():
        passed = [o for o in _outcomes(exercise, nonsense, b"audit 0") if o.score]
        if passed:
            given = sum(o.score for o in passed)
            titles = ", ".join(f"it {o.name}" for o in passed)
            report.escapes.append(f"{name} gets {given:g} points ({titles})")
    for name, mutant in mutants(exercise).items():
        if any(_full_marks(exercise, mutant, seed) for seed in range(min(seeds, 3))):
            report.escapes.append(f"an answer that {name} gets full marks")
    for name in exercise.forbids:
        owner, _, function = name.rpartition(".")
        source = f"import {owner} as own\n{exercise.function} = own.{function}"
        row = grader.grade(name, notebook([source]))
        if row["exercises"][exercise.id]["score"]:
            report.escapes.append(f"handing the question to {name} earns points")
    if report.right < RIGHT:
        report.missing.append(
            f"{report.right} right variants in the bank, but at least {RIGHT} are expected"
        )
    report.seconds = time.perf_counter() - begin
    return report


def incomplete(exercise: Exercise) -> Iterator[str]:
    """What an exercise lacks, whatever it asks for."""
    if not all(hint.strip() for hint in exercise.hints):
        yield "a hint is empty"
    code = [line.strip() for line in exercise.code.split("\n")[1:]]
    for line in code:
        if len(line) > 10 and line.removeprefix("return ") in exercise.hints[2]:
            yield f"the third hint must stop short of the code, but it says {line!r}"
    if not exercise.explanation:
        yield "the explanation that solution(...) shows is empty"
    for hidden, kind in ((False, "public"), (True, "hidden")):
        if not any(test.hidden is hidden for test in exercise.tests):
            yield f"there is no {kind} test"
    names = [mistake.name for mistake in exercise.misconceptions]
    yield from (f"two mistakes are called {n!r}" for n in {n for n in names if names.count(n) > 1})
    for mistake in exercise.misconceptions:
        if not mistake.says.strip():
            yield f"the mistake {mistake.name!r} has no sentence"


def _right(report: Report, exercise: Exercise, variant: Variant, row: Row, seeds: int) -> None:
    report.right += 1
    answer = guarded(variant.answer)
    lost = {seed: why for seed in range(seeds) if (why := _refused(exercise, answer, seed))}
    entry = row["exercises"].get(exercise.id)
    if entry is None or entry["score"] < exercise.points:
        failed = [t for t in entry["tests"] if not t["passed"]] if entry else []
        said = [f"it {t['name']}: {t['message']}" for t in failed] or [row["message"]]
        report.false_rejects.append(f"{variant.name} in the sandbox: {'; '.join(said)}")
    elif len(lost) == seeds:
        report.false_rejects.append(f"{variant.name}: {lost[0]}")
    elif lost:
        seed, why = next(iter(lost.items()))
        report.flakes.append(f"{variant.name} is refused with seeds {[*lost]}; {seed}: {why}")


def _wrong(
    report: Report,
    exercise: Exercise,
    name: str,
    answer: Answer,
    says: str,
    row: Row | None,
    seeds: int,
) -> None:
    passed = [seed for seed in range(seeds) if _full_marks(exercise, answer, seed)]
    if passed:
        report.escapes.append(f"{name} gets full marks with seeds {passed}")
    report.wrong += 1
    report.public += not _full_marks(exercise, answer, None)
    if row is None:  # a known mistake: it must be told by its own sentence
        seen = recognize(exercise, behavior(exercise, answer))
        if seen != name:
            report.unrecognized.append(f"{name} is taken for {seen}")
        return
    entry = row["exercises"].get(exercise.id)
    if entry is None:
        report.escapes.append(f"{name} in the sandbox: {row['message']}")
        return
    if entry["score"] == exercise.points:
        report.escapes.append(f"{name} gets full marks in the sandbox")
    said = [t["message"] for t in entry["tests"]]
    said += [m.says for m in exercise.misconceptions if m.name == entry["misconception"]]
    if not any(says.lower() in text.lower() for text in said):
        report.unrecognized.append(f"{name}: expected {says!r}; it says {[*filter(None, said)]}")


def _full_marks(exercise: Exercise, answer: Answer, seed: int | None) -> bool:
    """Whether all tests pass with this seed; without one, whether the public tests pass."""
    secret = PUBLIC if seed is None else f"audit {seed}".encode()
    outcomes = _outcomes(exercise, answer, secret)
    return all(outcome.passed for outcome in outcomes if seed is not None or not outcome.hidden)


def _refused(exercise: Exercise, answer: Answer, seed: int) -> str:
    """The tests that fail with this seed, and what they say; "" where all pass."""
    outcomes = _outcomes(exercise, answer, f"audit {seed}".encode())
    return "; ".join(f"it {o.name}: {o.message}" for o in outcomes if not o.passed)


def _outcomes(exercise: Exercise, answer: Answer, secret: bytes) -> Iterator[Outcome]:
    try:
        for test in exercise.tests:
            yield run_test(exercise, test, answer, secret)
    except NotAttempted:
        yield Outcome("", False, False, 0, exercise.points, "not attempted", 0.0)


def _nonsense(exercise: Exercise) -> dict[str, Answer]:
    """Answers that know nothing, and so deserve nothing."""

    def zeros(*args: Any, **kwargs: Any) -> Any:
        return _filled(exercise.solve(*copies(args), **kwargs), 0.0)

    def nan(*args: Any, **kwargs: Any) -> Any:
        return _filled(exercise.solve(*copies(args), **kwargs), math.nan)

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    def first(*args: Any, **kwargs: Any) -> Any:
        return args[0] if args else None

    def another(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            for arg in filter(floating, args):
                arg.zero_()
        return exercise.solve(*args, **kwargs)

    answers = {"an answer of zeros": zeros, "an answer of NaN": nan, "an answer of None": nothing}
    answers["its own first argument"] = first
    if not isinstance(exercise.solve, type) and any(
        map(floating, exercise.draw(torch.Generator().manual_seed(0)))
    ):  # of a class, the probe takes the tensors
        answers["the answer to its inputs set to zero"] = another
    return {name: guarded(answer) for name, answer in answers.items()}


def _filled(value: Any, number: float) -> Any:
    """The same structure, full of one number; gradients still flow, and are 0."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value * 0 + number
    if isinstance(value, tuple):
        made = [_filled(item, number) for item in value]
        return type(value)(*made) if hasattr(value, "_fields") else tuple(made)
    if isinstance(value, dict):
        return {key: _filled(item, number) for key, item in value.items()}
    if isinstance(value, torch.nn.Module):
        with torch.no_grad():
            for weight in value.parameters():
                weight.fill_(number)
        return value
    return value * 0 if isinstance(value, torch.Tensor | int | float) else value
