"""`coursekit grade` and `coursekit audit`."""

import argparse
import contextlib
import fnmatch
import os
import secrets
import signal
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coursekit.exercises import Exercise, FreeText
    from coursekit.grading.gradebook.batch import Submission
    from coursekit.grading.gradebook.grade import Assignment, Row
    from coursekit.grading.gradebook.roster import Student

ERRORS, INTERRUPTED = 1, 130


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `grade` and `audit` to the command line."""
    _add_grade(subparsers)
    _add_audit(subparsers)


def _add_grade(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "grade",
        help="grade notebooks that were handed in",
        description="Grade notebooks, or folders of them, in a sandbox. Writes results.jsonl, "
        "grades.csv, index.html and one feedback page per submission into --out. Run it again to "
        "go on after an interruption, to grade what is new, or to merge points given by hand. "
        "Exit code 0: every submission is graded or unreadable; 1: the grader had trouble of its "
        "own with some; 2: bad usage; 130: interrupted. The book's page for instructors says more.",
    )
    add = parser.add_argument
    add("chapter", help="as in 03_vae")
    add("paths", nargs="+", type=Path, metavar="PATH", help="a notebook, or a folder of them")
    add("--out", type=Path, required=True, metavar="DIR", help="for results; one per chapter")
    add("--jobs", type=int, default=1, metavar="N", help="processes; default: 1")
    add("--hidden", type=Path, metavar="DIR", help="your own modules with further tests")
    add("--secret", type=Path, metavar="FILE", help="seeds the tests; default: made in --out")
    add("--only", action="append", metavar="NAME", help="only these submissions; * matches")
    add("--force", action="store_true", help="grade again what has a result")
    add("--exercise", action="append", metavar="ID", help="grade only this exercise again")
    add("--roster", type=Path, metavar="FILE", help="CSV with id, name, file: who is in the course")
    add(
        "--require-sandbox",
        nargs="?",
        const="bubblewrap",
        choices=("bubblewrap", "namespaces"),
        help="stop if no sandbox at least as good works here; without a value: bubblewrap",
    )
    add("--gradescope", action="store_true", help="write results.json files and autograder.zip")
    add("--dask", metavar="ADDRESS", help="grade on a cluster of the package `distributed`")
    parser.set_defaults(run=_grade)


def _grade(args: argparse.Namespace) -> int:
    import torch

    from coursekit.grading.gradebook import roster
    from coursekit.grading.gradebook.batch import collect, of_chapter
    from coursekit.grading.gradebook.grade import load, self_test

    if args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}, but at least one process is needed")
    torch.set_num_threads(1)
    submissions = of_chapter(collect(args.paths, leave_out=[args.out]), args.chapter)
    chosen = [s for s in submissions if not args.only or _matches(s, args.only)]
    if not chosen:
        raise ValueError(
            f"--only: no submission is called {' or '.join(args.only)}; * stands for any text, as "
            f"in {args.only[0] + '*'!r}"
        )
    students = None
    if args.roster is not None:
        students, strangers = roster.match(roster.read(args.roster), submissions)
        for name in strangers:
            print(f"{name}: nobody in the roster has this file", file=sys.stderr)
    args.out.mkdir(parents=True, exist_ok=True)
    assignment = _assignment(args)
    exercises, questions = load(assignment)
    unknown = set(args.exercise or ()) - {exercise.id for exercise in exercises}
    if unknown:
        raise ValueError(
            f"--exercise: {args.chapter} has no {' or '.join(sorted(unknown))}, only "
            f"{', '.join(exercise.id for exercise in exercises)}"
        )
    self_test(exercises, assignment.secret)
    try:
        rows, interrupted = _rows(args, assignment, chosen)
        unmarked = _write(args, assignment, rows, submissions, exercises, questions, students)
    except OSError as error:
        raise ValueError(
            f"cannot write into {args.out}: {error.strerror or error}. The rows so far are safe in "
            "results.jsonl: make room, and run the same command again to go on"
        ) from error
    for id, n in unmarked.items():
        page, table = (args.out / "prose" / f"{id}.{ending}" for ending in ("html", "csv"))
        print(f"{id}, answers in words without points: {n}; read {page}, fill in {table}")
    states = Counter(row["status"] for row in rows)
    said = ", ".join(f"{n} {state}" for state, n in states.items())
    print(f"{said}: see {args.out / 'index.html'}")
    if interrupted:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return INTERRUPTED
    return ERRORS if states["error"] else 0


def _rows(
    args: argparse.Namespace, assignment: "Assignment", chosen: "list[Submission]"
) -> "tuple[list[Row], bool]":
    """All rows, and whether Ctrl-C came before the last one."""
    from tqdm.auto import tqdm

    from coursekit.grading.gradebook.batch import RESULTS, grade_all, read_rows

    warned: set[str] = set()

    def done(row: "Row") -> None:
        for warning in set(row["warnings"]) - warned:
            bar.write(f"WARNING: {warning}", file=sys.stderr)
            warned.add(warning)
        if row["status"] == "error":
            bar.write(f"{row['submission']}: {row['message']}", file=sys.stderr)
        else:
            bar.write(f"{row['submission']}: {_said(row)}")
        bar.update()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)  # what ends a job on a cluster leaves nothing behind
    again = args.exercise or ()
    how = {"jobs": args.jobs, "dask": args.dask, "force": args.force, "again": again}
    with tqdm(total=len(chosen), unit="", desc=f"grading {args.chapter}", disable=None) as bar:
        try:
            return list(grade_all(assignment, chosen, args.out, **how, done=done).values()), False
        except KeyboardInterrupt:
            return list(read_rows(args.out / RESULTS).values()), True


def _said(row: "Row") -> str:
    if row["status"] == "unreadable":
        return f"unreadable, {row['message']}"
    return f"{row['score']:g} of {row['max_score']:g} points"


def _matches(submission: "Submission", patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(submission.name, pattern) for pattern in patterns)


def _assignment(args: argparse.Namespace) -> "Assignment":
    from coursekit.grading.gradebook.grade import Assignment
    from coursekit.grading.sandbox.levels import LEVELS, Walls

    hidden: tuple[tuple[str, str], ...] = ()
    if args.hidden is not None:
        files = sorted(args.hidden.glob("*.py")) if args.hidden.is_dir() else []
        if not files:
            raise ValueError(f"--hidden: there are no .py files in {args.hidden}")
        hidden = tuple((file.name, file.read_text(encoding="utf-8")) for file in files)
    worst = args.require_sandbox or LEVELS[-1]
    private = [args.out, args.hidden, args.secret, *args.paths]
    walls = Walls(
        levels=LEVELS[: LEVELS.index(worst) + 1],
        hidden=tuple(str(path.resolve()) for path in private if path is not None),
    )
    return Assignment(args.chapter, _secret(args.secret, args.out), hidden, walls)


def _secret(given: Path | None, out: Path) -> bytes:
    """The secret from the file given, or one that is made once and kept in the results' folder."""
    if given is not None:
        secret = given.read_bytes().strip()
        if len(secret) < 8:
            raise ValueError(f"--secret: {given} holds fewer than 8 characters; make it longer")
        return secret
    path = out / "secret"
    if not path.exists():
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_bytes().strip()


