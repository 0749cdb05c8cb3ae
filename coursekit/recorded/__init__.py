"""Experiments that a chapter quotes and plots, recorded from a commit, as JSON in this folder.

    from coursekit import recorded

    recorded.load("NAME")["figures"]

A script in benchmarks/ writes each file: `record.save(…, folder=record.RECORDED)`. The package
holds them, so that a chapter finds them offline and in Colab. Figures that no chapter reads stay
in benchmarks/results.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coursekit.files import json_names, read_json

FOLDER = Path(__file__).parent
"""NAME.json holds an experiment."""


def names() -> list[str]:
    """The experiments that there are, in alphabetical order."""
    return json_names(FOLDER)


def load(name: str) -> dict[str, Any]:
    """An experiment: name, command, commit, seed, machine, figures.

    Raises ValueError for a name that is not in `names()`.
    """
    return read_json(FOLDER, name, "recorded experiment")
