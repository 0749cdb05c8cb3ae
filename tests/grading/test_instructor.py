"""An instructor's week: a roster, several files of a student, marks by hand, grading again."""

import csv
import json
import os
import re
from pathlib import Path

import pytest
from hostile import FULL, SAMPLE
from test_grade import MAXIMUM, MEAN, RIGHT, TOTAL, grade, rows_of, sheet

from coursekit import exercises
from coursekit.exercises import FreeText
from coursekit.grading.gradebook import alike, sheets
from coursekit.grading.gradebook.bank import notebook
from coursekit.grading.gradebook.batch import Submission, of_chapter
from coursekit.grading.gradebook.grade import Assignment, load, self_test
from coursekit.grading.gradebook.notebook import prose, read

ROOT = Path(__file__).parents[2]
OTHER = next(id for id in FULL if id != "vae.kl")


@pytest.fixture
def given(tmp_path):
    given = tmp_path / "given"
    given.mkdir()
    for name, time, data in (
        ("ann_17_vae", 1, MEAN),
        ("ann_17_vae-2", 1, RIGHT),
        ("bob_18_old", 5, RIGHT),
        ("BOB_18_new", 9, MEAN),
        ("zoe_99", 1, RIGHT),
    ):
        path = given / f"{name}.ipynb"
        path.write_bytes(data)
        os.utime(path, (time, time))
    return given


ROSTER = "id;name;file\n17;Ann;ann_17*\n18;Bob;bob_18*\n19;Zo\u00eb =1;nothing*\n"


def by_id(out):
    return {line["id"]: line for line in sheet(out / "grades.csv")}


def fill(path, **columns):
    """Add a line to a CSV file, as an instructor would."""
    with path.open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, columns).writerow(columns)


def test_a_roster_gives_one_line_per_student(given, tmp_path, shared, capsys):
    out, roster = tmp_path / "out", tmp_path / "roster.csv"
    roster.write_bytes(ROSTER.encode("cp1252"))  # as a spreadsheet in Europe saves it
    assert grade(given, "--out", out, "--roster", roster) == 0
    said = capsys.readouterr()
    assert f"ann_17_vae-2: {TOTAL:g} of {MAXIMUM:g} points" in said.out
    assert "zoe_99: nobody in the roster has this file" in said.err
    lines = by_id(out)
    assert list(lines) == ["17", "18", "19", ""], "nobody's file comes last"
    assert (lines["17"]["submission"], lines["17"]["note"]) == (
        "ann_17_vae-2",
        "not counted: ann_17_vae",
    )
    assert lines["18"]["submission"] == "BOB_18_new", "the latest, and no matter the capitals"
    assert (lines["19"]["status"], lines["19"]["total"]) == ("missing", "")
    assert lines["19"]["name"] == "Zo\u00eb =1"
    assert (lines[""]["submission"], lines[""]["note"]) == (
        "zoe_99",
        "nobody in the roster has this file",
    )
    page = (out / "index.html").read_text()
    assert "not counted: ann_17_vae-2 counts" in page
    assert "<h1>Grades: 03_vae</h1>" in page
    assert "over the 2 submissions that count: median" in page, "of five that were graded"
    assert said.out.endswith(f"5 graded: see {out / 'index.html'}\n")
    assert "Zo\u00eb =1 (19)" in page
    assert (out / "feedback" / "ann_17_vae-2.html").exists(), "under the name of the upload"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,name,file\n1,Ann,a*\n2,Anna,ann*\n", "matches the patterns of Ann and of Anna"),
        ("id,name\n1,Ann\n", "must have the columns id, name, file"),
        ("id,name,file\n1,Ann,a*\n2,Bob\n", "in every line, but one is only '2,Bob'"),
        ("id,name,file\n1,Ann,\n", "needs a pattern under `file`"),
        (None, "there is no file"),
    ],
)
def test_a_roster_that_cannot_be_used(text, message, given, tmp_path, capsys):
    roster = tmp_path / "roster.csv"
    if text is not None:
        roster.write_text(text)
    assert grade(given, "--out", tmp_path / "out", "--roster", roster) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "it is seen before anything is graded"


