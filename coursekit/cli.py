"""The command line: `coursekit train | data | grade | audit | progress`."""

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code. Bad input gives one line on stderr, no traceback."""
    parser = argparse.ArgumentParser(prog="coursekit", description=__doc__)
    subparsers = parser.add_subparsers(dest="command", required=True)
    from coursekit.data import commands as data_commands
    from coursekit.grading.checks import progress
    from coursekit.grading.gradebook import commands as grading_commands
    from coursekit.training import commands as training_commands

    for module in (training_commands, data_commands, grading_commands, progress):
        module.add_parser(subparsers)
    args = parser.parse_args(argv)
    try:
        return int(args.run(args) or 0)
    except (ValueError, OSError, ImportError) as error:
        print(f"coursekit {args.command}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
