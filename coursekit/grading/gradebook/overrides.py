"""Marks that an instructor sets by hand, in a file of their own: they outlive a regrade."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from coursekit.grading.gradebook import sheets
from coursekit.grading.gradebook.grade import Row

COLUMNS = ["submission", "exercise", "points", "reason"]


def apply(path: Path, rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """The rows with the marks of the file, each with its reason, and what is wrong in the file.

    A row keeps the grader's score of an exercise under "graded", beside the "reason".
    """
    changed: dict[str, Row] = {row["submission"]: row for row in rows}
    by_cell = {sheets.cell(name): name for name in changed}
    problems = []
    for line in sheets.read(path, COLUMNS):
        name = by_cell.get(line["submission"], line["submission"])
        problem = _problem(line, changed.get(name))
        if problem is not None:
            problems.append(f"{path.name}, {name}, {line['exercise']}: {problem}")
            continue
        row = changed[name] = copy.deepcopy(changed[name])
        entry = row["exercises"][line["exercise"]]
        given = sheets.points(line["points"], entry["max_score"])
        entry |= {"graded": entry["score"], "score": given, "reason": line["reason"].strip()}
        row["score"] = sum(entry["score"] for entry in row["exercises"].values())
    return [changed[row["submission"]] for row in rows], problems


def _problem(line: Mapping[str, str], row: Row | None) -> str | None:
    if row is None:
        return "there is no such submission"
    entry = row["exercises"].get(line["exercise"])
    if row["status"] != "graded":
        return f"that submission is {row['status']}: replace its file by one that can be graded"
    if line["exercise"] in row.get("prose", {}):
        return f"answers in words are marked in prose/{line['exercise']}.csv"
    if entry is None:
        return f"that submission has no such exercise, only {', '.join(row['exercises']) or 'none'}"
    if sheets.points(line["points"], entry["max_score"]) is None:
        return f"{line['points']!r} is no number from 0 to {entry['max_score']:g}"
    if not line["reason"].strip():
        return "a mark that is set by hand needs a reason"
    return None
