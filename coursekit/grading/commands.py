"""`coursekit grade` and `coursekit audit`."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `grade` and `audit` to the command line."""
    _add_audit(subparsers)


def _add_audit(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = subparsers.add_parser(
        "audit",
        help="test the tests of the exercises",
        description="Grade the bank of right and wrong answers. Exit code 1 if a right answer is "
        "refused, a wrong one escapes, or a mistake is not recognized.",
    )
    parser.add_argument("chapters", nargs="*", help="default: all that have exercises")
    parser.add_argument("--bank", type=Path, default=Path("tests/grading/bank"), help="folder")
    parser.add_argument("--seeds", type=int, default=20, help="how many secrets; default: 20")
    parser.set_defaults(run=_audit)


def _audit(args: argparse.Namespace) -> int:
    import torch

    from coursekit.exercises import chapters
    from coursekit.grading.audit import audit

    if not args.bank.is_dir():
        raise ValueError(f"--bank: there is no folder {args.bank}; run this in the repository")
    torch.set_num_threads(1)  # the tensors are small: more threads only get in each other's way
    row = "{:28} {:>8} {:>8} {:>14} {:>8} {:>8} {:>8}"
    print(row.format("exercise", "right", "wrong", "false rejects", "escapes", "flakes", "public"))
    complaints: list[str] = []
    for name in args.chapters or chapters():
        for report in audit(name, args.bank, args.seeds):
            share = f"{report.public / max(report.wrong, 1):.0%}"
            counts = (report.false_rejects, report.escapes, report.flakes)
            shown = (report.exercise, report.right, report.wrong, *map(len, counts), share)
            print(row.format(*shown), f"{report.seconds:7.1f} s", flush=True)
            complaints += report.complaints
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0
