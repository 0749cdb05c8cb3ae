"""nbval, mended in one point, and a last line that says what failed."""

from collections import Counter

import pytest
from nbval.kernel import RunningKernel


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
