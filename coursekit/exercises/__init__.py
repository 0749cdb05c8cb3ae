"""Exercises: what is asked, what counts as right, which mistakes are recognized.

There is one module per chapter. The module's name is the chapter's without its number, and the
first part of its exercises' ids: `vae.py` serves chapter 03_vae and holds "vae.kl". Nothing else
registers it. An exercise is its solution with a record around it:

    from coursekit.exercises import gradients, randn, record, untouched, values

    @record(
        "demo.double",
        inputs=lambda g: (randn(g, 4, 3),),  # the positional arguments of one call
        tests=(
            values(points=2),
            gradients(),
            values(hidden="Try x of shape (1, L).", name="holds for one row",
                   inputs=lambda g: (randn(g, 1, 3),)),
            untouched(),
        ),
        mistakes={
            "x + x": {"x * x": "You squared x. Twice x is x + x.",
                      "x": "This is x itself; twice x is x + x."},
        },
        hints=("Think of addition.", "What is x plus x?", "Add x to itself, entry by entry."),
        explanation="Addition works entry by entry, so no loop is needed.",
        see="chapter 1, 'Doubling'",
        forbids=("coursekit.objectives.double",),  # coursekit's own: refuses while grading
    )
    def double(x):
        \"\"\"Twice x.

        x: (B, L) float tensor. Returns: (B, L).
        \"\"\"
        # 1. Add x to itself.
        ### BEGIN SOLUTION
        return x + x
        ### END SOLUTION

The text of the function is the exercise's cell in the notebook: `make student` writes it into the
cell of `solutions/` that defines the same name, and a test compares. The docstring is the contract
that a student reads. A solution may be a class. It sees torch, nn, F and math; import what else it
needs inside it.

Tests. `values`, `gradients` and `untouched` compare with the solution on drawn inputs. Any other
test is a function with `@double.test("says what the answer does", points=1)`:

    @double.test("draws new noise at every call")
    def _new_noise(answer: Answer, g: Generator) -> None:
        ...  # call answer(...); raise Failed("why") or use close, same, standard_normal, tensor

A test's name completes the sentence "it ...". A message says what is wrong to a student. A test is
passed when it returns, and failed when it raises.
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

Mistakes. Each is one edit of the solution's code: a piece that occurs exactly once, what a mistake
writes instead, and the sentence that helps. A mistake that no edit makes is a function with
`@double.wrong("sentence")`; it may call `double.solve`. When a test fails, the answer's behavior on
the inputs (values, shapes, gradients, noise, side effects) is compared with each; the first that
agrees gives its sentence. When none agrees, the student is told what kind of difference it is.

Questions answered in prose, marked by hand: `FreeText(id, question, rubric, points)`; in the
notebook a markdown cell with "Your answer to `demo.why`:" and the answer below it.

The bank, `tests/grading/bank/CHAPTER.py`: at least five right answers of different style, one of
them independent of the solution, and wrong answers that no edit covers, with a part of the message
that each must trigger.

    from coursekit.grading.gradebook.bank import right, wrong

    @right("demo.double")
    def shifted(x):
        return x * 2.0

    @wrong("demo.double", says="squared")
    def power(x):
        return x.pow(2)

A variant may use what the module imports and its undecorated functions; a class is instantiated.
`coursekit audit CHAPTER` grades them all, every mistake, and generic wrong answers that it makes
from the solution: detached, negated, averaged for summed, in float16 and others. Run it until it is
content. Where such a change is right, as "detached" for a measure of which no gradient is asked,
say `fair=("detached",)` in the record.
"""

import importlib
import pkgutil
import re

from coursekit.exercises._exercise import (
    BEGIN,
    END,
    Answer,
    Exercise,
    FreeText,
    Inputs,
    Misconception,
    Test,
    exercise_of,
    gradients,
    record,
    untouched,
    values,
)
from coursekit.exercises._helpers import (
    Failed,
    NotJudged,
    close,
    copies,
    gradients_of,
    rand,
    randn,
    same,
    tensor,
    unchanged,
)
from coursekit.exercises._noise import distinct, standard_normal

__all__ = [
    "BEGIN",
    "END",
    "Answer",
    "Exercise",
    "Failed",
    "FreeText",
    "Inputs",
    "Misconception",
    "NotJudged",
    "Test",
    "chapter",
    "chapters",
    "close",
    "copies",
    "distinct",
    "exercise",
    "exercise_of",
    "gradients",
    "gradients_of",
    "rand",
    "randn",
    "record",
    "same",
    "standard_normal",
    "tensor",
    "unchanged",
    "untouched",
    "values",
]


def chapters() -> list[str]:
    """The chapters that have exercises: the modules of this package."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def chapter(name: str) -> tuple[list[Exercise], list[FreeText]]:
    """Exercises and free-text questions of a chapter: "vae", or "03_vae" as the notebook is called.

    The exercises are copies: a test that is added to one is not there at the next call.
    ValueError if there is no such chapter.
    """
    module = re.sub(r"^\d+_", "", name)
    if module not in chapters():
        raise ValueError(
            f"there is no chapter {name!r}; name it as its notebook, like 03_vae, or as one of "
            f"those with exercises: {', '.join(chapters())}"
        )
    found = vars(importlib.import_module(f"{__name__}.{module}")).values()
    return (
        [value.copy() for value in found if isinstance(value, Exercise)],
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
