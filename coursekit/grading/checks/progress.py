"""Which exercises a student has solved, kept in a small file beside the notebook.

COURSEKIT_PROGRESS names another file, or says "off". In Colab, where a notebook's folder is lost
with its machine, the file lies in Google Drive if that is mounted.
"""

from __future__ import annotations

import argparse
import json
import os
from datetime import date
from pathlib import Path

from coursekit.exercises import chapter, chapters
from coursekit.files import write_text

NAME = ".coursekit-progress.json"
_DRIVE = Path("/content/drive/MyDrive")


def place() -> Path | None:
    """The file of this notebook's student; None if no progress is kept."""
    told = os.environ.get("COURSEKIT_PROGRESS", "")
    if told:
        return None if told == "off" else Path(told)
    return (_DRIVE if _DRIVE.is_dir() else Path()) / NAME


def solved(path: Path | None) -> dict[str, str]:
    """The ids of solved exercises and the days on which they were solved; empty without a file.

    A file that cannot be read or is damaged counts as empty.
    """
    try:
        found = json.loads(path.read_text("utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    kept = found.get("solved") if isinstance(found, dict) else None
    return {str(k): str(v) for k, v in kept.items()} if isinstance(kept, dict) else {}


def keep(id: str) -> None:
    """Write down that an exercise is solved. A place that cannot be written to keeps nothing."""
    path = place()
    known = solved(path)
    if path is None or id in known:
        return
    text = json.dumps({"solved": known | {id: date.today().isoformat()}}, indent=2) + "\n"
    try:
        write_text(path, text)
    except OSError:
        return


def line(ids: list[str]) -> str:
    """The sentence under a check: which of a chapter's exercises are solved. Empty if off."""
    path = place()
    if path is None:
        return ""
    known = solved(path)
    names = [id.split(".", 1)[1] for id in ids if id in known]
    return f"Solved in this chapter: {', '.join(names) or 'none'} ({len(names)} of {len(ids)})."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `progress` to the command line."""
    parser = subparsers.add_parser(
        "progress",
        help="say which exercises are solved",
        description="Say which exercises of each chapter are solved, from the file that check() "
        f"writes beside a notebook ({NAME}).",
    )
    parser.add_argument(
        "folder", nargs="?", type=Path, default=Path(), help="of the notebooks; default: here"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    path = args.folder / NAME
    if not path.exists():
        raise ValueError(
            f"there is no {NAME} in {args.folder.resolve().name!r}: give the folder of your "
            "notebooks. The file is written when a check passes for the first time"
        )
    known = solved(path)
    for name in chapters():
        ids = [exercise.id for exercise in chapter(name)[0]]
        there = [f"{id} ({known[id]})" for id in ids if id in known]
        missing = [id for id in ids if id not in known]
        print(f"{name}: {len(there)} of {len(ids)}")
        print(
            *(f"  solved {text}" for text in there), *(f"  open   {id}" for id in missing), sep="\n"
        )
    return 0
