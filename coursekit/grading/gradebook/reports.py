"""What an instructor reads, all made from the rows: gradebook, feedback pages, index.

Everything that a student wrote, names of files included, is escaped by the templates.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from coursekit.exercises import Exercise, FreeText
from coursekit.files import write_text
from coursekit.grading.gradebook.grade import Row, sentences
from coursekit.grading.gradebook.prose import Mark, cell

Marks = Mapping[str, Mark]
"""Marks of one submission's answers in prose, by question."""


def file_name(name: str, ending: str) -> str:
    """A file name from any text: no path in it, and two texts never share one."""
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
    return f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}{ending}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


_TEMPLATES = Environment(
    loader=PackageLoader("coursekit.grading.gradebook"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
_TEMPLATES.filters["number"] = _number
_TEMPLATES.globals |= {"file_name": file_name, "sentences": sentences}


def _page(template: str, title: str, **values: Any) -> str:
    return _TEMPLATES.get_template(template).render(title=title, **values)


def write(path: Path, text: str) -> None:
    """Write a text file whole or not at all. What UTF-8 cannot hold becomes a question mark."""
    write_text(path, text.encode(errors="replace").decode())


def feedback(row: Row, exercises: Sequence[Exercise], marks: Marks) -> str:
    """The page for a student."""
    return _page("feedback.html", row["submission"], row=row, exercises=exercises, marks=marks)


def reading(question: FreeText, marks: Marks) -> str:
    """All answers to one question, by submission, to read while marking."""
    return _page("reading.html", question.id, question=question, marks=marks)


def gradebook(
    rows: Sequence[Row],
    exercises: Sequence[Exercise],
    questions: Sequence[FreeText],
    marks: Mapping[str, Marks],
) -> str:
    """grades.csv: one line per submission. A formula in a name is kept from a spreadsheet."""
    import pandas as pd

    ids, prose = [e.id for e in exercises], [q.id for q in questions]
    numbers = ["score", "max_score", *ids, *prose]
    lines = [
        row
        | {id: row["exercises"].get(id, {}).get("score") for id in ids}
        | {id: mark.points for id, mark in marks.get(row["submission"], {}).items()}
        for row in rows
    ]
    sheet = pd.DataFrame(lines, columns=["submission", "status", *numbers, "message"])
    sheet[numbers] = sheet[numbers].astype(float)
    sheet.insert(len(numbers) + 2, "total", sheet["score"] + sheet[prose].sum(axis=1))
    for column in ("submission", "message"):
        sheet[column] = sheet[column].map(cell)
    # Without the first character some spreadsheets do not read UTF-8.
    return "\ufeff" + sheet.to_csv(index=False, float_format="%g", lineterminator="\n")


def index(
    rows: Sequence[Row], exercises: Sequence[Exercise], alike: Sequence[tuple[str, str, float]]
) -> str:
    """The instructor's page: who, which tests, which mistakes, who wrote the same."""
    import pandas as pd

    graded = [row for row in rows if row["status"] == "graded"]
    tests = pd.DataFrame(_tests(graded), columns=["exercise", "test", "hidden", "passed"])
    rates = tests.groupby(["exercise", "test", "hidden"], sort=False)["passed"].mean()
    told = pd.DataFrame(_told(graded, exercises), columns=["exercise", "says"])
    return _page(
        "index.html",
        "Grades",
        rows=rows,
        states=pd.Series([row["status"] for row in rows]).value_counts().to_dict(),
        scores=pd.Series([row["score"] for row in graded]).describe().to_dict() if graded else {},
        top=max((row["max_score"] for row in graded), default=0),
        sandboxes=sorted({row["sandbox"] for row in rows if row["sandbox"]}),
        warnings=sorted({warning for row in rows for warning in row["warnings"]}),
        tests=rates.reset_index().to_dict("records"),
        mistakes=told.value_counts().reset_index().to_dict("records"),
        alike=alike,
    )


def _tests(graded: Sequence[Row]) -> Iterator[tuple[str, str, bool, bool]]:
    for row in graded:
        for id, entry in row["exercises"].items():
            for test in entry["tests"]:
                yield id, test["name"], test["hidden"], test["passed"]


def _told(graded: Sequence[Row], exercises: Sequence[Exercise]) -> Iterator[tuple[str, str]]:
    by_id = {exercise.id: exercise for exercise in exercises}
    for row in graded:
        for id, entry in row["exercises"].items():
            if id in by_id and entry["misconception"]:
                yield from ((id, says) for says in sentences(by_id[id], entry))
