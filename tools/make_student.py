"""Make the student version of chapters: book/NN_name.ipynb from solutions/NN_name.ipynb.

    python tools/make_student.py            # every chapter
    python tools/make_student.py 03_vae     # one
    python tools/make_student.py --check    # only say where book/ has drifted from solutions/

Both versions are run (only those whose code, or coursekit, has changed) and written with the
outputs of that run, except where the reader is to find out first: below a "Predict" prompt (tag
`predict`) and at a call of `hint`. book/exercises.md and book/summaries.md, which gather something
from every chapter, are written as well.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys

import chapters
import overview
from nbformat import NotebookNode

from coursekit import exercises
from coursekit.exercises import BEGIN, END

STUB = "raise NotImplementedError  # your code here"


def fill(name: str, solution: NotebookNode) -> NotebookNode:
    """The chapter with each exercise's cell as its record has it: the text stands there once.

    name: the notebook's, as in "03_vae".

    Raises:
        ValueError: a block stands in a cell that defines no exercise of this chapter.
    """
    known = name[3:] in exercises.chapters()
    records = {e.function: e for e in exercises.chapter(name)[0]} if known else {}
    filled = copy.deepcopy(solution)
    for cell in chapters.code_cells(filled):
        if BEGIN in cell.source:
            defined = re.search(r"^(?:def|class) (\w+)", cell.source, re.MULTILINE)
            if defined is None or defined[1] not in records:
                raise ValueError(
                    f"{name}, cell {cell.id!r}: a solution block stands here, but the cell defines "
                    f"none of this chapter's exercises: {', '.join(records) or 'it has none'}"
                )
            cell.source = records[defined[1]].source
    return filled


def project(solution: NotebookNode) -> NotebookNode:
    """The student version of a chapter, without outputs.

    Each solution block becomes one stub line at the block's indent; cells tagged `solution` or
    `claim` go. Everything else stays, cell ids included.

    Raises:
        ValueError: a block is not closed, not opened, or nested; the message names the cell.
    """
    student = copy.deepcopy(solution)
    student.cells = [cell for cell in student.cells if not tags(cell) & {"solution", "claim"}]
    for cell in student.cells:
        if cell.cell_type == "code":
            cell.source = _stub_blocks(cell.source, cell.id)
            cell.outputs, cell.execution_count = [], None
    return student


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def unseen(cell: NotebookNode) -> bool:
    """Whether the notebook is given out without this cell's output."""
    return "predict" in tags(cell) or (
        cell.cell_type == "code" and re.match(r"\s*hint\(", cell.source) is not None
    )


def without_answers(student: NotebookNode) -> NotebookNode:
    """The student version without the outputs that its reader is to find out."""
    student = copy.deepcopy(student)
    for cell in student.cells:
        if unseen(cell):
            cell.outputs, cell.execution_count = [], None
    return student


def _stub_blocks(source: str, cell: str) -> str:
    lines, inside = [], False
    for line in source.split("\n"):
        mark = line.strip()
        if mark not in (BEGIN, END):
            if not inside:
                lines.append(line)
            continue
        if inside == (mark == BEGIN):
            raise ValueError(
                f"cell {cell!r}: {mark!r} {'inside a block' if inside else 'without a beginning'}; "
                f"each block is one {BEGIN!r}, its lines, one {END!r}"
            )
        inside = mark == BEGIN
        if inside:
            lines.append(line[: len(line) - len(line.lstrip())] + STUB)
    if inside:
        raise ValueError(f"cell {cell!r}: {BEGIN!r} is never closed; add {END!r} after its lines")
    return "\n".join(lines)


def drift() -> list[str]:
    """Where book/ is not the projection of solutions/, a line a chapter."""
    solutions = {path.name: path for path in chapters.chapters(chapters.SOLUTIONS)}
    students = {path.name: path for path in chapters.chapters(chapters.BOOK)}
    found = [f"book/{n} has no solutions/{n}" for n in sorted(students.keys() - solutions.keys())]
    for name in sorted(solutions.keys() - students.keys()):
        found.append(
            f"book/{name} is missing: run make student CHAPTER={name.removesuffix('.ipynb')}"
        )
    for name in sorted(solutions.keys() & students.keys()):
        solution = chapters.read(solutions[name])
        filled = fill(solutions[name].stem, solution)
        if [cell.source for cell in filled.cells] != [cell.source for cell in solution.cells]:
            found.append(
                f"solutions/{name} has another solution than coursekit/exercises: run make "
                f"student CHAPTER={solutions[name].stem}"
            )
        expected = [_source(cell) for cell in project(solution).cells]
        actual = [_source(cell) for cell in chapters.read(students[name]).cells]
        if actual != expected:
            changed = [cell["id"] for cell in actual if cell not in expected]
            where = f"cells {', '.join(changed)}" if changed else "cells are missing or moved"
            found.append(
                f"book/{name} is not what solutions/{name} gives ({where}): edit solutions/ only, "
                f"and run make student CHAPTER={solutions[name].stem}"
            )
    return found


def _source(cell: NotebookNode) -> dict[str, object]:
    return {key: cell[key] for key in ("id", "cell_type", "source", "metadata")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapter", nargs="*", help="such as 03_vae; none means all")
    parser.add_argument("--check", action="store_true", help="write nothing, list differences")
    arguments = parser.parse_args()
    if arguments.check:
        pages = [f"book/{name}: run python tools/overview.py" for name in overview.stale()]
        sys.exit("\n".join(drift() + pages) or 0)

    notebooks = {}
    for path in chapters.chapters(chapters.SOLUTIONS, arguments.chapter):
        notebooks[f"solutions/{path.name}"] = solution = fill(path.stem, chapters.read(path))
        notebooks[f"book/{path.name}"] = project(solution)
    done, failed = chapters.run(notebooks)
    for name, nb in done.items():
        if name not in failed:
            book = name.startswith("book/")
            nb = chapters.smaller(without_answers(nb) if book else nb)
            chapters.write(chapters.ROOT / name, nb)
    overview.write()
    if failed:
        sys.exit(f"Failed, and not written: {', '.join(failed)}. The errors stand above.")


if __name__ == "__main__":
    main()