def test_marks_by_hand_survive_grading_again(given, tmp_path, shared, capsys):
    out = tmp_path / "out"
    assert grade(given, "--out", out) == 0
    path = out / "overrides.csv"
    fill(path, submission="zoe_99", exercise="vae.kl", points="0,5", reason="late; see mail")
    fill(path, submission="nobody", exercise="vae.kl", points="1", reason="x")
    fill(path, submission="zoe_99", exercise="vae.nothing", points="1", reason="x")
    fill(path, submission="zoe_99", exercise=OTHER, points="99", reason="x")
    fill(path, submission="bob_18_old", exercise="vae.kl", points="1", reason=" ")
    fill(path, submission="zoe_99", exercise="vae.blur", points="1", reason="x")
    fill(path, submission="torn", exercise="vae.kl", points="1", reason="x")
    (given / "torn.ipynb").write_text("{")
    before = path.read_bytes()
    for more in ((), ("--force", "--gradescope")):
        assert grade(given, "--out", out, *more) == 0
        told, said = capsys.readouterr()
        full = rows_of(out)["zoe_99"]["exercises"]["vae.kl"]["score"]
        assert f"zoe_99, vae.kl: 0.5 points by hand instead of {full:g}\n" in told
        assert "nobody, vae.kl: there is no such submission" in said
        assert "vae.nothing: that submission has no such exercise, only vae." in said
        assert "'99' is no number from 0 to" in said
        assert "a mark that is set by hand needs a reason" in said
        assert "vae.blur: answers in words are marked in prose/vae.blur.csv" in said
        assert "torn, vae.kl: that submission is unreadable: replace its file" in said
        lines = {line["submission"]: line for line in sheet(out / "grades.csv")}
        assert full > 0.5, "the rows keep what the grader found"
        assert lines["zoe_99"]["vae.kl"] == "0.5"
        assert float(lines["zoe_99"]["score"]) == TOTAL - full + 0.5
        assert float(lines["bob_18_old"]["score"]) == TOTAL
        page = (out / "feedback" / "zoe_99.html").read_text()
        assert "set these points by hand: late; see mail" in page
    assert path.read_bytes() == before
    result = json.loads((out / "gradescope" / "zoe_99.json").read_text())
    assert result["score"] == TOTAL - full + 0.5, "not the sum of the tests"
    assert result["output"] == "vae.kl: 0.5 points, set by hand: late; see mail"


def test_one_exercise_is_graded_again(given, tmp_path, shared, capsys):
    """Its entries are new; the others stay, though their tests have changed."""
    out = tmp_path / "out"
    assert grade(given, "--out", out) == 0
    first = rows_of(out)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "more.py").write_text(
        "def add(exercises):\n"
        f"    for id in ('vae.kl', '{OTHER}'):\n"
        "        @exercises[id].test('is never right', points=4, hidden='-')\n"
        "        def _(answer, g, solve=exercises[id].solve):\n"
        "            assert answer.__class__ is solve.__class__, 'refused'\n"
    )
    (given / "new.ipynb").write_bytes(RIGHT)
    assert grade(given, "--out", out, "--hidden", hidden, "--exercise", "vae.kl") == 0
    again = rows_of(out)
    for name, row in first.items():
        ids = [test["name"] for test in again[name]["exercises"]["vae.kl"]["tests"]]
        assert "is never right" in ids
        assert again[name]["exercises"] | {"vae.kl": 0} == row["exercises"] | {"vae.kl": 0}
        assert again[name]["max_score"] == MAXIMUM + 4
    top = again["new"]["max_score"]
    assert top == MAXIMUM + 8, "its other exercise has the new test as well"
    assert f"{0.9 * top:g} to {top:g}" in (out / "index.html").read_text()
    assert len(again["new"]["exercises"]) == len(first["zoe_99"]["exercises"]), "new files: all"
    assert grade(given, "--out", out, "--exercise", "vae.none") == 2
    assert "03_vae has no vae.none, only vae." in capsys.readouterr().err


