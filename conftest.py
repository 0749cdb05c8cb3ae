"""What all tests share: one thread, nbval mended in one point, and a word on what was skipped."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from nbval.kernel import RunningKernel

# Before torch is imported, and for the notebooks' kernels. Tests share the cores among them: more
# than one thread each is slower, and sums in another order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a test's reason for a skip begins with -> what that costs, and the cure.
PROGRAMS = {
    "no browser found": "of the interactive figures in a browser: install Chromium or Chrome",
    "bubblewrap: the program is missing": "of the grader's sandbox: install bubblewrap (on Linux); "
    "if it is installed, this machine forbids ordinary users the namespaces that it needs",
}


def execute_cell_input(
    self: RunningKernel, cell_input: str, allow_stdin: bool | None = None
) -> str:
    # nbval keeps cells out of the history, and the history is where IPython looks for the `;` that
    # silences a cell's last value: every figure would come twice.
    return self.kc.execute(cell_input, allow_stdin=allow_stdin, stop_on_error=False)


RunningKernel.execute_cell_input = execute_cell_input


@pytest.hookimpl(wrapper=True, tryfirst=True)  # after pytest's own summary
def pytest_terminal_summary(terminalreporter: Any) -> Iterator[None]:
    yield
    for line in missing_programs(str(r.longrepr) for r in terminalreporter.getreports("skipped")):
        terminalreporter.write_line(line, yellow=True)


def missing_programs(reasons: Iterable[str]) -> list[str]:
    """One line for each program whose absence skipped tests: what was not tested, how to get it."""
    reasons = list(reasons)
    counts = {sign: sum(sign in reason for reason in reasons) for sign in PROGRAMS}
    return [f"SKIPPED: {counts[sign]} tests {PROGRAMS[sign]}." for sign in PROGRAMS if counts[sign]]
