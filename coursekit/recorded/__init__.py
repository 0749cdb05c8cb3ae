"""Experiments that a chapter quotes and plots, recorded from a commit, as JSON in this folder.

    from coursekit import recorded

    recorded.load("NAME")["figures"]

A script in benchmarks/ writes each file: `record.save(…, folder=record.RECORDED)`. The package
holds them, so that a chapter finds them offline and in Colab. Figures that no chapter reads stay
in benchmarks/results.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
"""NAME.json holds an experiment."""


def names() -> list[str]:
    """The experiments that there are, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def load(name: str) -> dict[str, Any]:
    """An experiment: name, command, commit, seed, machine, figures.

    Raises ValueError for a name that is not in `names()`.
    """
    if name not in names():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"there is no recorded experiment {name!r}: {hint}The names are {', '.join(names())}"
        )
    return dict(json.loads((FOLDER / f"{name}.json").read_text()))
