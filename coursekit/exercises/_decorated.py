"""The older form of an exercise, filled in by decorators. `record` replaces it, chapter by chapter.

Here the solution stands in the notebook, the reference in the module, and each mistake is a
function of its own.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from coursekit.exercises import _exercise
from coursekit.exercises._exercise import Answer, Inputs, Run, Test

Function = TypeVar("Function", bound=Answer)
Draw = TypeVar("Draw", bound=Inputs)


class Exercise(_exercise.Exercise):
    """A function that the student writes.

    id: module and name, as in "vae.kl". function: the name that the grader looks for.
    contract: signature, shapes, units and reduction, in one or two sentences. hints: three, each
    saying more than the last. see: where in the book to look when the hints are spent.
    forbids: coursekit's own answers by dotted name; while this exercise's chapter is graded they
    refuse to run.
    """

    contract: str
    source = ""  # the notebook has it
    code = ""

    def __init__(
        self,
        id: str,
        function: str,
        *,
        contract: str,
        hints: tuple[str, str, str],
        see: str,
        forbids: Sequence[str] = (),
    ) -> None:
        def missing(*args: Any) -> Any:
            raise TypeError(f"exercise {id!r} has no inputs or no reference")

        super().__init__(
            missing, id, inputs=missing, tests=(), hints=hints, explanation="", see=see,
            forbids=forbids,
        )  # fmt: skip
        self.function = function
        self.contract = contract

    def inputs(self, draw: Draw) -> Draw:
        """Decorator: the function that draws the arguments of a call from a generator."""
        self.draw = draw
        return draw

    def reference(self, solve: Function) -> Function:
        """Decorator: a right answer, written apart from coursekit's own."""
        self.solve = solve
        return solve

    def test(  # type: ignore[override]
        self, name: str, points: float = 1, hidden: bool = False, hint: str = ""
    ) -> Callable[[Run], Run]:
        """Decorator: a test. hint: shown instead of the reason when a hidden test fails."""

        def add(run: Run) -> Run:
            self._add(Test(name, run, points, hidden, self._hint(name, hidden, hint)))
            return run

        return add

    def _hint(self, name: str, hidden: bool, hint: str) -> str:
        if hidden and not hint:
            raise ValueError(f"{self.id}: the hidden test {name!r} needs a hint for the student")
        return hint if hidden else ""

    def values(
        self,
        name: str,
        points: float = 1,
        hidden: bool = False,
        hint: str = "",
        inputs: Inputs | None = None,
    ) -> None:
        """Test: on three draws of the inputs the answer returns what the reference returns."""
        self._add(_exercise.values(points, name, self._hint(name, hidden, hint), inputs)(self))

    def gradients(
        self,
        name: str,
        points: float = 1,
        hidden: bool = False,
        hint: str = "",
        inputs: Inputs | None = None,
        wrt: Sequence[str] | None = None,
    ) -> None:
        """Test: values agree, and so do gradients with respect to the arguments in `wrt`."""
        hint = self._hint(name, hidden, hint)
        self._add(_exercise.gradients(points, name, hint, inputs, wrt)(self))

    def untouched(self, points: float = 1) -> None:
        """Test: values agree, and no argument was modified by the call."""
        self._add(_exercise.untouched(points)(self))
