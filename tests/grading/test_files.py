"""Files that are not what they should be: none stops a run, reads another's, or runs a formula."""

import csv
import json
import os
import re
import time

import pytest
from hostile import KL

from coursekit.cli import main
from coursekit.grading.gradebook import batch
from coursekit.grading.gradebook.bank import notebook
from coursekit.grading.gradebook.batch import Submission, collect, read_file
from coursekit.grading.gradebook.sheets import cell

RIGHT = notebook(["import torch", KL])


@pytest.fixture
def given(tmp_path):
    """A folder with one honest submission."""
    folder = tmp_path / "given"
    (folder / "ann").mkdir(parents=True)
    (folder / "ann" / "a.ipynb").write_bytes(RIGHT)
    return folder


def found(*paths):
    return {s.name: s.problem for s in collect(list(paths))}


def test_links_are_refused_wherever_they_lead(given, tmp_path):
    """A link to another student's file got that student's points; a looped one ended the run."""
    (given / "loop.ipynb").symlink_to("loop.ipynb")
    (given / "eve.ipynb").symlink_to("ann/a.ipynb")
    (given / "fay").symlink_to("ann")
    (given / "gone.ipynb").symlink_to("nowhere")
    (given / "hal").mkdir()
    (given / "hal" / "h.ipynb").symlink_to("../ann/a.ipynb")
    (given / "ida").mkdir()
    (given / "ida" / "inner").symlink_to("../ann")
    said = found(given, tmp_path / "given" / "eve.ipynb", tmp_path / "given" / "loop.ipynb")
    assert said.pop("ann/a") == ""
    assert "no notebook" in said.pop("ida")
    assert set(said) == {"loop", "eve", "fay", "gone", "hal/h", "eve (2)", "loop (2)"}
    assert all("is a link" in problem for problem in said.values())


def test_a_link_that_comes_later_is_not_followed(given):
    (given / "eve.ipynb").symlink_to("ann/a.ipynb")
    with pytest.raises(OSError, match="symbolic"):
        read_file(Submission("eve", given / "eve.ipynb"))


def test_a_pipe_is_no_file(given):
    os.mkfifo(given / "eve.ipynb")
    assert "not a file" in found(given)["eve"]
    with pytest.raises(OSError, match="not a file"):  # and it does not wait for a writer
        read_file(Submission("eve", given / "eve.ipynb"))


def test_endings_in_capitals(given):
    for name in ("UPPER.IPYNB", "ann/B.Ipynb"):
        (given / name).write_bytes(RIGHT)
    (given / "essay.PDF").write_bytes(b"%PDF")
    assert found(given) == {
        "UPPER": "", "ann/a": "", "ann/B": "", "essay.PDF": "this is not a notebook (.ipynb)"
    }  # fmt: skip


def test_a_folder_that_cannot_be_read(given, monkeypatch):
    (given / "eve").mkdir()
    scandir = os.scandir

    def refusing(path="."):
        if os.fspath(path).endswith("eve"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert found(given) == {"ann/a": "", "eve": "this folder cannot be read: Permission denied"}


def test_a_file_that_cannot_be_read_has_a_row_and_the_others_a_grade(
    given, tmp_path, shared, monkeypatch, capsys
):
    """It ended the run with "make room", and there was no gradebook."""
    (given / "eve.ipynb").write_bytes(RIGHT)
    (given / "loop.ipynb").symlink_to("loop.ipynb")
    opened = os.open

    def refusing(path, *args, **kwargs):
        if os.fspath(path).endswith("eve.ipynb"):
            raise OSError(5, "Input/output error")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(batch.os, "open", refusing)
    out = tmp_path / "out"
    assert main(["grade", "vae", str(given), "--out", str(out)]) == 1
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert {row["submission"]: row["status"] for row in rows} == {
        "ann/a": "graded", "eve": "error", "loop": "unreadable"
    }  # fmt: skip
    assert "Input/output error" in capsys.readouterr().err
    with (out / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {line["submission"] for line in csv.DictReader(file)} == {"ann/a", "eve", "loop"}


def test_300_000_cells(given, tmp_path, shared):
    """They made a page of 29 MB."""
    cells = ",".join(['{"cell_type":"code","source":"("}'] * 300_000)
    (given / "eve.ipynb").write_text(f'{{"cells":[{cells}]}}')
    out = tmp_path / "out"
    begin = time.process_time()
    assert main(["grade", "vae", str(given), "--out", str(out)]) == 0
    assert time.process_time() - begin < 60
    assert (out / "feedback" / "eve.html").stat().st_size < 100_000
    assert (out / "results.jsonl").stat().st_size < 100_000


FORMULA = re.compile(r"[=+\-@＝＋－＠]")

EVIL = [
    "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", " =1", "\x1b=1", "\x00=1", "\u200b=1",
    "\ufeff=1", "\u00a0=1", "＝1+1", "＋1", "－1", "＠SUM(1)", 'a;=HYPERLINK("x")', "a; =1",
    "a\n=1", "a\r\n=1", "a\t=1", "a;＝1", "a;\x1b=1", 'a";=1', "a\u2028=1", "a\x85=1",
]  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_no_spreadsheet_takes_a_cell_for_a_formula(text):
    """Some split at semicolons, some read full-width signs, some drop what cannot be printed."""
    safe = cell(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", safe.replace("\n", ""))
    for part in re.split(r"[;\t\n\r\u2028\u2029]", safe):
        shown = "".join(c for c in part if c.isprintable()).strip(' "')
        assert not FORMULA.match(shown), (safe, part)
    assert cell(safe) == safe, "an answer that was read back is written the same"


@pytest.mark.parametrize(
    "text",
    ["Because x = 1; then y", "a-b", "x\n\ny; z", "mail@home", "ü, ＝", "it's"],
)
def test_other_cells_stay_as_they_are(text):
    assert cell(text) == text
