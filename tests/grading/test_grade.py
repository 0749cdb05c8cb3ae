"""`coursekit grade` from the command line: rows, resuming, reports, clusters, bad input."""

import csv
import html
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hostile import ELBO, FULL, KL, SAMPLE

from coursekit import exercises
from coursekit.cli import main
from coursekit.exercises import FreeText
from coursekit.grading.gradebook import alike, batch, gradescope, reports
from coursekit.grading.gradebook.bank import notebook
from coursekit.grading.gradebook.batch import collect
from coursekit.grading.gradebook.grade import Assignment, BadTests, load, self_test
from coursekit.grading.sandbox import levels

RIGHT = notebook(["import torch", KL, SAMPLE, ELBO])
MEAN = notebook(["import torch", KL.replace("sum", "mean"), SAMPLE, ELBO])
TOTAL = sum(FULL.values())
"""What RIGHT deserves: it answers some of the chapter's exercises, but not all."""
MAXIMUM = sum(exercise.points for exercise in exercises.chapter("vae")[0])
EVIL = "=cmd|' <script>alert(1)</script>"


@pytest.fixture
def folder(tmp_path):
    """A folder as it comes out of a learning platform."""
    given = tmp_path / "given"
    (given / "ann").mkdir(parents=True)
    (given / "ann" / "03_vae.ipynb").write_bytes(RIGHT)
    (given / "bob").mkdir()
    (given / "bob" / "a.ipynb").write_bytes(MEAN)
    (given / "bob" / "b.ipynb").write_bytes(RIGHT)
    (given / "bob" / ".ipynb_checkpoints").mkdir()
    (given / "bob" / ".ipynb_checkpoints" / "a-checkpoint.ipynb").write_bytes(RIGHT)
    (given / "cleo").mkdir()
    (given / "cleo" / "essay.pdf").write_bytes(b"%PDF")
    (given / 'Zoë O\'Neill "Z" & co.ipynb').write_bytes(MEAN)
    (given / f"{EVIL.replace('/', '_')}.ipynb").write_bytes(RIGHT)
    (given / "notes.txt").write_text("hello")
    (given / "broken.ipynb").write_text("{")
    (given / "out.ipynb").symlink_to("/etc/passwd")
    return given


def grade(*args):
    return main(["grade", "03_vae", *map(str, args)])


def rows_of(out):
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return {row["submission"]: row for row in rows}


