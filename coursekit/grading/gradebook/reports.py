"""What an instructor reads, all made from the rows: gradebook, feedback pages, index.

Everything that a student wrote, names of files included, is escaped by the templates.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from coursekit.exercises import Exercise, FreeText
from coursekit.files import write_text
from coursekit.grading.gradebook.alike import Group
from coursekit.grading.gradebook.grade import Row, sentences
from coursekit.grading.gradebook.prose import Mark
from coursekit.grading.gradebook.roster import Student, by_submission
from coursekit.grading.gradebook.sheets import cell

if TYPE_CHECKING:
    import pandas as pd

Marks = Mapping[str, Mark]
"""Marks of one submission's answers in prose, by question."""


def file_names(names: Iterable[str], ending: str) -> dict[str, str]:
    """A path for each submission's page, below the folder of pages; no two are the same.

    It is the upload's own path with another ending, so that a course site takes the page back for
    that upload. A name that is not plain, or differs from an earlier one in capitals only, gets a
    name that is made from it.
    """
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        plain = all(map(_PLAIN.fullmatch, name.split("/"))) and not _MADE.search(name)
        path = name + ending
        if not plain or path.casefold() in taken:
            readable = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:60]
            path = f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}{ending}"
        taken.add(path.casefold())
        chosen[name] = path
    return chosen


_PLAIN = re.compile(r"[^\W_][\w ,()+-]{0,99}(?<! )|_[\w-]{0,99}")
"""A part of a path that every file system takes: it begins with a letter, a digit or _."""
_MADE = re.compile(r"-[0-9a-f]{8}$")
"""How the names end that are made, which no plain name may have."""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


_TEMPLATES = Environment(
    loader=PackageLoader("coursekit.grading.gradebook"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)
_TEMPLATES.filters["number"] = _number
_TEMPLATES.globals["sentences"] = sentences


def _page(template: str, title: str, **values: Any) -> str:
    return _TEMPLATES.get_template(template).render(title=title, **values)


def write(path: Path, text: str) -> None:
    """Write a text file whole or not at all. What UTF-8 cannot hold becomes a question mark."""
    write_text(path, text.encode(errors="replace").decode())


def feedback(
    row: Row, exercises: Sequence[Exercise], questions: Sequence[FreeText], marks: Marks
) -> str:
    """The page for a student."""
    return _page(
        "feedback.html",
        row["submission"],
        row=row,
        exercises=exercises,
        marks=marks,
        highest={question.id: question.points for question in questions},
    )


def reading(question: FreeText, marks: Marks) -> str:
    """All answers to one question, by submission, to read while marking."""
    return _page("reading.html", question.id, question=question, marks=marks)


def gradebook(
    rows: Sequence[Row],
    exercises: Sequence[Exercise],
    questions: Sequence[FreeText],
    marks: Mapping[str, Marks],
    notes: Mapping[str, str],
    students: Sequence[Student] | None,
) -> str:
    """grades.csv: one line per submission, or, with a roster, one per student first.

    A formula in a name is kept from a spreadsheet.
    """
    import pandas as pd

    ids, prose = [e.id for e in exercises], [q.id for q in questions]
    numbers = ["score", "max_score", *ids, *prose]
    lines = [
        row
        | {id: row["exercises"].get(id, {}).get("score") for id in ids}
        | {id: mark.points for id, mark in marks.get(row["submission"], {}).items()}
        | {"note": notes.get(row["submission"], "")}
        for row in rows
    ]
    columns = ["submission", "status", *numbers, "message", "note"]
    if students is not None:
        lines, columns = _by_student(lines, students), ["id", "name", *columns]
    sheet = pd.DataFrame(lines, columns=columns)
    sheet[numbers] = sheet[numbers].astype(float)
    place = columns.index("message")
    words = sum(question.points for question in questions)
    sheet.insert(place, "total", sheet["score"] + sheet[prose].sum(axis=1))
    sheet.insert(place + 1, "max_total", sheet["max_score"] + words)
    for column in {"id", "name", "submission", "message", "note"} & set(columns):
        sheet[column] = sheet[column].map(cell)
    # Without the first character some spreadsheets do not read UTF-8.
    return "\ufeff" + sheet.to_csv(index=False, float_format="%g", lineterminator="\n")


def _by_student(lines: Sequence[Row], students: Sequence[Student]) -> list[Row]:
    """The lines of the submissions that count, and of those that belong to nobody."""
    by_name = {line["submission"]: line for line in lines}
    nothing = {"submission": "", "status": "missing", "message": "", "note": ""}
    told = []
    for student in students:
        line = nothing if student.counts is None else by_name.pop(student.counts, nothing)
        also = f"not counted: {', '.join(student.others)}" if student.others else line["note"]
        told.append(line | {"id": student.id, "name": student.name, "note": also})
        for name in student.others:
            by_name.pop(name, None)
    return told + [line | {"id": "", "name": ""} for line in by_name.values()]


def index(
    chapter: str,
    rows: Sequence[Row],
    exercises: Sequence[Exercise],
    alike: Sequence[Group],
    notes: Mapping[str, str],
    students: Sequence[Student] | None,
    pages: Mapping[str, str],
    unmarked: Mapping[str, int],
) -> str:
    """The instructor's page: scores, which mistakes and tests, who wrote the same, who.

    unmarked: by question, how many answers in words have no points yet.
    """
    import pandas as pd

    graded = [row for row in rows if row["status"] == "graded" and row["submission"] not in notes]
    tests = pd.DataFrame(_tests(graded), columns=["exercise", "test", "hidden", "passed"])
    rates = tests.groupby(["exercise", "test", "hidden"], sort=False)["passed"].mean()
    told = pd.DataFrame(_told(graded, exercises), columns=["exercise", "says"])
    scores = pd.Series([row["score"] for row in graded], dtype=float)
    highest = sum(exercise.points for exercise in exercises)
    top = max((row["max_score"] for row in graded), default=highest)
    return _page(
        "index.html",
        f"Grades: {chapter}",
        rows=rows,
        states=pd.Series([row["status"] for row in rows]).value_counts().to_dict(),
        scores=scores.describe().to_dict() if graded else {},
        histogram=_histogram(scores, top),
        top=top,
        sandboxes=sorted({row["sandbox"] for row in rows if row["sandbox"]}),
        warnings=sorted({warning for row in rows for warning in row["warnings"]}),
        tests=rates.reset_index().to_dict("records"),
        mistakes=told.value_counts().reset_index().to_dict("records"),
        alike=alike,
        notes=notes,
        pages=pages,
        unmarked=unmarked,
        students=by_submission(students or ()),
        missing=[student for student in students or () if student.counts is None],
    )


def _histogram(scores: "pd.Series", highest: float) -> list[tuple[str, int]]:
    """How many scores lie in each tenth of the points, the best first."""
    import pandas as pd

    edges = [highest * tenth / 10 for tenth in range(11)]
    counts = pd.cut(scores, edges, include_lowest=True).value_counts(sort=False)
    bins = zip(edges[:-1], edges[1:], counts, strict=True)
    return [(f"{low:g} to {high:g}", int(count)) for low, high, count in bins][::-1]


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
