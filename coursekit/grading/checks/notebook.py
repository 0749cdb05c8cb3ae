"""`check`, `hint` and `solution`: what a student calls in a notebook."""

import html
import os
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

from coursekit.exercises import Exercise, chapter, exercise
from coursekit.grading.checks import progress
from coursekit.grading.checks.difference import difference
from coursekit.grading.checks.verdict import PUBLIC, behavior, guarded, recognize, run_test
from coursekit.grading.sandbox.errors import NotAttempted


@dataclass(frozen=True)
class Result:
    """What `check` found: true if every public test passed.

    Shows nothing by itself, so a `check(...)` on a cell's last line is shown once.
    """

    passed: int
    total: int
    message: str

    def __bool__(self) -> bool:
        return 0 < self.total == self.passed

    def __repr__(self) -> str:
        return ""

    def _ipython_display_(self) -> None:
        pass


def check(id: str, answer: Any) -> Result:
    """Run the public tests of an exercise on `answer` and show what came of them.

    id: as in "vae.kl". answer: the function that the exercise asks for. Never raises. A failing
    answer is compared with the mistakes that are known; if it makes one, the report says which.
    """
    try:
        found = exercise(str(id))
    except ValueError as error:
        return _show("?", str(id), [str(error)], Result(0, 0, str(error)))
    try:
        result = _check(found, answer)
        line = progress.line([e.id for e in chapter(found.id.split(".")[0])[0]])
    except Exception as error:  # a fault of ours must not stop a student's notebook
        message = f"this check broke, which is not your fault: {type(error).__name__}: {error}"
        return _show("?", id, [message], Result(0, 0, message))
    if line:
        _display(f'<div style="padding:0 1.05em;font-size:.9em">{html.escape(line)}</div>', line)
    return result


def _check(found: Exercise, answer: Any) -> Result:
    tests = [test for test in found.tests if not test.hidden]
    if not callable(answer):
        message = (
            f"expected the function {found.function} itself, as in "
            f"check({found.id!r}, {found.function}); got {type(answer).__name__}"
        )
        return _show("✗", found.id, [message], Result(0, len(tests), message))
    call = guarded(answer)
    try:
        outcomes = [run_test(found, test, call, PUBLIC) for test in tests]
    except NotAttempted:
        message = "not attempted yet"
        todo = f"{message}. Write {found.function}, run its cell, and this one again."
        return _show("○", found.id, [todo], Result(0, len(tests), message))
    passed = sum(outcome.passed for outcome in outcomes)
    summary = f"{passed} of {len(tests)} public tests pass"
    if passed == len(tests):
        _solved.add(found.id)
        progress.keep(found.id)
        lines = [f"{summary}. Grading uses other inputs and further tests."]
        return _show("✓", found.id, lines, Result(passed, len(tests), summary))
    first = next(outcome for outcome in outcomes if not outcome.passed)
    lines = [f"{summary}. The first that fails: it {first.name}.", _sentence(first.message)]
    name = recognize(found, behavior(found, call))
    lines += [m.says for m in found.misconceptions if m.name == name]
    if name is None and (kind := difference(found, call)) is not None:
        lines.append(kind)
    return _show("✗", found.id, lines, Result(passed, len(tests), " ".join(lines)))


_shown: Counter[str] = Counter()
_solved: set[str] = set()


def hint(id: str) -> None:
    """Show the next hint for an exercise: three, each saying more; then where to read on."""
    try:
        found = exercise(str(id))
    except ValueError as error:
        _show("?", str(id), [str(error)])
        return
    number = _shown[found.id]
    _shown[found.id] += 1
    if number < len(found.hints):
        _show("→", found.id, [f"Hint {number + 1} of {len(found.hints)}.", found.hints[number]])
    else:
        _show(
            "→",
            found.id,
            [f"That was the last hint. Read on in {found.see}, or call solution({found.id!r})."],
        )


def solution(id: str) -> None:
    """Show the solution of an exercise, once its check has passed or its three hints are spent.

    Where COURSEKIT_LOCK_SOLUTIONS is set (by an instructor, where the notebooks run), it is not
    shown.
    """
    try:
        found = exercise(str(id))
    except ValueError as error:
        _show("?", str(id), [str(error)])
        return
    if os.environ.get("COURSEKIT_LOCK_SOLUTIONS"):
        _show("→", found.id, ["Your instructor has locked the solutions."])
    elif found.id in _solved or _shown[found.id] >= len(found.hints):
        _show("→", found.id, ["A solution. " + found.explanation], code=found.code)
    else:
        left = len(found.hints) - _shown[found.id]
        lines = [
            f"The solution is shown when check({found.id!r}, ...) has passed, or after {left} more "
            f"of hint({found.id!r})."
        ]
        _show("→", found.id, lines)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!", ")")) else text + "."


# White on these, and these as a bar beside the text, can be read in light and in dark.
_COLORS = {"✓": "#1b7a43", "✗": "#c0392b", "○": "#5f6570", "→": "#2a6f97", "?": "#96620b"}


def _show(
    mark: str, id: str, lines: list[str], result: Result | None = None, code: str = ""
) -> Result:
    text = f"{mark} {id}: " + "\n  ".join(lines) + (f"\n\n{code}" if code else "")
    color = _COLORS[mark]
    body = "".join(f"<div>{html.escape(line)}</div>" for line in lines[1:])
    body += f"<pre>{html.escape(code)}</pre>" if code else ""
    badge = (
        f'<span style="background:{color};color:#fff;border-radius:3px;padding:0 .35em;'
        f'margin-right:.4em">{mark}</span>'
    )
    box = (
        f'<div role="status" style="border-left:4px solid {color};padding:.3em .8em;'
        f'margin:.3em 0;line-height:1.5;max-width:48em">'
        f"<div>{badge}<b>{html.escape(id)}</b>: {html.escape(lines[0])}</div>{body}</div>"
    )
    _display(box, text)
    return Result(0, 0, "") if result is None else result


def _display(box: str, text: str) -> None:
    """Show HTML in a session of IPython, text elsewhere, where nothing is imported for it."""
    ipython = sys.modules.get("IPython")
    if ipython is not None and hasattr(ipython.get_ipython(), "kernel"):
        ipython.display.display({"text/html": box, "text/plain": text}, raw=True)
    else:
        print(text)