def sheet(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def test_every_submission_has_a_row_and_a_page(folder, tmp_path, shared, capsys):
    out = folder / "results"
    assert grade(folder, "--out", out) == 0
    rows = rows_of(out)
    evil = EVIL.replace("/", "_")
    assert {name: (row["status"], row["score"]) for name, row in rows.items()} == {
        "ann/03_vae": ("graded", TOTAL),
        "bob/a": ("graded", TOTAL - 5),
        "bob/b": ("graded", TOTAL),
        "cleo": ("unreadable", 0),
        'Zoë O\'Neill "Z" & co': ("graded", TOTAL - 5),
        evil: ("graded", TOTAL),
        "notes.txt": ("unreadable", 0),
        "broken": ("unreadable", 0),
        "out": ("unreadable", 0),
    }
    assert "is a link" in rows["out"]["message"]
    assert "no notebook" in rows["cleo"]["message"]
    row = rows["bob/a"]
    assert row["max_score"] == MAXIMUM
    assert row["sandbox"] == shared.level
    assert len(row["sha256"]) == 64
    assert set(row["versions"]) == {"coursekit", "torch", "python", "tests"}
    assert row["exercises"]["vae.kl"]["misconception"] == "kl.sum(dim=1) → kl.mean(dim=1)"
    assert row["exercises"]["vae.kl"]["difference"] is None, "a known mistake says enough"
    test = row["exercises"]["vae.kl"]["tests"][0]
    assert set(test) == {
        "name", "hidden", "passed", "score", "max_score", "message", "seconds"
    }  # fmt: skip
    assert "7 graded" not in capsys.readouterr().out

    table = {line["submission"]: line for line in sheet(out / "grades.csv")}
    assert table["bob/a"]["total"] == str(TOTAL - 5)
    assert table["bob/a"]["vae.kl"] == "0"
    assert f"'{evil}" in table, "no spreadsheet takes a name for a formula"

    pages = [*(out / "feedback").rglob("*.html"), out / "index.html"]
    assert len(pages) == len(rows) + 1
    for page in pages:
        tags = Tags(page.read_text())
        assert "script" not in [tag for tag, _ in tags.found]
        assert not any(name.startswith("on") for _, given in tags.found for name in given)
    index = (out / "index.html").read_text()
    links = [given["href"] for tag, given in Tags(index).found if tag == "a"]
    assert all((out / link).is_file() for link in links)
    assert len(links) == len(rows)
    assert "averaged over the latent dimensions" in index
    page = (out / "feedback" / "bob/a.html").read_text()
    assert "averaged over the latent dimensions" in page
    hidden = [t for t in row["exercises"]["vae.kl"]["tests"] if t["hidden"]]
    assert all(html.escape(t["message"]) in page for t in hidden)


def test_an_unknown_mistake_is_told_what_kind_of_difference_it_makes(tmp_path, shared):
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    answer = KL.replace(".sum(1)", ".sum(1) * 7.3")
    (given / "dan.ipynb").write_bytes(notebook(["import torch", answer]))
    assert grade(given, "--out", out) == 0
    entry = rows_of(out)["dan"]["exercises"]["vae.kl"]
    assert entry["misconception"] is None
    assert "7.3 times what is expected" in entry["difference"]
    page = (out / "feedback" / "dan.html").read_text()
    assert html.escape(entry["difference"]) in page
    assert "7.3 times" not in (out / "index.html").read_text(), "the index counts known mistakes"


def test_it_goes_on_where_it_stopped(folder, tmp_path, shared, monkeypatch):
    out = tmp_path / "out"
    calls = []
    original = batch.grade_here

    def interrupted(assignment, name, data):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(name)
        return original(assignment, name, data)

    monkeypatch.setattr(batch, "grade_here", interrupted)
    assert grade(folder, "--out", out) == 130
    assert len(rows_of(out)) == 5, "three that are no files, and two"
    assert (out / "grades.csv").exists()
    with (out / "results.jsonl").open("a") as file:
        file.write('{"submission": "torn')

    def counted(assignment, name, data):
        calls.append(name)
        return original(assignment, name, data)

    monkeypatch.setattr(batch, "grade_here", counted)
    assert grade(folder, "--out", out) == 0
    assert len(rows_of(out)) == 9
    assert len(calls) == len(set(calls)) == 6, "nothing is graded twice"

    calls.clear()
    (folder / "ann" / "03_vae.ipynb").write_bytes(MEAN)
    assert grade(folder, "--out", out) == 0
    assert calls == ["ann/03_vae"], "what was handed in anew is graded anew"
    assert grade(folder, "--out", out, "--only", "bob/*", "--force") == 0
    assert calls == ["ann/03_vae", "bob/a", "bob/b"]
    assert len(rows_of(out)) == 9, "--only keeps the other rows"
    secret = tmp_path / "secret"
    secret.write_text("quite another secret")
    calls.clear()
    assert grade(folder, "--out", out, "--secret", secret) == 0
    assert len(calls) == 6, "other tests, other grades"


def test_trouble_of_ours_is_retried(folder, tmp_path, shared, monkeypatch, capsys):
    out = tmp_path / "out"
    original = batch.grade_here

    def broken(assignment, name, data):
        if name == "bob/a":
            raise RuntimeError("our fault")
        return original(assignment, name, data)

    monkeypatch.setattr(batch, "grade_here", broken)
    assert grade(folder, "--out", out) == 1
    row = rows_of(out)["bob/a"]
    assert (row["status"], row["score"]) == ("error", None)
    assert "our fault" in capsys.readouterr().err
    page = (out / "feedback" / "bob/a.html").read_text()
    assert "our fault" not in page
    assert "No points are lost" in page
    monkeypatch.setattr(batch, "grade_here", original)
    assert grade(folder, "--out", out) == 0
    assert rows_of(out)["bob/a"]["status"] == "graded"


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), PermissionError(13, "x")]
)
def test_full_disk(folder, tmp_path, shared, monkeypatch, capsys, error):
    out = tmp_path / "out"
    assert grade(folder, "--out", out, "--only", "ann/*") == 0
    before = (out / "grades.csv").read_text(), rows_of(out)

    def full(*args, **kwargs):
        raise error

    monkeypatch.setattr(reports, "write", full)
    assert grade(folder, "--out", out) == 2
    said = capsys.readouterr().err
    assert "cannot write" in said
    assert "run the same command again" in said
    assert (out / "grades.csv").read_text() == before[0]
    assert rows_of(out).items() >= before[1].items()
    monkeypatch.undo()


