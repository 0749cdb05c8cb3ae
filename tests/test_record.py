"""Recorded figures come from a commit, and drafts are not recorded."""

import shutil
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
GIT = ("git", "-c", "user.name=test", "-c", "user.email=", "-c", "commit.gpgsign=false")
SAVE = """
import sys, record
commit = record.source(draft="--draft" in sys.argv)
record.save("figures", 0, {"loss": 1.5}, commit)
"""


def save(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SAVE, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_a_tree_with_changes_saves_nothing(tmp_path: Path) -> None:
    shutil.copy(BENCHMARKS / "record.py", tmp_path)
    for step in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Add it"]):
        subprocess.run([*GIT, *step], cwd=tmp_path, check=True)
    assert save(tmp_path).returncode == 0
    result = (tmp_path / "results" / "figures.json").read_text()
    assert '"loss": 1.5' in result
    assert "dirty" not in result

    (tmp_path / "results" / "figures.json").unlink()
    with (tmp_path / "record.py").open("a") as file:
        file.write("# changed\n")
    refused = save(tmp_path)
    assert refused.returncode == 1
    assert "record.py" in refused.stderr
    draft = save(tmp_path, "--draft")
    assert draft.returncode == 0
    assert '"loss": 1.5' in draft.stdout
    assert not (tmp_path / "results" / "figures.json").exists()
