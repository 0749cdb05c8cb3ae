"""The built book, for the tests that read it and for those that open it in a browser."""

import subprocess
import sysconfig
from pathlib import Path

import chapters
import pytest


@pytest.fixture(scope="session")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book, built with its committed outputs; a warning is an error."""
    out = tmp_path_factory.mktemp("book")
    program = Path(sysconfig.get_path("scripts"), "jupyter-book")
    built = subprocess.run(
        [
            *(program, "build", "book", "--config", "_config.yml", "--path-output", out),
            *("-W", "--keep-going"),
        ],
        cwd=chapters.ROOT,
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-5000:]
    return out / "_build" / "html"
