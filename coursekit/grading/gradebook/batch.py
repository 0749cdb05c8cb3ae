"""Grades many submissions: finds them, spreads the work, keeps every row as soon as it is there."""

import contextlib
import errno
import hashlib
import itertools
import json
import multiprocessing.connection
import multiprocessing.util
import os
import re
import signal
import stat
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from coursekit import exercises
from coursekit.files import write_text
from coursekit.grading.gradebook.grade import (
    Assignment,
    Grader,
    Row,
    abandon_here,
    close_here,
    digest_of_tests,
    grade_here,
    module,
)
from coursekit.grading.gradebook.notebook import MAX_BYTES
from coursekit.grading.sandbox.errors import NoSandbox
from coursekit.grading.sandbox.levels import remove_own

RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Submission:
    """A file that was handed in, or what stands in its place."""

    name: str
    """The path below the folder that was given, without `.ipynb`."""
    path: Path | None
    problem: str = ""
    """Why there is nothing to read."""


def collect(paths: Sequence[Path], leave_out: Sequence[Path] = ()) -> list[Submission]:
    """What was handed in: each file given, and in each folder its notebooks, at any depth.

    A folder of a student without any notebook is a submission too, and so is a file beside the
    notebooks that is none: they get a row that says so. ValueError if there is nothing at all.
    """
    found: list[Submission] = []
    for path in paths:
        if path.is_symlink():  # `given/*` of a shell holds the links of students
            found.append(_file(path, _stem(path.name)))
        elif path.is_dir():
            found += _in_folder(path, leave_out)
        elif path.exists():
            found.append(_file(path, _stem(path.name)))
        else:
            raise ValueError(f"there is no file or folder {str(path)!r}")
    if not found:
        raise ValueError(f"nothing to grade in {', '.join(repr(str(p)) for p in paths)}")
    return _told_apart(found)


def _in_folder(folder: Path, leave_out: Sequence[Path]) -> Iterator[Submission]:
    outside = [path.resolve() for path in leave_out]
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_symlink() or not _is_folder(path):
            yield _file(path, _stem(path.name))
        elif path.resolve() not in outside:
            yield from _of_student(path, folder)


