"""The chapter on the data quotes measurements; they must be those that are recorded."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_quoted_accuracies_are_the_recorded_ones():
    figures = json.loads((ROOT / "benchmarks/results/data-read-1.json").read_text())["figures"]
    notebook = json.loads((ROOT / "solutions/01_data.ipynb").read_text())
    text = next("".join(c["source"]) for c in notebook["cells"] if c["id"] == "reads-table")
    rows = re.findall(r"^\| (drawn digits|MNIST) \| ([\d.]+)% \| ([\d.]+)% \|$", text, re.M)
    assert [row[0] for row in rows] == ["drawn digits", "MNIST"]
    spread = float(re.search(r"at most ([\d.]+) points", text)[1])
    for source, row in zip(("digits", "mnist"), rows, strict=True):
        for target, quoted in zip(("digits", "mnist"), row[1:], strict=True):
            name = f"trained on {source}, tested on {target}"
            assert f"{100 * figures[f'{name}, mean']:.1f}" == quoted
            assert 100 * (figures[f"{name}, largest"] - figures[f"{name}, least"]) <= spread
