"""The public address: one command writes it everywhere, and no button is dead before."""

import json
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from pathlib import Path

import chapters
import pytest
import set_address
import yaml
from bs4 import BeautifulSoup
from set_address import Address

NOWHERE = Address("OWNER", "deep-generative-models-course", "main")
ELSEWHERE = Address("some-college", "course", "v2.1")
FILES = ("pyproject.toml", *set_address.TEXTS)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the files that have the address, and of one chapter."""
    one = Path(set_address.FIRST).name
    for name in (*FILES, f"solutions/{one}", f"book/{one}"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(chapters.ROOT / name, tmp_path / name)
    return tmp_path


def contents(root: Path) -> dict[str, str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    return {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in files}


def test_every_place_has_the_address_of_pyproject() -> None:
    address = set_address.published()
    for name, parts in set_address.TEXTS.items():
        text = (chapters.ROOT / name).read_text("utf-8")
        for part, render in parts.items():
            assert set_address.between(text, part, render(address)) == text, f"{name}: {part}"
    for folder in (chapters.SOLUTIONS, chapters.BOOK):
        for path in chapters.chapters(folder):
            line, setup = chapters.read(path).cells[1:3]
            found = (line.id, line.source, setup.id, setup.source)
            expected = ("in-colab", set_address.in_colab(address))
            assert found == (*expected, "setup", set_address.setup(address)), (
                f"run tools/set_address.py: {path.relative_to(chapters.ROOT)}"
            )


def test_writes_everywhere_once_and_back(root: Path) -> None:
    set_address.write(NOWHERE, root)
    before = contents(root)
    assert set(set_address.write(ELSEWHERE, root)) == set(before)
    assert set_address.published(root) == ELSEWHERE
    assert set_address.write(ELSEWHERE, root) == []
    assert all("OWNER" not in text for text in contents(root).values())
    set_address.write(NOWHERE, root)
    assert contents(root) == before


def test_badge_button_and_first_cell_name_one_tag(root: Path) -> None:
    set_address.write(ELSEWHERE, root)
    texts = contents(root)
    colab = "https://colab.research.google.com/github/some-college/course/blob/v2.1/book/00_welcome.ipynb"
    assert f"]({colab})" in texts["README.md"]
    assert "mybinder.org/v2/gh/some-college/course/v2.1?urlpath=" in texts["README.md"]
    clone = "git clone --branch v2.1 https://github.com/some-college/course && cd course"
    assert clone in texts["README.md"]
    repository = yaml.safe_load(texts["_config.yml"])["repository"]
    assert (repository["url"], repository["branch"]) == (ELSEWHERE.repository, "v2.1")
    install = "%pip install -q git+https://github.com/some-college/course@v2.1\n"
    notebooks = [json.loads(text) for name, text in texts.items() if name.endswith(".ipynb")]
    assert len(notebooks) == 2
    for nb in notebooks:
        assert install in "".join(nb["cells"][2]["source"])
        assert "https://some-college.github.io/course/colab.html" in "".join(
            nb["cells"][1]["source"]
        )


def test_without_an_address_nothing_is_offered(root: Path) -> None:
    set_address.write(NOWHERE, root)
    texts = contents(root)
    config = yaml.safe_load(texts["_config.yml"])
    assert "repository" not in config
    assert "launch_buttons" not in config
    assert not config["html"]["use_repository_button"]
    assert not config["html"]["use_issues_button"]
    for name, text in texts.items():
        assert "https://colab.research" not in text, name
        assert "github.com/OWNER" not in text or name == "pyproject.toml", name
    for name in ("README.md", "book/intro.md", "book/colab.md"):
        assert "no public address yet" in texts[name]


def test_the_buttons_of_the_built_book_lead_to_the_tag(root: Path) -> None:
    """A book of one page and one chapter, built with our settings."""
    set_address.write(ELSEWHERE, root)
    config = yaml.safe_load((root / "_config.yml").read_text())
    del config["logo"], config["html"]["favicon"]  # they are not in this copy
    (root / "_config.yml").write_text(yaml.safe_dump(config))
    (root / "book" / "intro.md").write_text("# Intro\n")
    toc = {"format": "jb-book", "root": "intro", "chapters": [{"file": "00_welcome"}]}
    (root / "book" / "_toc.yml").write_text(yaml.safe_dump(toc))
    (root / "book" / "references.bib").write_text("")
    program = Path(sysconfig.get_path("scripts"), "jupyter-book")
    command = [program, "build", "book", "--config", "_config.yml", "--path-output", "."]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    html = (root / "_build" / "html" / "00_welcome.html").read_text()
    offered = [a["href"] for a in BeautifulSoup(html, "html.parser").select(".dropdown-item[href]")]
    assert ELSEWHERE.colab("book/00_welcome.ipynb") in offered
    assert ELSEWHERE.binder("book/00_welcome.ipynb") in offered


@pytest.mark.parametrize("arguments", [["owner"], ["owner/name"], ["https://x.org/o/n", "v1"]])
def test_half_an_address_is_refused(arguments: list[str]) -> None:
    program = chapters.ROOT / "tools" / "set_address.py"
    ran = subprocess.run([sys.executable, program, *arguments], capture_output=True, text=True)
    assert ran.returncode == 1
    assert "Expected a repository owner/name and a tag" in ran.stderr


def test_marks_that_are_missing_are_named() -> None:
    with pytest.raises(ValueError, match="`address: start` … `address: end` stand there 0 times"):
        set_address.between("no marks", "start", "text")


def run_setup(address: Address, path: Path, installs: Path | None = None) -> tuple[str, str]:
    """Run the first cell where `path` holds the packages; pip copies `installs` there, or fails.

    Returns: which commands ran, and the error, or "".
    """
    cell = set_address.setup(address).replace("    %pip ", "    pip('").replace("@v2.1", "@v2.1')")
    program = f"""