def _of_student(path: Path, folder: Path) -> Iterator[Submission]:
    """The notebooks in a student's folder, at any depth. Links to folders are not followed."""
    troubles: list[OSError] = []
    notebooks = []
    for place, folders, files in os.walk(path, onerror=troubles.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        notebooks += [
            Path(place, name) for name in files if _is_notebook(name) and not name.startswith(".")
        ]
    for file in sorted(notebooks):
        yield _file(file, _stem(str(file.relative_to(folder))))
    for trouble in troubles:
        name = str(Path(trouble.filename or path).relative_to(folder))
        yield Submission(_text(name), None, f"this folder cannot be read: {trouble.strerror}")
    if not notebooks and not troubles:
        problem = "there is no notebook (.ipynb) in this folder"
        yield Submission(_text(path.name), None, problem)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # then reading it will say why
        return False


def _is_notebook(name: str) -> bool:
    return name.lower().endswith(".ipynb")


def _stem(name: str) -> str:
    return name[: -len(".ipynb")] if _is_notebook(name) else name


def _text(name: str) -> str:
    """A file's name need not be text."""
    return name.encode(errors="replace").decode()


def _file(path: Path, name: str) -> Submission:
    name = _text(name)
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return Submission(name, None, f"this file cannot be read: {error.strerror}")
    if stat.S_ISLNK(mode):
        return Submission(name, None, "this is a link, not a file; links are not followed")
    if not _is_notebook(path.name):
        return Submission(name, None, "this is not a notebook (.ipynb)")
    if not stat.S_ISREG(mode):
        return Submission(name, None, "this is not a file")
    return Submission(name, path)


def _told_apart(found: list[Submission]) -> list[Submission]:
    """The same name may come from two paths: number the later ones."""
    seen: dict[str, int] = {}
    result = []
    for submission in found:
        number = seen[submission.name] = seen.get(submission.name, 0) + 1
        name = submission.name if number == 1 else f"{submission.name} ({number})"
        result.append(Submission(name, submission.path, submission.problem))
    return result


def of_chapter(submissions: Sequence[Submission], chapter: str) -> list[Submission]:
    """The same submissions, in which notebooks of other chapters have a problem instead of a file.

    Many students hand in several chapters at once. A notebook that checks exercises of other
    chapters, and none of this one, must not count as the answer to this one.
    """
    return [_of_chapter(submission, module(chapter)) for submission in submissions]


def _of_chapter(submission: Submission, own: str) -> Submission:
    if submission.path is None:
        return submission
    try:
        found = {name.decode() for name in _EXERCISE.findall(read_file(submission))}
    except OSError:  # its row will say so
        return submission
    others = found.intersection(exercises.chapters())
    if not others or own in others:
        return submission
    theirs = ", ".join(sorted(others))
    problem = f"this is a notebook of another chapter: its exercises are those of {theirs}"
    return replace(submission, path=None, problem=f"{problem}, not of {own}")


_EXERCISE = re.compile(rb"(?:\b(?:check|hint|solution)\(\s*\\?[\"']|Your answer to `)(\w+)\.\w")
"""Where a notebook names an exercise, as it stands in the file: quotes may be escaped."""


def read_rows(path: Path) -> dict[str, Row]:
    """The last row of each submission. A line that an interruption tore is dropped."""
    rows: dict[str, Row] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                rows[row["submission"]] = row
    return rows


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    write_text(path, "".join(map(_line, rows)))


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"


def grade_all(
    assignment: Assignment,
    submissions: Sequence[Submission],
    out: Path,
    *,
    jobs: int = 1,
    dask: str | None = None,
    force: bool = False,
    again: Sequence[str] = (),
    done: Callable[[Row], None] = lambda row: None,
) -> dict[str, Row]:
    """Grade what has no valid row yet in OUT/results.jsonl; returns all rows, by name.

    A row is valid if the file, the tests and the secret are those it was made with, and if it is no
    `error`. `done` is called with each row, old or new. jobs: how many processes; dask: the address
    of a `distributed` scheduler that takes the work instead. again: the exercises to grade anew in
    files that have a row; their other entries stay as they are, whatever tests made them.

    ValueError if OUT holds rows of another chapter.
    """
    results = out / RESULTS
    rows = read_rows(results)
    own = module(assignment.chapter)
    foreign = {row.get("chapter", own) for row in rows.values()} - {own}
    if foreign:
        raise ValueError(
            f"{out} holds results of the chapter {' and '.join(sorted(foreign))}: choose another "
            f"folder for {assignment.chapter}"
        )
    write_rows(results, rows.values())  # a torn last line must not swallow the next row
    tests = digest_of_tests(assignment)
    todo: list[Submission] = []
    partly: list[Submission] = []
    for submission in submissions:
        row = rows.get(submission.name)
        if again and row is not None and row["status"] == "graded" and _same_file(row, submission):
            partly.append(submission)
        elif not force and row is not None and _valid(row, submission, tests):
            done(row)
        else:
            todo.append(submission)
    some = replace(assignment, only=tuple(again))
    with results.open("a", encoding="utf-8") as file:
        renewed = (
            _renewed(rows[row["submission"]], row) for row in _grade(some, partly, jobs, dask)
        )
        for row in itertools.chain(_grade(assignment, todo, jobs, dask), renewed):
            file.write(_line(row))
            file.flush()
            rows[row["submission"]] = row
            done(row)
    order = {submission.name: i for i, submission in enumerate(submissions)}
    rows = dict(sorted(rows.items(), key=lambda item: order.get(item[0], len(order))))
    write_rows(results, rows.values())
    return rows


def _valid(row: Row, submission: Submission, tests: str) -> bool:
    if row.get("status") == "error" or row.get("versions", {}).get("tests") != tests:
        return False
    return _same_file(row, submission)


def _renewed(old: Row, new: Row) -> Row:
    """The old row with those entries that were graded anew. Trouble leaves it as it was."""
    if new["status"] != "graded":
        return old
    entries = old["exercises"] | new["exercises"]
    sums = {key: sum(e[key] for e in entries.values()) for key in ("score", "max_score")}
    return old | {"exercises": entries} | sums


def _same_file(row: Row, submission: Submission) -> bool:
    try:
        data = read_file(submission)
    except OSError:
        return False
    return bool(row.get("sha256") == hashlib.sha256(data).hexdigest())


def read_file(submission: Submission) -> bytes:
    """The file's bytes; of one that is too large, enough to see that it is.

    OSError if it cannot be read, or is by now a link or a pipe.
    """
    if submission.path is None:
        return submission.problem.encode()
    # Neither follow a link nor wait for a pipe's writer. Windows has neither flag.
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(submission.path, os.O_RDONLY | flags), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "this is not a file", str(submission.path))
        return file.read(MAX_BYTES + 1)