def _write(
    args: argparse.Namespace,
    assignment: "Assignment",
    rows: "list[Row]",
    submissions: "list[Submission]",
    exercises: "list[Exercise]",
    questions: "list[FreeText]",
    students: "list[Student] | None",
) -> dict[str, int]:
    """All reports, from the rows. Returns: by question, how many answers have no points yet."""
    from coursekit.grading.gradebook import (
        alike,
        gradescope,
        overrides,
        prose,
        reports,
        roster,
        sheets,
    )
    from coursekit.grading.gradebook.batch import read_file

    merged: dict[str, dict[str, prose.Mark]] = {row["submission"]: {} for row in rows}
    notes = roster.notes(list(merged), submissions, students)
    counting = [row for row in rows if "not counted" not in notes.get(row["submission"], "")]
    unmarked: dict[str, int] = {}
    for question in questions:
        given, problems = prose.merge(args.out / "prose", question, counting)
        for problem in problems:
            print(problem, file=sys.stderr)
        reports.write(prose.path_of(args.out / "prose", question), prose.sheet(given))
        page = args.out / "prose" / f"{question.id}.html"
        reports.write(page, reports.reading(question, given))
        for name, mark in given.items():
            merged.setdefault(name, {})[question.id] = mark
        waiting = [n for n, mark in given.items() if mark.waits and n not in notes]
        if waiting:
            unmarked[question.id] = len(waiting)
    by_hand = args.out / "overrides.csv"
    if not by_hand.exists():
        reports.write(by_hand, sheets.text(overrides.COLUMNS, ()))
    rows, problems = overrides.apply(by_hand, rows)
    for row in rows:
        for id, entry in row["exercises"].items():
            if "reason" in entry:
                points = f"{entry['score']:g} points by hand instead of {entry['graded']:g}"
                note = notes.get(row["submission"])
                print(f"{row['submission']}, {id}: {points}{f' ({note})' if note else ''}")
    for problem in problems:
        print(problem, file=sys.stderr)
    pages = reports.file_names((row["submission"] for row in rows), ".html")
    for row in rows:
        name = row["submission"]
        page = args.out / "feedback" / pages[name]
        reports.write(page, reports.feedback(row, exercises, questions, merged[name]))
        if args.gradescope:
            result = args.out / "gradescope" / Path(pages[name]).with_suffix(".json")
            reports.write(result, gradescope.results(row, exercises))
    if args.gradescope:
        gradescope.write_autograder(args.out / "gradescope" / "autograder.zip", assignment)
    names = [exercise.function for exercise in exercises]
    # An earlier file of the same student is like the later one.
    counted = {row["submission"] for row in counting}
    code = {}
    for submission in submissions:
        if submission.path is not None and submission.name in counted:
            with contextlib.suppress(OSError):  # its row says that it cannot be read
                code[submission.name] = alike.answer_code(read_file(submission), names)
    groups = alike.groups(code)
    page = args.out / "index.html"
    reports.write(
        page,
        reports.index(args.chapter, rows, exercises, groups, notes, students, pages, unmarked),
    )
    table = reports.gradebook(rows, exercises, questions, merged, notes, students)
    reports.write(args.out / "grades.csv", table)
    return unmarked


