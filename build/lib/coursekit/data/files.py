"""Where data files live, and how a file gets there whole or not at all.

The transfer itself is done by the `wget` package. It has no time limit, does not look at what it
got, writes `name (1)` beside a file that is there and leaves its temporary file after a fault; so
it runs in a process of its own, inside a folder of its own, and :func:`fetch` watches it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# A mirror is given up after so many seconds without a byte, or below so many bytes per second.
STALL_SECONDS = 30.0
SLOWEST = 20_000.0


class DataError(ValueError):
    """A data file is damaged, or is not what its name says."""


@dataclass(frozen=True)
class Remote:
    """A file that can be downloaded.

    path: where it belongs, relative to the data folder. md5, size (bytes): what it must be.
    mirrors: addresses of folders that have it under its own name, or of the file itself.
    instead: a rendered set that serves meanwhile.
    """

    path: str
    md5: str
    size: int
    mirrors: tuple[str, ...]
    instead: str

    @property
    def urls(self) -> tuple[str, ...]:
        name = self.path.rsplit("/", 1)[-1]
        return tuple(url + name if url.endswith("/") else url for url in self.mirrors)


def data_home() -> Path:
    """The folder of all data files: $COURSEKIT_DATA, else `coursekit` in the user's cache."""
    chosen = os.environ.get("COURSEKIT_DATA")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("coursekit", appauthor=False)


def fetch(remote: Remote) -> Path:
    """The local path of a file, downloaded from the first mirror that delivers it if need be.

    A file that is there already is used as it is. A new one gets its name only after its size and
    MD5 were found right; until then it lies in a hidden folder beside it, which is removed whatever
    happens. Of several processes that want the same file one downloads, and the others wait.

    Raises FileNotFoundError if no mirror delivers the file, OSError if it cannot be stored.
    """
    target = data_home() / remote.path
    if target.is_file():
        return target
    from filelock import FileLock

    make_folder(target.parent)
    lock = target.parent / f".{target.name}.lock"
    with FileLock(lock):
        if target.is_file():  # another process was faster
            return target
        # With the lock ours, folders of earlier attempts belong to processes that were killed.
        for left in target.parent.glob(f".{target.name}.part-*"):
            shutil.rmtree(left, ignore_errors=True)
        free = shutil.disk_usage(target.parent).free
        if free < remote.size:
            raise OSError(
                errno.ENOSPC,
                f"{target.name} needs {_megabytes(remote.size)}, but only {_megabytes(free)} are "
                "free. Make room, or set COURSEKIT_DATA to a folder on another disk",
                str(target.parent),
            )
        faults = []
        for url in remote.urls:
            with tempfile.TemporaryDirectory(
                prefix=f".{target.name}.part-", dir=target.parent, ignore_cleanup_errors=True
            ) as folder:
                part = Path(folder) / "file"
                fault = _download(url, part, remote) or _inspect(part, remote)
                if fault is None:
                    os.replace(part, target)
                    # Whoever still waits for the lock will find the file. Windows keeps open files.
                    with suppress(OSError):
                        lock.unlink()
                    return target
            if fault.startswith(_NO_SPACE):
                raise OSError(errno.ENOSPC, f"{fault}; {_elsewhere(target)}", str(target))
            faults.append(f"  {url}: {fault}")
    raise FileNotFoundError(
        f"{target.name} is not here, and could not be downloaded:\n"
        + "\n".join(faults)
        + f"\nDownload it by other means ({remote.urls[0]}) and put it at {target}, or set "
        f"COURSEKIT_DATA to a folder that has {remote.path}. Meanwhile "
        f'data.load("{remote.instead}") needs no file.'
    )


_NO_SPACE = "the disk is full"


def _download(url: str, part: Path, remote: Remote) -> str | None:
    """Download to `part` with a progress bar; what went wrong, or None."""
    from tqdm.auto import tqdm

    started = progressed = time.monotonic()
    limit = STALL_SECONDS + remote.size / SLOWEST
    seen = 0
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        tqdm(
            total=remote.size, unit="B", unit_scale=True, desc=remote.path.rsplit("/", 1)[-1]
        ) as bar,
    ):
        process = subprocess.Popen(
            [sys.executable, "-m", "wget", "-o", str(part), url],
            cwd=part.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            while True:
                try:
                    code: int | None = process.wait(timeout=0.05)
                except subprocess.TimeoutExpired:
                    code = None
                # wget writes to a name of its choosing until it is done.
                size = sum(file.stat().st_size for file in part.parent.iterdir())
                now = time.monotonic()
                if size != seen:
                    bar.update(size - seen)
                    seen, progressed = size, now
                if code is not None:
                    break
                if size > remote.size:
                    return f"it is larger than {remote.size} bytes"
                if now - progressed > STALL_SECONDS:
                    return f"no data for {STALL_SECONDS:.0f} seconds"
                if now - started > limit:
                    return f"not done after {limit:.0f} seconds ({size} of {remote.size} bytes)"
        except FileNotFoundError:  # wget renamed its file while we looked; see what it is later
            code = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
        if code == 0:
            return None
        log.seek(0)
        last = ([line.strip() for line in log if line.strip()] or [f"wget ended with {code}"])[-1]
        if os.strerror(errno.ENOSPC) in last:
            return _NO_SPACE
        return last


def _inspect(part: Path, remote: Remote) -> str | None:
    """What is wrong with a file that was downloaded without an error, or None."""
    if not part.is_file():
        return "nothing arrived"
    with part.open("rb") as file:
        start = file.read(256).lstrip().lower()
    size = part.stat().st_size
    if size != remote.size:
        page = "an HTML page, " if start.startswith((b"<!doctype html", b"<html")) else ""
        return f"got {page}{size} bytes instead of {remote.size}"
    found = md5_of(part)
    if found != remote.md5:
        return f"its MD5 is {found} instead of {remote.md5}"
    return None


def md5_of(path: Path) -> str:
    """The MD5 of a file in hexadecimal: a check against accidents, not against forgery."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def make_folder(folder: Path) -> None:
    """Create a folder that can be written to, or raise OSError that says what to do."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(
            error.errno, f"{error.strerror}; {_elsewhere(folder)}", str(folder)
        ) from error


def _elsewhere(path: Path) -> str:
    return f"cannot write {path.name}. Set COURSEKIT_DATA to a folder that can be written to"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