def _grade(
    assignment: Assignment, todo: Sequence[Submission], jobs: int, dask: str | None
) -> Iterator[Row]:
    """A row for each submission, in the order in which they are done."""
    here = Grader(assignment)  # for rows that need no sandbox
    work = []
    for submission in todo:
        row = _unreadable(here, submission)
        if row is None:
            work.append(submission)
        else:
            yield row
    if dask is None and jobs == 1:
        try:
            for submission in work:
                yield _or_error(
                    here, submission, lambda s: grade_here(assignment, s.name, read_file(s))
                )
        finally:
            close_here()
        return
    queue, attempts = deque(work), Counter[str]()
    while queue:
        with _executor(jobs, dask) as executor:
            yield from _through(executor, assignment, here, queue, attempts, 2 * jobs + 8)


def _through(
    executor: Executor,
    assignment: Assignment,
    here: Grader,
    queue: deque[Submission],
    attempts: Counter[str],
    window: int,
) -> Iterator[Row]:
    """Empty the queue through an executor; returns early, with work left in it, if that breaks."""
    pending: dict[Future[Row], Submission] = {}
    broken = False
    while pending or (queue and not broken):
        # A window, not all at once: memory stays flat, and Ctrl-C has little to cancel.
        while queue and not broken and len(pending) < window:
            submission = queue.popleft()
            try:
                data = read_file(submission)
                future = executor.submit(grade_here, assignment, submission.name, data)
            except BrokenProcessPool:
                queue.appendleft(submission)
                broken = True
            except OSError as error:
                yield _error(here, submission, error)
            else:
                pending[future] = submission
        for future in wait(pending, return_when=FIRST_COMPLETED).done:
            submission = pending.pop(future)
            try:
                yield future.result()
            except BrokenProcessPool as error:
                broken = True
                attempts[submission.name] += 1
                if attempts[submission.name] < 2:
                    queue.append(submission)
                else:
                    yield _error(here, submission, error)
            except Exception as error:
                yield _error(here, submission, error)


def _unreadable(here: Grader, submission: Submission) -> Row | None:
    if submission.path is not None:
        return None
    row = here.empty(submission.name, submission.problem.encode())
    return row | {"status": "unreadable", "message": submission.problem}


def _or_error(here: Grader, submission: Submission, grade: Callable[[Submission], Row]) -> Row:
    try:
        return grade(submission)
    except NoSandbox:
        raise
    except Exception as error:
        return _error(here, submission, error)


def _error(here: Grader, submission: Submission, error: Exception) -> Row:
    message = f"{type(error).__name__}: {error}"
    return here.empty(submission.name, b"") | {"status": "error", "score": None, "message": message}


@contextlib.contextmanager
def _executor(jobs: int, dask: str | None) -> Iterator[Executor]:
    if dask is not None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ValueError("--dask needs the package `distributed`: install it first") from error

        with Client(dask) as client:  # type: ignore[no-untyped-call]
            yield client.get_executor(pure=False)  # the same notebook twice is two submissions
        return
    spawn = multiprocessing.get_context("spawn")  # a fork would copy torch's threads' locks
    executor = ProcessPoolExecutor(jobs, mp_context=spawn, initializer=_start_process)
    try:
        yield executor
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _start_process() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that has the rows
    multiprocessing.util.Finalize(None, close_here, exitpriority=10)
    signal.signal(signal.SIGTERM, _abandon)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that reads its rows is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)


def _abandon(*_: object) -> None:
    """End at once, with the sandbox and its folder, in the middle of a submission."""
    abandon_here()
    remove_own()
    os._exit(1)