import importlib, shutil, sys
sys.path = [p for p in sys.path if "coursekit" not in p]
sys.path.insert(0, {str(path)!r})
def pip(command):
    print(command)
    if {str(installs)!r} != "None":
        shutil.copytree({str(installs)!r}, {str(path / "coursekit")!r}, dirs_exist_ok=True)
        importlib.invalidate_caches()
try:
{textwrap.indent(cell, "    ")}
except ImportError as error:
    print(error, file=sys.stderr)
assert "torch" not in sys.modules
"""
    ran = subprocess.run(
        [sys.executable, "-S", "-c", program], capture_output=True, text=True, cwd=path, env={}
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, ran.stderr


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """A package that the first cell takes for ours."""
    package = tmp_path / "ours" / "coursekit"
    (package / "exercises").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "exercises" / "__init__.py").touch()
    return package


@pytest.mark.parametrize("stub", [None, "package", "namespace"])
def test_first_cell_installs_ours_whatever_else_bears_the_name(
    tmp_path: Path, course: Path, stub: str | None
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    if stub:
        (site / "coursekit").mkdir()
    if stub == "package":
        (site / "coursekit" / "__init__.py").write_text("raise SystemExit('not to be imported')")
    said, error = run_setup(ELSEWHERE, site, installs=course)
    assert said == "install -q git+https://github.com/some-college/course@v2.1\n"
    assert error == ""


def test_first_cell_does_nothing_where_ours_is(course: Path) -> None:
    for address in (ELSEWHERE, NOWHERE):
        assert run_setup(address, course.parent) == ("", "")


def test_first_cell_says_in_a_sentence_what_to_do(tmp_path: Path) -> None:
    _, error = run_setup(ELSEWHERE, tmp_path)
    assert error == "Not installed: check the network, restart, run again.\n"
    said, error = run_setup(NOWHERE, tmp_path)
    assert said == ""
    assert "in its folder, run `pip install --editable .`" in error


@pytest.mark.parametrize("address", [NOWHERE, ELSEWHERE])
def test_first_cell_is_short(address: Address) -> None:
    lines = set_address.setup(address).split("\n")
    assert len(lines) <= 12
    assert max(map(len, lines)) <= 100
