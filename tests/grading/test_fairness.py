"""An honest answer that passes every public check in a notebook gets at least its public points.

Every right answer is judged both ways: by `check` in a real kernel, and by the grader.
"""

import ast
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from hostile import KL, REST
from nbclient import NotebookClient
from unusual import CASES, TOGETHER, Unusual

from coursekit.exercises import chapter, chapters, exercise
from coursekit.grading.gradebook.bank import as_notebook, load_bank, notebook
from coursekit.grading.gradebook.grade import MAX_CELLS, Assignment, Grader

BANK = Path(__file__).parent / "bank"
SETUP = "import torch\nfrom coursekit import check"
VERDICTS = """
verdicts, plain_check = [], check
def check(id, answer):
    result = plain_check(id, answer)
    verdicts.append((result.passed, result.total))
    return result
"""


def checked(answers: list[tuple[str, ...]]) -> list[list[tuple[int, int]]]:
    """What `check` finds of each answer: public tests passed, and their number, per check.

    All run in one kernel. An answer's names are gone before the next one comes.
    """
    begin = f"{SETUP}{VERDICTS}kept = [*globals(), 'kept']"
    end = (
        "print(verdicts)\nverdicts.clear()\n"
        "for name in [n for n in globals() if n not in kept and n[0] != '_']:\n"
        "    del globals()[name]\n"
        "import torch"
    )
    sources = [begin, *(source for cells in answers for source in (*cells, end))]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in sources])
    NotebookClient(book, kernel_name="python3", timeout=600).execute()
    ends = [cell.outputs for cell in book.cells if cell.source == end]
    return [ast.literal_eval("".join(output.text for output in outputs)) for outputs in ends]


@dataclass(frozen=True)
class Right:
    """A right answer of the bank, as it is handed in and as it is checked."""

    name: str
    exercise: str
    book: bytes
    cells: tuple[str, ...]


def bank(name: str) -> Iterator[Right]:
    exercises = {e.id: e for e in chapter(name)[0]}
    for variant in load_bank(BANK / f"{name}.py"):
        if variant.says is None:
            asked = exercises[variant.exercise]
            book = as_notebook(variant, asked)
            cells = [cell["source"] for cell in json.loads(book)["cells"]]
            check = f"check({asked.id!r}, {asked.function})"
            yield Right(variant.name, asked.id, book, (*cells, check))


@pytest.fixture(scope="module")
def seen_by_check():
    """The verdicts of `check` on all right answers, in one kernel."""
    right = [answer for name in chapters() for answer in bank(name)]
    answers = [answer.cells for answer in right] + [case.cells for case in CASES] + [TOGETHER]
    return dict(zip(answers, checked(answers), strict=True))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_unusual_answers_are_accepted_by_check_and_by_the_grader(
    case: Unusual, shared, seen_by_check
):
    (verdict,) = seen_by_check[case.cells]
    public = [test for test in exercise(case.exercise).tests if not test.hidden]
    assert verdict == (len(public), len(public))
    row = Grader(Assignment("vae", b"fair")).grade(case.name, notebook([SETUP, *case.cells]))
    entry = row["exercises"][case.exercise]
    assert entry["score"] == entry["max_score"], json.dumps(entry, indent=1)


def test_helpers_of_one_name_serve_two_answers(shared, seen_by_check):
    """One process cannot hold both: the answers are graded apart."""
    assert seen_by_check[TOGETHER] == [(2, 2), (4, 4)]
    row = Grader(Assignment("vae", b"fair")).grade("both", notebook([SETUP, *TOGETHER]))
    for id in ("vae.kl", "vae.reparameterize"):
        entry = row["exercises"][id]
        assert entry["score"] == entry["max_score"], json.dumps(entry, indent=1)


@pytest.mark.parametrize("name", chapters())
def test_the_bank_passes_both_ways(name, shared, seen_by_check):
    """Points that `check` promises are points that grading gives."""
    grader = Grader(Assignment(name, b"fair"))
    for answer in bank(name):
        tests = grader.grade(answer.name, answer.book)["exercises"][answer.exercise]["tests"]
        passed = [test["passed"] for test in tests if not test["hidden"]]
        assert all(passed), answer.name
        assert seen_by_check[answer.cells] == [(len(passed), len(passed))], answer.name


def test_a_cell_may_take_longer_than_a_call(shared):
    """A table that takes 11 seconds is as right in grading as in the notebook."""
    slow = "import time\ndef half():\n    time.sleep(11)\n    return 0.5\nc = half()"
    row = Grader(Assignment("vae", b"fair")).grade(
        "slow", notebook([SETUP, slow, KL.replace("0.5", "c"), *REST])
    )
    entry = row["exercises"]["vae.kl"]
    assert entry["score"] == entry["max_score"], json.dumps(entry, indent=1)


BOOK = ["scores = measured.round(3)", "print(kl_divergence(mu, logvar))", "vae3 = trained(3)"]
"""Cells of a chapter, which fail where nothing before them has run."""


@pytest.mark.parametrize(
    ("cells", "errors"),
    [
        ([KL.replace("kl_divergence", "kl_div"), *BOOK], {}),
        (["def kl_divergence(mu, logvar:\n    pass", *BOOK], {"2"}),
        (["kl_divergence_table = {'kl_divergence': 1}", *BOOK], {}),
        (["exec('def kl_divergence(mu, logvar): return missing(mu')", *BOOK], {"2"}),
    ],
    ids=["renamed", "syntax error", "mentioned", "spelled"],
)
def test_errors_of_the_books_own_cells_are_not_listed(cells, errors, shared):
    """Who renamed a function is not told that 35 cells of the book are wrong."""
    row = Grader(Assignment("vae", b"fair")).grade("renamed", notebook([SETUP, *cells]))
    assert row["exercises"]["vae.kl"]["score"] == 0
    assert set(row["cells"]) == set(errors)


def test_a_row_lists_the_first_errors_and_counts_the_rest(shared):
    """300,000 cells that cannot be compiled made a page of 29 MB."""
    many = [f"def f{i}(:" for i in range(300)]
    row = Grader(Assignment("vae", b"fair")).grade("many", notebook([SETUP, *many]))
    assert len(row["cells"]) == MAX_CELLS + 1
    assert row["cells"]["…"] == "250 more cells have errors"
