"""Where data files live, and how a file gets there whole or not at all."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class DataError(RuntimeError):
    """A data file is damaged, or is not what its name says."""


def data_home() -> Path:
    """The folder of all data files: $COURSEKIT_DATA, else `coursekit` in the user's cache."""
    chosen = os.environ.get("COURSEKIT_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        cache = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        cache = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "coursekit"
