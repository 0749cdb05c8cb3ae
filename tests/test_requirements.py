"""What is imported is declared, where it is needed; conda's list is the same."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import chapters
import pytest
import yaml

PROJECT = tomllib.loads((chapters.ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FOLDERS = ("coursekit", "tools", "tests", "benchmarks")
PROVIDED_BY = packages_distributions()
OURS = {path.stem for folder in FOLDERS for path in (chapters.ROOT / folder).rglob("*.py")}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def bounds(requirements: list[str]) -> dict[str, str]:
    """Names and lower bounds of requirements; the project's own extras count as what they hold."""
    found = {}
    for requirement in requirements:
        name, extras, bound = re.fullmatch(r"([\w.-]+)(?:\[([\w,]+)\])?(.*)", requirement).groups()  # type: ignore[union-attr]
        if normal(name) == PROJECT["name"]:
            for extra in extras.split(","):
                found |= bounds(PROJECT["optional-dependencies"][extra])
        else:
            found[normal(name)] = bound
    return found


def declared(path: Path) -> set[str]:
    """What the code of a file may import: the base, and the extra of its folder."""
    folder, inner = path.relative_to(chapters.ROOT).parts[:2]
    extra = {"tools": "book", "tests": "test", "benchmarks": "benchmark"}.get(folder)
    if inner == "grading" and folder == "coursekit":
        extra = "grade"
    extras = PROJECT["optional-dependencies"]
    return set(bounds(PROJECT["dependencies"] + (extras[extra] if extra else [])))


def imports(path: Path) -> Iterator[str]:
    """The packages that a file imports, but for Python's own and ours."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            package = name.split(".")[0]
            if package != "coursekit" and package not in sys.stdlib_module_names | OURS:
                yield package


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_import_is_declared(folder: str) -> None:
    undeclared = {
        f"{path.relative_to(chapters.ROOT)}: {package}"
        for path in (chapters.ROOT / folder).rglob("*.py")
        for package in imports(path)
        if not {normal(name) for name in PROVIDED_BY.get(package, [package])} & declared(path)
    }
    assert undeclared == set(), "declare it in pyproject.toml, or do without it"


def test_every_requirement_of_a_student_is_used() -> None:
    files = list((chapters.ROOT / "coursekit").rglob("*.py"))
    used = {
        normal(name)
        for path in files
        for package in imports(path)
        for name in PROVIDED_BY.get(package, [package])
    }
    used |= {"wget", "ipython"}  # the one runs as a program, the other shows what check says
    assert set(bounds(PROJECT["dependencies"])) - used == set()


def test_conda_lists_what_pyproject_requires() -> None:
    environment = yaml.safe_load((chapters.ROOT / "environment.yml").read_text())
    assert environment["channels"] == ["conda-forge"]
    python, pip, jupyter, *packages, last = environment["dependencies"]
    assert (python, pip) == (f"python{PROJECT['requires-python']}", "pip")
    assert jupyter.startswith("jupyterlab>=")
    *by_pip, course = last["pip"]
    # Binder reads a local package as such only in this form.
    assert course == "-e ."
    other = {"pytorch": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}
    listed = {other.get(name, name): bound for name, bound in bounds(packages + by_pip).items()}
    assert listed == bounds(PROJECT["dependencies"])


def test_the_package_is_imported_where_python_has_no_posix() -> None:
    """Windows lacks these modules; a student there can still read data, train, check and look."""
    program = """
import sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
import signal, os
for name in ("SIGKILL", "SIGCHLD", "SIGALRM", "SIGHUP"):
    delattr(signal, name)
for name in ("fork", "geteuid", "getuid", "setsid", "killpg"):
    delattr(os, name)
from coursekit import check, data, hint, metrics, models, objectives, training, viz
import coursekit.cli, coursekit.exercises
hint("vae.kl")
check("vae.kl", lambda mu, logvar: mu.sum(1))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
