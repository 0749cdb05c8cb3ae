"""Answers in prose: written out a question at a time, marked by hand, and read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coursekit.exercises import FreeText
from coursekit.grading.gradebook import sheets
from coursekit.grading.gradebook.grade import Row
from coursekit.grading.gradebook.sheets import cell

COLUMNS = ["submission", "answer", "points", "comment"]


@dataclass(frozen=True)
class Mark:
    """An answer in prose and what an instructor thinks of it."""

    answer: str
    points: float | None
    comment: str
    entered: str
    """What stands in the column `points`, number or not."""
    asked: bool = True
    """Whether the notebook has the cell of the question."""

    @property
    def waits(self) -> bool:
        """Whether there is an answer without points."""
        return bool(self.answer.strip()) and self.points is None


def path_of(folder: Path, question: FreeText) -> Path:
    return folder / f"{question.id}.csv"


def merge(
    folder: Path, question: FreeText, rows: Sequence[Row]
) -> tuple[dict[str, Mark], list[str]]:
    """The answers of all rows with the marks that stand in the question's CSV file, by submission.

    The second value lists what is wrong in the file: such points do not count, and stay in it. If
    an answer has changed since it was marked, the points are moved to the comment.
    """
    old = {cell(x["submission"]): x for x in sheets.read(path_of(folder, question), COLUMNS)}
    merged, problems = {}, []
    for row in rows:
        name, answer = row["submission"], row.get("prose", {}).get(question.id)
        before = old.pop(cell(name), None)
        if row["status"] != "graded" and before is None:
            continue
        answer, asked = answer or "", answer is not None
        entered = before["points"].strip() if before else ""
        comment = before["comment"] if before else ""
        if before and entered and cell(before["answer"]).split() != cell(answer).split():
            problems.append(f"{name}: the answer to {question.id} changed after it was marked")
            comment, entered = f"(before the answer changed: {entered} points) {comment}", ""
        points = sheets.points(entered, question.points)
        if entered and points is None:
            problems.append(
                f"{name}: {entered!r} in {path_of(folder, question).name} is no number from 0 to "
                f"{question.points:g}"
            )
        merged[name] = Mark(answer, points, comment, entered, asked)
    for name, line in old.items():  # marked before, not handed in this time: nothing is lost
        points = sheets.points(line["points"], question.points)
        merged[name] = Mark(line["answer"], points, line["comment"], line["points"])
    return merged, problems


def sheet(marks: Mapping[str, Mark]) -> str:
    """The CSV file to fill in: write a number under `points`, run the same command again."""
    lines = [[cell(name), cell(m.answer), m.entered, m.comment] for name, m in marks.items()]
    return sheets.text(COLUMNS, lines)
