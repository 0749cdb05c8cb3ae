"""Exercises: what is asked, what counts as right, which mistakes are recognized."""

import importlib
import pkgutil
import re

from coursekit.exercises._exercise import Answer, Exercise, FreeText, Inputs, Misconception, Test
from coursekit.exercises._helpers import (
    Failed,
    close,
    copies,
    gradients_of,
    same,
    standard_normal,
    tensor,
)

__all__ = [
    "Answer",
    "Exercise",
    "Failed",
    "FreeText",
    "Inputs",
    "Misconception",
    "Test",
    "chapter",
    "chapters",
    "close",
    "copies",
    "exercise",
    "gradients_of",
    "same",
    "standard_normal",
    "tensor",
]


def chapters() -> list[str]:
    """The chapters that have exercises: the modules of this package."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def chapter(name: str) -> tuple[list[Exercise], list[FreeText]]:
    """Exercises and free-text questions of a chapter: "vae", or "03_vae" as the notebook is called.

    ValueError if there is no such chapter.
    """
    module = re.sub(r"^\d+_", "", name)
    if module not in chapters():
        raise ValueError(f"there is no chapter {name!r}; those with exercises: {chapters()}")
    found = vars(importlib.import_module(f"{__name__}.{module}")).values()
    return (
        [value for value in found if isinstance(value, Exercise)],
        [value for value in found if isinstance(value, FreeText)],
    )


def exercise(id: str) -> Exercise:
    """The exercise with this id, as in "vae.kl". ValueError if there is none."""
    module = id.split(".")[0]
    known = [e for name in chapters() if module == name for e in chapter(name)[0]]
    for candidate in known:
        if candidate.id == id:
            return candidate
    known = known or [e for name in chapters() for e in chapter(name)[0]]
    raise ValueError(f"there is no exercise {id!r}; there are: {', '.join(e.id for e in known)}")