def test_hidden_tests_and_what_students_see_of_them(folder, tmp_path, shared):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "more.py").write_text("""
from coursekit.exercises import Failed

def add(exercises):
    kl = exercises["vae.kl"]

    @kl.test("is never negative", points=3, hidden="Can a KL be negative?")
    def _never_negative(answer, g):
        raise Failed("a reason that is not for students")
""")
    out = tmp_path / "out"
    found, _ = load(Assignment("vae", b"", (("more.py", (hidden / "more.py").read_text()),)))
    with pytest.raises(BadTests, match="'is never negative' refuses the solution"):
        self_test(found, b"12345678")
    with pytest.raises(BadTests, match="define add"):
        load(Assignment("vae", b"12345678", (("more.py", "x = 1"),)))
    assert grade(folder, "--out", out, "--hidden", hidden) == 2, "such tests grade nobody"
    text = (hidden / "more.py").read_text().replace(
        'raise Failed("a reason that is not for students")',
        'import torch\n        if (answer(*kl.draw(g)) < 0).any() or answer(torch.ones(1, 4), '
        'torch.zeros(1, 4)).item() < 1.9:\n            raise Failed("not for students")',
    )  # fmt: skip
    (hidden / "more.py").write_text(text)
    assert grade(folder, "--out", out, "--hidden", hidden) == 0
    rows = rows_of(out)
    assert rows["ann/03_vae"]["score"] == TOTAL + 3
    assert rows["bob/a"]["max_score"] == MAXIMUM + 3
    page = (out / "feedback" / "bob/a.html").read_text()
    assert "is never negative" in page
    assert "Can a KL be negative?" in page
    assert "not for students" not in page
    kl = next(e for e in load(Assignment("vae", b""))[0] if e.id == "vae.kl")
    assert len(kl.tests) == 4, "and they stay out of other runs"


