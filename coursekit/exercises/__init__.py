"""Exercises: what is asked, what counts as right, which mistakes are recognized.

One module a chapter. The module's name is the chapter's without its number, and the first part of
its exercises' ids: `vae.py` serves chapter 03_vae and holds "vae.kl". Nothing else registers it.
An exercise is a dozen lines:

    double = Exercise(
        "demo.double",
        "double",  # the function's name in the notebook
        contract="double(x): x (B, L). Returns (B, L): twice x.",
        hints=("Think of addition.", "What is x + x?", "return 2 * x"),
        see="chapter 1, 'Doubling'",
        forbids=("coursekit.objectives.double",),  # coursekit's own: refuses while grading
    )

    @double.inputs  # draws the positional arguments of one call
    def _rows(g: Generator) -> tuple[Tensor, ...]:
        return (torch.randn(4, 3, generator=g),)

    @double.reference  # written apart from coursekit's own
    def _double(x: Tensor) -> Tensor:
        return x + x

    double.values("doubles every entry", points=2)
    double.gradients("lets the gradient through to x")
    double.values("holds for one row", hidden=True, hint="Try x of shape (1, L).", inputs=_row)
    double.untouched()

    @double.wrong("You squared x. Twice x is x + x.")
    def squared(x: Tensor) -> Tensor:
        return x**2

Tests. `values`, `gradients` and `untouched` compare with the reference on drawn inputs. Any other
test is a function with `@double.test("says what the answer does", points=1)`:

    @double.test("draws new noise at every call")
    def _new_noise(answer: Answer, g: Generator) -> None:
        ...  # call answer(...); raise Failed("why") or use close, same, standard_normal, tensor

A test's name completes the sentence "it ...". A message says what is wrong to a student.
- Draw every input from `g`. In `check` it has a fixed seed; the grader seeds it with a secret, in
  public tests too, so that there is nothing to hard-code. So a test must hold for every seed: take
  tolerances for that, and for random answers tests with a stated false-alarm rate.
- Never hand `g` itself to the answer: make a new Generator, seeded from `g`.
- Every test compares values. One that a function returning zeros passes gives points away;
  `coursekit audit` finds it.
- The grader calls the answer in another process, where it feels like a call here: gradients flow
  through (once; no create_graph across the call), in-place changes come back, torch's seed holds.
  Arguments may be numbers, strings, None, tensors, lists, tuples, dicts, generators, `nn.Module`s
  (of torch's layers, or of a class at the top of the module) and functions defined with `def` at
  the top of the module; such code sees torch, nn, F, math and Tensor only. Results may be the same;
  a named tuple arrives as a tuple, so unpack it; any other object can be called and has attributes.

Misconceptions. `@double.wrong("sentence")` on a wrong implementation. When a test fails, the
answer's behavior on the inputs (values, shapes, gradients, noise, side effects) is compared with
each; the first that agrees gives its sentence. A mistake that looks different in every answer (a
seed set inside) is better told by the message of the test that finds it.

Questions answered in prose, marked by hand: `FreeText(id, question, rubric, points)`; in the
notebook a markdown cell with "Your answer to `demo.why`:" and the answer below it.

The bank, `tests/grading/bank/CHAPTER.py`: at least five right answers of different style and eight
wrong ones with a part of the message that each must trigger.

    from coursekit.grading.gradebook.bank import right, wrong

    @right("demo.double")
    def shifted(x):
        return x * 2.0

    @wrong("demo.double", says="squared")
    def power(x):
        return x.pow(2)

A variant may use what the module imports and its undecorated functions; a class is instantiated.
`coursekit audit CHAPTER` grades them all and every misconception. Run it until it is content.
"""

import importlib
import pkgutil
import re

from coursekit.exercises._exercise import Answer, Exercise, FreeText, Inputs, Misconception, Test
from coursekit.exercises._helpers import (
    Failed,
    close,
    copies,
    gradients_of,
    same,
    standard_normal,
    tensor,
)

__all__ = [
    "Answer",
    "Exercise",
    "Failed",
    "FreeText",
    "Inputs",
    "Misconception",
    "Test",
    "chapter",
    "chapters",
    "close",
    "copies",
    "exercise",
    "gradients_of",
    "same",
    "standard_normal",
    "tensor",
]


def chapters() -> list[str]:
    """The chapters that have exercises: the modules of this package."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def chapter(name: str) -> tuple[list[Exercise], list[FreeText]]:
    """Exercises and free-text questions of a chapter: "vae", or "03_vae" as the notebook is called.

    ValueError if there is no such chapter.
    """
    module = re.sub(r"^\d+_", "", name)
    if module not in chapters():
        raise ValueError(f"there is no chapter {name!r}; those with exercises: {chapters()}")
    found = vars(importlib.import_module(f"{__name__}.{module}")).values()
    return (
        [value for value in found if isinstance(value, Exercise)],
        [value for value in found if isinstance(value, FreeText)],
    )


def exercise(id: str) -> Exercise:
    """The exercise with this id, as in "vae.kl". ValueError if there is none."""
    module = id.split(".")[0]
    known = [e for name in chapters() if module == name for e in chapter(name)[0]]
    for candidate in known:
        if candidate.id == id:
            return candidate
    known = known or [e for name in chapters() for e in chapter(name)[0]]
    raise ValueError(f"there is no exercise {id!r}; there are: {', '.join(e.id for e in known)}")
