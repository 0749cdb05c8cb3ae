"""The bank passes the audit, and the audit finds what is wrong with tests."""

import importlib
import re
from pathlib import Path

import pytest
import torch

from coursekit.cli import main
from coursekit.exercises import Failed, chapter, chapters, close, exercise
from coursekit.grading.gradebook import audit as auditing
from coursekit.grading.gradebook.bank import load_bank

BANK = Path(__file__).parent / "bank"


def report_on(monkeypatch, exercise, variants):
    """Audit one exercise, with only some variants."""
    monkeypatch.setattr("coursekit.exercises.chapter", lambda name: ([exercise], []))
    monkeypatch.setattr(auditing, "chapter", lambda name: ([exercise], []))
    monkeypatch.setattr(
        auditing, "load_bank", lambda path: [v for v in load_bank(path) if v.name in variants]
    )
    (report,) = auditing.audit("vae", BANK, 2)
    return report


@pytest.mark.parametrize("name", chapters())
def test_the_bank(name, shared, capsys):
    """One seed here; `coursekit audit`, with 20, is a step of its own."""
    code = main(["audit", name, "--bank", str(BANK), "--seeds", "1"])
    lines = capsys.readouterr().out.strip().split("\n")
    assert code == 0, "\n".join(lines)
    assert [line.split()[0] for line in lines[1:]] == [e.id for e in chapter(name)[0]]
    assert all(line.split()[3:6] == ["0", "0", "0"] for line in lines[1:])


@pytest.fixture
def kl():
    """vae.kl with its tests replaced by those of the test, and no mistakes known."""
    found = exercise("vae.kl")
    found.tests, found.mistakes, found._wrong, found.forbids = [], {}, [], ()
    return found


def test_finds_escapes_and_gifts(shared, monkeypatch, kl):
    @kl.test("returns the right shape")
    def _shape(answer, g):
        if answer(*kl.draw(g)).shape != (6,):
            raise Failed("the shape is wrong")

    report = report_on(monkeypatch, kl, ["closed_form", "mean_kl"])
    assert any("mean_kl gets full marks" in text for text in report.escapes)
    zeros = "an answer of zeros gets 1 points (it returns the right shape)"
    assert zeros in report.escapes
    assert not report.false_rejects
    assert report.missing


def test_finds_what_passes_by_changing_the_question(shared, monkeypatch, kl):
    @kl.test("is the closed form of the tensors that it was given")
    def _careless(answer, g):
        mu, logvar = kl.draw(g)
        close(answer(mu, logvar), kl.solve(mu, logvar))

    @kl.test("is not negative")
    def _comparison(answer, g):
        if (answer(*kl.draw(g)) < 0).any():
            raise Failed("negative")

    report = report_on(monkeypatch, kl, ["closed_form"])
    careless = "it is the closed form of the tensors that it was given"
    changed = f"the answer to its inputs set to zero gets 2 points ({careless}, it is not negative)"
    assert changed in report.escapes
    assert "an answer of NaN gets 1 points (it is not negative)" in report.escapes


def test_finds_false_rejects(shared, monkeypatch, kl):
    @kl.test("is what the reference returns, dtype and all")
    def _same(answer, g):
        args = kl.draw(g)
        if not torch.allclose(answer(*args), kl.solve(*args)):
            raise Failed("not close")

    report = report_on(monkeypatch, kl, ["closed_form", "in_double"])
    assert [text.split()[0] for text in report.false_rejects] == ["in_double"]


def test_finds_flakes(shared, monkeypatch, kl):
    seen = []

    @kl.test("is right, on good days")
    def _sometimes(answer, g):
        answer(*kl.draw(g))
        seen.append(g.initial_seed())
        if seen.index(g.initial_seed()) == 1:
            raise Failed("a bad day")

    report = report_on(monkeypatch, kl, ["closed_form"])
    assert len(report.flakes) == 1
    assert "closed_form is refused with seeds [" in report.flakes[0]
    assert report.flakes[0].endswith(": it is right, on good days: a bad day")
    assert not report.false_rejects


def test_finds_wrong_messages(shared, monkeypatch, kl):
    tests = exercise("vae.kl").tests
    kl.tests = tests
    report = report_on(monkeypatch, kl, ["closed_form", "mean_kl"])
    assert [text.split(":")[0] for text in report.unrecognized] == ["mean_kl"]
    assert not report.escapes


def test_bad_usage(tmp_path, capsys):
    assert main(["audit", "--bank", str(tmp_path / "none")]) == 2
    assert "there is no folder" in capsys.readouterr().err
    (tmp_path / "elbo.py").write_text(
        "from coursekit.grading.gradebook.bank import right\n\n"
        '@right("elbo.iwea")\ndef misspelled(log_w):\n    return log_w\n'
    )
    assert main(["audit", "02_elbo", "--bank", str(tmp_path)]) == 2
    assert "elbo.py has answers to elbo.iwea: no such exercise" in capsys.readouterr().err
    assert main(["audit", "nothing", "--bank", str(tmp_path)]) == 2
    assert "there is no chapter 'nothing'" in capsys.readouterr().err


def test_the_exercise_of_the_instructors_page_is_as_good_as_the_page_says(
    shared, monkeypatch, tmp_path
):
    """The record and the bank that the page shows: the audit asks for more right answers only."""
    page = (Path(__file__).parents[2] / "book" / "instructors.md").read_text()
    record, bank = (
        next(code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if mark in code)
        for mark in ("@record", "@right")
    )
    (tmp_path / "page.py").write_text(f"import torch\n\n{record}")
    (tmp_path / "elbo.py").write_text(
        f"import torch\nfrom coursekit.grading.gradebook.bank import right, wrong\n\n{bank}"
    )
    monkeypatch.syspath_prepend(tmp_path)
    asked = importlib.import_module("page").coin_entropy
    monkeypatch.setattr(auditing, "chapter", lambda name: ([asked], []))
    monkeypatch.setattr("coursekit.exercises.chapter", lambda name: ([asked], []))
    (report,) = auditing.audit("elbo", tmp_path, 2)
    expected = "elbo.entropy: missing: 1 right variants in the bank, but at least 5 are expected"
    assert report.complaints == [expected]
    assert (report.right, report.wrong) == (1, 4)