def test_prose_is_marked_by_hand_and_merged(tmp_path, shared, monkeypatch, capsys):
    question = FreeText("vae.why", "Why are samples blurry?", "2: mean of many\n1: blurry", 2)
    chapter = exercises.chapter
    monkeypatch.setattr(exercises, "chapter", lambda name: (chapter(name)[0], [question]))
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()

    def hand_in(name, answer):
        cell = {"cell_type": "markdown", "source": f"Your answer to `vae.why`:\n\n{answer}"}
        book = json.loads(RIGHT)
        (given / name).write_text(json.dumps({**book, "cells": [*book["cells"], cell]}))

    hand_in("ann.ipynb", '=1+1, <b>because</b>, "so"\nand ü')
    hand_in("bob.ipynb", "*Write here.*")
    hand_in("cleo.ipynb", "I do not know.")
    (given / "dan.ipynb").write_bytes(RIGHT)
    assert grade(given, "--out", out) == 0
    path = out / "prose" / "vae.why.csv"
    lines = sheet(path)
    assert [line["submission"] for line in lines] == ["ann", "bob", "cleo", "dan"]
    assert lines[0]["answer"].startswith("'=1+1, <b>")
    reading = (out / "prose" / "vae.why.html").read_text()
    assert "2: mean of many" in reading
    assert "&lt;b&gt;because" in reading

    for line, (points, comment) in zip(
        lines, [("1,5", "good"), ("", ""), ("9", "too many"), ("", "")], strict=True
    ):
        line |= {"points": points, "comment": comment}
    with path.open("w", encoding="utf-8", newline="") as file:  # as a spreadsheet may save it
        writer = csv.DictWriter(file, lines[0], delimiter=";", lineterminator="\r\n")
        writer.writeheader()
        writer.writerows(lines)
    assert grade(given, "--out", out) == 0
    assert "'9' in vae.why.csv is no number from 0 to 2" in capsys.readouterr().err
    table = {line["submission"]: line for line in sheet(out / "grades.csv")}
    assert (table["ann"]["vae.why"], table["ann"]["total"]) == ("1.5", str(TOTAL + 1.5))
    assert (table["cleo"]["vae.why"], table["dan"]["vae.why"]) == ("", "")
    assert "1.5 of 2 points" in (out / "feedback" / "ann.html").read_text()
    points = [line["points"] for line in sheet(path)]
    assert points == ["1,5", "", "9", ""], "nothing entered is lost"

    hand_in("ann.ipynb", "another answer")
    (given / "cleo.ipynb").unlink()
    assert grade(given, "--out", out) == 0
    assert "changed after it was marked" in capsys.readouterr().err
    lines = {line["submission"]: line for line in sheet(path)}
    assert lines["ann"]["points"] == ""
    assert "1,5 points) good" in lines["ann"]["comment"]
    assert lines["cleo"]["points"] == "9"
    path.write_text("some,other,table\n1,2,3\n")
    assert grade(given, "--out", out) == 2
    assert "must have the columns" in capsys.readouterr().err
    assert path.read_text().startswith("some"), "what we cannot read we do not overwrite"


def test_processes_give_the_same_rows(folder, tmp_path, shared):
    """--jobs 2 and a cluster of `distributed`: the rows of one process, but for the seconds."""
    distributed = pytest.importorskip("distributed")
    secret = tmp_path / "secret"
    secret.write_text("the same for all")
    common = (folder, "--secret", secret, "--out")
    assert grade(*common, tmp_path / "one") == 0
    assert grade(*common, tmp_path / "two", "--jobs", "2") == 0
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, memory_limit=None
    ) as cluster:
        address = cluster.scheduler_address
        assert grade(*common, tmp_path / "cluster", "--dask", address) == 0
    one, two, cluster = (_timeless(tmp_path / n) for n in ("one", "two", "cluster"))
    assert one == two == cluster


def _timeless(out):
    rows = rows_of(out)
    for row in rows.values():
        for entry in row["exercises"].values():
            for test in entry["tests"]:
                del test["seconds"]
        for name in ("seconds", "sandbox", "warnings"):
            del row[name]
    return rows


