"""Claims: the call, what is recorded, and that each recorded claim holds with a margin."""

import ast
import json
import math
from collections.abc import Iterator
from pathlib import Path

import chapters
import make_student
import margins
import pytest

from coursekit import claims
from coursekit.claims import claim, margin, quoted

AT_MOST = 5  # claims per chapter about a model that the chapter trains
NAMES = [path.stem for path in chapters.chapters(chapters.SOLUTIONS)]


def never() -> float:
    raise RuntimeError("a wrong variant is measured in recorded runs only")


def test_a_claim_that_holds_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    claim("one is positive", 1.0, above=0, wrong=("zero", never))
    claim("one is small", 1.0, below=2, wrong=("ten", never))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("measured", [0.0, -1.0, math.nan])
def test_a_claim_that_fails_says_what_was_claimed_measured_and_recorded(
    measured: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "RECORDED", tmp_path)
    with pytest.raises(AssertionError, match=r"'it grows' .* measured .*, which must be above 0"):
        claim("it grows", measured, above=0, wrong=("zero", never))
    with pytest.raises(AssertionError, match="Nothing is recorded"):
        claim("it grows", measured, above=0, wrong=("zero", never))
    entry = {"above": 0, "below": None, "measured": [1.0, 3.0], "wrong": "zero"}
    record = {"claims": {"it grows": {**entry, "wrong_measured": [0.0, 0.0]}}}
    (tmp_path / "01_x.json").write_text(json.dumps(record))
    expected = r"01_x.json: mean 2, from 1 to 3 in 2 runs, 1\.4 standard deviations beyond"
    with pytest.raises(AssertionError, match=expected):
        claim("it grows", measured, above=0, wrong=("zero", never))


def test_a_claim_has_one_bound() -> None:
    for bounds in ({}, {"above": 0.0, "below": 1.0}):
        with pytest.raises(ValueError, match="give one of the two"):
            claim("it grows", 1.0, **bounds, wrong=("zero", never))


def test_recorded_runs_measure_the_wrong_variant_and_do_not_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSEKIT_MARGINS", str(tmp_path / "lines"))
    claim("it grows", -1.0, above=0, wrong=("shuffled", lambda: -2.0))
    claim("it shrinks", 1.0, below=3, wrong=("constant", lambda: 4.0))
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [line["claim"] for line in lines] == ["it grows", "it shrinks"]
    assert [line["measured"] for line in lines] == [-1.0, 1.0]
    assert [line["wrong_measured"] for line in lines] == [-2.0, 4.0]
    assert lines[1]["below"] == 3


def test_a_margin_is_counted_in_standard_deviations() -> None:
    up = {"above": 0.0, "below": None, "measured": [4.0, 6.0], "wrong_measured": [-1.0, -1.0]}
    assert margin(up) == pytest.approx((5 / math.sqrt(2), math.inf))
    down = {"above": None, "below": 1.0, "measured": [4.0, 6.0], "wrong_measured": [2.0, 4.0]}
    assert margin(down) == pytest.approx((-4 / math.sqrt(2), 2 / math.sqrt(2)))


def test_a_quoted_figure_is_compared_unless_seeds_are_shifted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SEED_SHIFT", raising=False)
    quoted(0.88, 0.882, within=0.005)
    for value in (0.89, math.nan):
        with pytest.raises(AssertionError, match=f"The text says 0.88, but measured is {value}"):
            quoted(0.88, value, within=0.005)
    monkeypatch.setenv("SEED_SHIFT", "0")
    with pytest.raises(AssertionError):
        quoted(0.88, 0.89, within=0.005)
    monkeypatch.setenv("SEED_SHIFT", "3")
    quoted(0.88, 0.89, within=0.005)


def calls(name: str) -> Iterator[tuple[str, dict[str, object]]]:
    """The claims of a chapter as its code states them: text, bounds, name of the wrong variant."""
    for cell in chapters.code_cells(chapters.read(chapters.SOLUTIONS / f"{name}.ipynb")):
        source = "\n".join(line for line in cell.source.split("\n") if not line.startswith("%"))
        for node in ast.walk(ast.parse(source.replace("    %pip", "    pass  # "))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "claim":
                assert "claim" in cell.metadata.get("tags", []), f"{name}, cell {cell.id}"
                words = {word.arg: word.value for word in node.keywords}
                stated = {"wrong": ast.literal_eval(words["wrong"].elts[0])}  # type: ignore[attr-defined]
                for bound in ("above", "below"):
                    stated[bound] = ast.literal_eval(words[bound]) if bound in words else None
                yield ast.literal_eval(node.args[0]), stated


@pytest.mark.parametrize("name", NAMES)
def test_every_claim_is_recorded_with_a_margin_on_both_sides(name: str) -> None:
    stated = dict(calls(name))
    assert len(stated) == len(list(calls(name))) <= AT_MOST
    if not stated:
        return
    path = claims.RECORDED / f"{name}.json"
    assert path.exists(), f"run make margins CHAPTER={name}"
    record = json.loads(path.read_text())
    recorded = record["claims"]
    assert {
        text: {key: entry[key] for key in ("wrong", "above", "below")}
        for text, entry in recorded.items()
    } == stated, f"the claims of {name} changed: run make margins CHAPTER={name}"
    assert len(record["runs"]) >= len(margins.SHIFTS) + 2
    for text, entry in recorded.items():
        assert len(entry["measured"]) == len(entry["wrong_measured"]) == len(record["runs"])
        assert min(margin(entry)) >= margins.LEAST, text


@pytest.mark.parametrize("name", NAMES)
def test_a_student_meets_no_assertion_of_ours(name: str) -> None:
    for cell in chapters.code_cells(chapters.read(chapters.BOOK / f"{name}.ipynb")):
        lines = [line.strip() for line in cell.source.split("\n")]
        assert not [line for line in lines if line.startswith(("assert ", "claim("))], cell.id


@pytest.mark.parametrize("name", NAMES)
def test_predictions_come_before_their_outputs(name: str) -> None:
    """The first output below a Predict prompt is tagged, and given out empty."""
    cells = chapters.read(chapters.SOLUTIONS / f"{name}.ipynb").cells
    given = {cell.id: cell for cell in chapters.read(chapters.BOOK / f"{name}.ipynb").cells}
    for number, cell in enumerate(cells):
        if cell.cell_type == "markdown" and "**Predict" in cell.source:
            below = next(c for c in cells[number:] if c.cell_type == "code" and c.outputs)
            assert "predict" in below.metadata.get("tags", []), below.id
        if make_student.unseen(cell):
            assert "nbval-ignore-output" in cell.metadata["tags"], cell.id
            assert given[cell.id].outputs == [], cell.id
