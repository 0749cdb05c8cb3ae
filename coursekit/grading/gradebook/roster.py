"""Who is in the course, and which of the files of each student counts."""

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from coursekit.grading.gradebook import sheets
from coursekit.grading.gradebook.batch import Submission

COLUMNS = ["id", "name", "file"]


@dataclass(frozen=True)
class Student:
    id: str
    name: str
    counts: str | None = None
    """The submission that counts; None if nothing was handed in."""
    others: tuple[str, ...] = ()
    """Their other submissions: earlier files, and notebooks of other chapters."""


def read(path: Path) -> list[tuple[str, str, str]]:
    """id, name and file pattern of each student. ValueError if the file cannot be used."""
    if not path.is_file():
        raise ValueError(f"--roster: there is no file {path}")
    lines = [(x["id"], x["name"], x["file"].strip()) for x in sheets.read(path, COLUMNS)]
    if not lines or not all(pattern for *_, pattern in lines):
        raise ValueError(f"--roster: every line of {path} needs a pattern under `file`, as in ann*")
    return lines


def match(
    lines: Sequence[tuple[str, str, str]], submissions: Sequence[Submission]
) -> tuple[list[Student], list[str]]:
    """The students with their submissions, and the submissions that belong to nobody.

    A pattern is compared with the submission's name, upper and lower case alike; * matches
    anything. ValueError if two students' patterns match one submission.
    """
    owners: dict[str, str] = {}
    students = []
    for id, name, pattern in lines:
        own = [s for s in submissions if fnmatch.fnmatchcase(s.name.lower(), pattern.lower())]
        for submission in own:
            if submission.name in owners:
                raise ValueError(
                    f"--roster: {submission.name} matches the patterns of {owners[submission.name]}"
                    f" and of {name}: make them narrower"
                )
            owners[submission.name] = name
        latest = _latest(own)
        others = tuple(s.name for s in own if s.name != latest)
        students.append(Student(id, name, latest, others))
    return students, [s.name for s in submissions if s.name not in owners]


def _latest(own: Sequence[Submission]) -> str | None:
    """The file that was changed last, and of `a`, `a-2`, `a (3)` the one with the highest number.

    Names are safer than times, which copying can change.
    """
    files = [s for s in own if s.path is not None] or list(own)
    if not files:
        return None
    times = {s.name: s.path.lstat().st_mtime if s.path else 0.0 for s in files}
    newest = max(files, key=lambda s: (times[s.name], _number(s.name)))
    alike = [s for s in files if _NUMBER.sub("", s.name) == _NUMBER.sub("", newest.name)]
    return max(alike, key=lambda s: (_number(s.name), times[s.name])).name


_NUMBER = re.compile(r"(?:-| \()(\d{1,3})\)?$")


def _number(name: str) -> int:
    found = _NUMBER.search(name)
    return int(found[1]) if found else 0


def notes(
    rows: Sequence[str], submissions: Sequence[Submission], students: Sequence[Student] | None
) -> dict[str, str]:
    """What must be said of some submissions: that the file is gone, or that another one counts."""
    there = {submission.name for submission in submissions}
    said = {name: "the file is no longer there" for name in rows if name not in there}
    for student in students or ():
        said |= {name: f"not counted: {student.counts} counts" for name in student.others}
    if students is not None:
        known = {n for s in students for n in (s.counts, *s.others)}
        said |= {name: "nobody in the roster has this file" for name in there - known}
    return said


def by_submission(students: Sequence[Student]) -> Mapping[str, Student]:
    return {student.counts: student for student in students if student.counts is not None}