def test_the_guides_example_of_a_hidden_test_works():
    page = (Path(__file__).parents[2] / "book" / "instructors.md").read_text()
    (example,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL)
        if "def add(" in block
    ]
    plain = load(Assignment("vae", b""))[0]
    found = load(Assignment("vae", b"", (("own.py", example),)))[0]
    assert sum(len(e.tests) for e in found) == 1 + sum(len(e.tests) for e in plain)
    self_test(found, b"any secret")


def test_files_that_are_gone_and_rows_of_another_chapter(given, tmp_path, shared, capsys):
    out = tmp_path / "out"
    assert grade(given, "--out", out) == 0
    (given / "zoe_99.ipynb").unlink()
    assert grade(given, "--out", out) == 0
    notes = {line["submission"]: line["note"] for line in sheet(out / "grades.csv")}
    assert notes.pop("zoe_99") == "the file is no longer there"
    assert set(notes.values()) == {""}
    kept = (out / "results.jsonl").read_bytes()
    rows = [json.loads(line) | {"chapter": "elbo"} for line in kept.splitlines()]
    (out / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert grade(given, "--out", out) == 2
    assert "holds results of the chapter elbo" in capsys.readouterr().err


def test_several_chapters_in_one_folder(tmp_path, shared, capsys):
    """The notebook of another chapter is told apart by its exercises, and never counts."""
    given, out, roster = tmp_path / "given", tmp_path / "out", tmp_path / "roster.csv"
    other = notebook(["import torch", 'check("elbo.iwae", iwae)'])
    bare = notebook(["import torch", SAMPLE, "def kl_divergence(mu, logvar:"])
    for name, time, data in (
        ("ann/03_vae", 1, RIGHT),
        ("ann/02_elbo", 9, other),
        ("bob/mine", 1, other),
        ("cleo/without checks", 1, bare),
    ):
        path = given / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (time, time))
    roster.write_text("id,name,file\n1,Ann,ann/*\n2,Bob,bob/*\n3,Cleo,cleo/*\n")
    assert grade(given, "--out", out, "--roster", roster) == 0
    why = "this is a notebook of another chapter: its exercises are those of elbo, not of vae"
    assert f"bob/mine: unreadable, {why}" in capsys.readouterr().out
    lines = by_id(out)
    assert (lines["1"]["submission"], float(lines["1"]["score"])) == ("ann/03_vae", TOTAL)
    assert lines["1"]["note"] == "not counted: ann/02_elbo"
    fill(out / "overrides.csv", submission="ann/03_vae", exercise="vae.kl", points="1", reason="x")
    (given / "ann" / "03_vae-2.ipynb").write_bytes(RIGHT)
    assert (lines["2"]["status"], lines["2"]["message"]) == ("unreadable", why)
    assert lines["3"]["status"] == "graded"
    page = (out / "feedback" / "cleo" / "without checks.html").read_text()
    assert "Cells are counted from the top" in page
    assert "elbo, not of vae" in (out / "feedback" / "bob" / "mine.html").read_text()
    capsys.readouterr()
    assert grade(given, "--out", out, "--roster", roster) == 0
    said = capsys.readouterr().out
    assert f"by hand instead of {FULL['vae.kl']:g} (not counted: ann/03_vae-2 counts)\n" in said


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda p: p.stem)
def test_each_chapter_is_told_from_the_others(path):
    given = [Submission("ann", path)]
    assert of_chapter(given, path.stem) == given
    for name in set(exercises.chapters()) - {path.stem[3:]}:
        (other,) = of_chapter(given, name)
        assert other.path is None
        assert f"those of {path.stem[3:]}, not of {name}" in other.problem


@pytest.mark.parametrize("path", sorted((ROOT / "book").glob("*.ipynb")), ids=lambda p: p.stem)
def test_the_students_notebook_has_no_answer_in_words(path):
    """A fold below a question, for example, would be read as the student's answer."""
    cells = read(path.read_bytes())
    for question in exercises.chapter(path.stem)[1]:
        assert prose(cells, question.id) == "", f"{question.id} has a cell, and it is empty"


