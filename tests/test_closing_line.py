"""conftest.py: the line below pytest's own that says what failed and where to look."""

import subprocess
import sys
from pathlib import Path

from nbformat.v4 import new_code_cell, new_notebook, writes

ROOT = Path(__file__).parents[1]


def test_the_last_line_names_files_and_a_command(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text((ROOT / "conftest.py").read_text())
    for name, lines in {
        "test_good.py": ["def test_a(): pass"],
        "test_bad.py": ["def test_b(): assert 0", "def test_c(): assert 0"],
        "test_worse.py": ["import no_such_module"],
    }.items():
        (tmp_path / name).write_text("\n".join(lines))
    (tmp_path / "book").mkdir()
    cells = [new_code_cell("1 / 0", execution_count=1)]
    (tmp_path / "book" / "01_a.ipynb").write_text(writes(new_notebook(cells=cells)))

    def run(*arguments: str) -> list[str]:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        return ran.stdout.splitlines()

    *_, closing, line = run("-n", "2", "--nbval", "--continue-on-collection-errors")
    assert closing.startswith("=")
    assert "3 failed, 1 passed" in closing
    for name in ("test_bad.py (2)", "test_worse.py (1)", "book/01_a.ipynb (1)"):
        assert name in line
    assert "test_good" not in line
    assert "make test ONLY=" in line

    *_, closing = run("test_good.py")
    assert "1 passed" in closing
