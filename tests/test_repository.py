"""What holds for the repository as a whole: its files and its notebooks."""

import re
import statistics
import subprocess
import sys
from pathlib import Path

import chapters
import make_student
import pytest
import yaml

ROOT = chapters.ROOT
NOTEBOOKS = chapters.chapters(chapters.SOLUTIONS) + chapters.chapters(chapters.BOOK)

each_notebook = pytest.mark.parametrize(
    "path", NOTEBOOKS, ids=lambda path: f"{path.parent.name}/{path.stem}"
)


def listed(*which: str) -> list[str]:
    """The files of these kinds, as `git ls-files` names the kinds; it reads .gitignore."""
    command = ["git", "ls-files", *which, "--exclude-standard"]
    return subprocess.run(
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()


def texts() -> dict[str, str]:
    """Every text file that is, or is about to be, in the repository."""
    found = {}
    for name in listed("--cached", "--others"):
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):  # a picture; a file just deleted
            continue
    return found


@pytest.mark.parametrize(
    ("why", "pattern"),
    [
        ("the name is not ours on the package index", r"pip3? install( -\S+)* '?coursekit\b"),
        ("no e-mail addresses", r"\b[\w.+-]+@[\w-]+\.[a-z]{2,}\b(?!/)"),
        ("no path of one machine", r"(?<![\w.~}-])/(?:work|root|Users/\w+|home/\w+)/"),
        (
            "no host of a package registry",
            r"(?:pypi|pythonhosted|anaconda|conda|npmjs|debian|ubuntu)\.(?:org|com)\b"
            r"|download\.pytorch\.org",
        ),
    ],
)
def test_text_that_never_stands_here(why: str, pattern: str) -> None:
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}"
        for name, text in texts().items()
        for match in re.finditer(pattern, text)
    ]
    assert not found, f"{why}: {found}"


def test_nothing_that_a_tool_built_is_in_the_repository() -> None:
    assert not listed("--cached", "--ignored"), "git tracks files that .gitignore names"


def test_slow_libraries_are_imported_late() -> None:
    program = """
import importlib, pkgutil, sys
import coursekit
names = [m.name for m in pkgutil.walk_packages(coursekit.__path__, "coursekit.")]
for name in names:
    programs = "coursekit.__main__", "coursekit.grading.sandbox.worker"
    if name not in programs:
        importlib.import_module(name)
slow = {"torchvision", "sklearn", "seaborn", "pandas", "matplotlib", "scipy", "ipywidgets", "wget"}
print(len(names), *sorted(slow & set(sys.modules)))
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    count, *slow = ran.stdout.split()
    assert int(count) > 5
    assert slow == []


def test_the_book_lists_every_chapter_in_order() -> None:
    names = [path.stem for path in chapters.chapters(chapters.SOLUTIONS)]
    assert names
    contents = yaml.safe_load((chapters.BOOK / "_toc.yml").read_text())
    listed = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    assert [name for name in listed if name[:2].isdigit()] == names
    intro = (chapters.BOOK / "intro.md").read_text()
    assert re.findall(r"^:link: (\d\w+)$", intro, re.M) == names  # its cards
    pages = {path.stem for path in chapters.BOOK.glob("[!_]*.md")}  # _: a part of a page
    assert pages == {name for name in listed if not name[:2].isdigit()} | {contents["root"]}


@each_notebook
def test_a_notebook_is_small_and_in_short_steps(path: Path) -> None:
    assert path.stat().st_size < 1.5e6
    nb = chapters.read(path)
    lines = {cell.id: len(cell.source.splitlines()) for cell in chapters.code_cells(nb)}
    claims = {cell.id for cell in nb.cells if "claim" in make_student.tags(cell)}  # not for readers
    assert [name for name, count in lines.items() if count > 30 and name not in claims] == []
    assert statistics.median(lines.values()) <= 12
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cell.id) for cell in nb.cells)


@each_notebook
def test_a_notebook_begins_the_same_way(path: Path) -> None:
    nb = chapters.read(path)
    first = nb.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    setup = chapters.code_cells(nb)[0]
    assert (setup.id, setup.outputs) == ("setup", [])  # its source: test_address.py
    magics = [c.id for c in chapters.code_cells(nb)[1:] if re.search(r"^\s*[%!]", c.source, re.M)]
    assert magics == []


@each_notebook
def test_a_notebook_is_published_as_it_ran(path: Path) -> None:
    cells = chapters.code_cells(chapters.read(path))
    unseen = [path.parent == chapters.BOOK and make_student.unseen(cell) for cell in cells]
    ran = [None if hidden else number for number, hidden in enumerate(unseen, start=1)]
    counts = [cell.execution_count for cell in cells]
    assert counts == ran, f"run make student CHAPTER={path.stem}"
    for cell in cells:
        tags = cell.metadata.get("tags", [])
        assert ("train" in tags) <= ("nbval-ignore-output" in tags), cell.id
        for output in cell.outputs:
            assert output.output_type != "error" or "raises-exception" in tags, cell.id
            assert output.get("name") != "stderr", f"{cell.id}: {output.get('text')}"
            assert chapters.WIDGET not in output.get("data", {}), cell.id
            shown = output.get("text", "") + "".join(
                str(part) for kind, part in output.get("data", {}).items() if "image" not in kind
            )
            machine = re.search(r"(?<![\w.<])/(?:tmp|work|root|home|Users|usr|opt)/\S*", shown)
            assert not machine, f"{cell.id} shows a path of one machine: {machine}"


PAPER = re.compile(
    r"\((https://(?:arxiv\.org/abs|doi\.org|distill\.pub|openreview\.net|www\.jmlr\.org)/[^\s)]+)\)"
)


@each_notebook
def test_every_cited_work_is_in_the_bibliography(path: Path) -> None:
    bibliography = (chapters.BOOK / "references.bib").read_text()
    cells = chapters.read(path).cells
    cited = {url for cell in cells for url in PAPER.findall(cell.source)}
    missing = [url for url in cited if url.removeprefix("https://doi.org/") not in bibliography]
    assert missing == []
