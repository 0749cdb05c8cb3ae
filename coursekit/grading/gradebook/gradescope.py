"""Gradescope: its results.json, and the zip that grades there."""

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import torch

import coursekit
from coursekit.exercises import Exercise
from coursekit.files import replacing, write_text
from coursekit.grading.gradebook.batch import collect, of_chapter, read_file
from coursekit.grading.gradebook.grade import Assignment, Grader, Row, sentences
from coursekit.grading.sandbox.levels import Walls


def results(row: Row, exercises: Sequence[Exercise]) -> str:
    """results.json as Gradescope reads it, with no more about hidden tests than the page has."""
    tests = []
    for exercise in exercises:
        entry = row["exercises"].get(exercise.id)
        for test in entry["tests"] if entry else ():
            said = [test["message"]] if not test["passed"] else []
            if not test["passed"] and not test["hidden"]:
                said += sentences(exercise, entry)
            tests.append(
                {
                    "name": f"{exercise.id}: it {test['name']}",
                    "score": test["score"],
                    "max_score": test["max_score"],
                    "status": "passed" if test["passed"] else "failed",
                    "output": "\n".join(said),
                    "output_format": "text",
                    "visibility": "visible",
                }
            )
    output = row["message"]
    if row["status"] == "error":
        output = "The grader had a fault of its own. Please tell your instructor."
    result: dict[str, Any] = {"output": output, "output_format": "text", "tests": tests}
    if row["status"] != "graded":
        result["score"] = 0
    by_hand = {id: entry for id, entry in row["exercises"].items() if "reason" in entry}
    if by_hand:  # the tests keep the grader's points, so their sum is not the score
        result["score"] = row["score"]
        result["output"] = "\n".join(
            f"{id}: {entry['score']:g} points, set by hand: {entry['reason']}"
            for id, entry in by_hand.items()
        )
    return json.dumps(result, indent=1)


SETUP = """#!/usr/bin/env bash
# Runs once, when Gradescope builds the image. Python 3.11 or later is needed: choose Ubuntu 24.04.
set -euo pipefail
apt-get update
apt-get install -y python3 python3-venv bubblewrap util-linux
python3 -m venv /opt/grader
# Write the address of PyTorch's index of CPU builds here: the image becomes 5 GB smaller.
TORCH_INDEX=""
/opt/grader/bin/pip install ${{TORCH_INDEX:+--index-url "$TORCH_INDEX"}} torch=={torch}
/opt/grader/bin/pip install numpy=={numpy}
# Submissions run as the user nobody: what is here is not for them.
chmod -R go-rwx /autograder/source
"""

RUN = """#!/usr/bin/env bash
# Runs for every submission.
set -uo pipefail
HOME_OF_GRADER="${AUTOGRADER:-/autograder}"
PYTHON="${GRADER_PYTHON:-/opt/grader/bin/python}"
cd "$HOME_OF_GRADER/source"
PYTHONPATH=. "$PYTHON" -m coursekit.grading.gradebook.gradescope "$HOME_OF_GRADER"
"""


def write_autograder(path: Path, assignment: Assignment) -> None:
    """The zip to upload: coursekit, the hidden tests, the secret, and the two scripts."""
    package = Path(coursekit.__file__).parent
    settings = {
        "chapter": assignment.chapter,
        "secret": assignment.secret.hex(),
        "hidden": assignment.hidden,
    }
    with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for source in sorted(package.rglob("*.py")):
            archive.write(source, Path("coursekit") / source.relative_to(package))
        archive.writestr("assignment.json", json.dumps(settings))
        setup = SETUP.format(torch=torch.__version__.split("+")[0], numpy=numpy.__version__)
        for name, text in (("setup.sh", setup), ("run_autograder", RUN)):
            script = zipfile.ZipInfo(name)
            script.external_attr = 0o100755 << 16
            archive.writestr(script, text)


def run_there(home: Path) -> None:
    """Grade HOME/submission and write HOME/results/results.json. What Gradescope runs."""
    settings = json.loads((home / "source" / "assignment.json").read_text())
    hidden = tuple((name, text) for name, text in settings["hidden"])
    walls = Walls(hidden=(str(home / "source"), str(home / "results")))
    secret = bytes.fromhex(settings["secret"])
    grader = Grader(Assignment(settings["chapter"], secret, hidden, walls))
    try:
        found = of_chapter(collect([home / "submission"]), settings["chapter"])
    except ValueError:
        found = []
    notebooks = [s for s in found if s.path is not None]
    try:
        if len(notebooks) == 1:
            row = grader.grade(notebooks[0].name, read_file(notebooks[0]))
        else:
            names = ", ".join(f"{s.name} ({s.problem})" if s.problem else s.name for s in found)
            row = grader.empty("", b"") | {
                "status": "unreadable",
                "message": f"hand in exactly one notebook (.ipynb); found: {names or 'none'}",
            }
    finally:
        grader.close()
    write_text(home / "results" / "results.json", results(row, grader.exercises))


if __name__ == "__main__":
    import sys

    run_there(Path(sys.argv[1]))