def test_gradescope(folder, tmp_path, shared):
    out = tmp_path / "out"
    assert grade(folder, "--out", out, "--gradescope") == 0
    result = json.loads((out / "gradescope" / "bob/a.json").read_text())
    assert sum(test["score"] for test in result["tests"]) == TOTAL - 5
    assert sum(test["max_score"] for test in result["tests"]) == MAXIMUM
    first = next(test for test in result["tests"] if test["name"].startswith("vae.kl"))
    assert "must be summed" in first["output"]
    home = tmp_path / "autograder"
    (home / "submission").mkdir(parents=True)
    (home / "submission" / "mine.ipynb").write_bytes(MEAN)
    with zipfile.ZipFile(out / "gradescope" / "autograder.zip") as archive:
        archive.extractall(home / "source")
        modes = {item.filename: item.external_attr >> 16 for item in archive.infolist()}
    assert modes["setup.sh"] & modes["run_autograder"] & 0o111
    environment = {**os.environ, "AUTOGRADER": str(home), "GRADER_PYTHON": sys.executable}
    run_it = ["bash", str(home / "source" / "run_autograder")]
    subprocess.run(run_it, env=environment, check=True)
    there = json.loads((home / "results" / "results.json").read_text())
    assert there == result
    (home / "submission" / "another.ipynb").write_bytes(MEAN)
    gradescope.run_there(home)
    there = json.loads((home / "results" / "results.json").read_text())
    assert there["score"] == 0
    assert "exactly one notebook" in there["output"]
    (home / "submission" / "another.ipynb").write_bytes(notebook(['check("elbo.iwae", 1)']))
    gradescope.run_there(home)
    there = json.loads((home / "results" / "results.json").read_text())
    assert there == result, "a notebook of another chapter beside it does no harm"
    (home / "submission" / "mine.ipynb").unlink()
    gradescope.run_there(home)
    there = json.loads((home / "results" / "results.json").read_text())
    assert "found: another (this is a notebook of another chapter" in there["output"]


def test_ctrl_c_and_kill_leave_nothing_behind(tmp_path):
    """A real process, a real signal: the rows stay, the sandbox goes."""
    given, out = tmp_path / "given", tmp_path / "out"
    given.mkdir()
    for i in range(200):
        (given / f"{i:03d}.ipynb").write_bytes(MEAN)
    command = [sys.executable, "-m", "coursekit.cli", "grade", "vae", str(given), "--out", str(out)]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        # Shells start background jobs, this test among them, with Ctrl-C ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    results = out / "results.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (
        results.exists() and results.read_text().count("\n") > 3
    ):
        time.sleep(0.05)
    children = _children(process.pid)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "run the same command again" in said
    assert 3 < len(rows_of(out)) < 200
    assert children
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(Path(f"/proc/{p}").exists() for p in children):
        time.sleep(0.05)
    assert not any(Path(f"/proc/{p}").exists() for p in children)


def _children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [p for child in found for p in (child, *_children(child))]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["nowhere", "--out", "OUT"], "there is no file or folder 'nowhere'"),
        (["EMPTY", "--out", "OUT"], "nothing to grade in"),
        (["GIVEN", "--out", "OUT", "--jobs", "0"], "--jobs is 0"),
        (["GIVEN", "--out", "OUT", "--only", "nobody"], "no submission is called nobody; * stands"),
        (["GIVEN", "--out", "OUT", "--hidden", "EMPTY"], "there are no .py files"),
        (["GIVEN", "--out", "OUT", "--secret", "SHORT"], "fewer than 8 characters"),
        (["GIVEN", "--out", "OUT", "--secret", "nowhere"], "nowhere"),
        (["GIVEN", "--out", "SHORT"], "SHORT"),
    ],
)
def test_bad_usage(args, message, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "SHORT").write_text("short")
    places = {"GIVEN": folder, "EMPTY": tmp_path / "empty", "OUT": tmp_path / "out",
              "SHORT": tmp_path / "SHORT"}  # fmt: skip
    assert grade(*[places.get(arg, arg) for arg in args]) == 2
    assert message in capsys.readouterr().err


