"""The pages that gather something from every chapter, made of notebooks and records.

    python tools/overview.py    # book/exercises.md and book/summaries.md; make student does it too

`for_instructors` is a page of the instructors' edition only, because it holds answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import chapters
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from nbformat import NotebookNode

from coursekit import exercises
from coursekit.exercises import Exercise, FreeText
from coursekit.files import write_text

HEADING = re.compile(r"^#+ (Exercise \d[^\n]*)(?:\n+\*(Difficulty \d of \d[^*]*)\*)?", re.M)


@dataclass(frozen=True)
class Task:
    """An exercise as its chapter presents it."""

    title: str
    effort: str
    record: Exercise

    @property
    def points(self) -> float:
        return sum(test.points for test in self.record.tests)


@dataclass(frozen=True)
class Chapter:
    """What the pages say of a chapter."""

    name: str
    title: str
    time: str
    goals: str
    summary: str
    tasks: list[Task]
    questions: list[FreeText]

    @property
    def points(self) -> float:
        return sum(t.points for t in self.tasks) + sum(q.points for q in self.questions)


def chapter(path: Path) -> Chapter:
    nb = chapters.read(path)
    first = nb.cells[0].source
    goals = re.search(r"After this chapter you can\n+(.*?)\n\n", first, re.S)
    time = re.search(r"\*\*Time:\*\* (.*?) \*\*You need", first + " **You need", re.S)
    if goals is None or time is None:
        raise ValueError(f"{path.name}: the first cell lacks its goals or its time")
    _, questions = exercises.chapter(path.stem)
    return Chapter(
        name=path.stem,
        title=first.split("\n")[0].removeprefix("# "),
        time=time.group(1).split("\n")[0],
        goals=goals.group(1),
        summary=summary(nb),
        tasks=tasks(nb),
        questions=questions,
    )


def summary(nb: NotebookNode) -> str:
    """The summary without its heading and without the references below it."""
    heads = ("## Summary", "## In short")
    (text,) = (cell.source for cell in nb.cells if cell.source.startswith(heads))
    text = re.split(r"\n## References|\n\*\*References", text)[0]
    return str(re.sub(r"^## [^\n]*\n+", "", text)).strip()


def tasks(nb: NotebookNode) -> list[Task]:
    """The exercises in the chapter's order, each below the heading that names its effort."""
    found: dict[str, Task] = {}
    heading = ("", "")
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            for match in HEADING.finditer(cell.source):
                heading = (match.group(1), (match.group(2) or "").rstrip("."))
            continue
        for id in re.findall(r"""check\(\s*["']([a-z_]+\.[a-z_]+)["']""", cell.source):
            known = {record.id: record for record in exercises.chapter(id.split(".")[0])[0]}
            if id in known and id not in found:
                found[id] = Task(*heading, known[id])
    return list(found.values())


def page(template: str) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        autoescape=False,
    )
    found = [chapter(path) for path in chapters.chapters(chapters.SOLUTIONS)]
    return environment.get_template(template).render(chapters=found) + "\n"


def for_instructors() -> str:
    """Per chapter: time, points, common mistakes and what to look for in answers."""
    return page("by_chapter.md.jinja")


PAGES = {"exercises.md": "exercises.md.jinja", "summaries.md": "summaries.md.jinja"}


def write() -> None:
    """Write the pages into book/."""
    for name, template in PAGES.items():
        write_text(chapters.BOOK / name, page(template))


def stale() -> list[str]:
    """The pages in book/ that are not what the chapters give, by name."""
    return [
        name
        for name, template in PAGES.items()
        if (chapters.BOOK / name).read_text("utf-8") != page(template)
    ]


if __name__ == "__main__":
    write()