def _add_audit(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "audit",
        help="test the tests of the exercises",
        description="Grade the bank of right and wrong answers. Exit code 1 if a right answer is "
        "refused, a wrong one escapes, or a mistake is not recognized.",
    )
    parser.add_argument("chapters", nargs="*", help="default: all that have exercises")
    parser.add_argument("--bank", type=Path, default=Path("tests/grading/bank"), help="folder")
    parser.add_argument("--seeds", type=int, default=20, help="how many secrets; default: 20")
    parser.set_defaults(run=_audit)


def _audit(args: argparse.Namespace) -> int:
    import torch

    from coursekit.exercises import chapters
    from coursekit.grading.gradebook.audit import audit

    if not args.bank.is_dir():
        raise ValueError(f"--bank: there is no folder {args.bank}; run this in the repository")
    torch.set_num_threads(1)  # the tensors are small: more threads only get in each other's way
    row = "{:28} {:>8} {:>8} {:>14} {:>8} {:>8} {:>8}"
    print(row.format("exercise", "right", "wrong", "false rejects", "escapes", "flakes", "public"))
    complaints: list[str] = []
    for name in args.chapters or chapters():
        for report in audit(name, args.bank, args.seeds):
            share = f"{report.public / max(report.wrong, 1):.0%}"
            counts = (report.false_rejects, report.escapes, report.flakes)
            shown = (report.exercise, report.right, report.wrong, *map(len, counts), share)
            print(row.format(*shown), f"{report.seconds:7.1f} s", flush=True)
            complaints += report.complaints
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0