def test_bad_chapter(folder, tmp_path, capsys):
    assert main(["grade", "99_none", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert "there is no chapter '99_none'" in capsys.readouterr().err


def test_names_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.ipynb").write_bytes(RIGHT)
    found = collect([tmp_path / "a", tmp_path / "b", tmp_path / "a" / "x.ipynb"])
    assert [submission.name for submission in found] == ["x", "x (2)", "x (3)"]
    names = ["../../etc/passwd", "..", "/", "a/b", "a-b", "a b", "ä", "", "x" * 500]
    names += ["A B", "Ann Smith_12_file_/03_vae", "ann smith_12_file_/03_vae", "a/../b", "a./b"]
    files = reports.file_names(names, ".html")
    assert len({file.casefold() for file in files.values()}) == len(names)
    assert files["Ann Smith_12_file_/03_vae"] == "Ann Smith_12_file_/03_vae.html", "as uploaded"
    for file in files.values():
        assert len(file) < 120
        assert not {"", ".", ".."} & set(Path(file).parts)
        assert not file.startswith("/")


def test_secret_is_made_once_and_for_its_owner_only(folder, tmp_path, shared):
    out = tmp_path / "out"
    assert grade(folder, "--out", out, "--only", "broken") == 0
    secret = (out / "secret").read_text()
    assert len(secret) == 64
    assert (out / "secret").stat().st_mode & 0o77 == 0
    assert grade(folder, "--out", out, "--only", "broken") == 0
    assert (out / "secret").read_text() == secret


def test_rings_of_copiers():
    """A copy with other names and comments is found; those who did the obvious are not."""
    obvious = (
        "def f(mu, logvar):\n    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)\n" * 3
    )
    own = """
def f(a, b):
    parts = []
    for row, other in zip(a, b):
        first = sum(value * value for value in row)
        second = sum(torch.exp(value) - value - 1 for value in other)
        parts.append(0.5 * (first + second))
    return torch.stack(parts)

def g(a, b, rounds):
    left, right = list(a), list(b)
    while rounds > 0 and left != right:
        rounds -= 1
        middle = [(x + y) / 2 for x, y in zip(left, right)]
        left = [max(x, m) for x, m in zip(left, middle)]
        right = [min(y, m) for y, m in zip(right, middle)]
    return torch.tensor(left) if rounds else None
"""
    copied = (
        own.replace("parts", "answer").replace("row", "r").replace("    for", "    # mine\n    for")
    )
    code = {f"student {i}": obvious for i in range(20)} | {"x": own, "y": copied}
    assert [group.names for group in alike.groups(code)] == [("x", "y")]
    assert alike.groups({}) == []
    for ring in (3, 10, 20):
        copies = {f"copy {i}": own.replace("value", f"v{i}") for i in range(ring)}
        assert [g.names for g in alike.groups(code | copies)] == [("x", "y", *copies)]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="it looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_grader_that_is_ended_leaves_no_processes(tmp_path, number, jobs):
    """Eight processes with 2.3 GB stayed, and their folders."""
    given, scratch = tmp_path / "given", tmp_path / "scratch"
    given.mkdir()
    scratch.mkdir()
    slow = KL.replace("return", "import time; time.sleep(4)\n    return")
    for i in range(4):
        (given / f"{i}.ipynb").write_bytes(notebook(["import torch", slow]))
    command = [sys.executable, "-m", "coursekit.cli", "grade", "vae", str(given), "--jobs", jobs]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path / "out")], env={**os.environ, "TMPDIR": str(scratch)}
    )

    def of_it() -> list[str]:
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                text = (path / "environ").read_bytes() + (path / "cmdline").read_bytes()
            except OSError:
                continue
            if str(scratch).encode() in text:
                found.append(path.name)
        return found

    deadline = time.monotonic() + 90
    while not list(scratch.glob("*/home")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(5)  # the sandbox is there, and a submission in it
    process.send_signal(number)
    process.wait(60)
    deadline = time.monotonic() + 20
    while of_it() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not of_it()
    if number == signal.SIGTERM or jobs == "2":
        assert not list(scratch.glob("coursekit-grade-*"))
    else:  # nobody was left to remove it: the next one does
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(scratch))
            levels._remove_abandoned()
        assert not list(scratch.glob("coursekit-grade-*"))


def test_a_process_that_ends_while_its_sandbox_starts_leaves_no_folder(tmp_path):
    program = """
import os, signal, threading, time
from coursekit.grading.gradebook import batch
from coursekit.grading.sandbox import levels

def never_ready(tools, refuse):
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)

levels.prepare = never_ready
batch._start_process()
levels.start(levels.Walls())
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, timeout=120)
    assert ended.returncode == 1
    assert not list(tmp_path.iterdir())
