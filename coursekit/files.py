"""Files that are written whole or not at all, and folders of JSON files that are read by name."""

from __future__ import annotations

import difflib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, to write to; it is moved to `path` when the block ends.

    with replacing(path) as part:
        part.write_text(text)

    After an error or an interruption the temporary file is removed, and what was at `path` is
    still there. The folder is made if need be. Raises OSError where the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile, whose files nobody else may read.
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        yield part
        with part.open("r+b") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8, all of it or nothing."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")


def json_names(folder: Path) -> list[str]:
    """The names of the JSON files in a folder, in alphabetical order."""
    return sorted(path.stem for path in folder.glob("*.json"))


def read_json(folder: Path, name: str, kind: str) -> dict[str, Any]:
    """What NAME.json in the folder holds.

    kind: what such a file describes, as the message says it. Raises ValueError for a name that is
    not there.
    """
    there = json_names(folder)
    if name not in there:
        near = difflib.get_close_matches(name, there, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"there is no {kind} {name!r}: {hint}The names are {', '.join(there)}")
    return dict(json.loads((folder / f"{name}.json").read_text(encoding="utf-8")))
