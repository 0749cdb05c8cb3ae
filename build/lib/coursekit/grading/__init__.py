"""Checks that a student runs in the notebook, and the grader that an instructor runs."""

from coursekit.grading.checks import Result, check, hint, solution

__all__ = ["Result", "check", "hint", "solution"]
