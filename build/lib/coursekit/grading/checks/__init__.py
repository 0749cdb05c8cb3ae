"""What a student calls in a notebook, and how an answer is judged."""

from coursekit.grading.checks.notebook import Result, check, hint, solution

__all__ = ["Result", "check", "hint", "solution"]
