"""What all tests share: one thread, nbval mended in one point, closing words on what is missing."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from nbval.kernel import RunningKernel

# Before torch is imported, and for the notebooks' kernels. Tests share the cores among them: more
# than one thread each is slower, and sums in another order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["COURSEKIT_PROGRESS"] = "off"  # no file beside the notebooks, no line in their outputs

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


def pytest_unconfigure(config: pytest.Config) -> None:
    """Below pytest's closing line, say which files failed and how to run one of them alone."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput"):  # a worker of pytest-xdist
        return
    reports = reporter.stats.get("failed", []) + reporter.stats.get("error", [])
    files = Counter(report.nodeid.split("::")[0] for report in reports)
    if files:
        named = ", ".join(f"{name} ({count})" for name, count in files.items())
        reporter.write_line(
            f"Failures: {named}. The reasons stand above; "
            f"to run one file alone: make test ONLY={next(iter(files))}"
        )


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
