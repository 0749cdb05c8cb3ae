"""The bank: answers whose verdict is known, to test the tests with.

A module of the bank marks right and wrong answers of a chapter with these decorators.
"""

import ast
import importlib.util
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from coursekit.exercises import Answer, Exercise

_REST = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

Marked = TypeVar("Marked", bound=Callable[..., Any])


@dataclass(frozen=True)
class Variant:
    """One answer of known verdict."""

    exercise: str
    thing: Callable[..., Any]
    """A function, a class whose instances are called, or, where `__init__` has arguments without a
    default, a class that is itself the answer."""
    says: str | None
    """Part of the message that a wrong answer must trigger; None for a right answer."""

    @property
    def name(self) -> str:
        return self.thing.__name__

    @property
    def answer(self) -> Answer:
        return cast(Answer, self.thing() if self.instantiated else self.thing)

    @property
    def instantiated(self) -> bool:
        """Whether the answer is an instance of the class."""
        if not inspect.isclass(self.thing):
            return False
        parameters = inspect.signature(self.thing).parameters.values()
        return all(p.default is not p.empty or p.kind in _REST for p in parameters)


def right(exercise: str) -> Callable[[Marked], Marked]:
    """Decorator: this answer must get full marks."""
    return _mark(exercise, None)


def wrong(exercise: str, says: str) -> Callable[[Marked], Marked]:
    """Decorator: this answer must lose marks, and `says` must be part of what the student reads.

    Raises ValueError for an empty `says`.
    """
    if not says.strip():
        raise ValueError(f"{exercise}: says is empty; give a part of what the student must read")
    return _mark(exercise, says)


def _mark(exercise: str, says: str | None) -> Callable[[Marked], Marked]:
    def mark(thing: Marked) -> Marked:
        marks = [*vars(thing).get("variants", []), Variant(exercise, thing, says)]
        setattr(thing, "variants", marks)  # noqa: B010  # a class or a function: both take it
        return thing

    return mark


def load_bank(path: Path) -> list[Variant]:
    """The variants of a bank module, in their order.

    Raises ValueError where two have the same name, because the second would hide the first, and
    where a wrong answer names no part of a message.
    """
    names = [variant for variant, _ in _parts(path) if variant]
    if twice := {variant for variant in names if names.count(variant) > 1}:
        raise ValueError(f"{path}: two answers are called {', '.join(sorted(twice))}")
    name = f"coursekit_bank_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # inspect finds a class's source by it
    spec.loader.exec_module(module)
    marked = [v for thing in vars(module).values() for v in getattr(thing, "variants", [])]
    return [variant for variant in marked if isinstance(variant, Variant)]


def as_notebook(variant: Variant, exercise: Exercise) -> bytes:
    """The variant as a student would hand it in: what it needs of its module, and the function."""
    parts = _parts(Path(inspect.getfile(variant.thing)))
    cells = [text for name, text in parts if name in ("", variant.name)]
    made = "()" if variant.instantiated else ""
    return notebook([*cells, f"{exercise.function} = {variant.name}{made}"])


@cache
def _parts(path: Path) -> list[tuple[str, str]]:
    """A bank's top-level statements, with the name of the variant that each defines, or ""."""
    parts = []
    for node in ast.parse(path.read_text()).body:
        name = ""
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.decorator_list:
            name, node.decorator_list = node.name, []
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("coursekit.grading"):
            continue
        parts.append((name, ast.unparse(node)))
    return parts


def notebook(cells: list[str]) -> bytes:
    """A notebook of code cells."""
    made = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "outputs": [], "source": source}
        for i, source in enumerate(cells)
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()