def test_answers_in_words_that_wait_for_points(tmp_path, shared, capsys):
    given, out, roster = tmp_path / "given", tmp_path / "out", tmp_path / "roster.csv"
    given.mkdir()
    for name, answer in (("ann", "a"), ("ann-2", "b"), ("bob", "c"), ("cleo", "*Write here.*")):
        cell = {"cell_type": "markdown", "source": f"Your answer to `vae.blur`:\n\n{answer}"}
        text = json.dumps({**json.loads(RIGHT), "cells": [cell]})
        (given / f"{name}.ipynb").write_text(text)
    roster.write_text("id,name,file\n1,Ann,ann*\n2,Bob,bob*\n3,Cleo,cleo*\n")
    command = (given, "--out", out, "--roster", roster)
    assert grade(*command) == 0
    said = capsys.readouterr().out
    assert "vae.blur, answers in words without points: 2; read " in said
    assert said.count("without points") == 1, "no other question has an answer"
    page = (out / "index.html").read_text()
    assert '<a href="prose/vae.blur.html">vae.blur</a> without points yet: 2.' in page
    path = out / "prose" / "vae.blur.csv"
    lines = sheet(path)
    assert [line["submission"] for line in lines] == ["ann-2", "bob", "cleo"], "not earlier files"
    bob, cleo = ((out / "feedback" / f"{name}.html").read_text() for name in ("bob", "cleo"))
    assert "not all marked yet" in bob
    assert "vae.blur: not marked yet" in bob
    assert "marked yet" not in cleo
    assert "vae.blur: nothing written" in cleo
    assert "vae.prior: the cell of this question is missing" in cleo
    assert "(the cell of this question is missing; " in (out / "prose/vae.prior.html").read_text()

    path.write_text(path.read_text().replace("ann-2,b,", "ann-2,b,1").replace("bob,c,", "bob,c,2"))
    assert grade(*command) == 0
    assert "without points" not in capsys.readouterr().out
    assert "without points" not in (out / "index.html").read_text()
    assert "2 of 2 points" in (out / "feedback" / "bob.html").read_text()


def test_points_for_prose_are_part_of_the_highest_total(given, tmp_path, shared, monkeypatch):
    question = FreeText("vae.why", "Why are samples blurry?", "2: mean of many\n1: blurry", 2)
    chapter = exercises.chapter
    monkeypatch.setattr(exercises, "chapter", lambda name: (chapter(name)[0], [question]))
    out = tmp_path / "out"
    assert grade(given, "--out", out) == 0
    line = sheet(out / "grades.csv")[0]
    assert (float(line["max_score"]), float(line["max_total"])) == (MAXIMUM, MAXIMUM + 2)
    assert "answers in words: 0 of 2" in (out / "feedback" / "zoe_99.html").read_text()
    assert len(sheet(out / "prose" / "vae.why.csv")) == 5, "who wrote nothing is marked too"


def test_the_index_shows_scores_and_mistakes_first(given, tmp_path, shared):
    out = tmp_path / "out"
    assert grade(given, "--out", out) == 0
    page = (out / "index.html").read_text()
    places = [page.index(f"<h2>{title}") for title in ("Scores", "Mistakes", "Tests", "Much")]
    assert places == sorted(places)
    assert page.count("</span> ") >= 10


def test_sheets_are_read_as_they_are_saved(tmp_path):
    path = tmp_path / "sheet.csv"
    for text in ("\ufeffa,b\n1,\u00fc\n", "a;b;c\r\n1;\u00fc;\r\n", '"a","b"\n"1","\u00fc"\n'):
        for encoding in ("utf-8", "cp1252"):
            path.write_bytes(text.lstrip("\ufeff").encode(encoding))
            (line,) = sheets.read(path, ["a", "b"])
            assert (line["a"], line["b"]) == ("1", "\u00fc")
    assert sheets.read(tmp_path / "none.csv", ["a"]) == []


def test_a_large_class_is_compared_in_seconds():
    """All pairs of 1,000 different texts would take minutes."""
    import time

    begin = time.process_time()
    same = {f"{i}": "x = 1\n" * 200 for i in range(1000)}
    assert alike.groups(same) == []
    assert time.process_time() - begin < 20
