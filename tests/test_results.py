"""The book shows what the benchmarks wrote, and nothing else."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_tables_are_those_of_the_json_files() -> None:
    command = [sys.executable, ROOT / "benchmarks" / "tables.py"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed == (ROOT / "book" / "_tables.md").read_text(), (
        "run python benchmarks/tables.py > book/_tables.md"
    )
    assert "_tables.md" in (ROOT / "book" / "results.md").read_text()
