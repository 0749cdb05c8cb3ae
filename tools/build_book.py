"""Run the chapters whose code has changed and build the HTML book from them.

    python tools/build_book.py               # the students' book, _build/html
    python tools/build_book.py instructor    # the same with the solutions, _build/instructor/...

The committed notebooks are not touched: the book is built from a copy that holds fresh outputs.
"""

from __future__ import annotations

import argparse
import copy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import chapters
import glossary
import overview
import yaml
from make_student import unseen
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

from coursekit.exercises import BEGIN, END
from coursekit.files import write_text

FAILED = """```{error}
This chapter failed when the book was built. Its outputs end at the error.
```"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("edition", nargs="?", default="student", choices=("student", "instructor"))
    edition = parser.parse_args().edition

    folder = chapters.BOOK if edition == "student" else chapters.SOLUTIONS
    output = chapters.ROOT if edition == "student" else chapters.ROOT / "_build" / "instructor"
    source = chapters.ROOT / "_build" / "source" / edition

    ran, failed = chapters.run(
        {f"{folder.name}/{path.name}": chapters.read(path) for path in chapters.chapters(folder)}
    )
    shutil.rmtree(source, ignore_errors=True)
    shutil.copytree(chapters.BOOK, source, ignore=shutil.ignore_patterns("*.ipynb", ".*", "_build"))
    for name, nb in ran.items():
        chapters.write(source / name.split("/")[1], page(nb, name in failed))

    config = chapters.ROOT / "_config.yml"
    if edition == "instructor":
        config = for_instructors(source)
    program = Path(sysconfig.get_path("scripts"), "jupyter-book")
    command = [program, "build", source, "--config", config, "--path-output", output]
    # Pages of an earlier build must not pass for this one's.
    shutil.rmtree(output / "_build" / "html", ignore_errors=True)
    print("Building the pages ...", flush=True)
    # Its own words of success point at the same pages again; warnings and errors come on stderr.
    flags = ["-W", "--keep-going", "--quiet"]
    built = subprocess.run([*command, *flags], stdout=subprocess.DEVNULL)
    index = output / "_build" / "html" / "index.html"
    if index.exists():
        print(f"The book: {index.as_uri()}", flush=True)
    errors = []
    if built.returncode:
        errors.append("The build has warnings or errors; correct what is listed above.")
    if failed:
        errors.append(
            f"Failed, and marked on their pages: {', '.join(failed)}. The errors stand above."
        )
    sys.exit("\n".join(errors) or 0)


def for_instructors(source: Path) -> Path:
    """Add what only instructors read, and return settings that say so on every page."""
    write_text(source / "by_chapter.md", overview.for_instructors())
    contents = yaml.safe_load((source / "_toc.yml").read_text())
    part = next(part for part in contents["parts"] if {"file": "instructors"} in part["chapters"])
    part["chapters"].append({"file": "by_chapter"})
    write_text(source / "_toc.yml", yaml.safe_dump(contents, sort_keys=False))
    settings = yaml.safe_load((chapters.ROOT / "_config.yml").read_text())
    settings["html"]["announcement"] = "Instructors' edition: it holds the solutions."
    if "repository" in settings:  # so that "Run it" opens the solution
        settings["repository"]["path_to_book"] = chapters.SOLUTIONS.name
    config = source / "_config.yml"
    write_text(config, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    return config


def page(nb: NotebookNode, failed: bool) -> NotebookNode:
    """A chapter that has run, as the book shows it.

    Claims, and outputs that the reader is to predict first, are folded. The marks around solutions
    are left out, and terms are linked to the glossary. A chapter that failed says so below its
    title.
    """
    nb = copy.deepcopy(nb)
    for cell in nb.cells:
        lines = cell.source.split("\n")
        cell.source = "\n".join(line for line in lines if line.strip() not in (BEGIN, END))
        tags = set(cell.metadata.get("tags", []))
        if "claim" in tags:
            cell.metadata["tags"] = sorted(tags | {"hide-cell"})
        elif unseen(cell):
            cell.metadata["tags"] = sorted(tags | {"hide-output"})
    glossary.link(nb)
    if failed:
        nb.cells.insert(1, new_markdown_cell(FAILED))
    return nb


if __name__ == "__main__":
    main()
