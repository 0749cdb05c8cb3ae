"""Answers in prose: written out a question at a time, marked by hand, and read back."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from coursekit.exercises import FreeText
from coursekit.grading.gradebook.grade import Row

COLUMNS = ["submission", "answer", "points", "comment"]


@dataclass(frozen=True)
class Mark:
    """An answer in prose and what an instructor thinks of it."""

    answer: str
    points: float | None
    comment: str
    entered: str
    """What stands in the column `points`, number or not."""


def path_of(folder: Path, question: FreeText) -> Path:
    return folder / f"{question.id}.csv"


def merge(
    folder: Path, question: FreeText, rows: Sequence[Row]
) -> tuple[dict[str, Mark], list[str]]:
    """The answers of all rows with the marks that stand in the question's CSV file, by submission.

    The second value lists what is wrong in the file: such points do not count, and stay in it. If
    an answer has changed since it was marked, the points are moved to the comment.
    """
    old = _read(path_of(folder, question))
    merged, problems = {}, []
    for row in rows:
        name, answer = row["submission"], row.get("prose", {}).get(question.id)
        before = old.pop(cell(name), None)
        if answer is None and before is None:
            continue
        answer = answer or ""
        entered = before["points"].strip() if before else ""
        comment = before["comment"] if before else ""
        if before and entered and before["answer"].split() != cell(answer).split():
            problems.append(f"{name}: the answer to {question.id} changed after it was marked")
            comment, entered = f"(before the answer changed: {entered} points) {comment}", ""
        points = _points(entered, question)
        if entered and points is None:
            problems.append(
                f"{name}: {entered!r} in {path_of(folder, question).name} is no number from 0 to "
                f"{question.points:g}"
            )
        merged[name] = Mark(answer, points, comment, entered)
    for name, line in old.items():  # marked before, not handed in this time: nothing is lost
        points = _points(line["points"].strip(), question)
        merged[name] = Mark(line["answer"], points, line["comment"], line["points"])
    return merged, problems


def sheet(marks: Mapping[str, Mark]) -> str:
    """The CSV file to fill in: write a number under `points`, run the same command again."""
    out = StringIO()
    out.write("\ufeff")  # without it some spreadsheets do not read UTF-8
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(COLUMNS)
    for name, mark in marks.items():
        lines.writerow([cell(name), cell(mark.answer), mark.entered, mark.comment])
    return out.getvalue()


def cell(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _points(entered: str, question: FreeText) -> float | None:
    try:
        points = float(entered.replace(",", "."))
    except ValueError:
        return None
    return points if 0 <= points <= question.points else None


def _read(path: Path) -> dict[str, dict[str, str]]:
    if not path.exists():
        return {}
    text = path.read_text(encoding="utf-8-sig")
    semicolons = text.split("\n", 1)[0].count(";") >= len(COLUMNS) - 1  # some spreadsheets do
    lines = list(csv.DictReader(StringIO(text, newline=""), delimiter=";" if semicolons else ","))
    if any(line.get(column) is None for line in lines for column in COLUMNS):
        raise ValueError(
            f"{path} must have the columns {', '.join(COLUMNS)} in every line; correct it, or move "
            "it away to start anew"
        )
    return {line["submission"]: line for line in lines}
