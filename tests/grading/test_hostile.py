"""Every hostile or broken submission gets a row, and the score it deserves, never more."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hostile import CASES, ELBO, FULL, KL, NO_KL, RIGHT, SAMPLE, Case

from coursekit.exercises import chapter
from coursekit.grading.checks.verdict import PUBLIC, guarded, run_test
from coursekit.grading.gradebook.bank import notebook
from coursekit.grading.gradebook.grade import Assignment, Grader, Row
from coursekit.grading.sandbox.errors import ServerLost
from coursekit.grading.sandbox.levels import Walls
from coursekit.grading.sandbox.server import Limits, Server
from coursekit.grading.sandbox.student import Student


@pytest.fixture
def grader(shared) -> Grader:
    if shared.level == "limits":
        pytest.skip("no sandbox works here, and some of these would kill every process of yours")
    limits = Limits(cell=3.0, call=2.0, submission=60.0)
    return Grader(Assignment("vae", b"the secret", walls=Walls(limits=limits)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gets_what_it_deserves(grader: Grader, case: Case) -> None:
    row = grader.grade(case.name, case.data)
    assert row["status"] == case.status, row["message"]
    assert scores(row) == case.scores, json.dumps(row, indent=1)
    assert row["score"] == sum(case.scores.values())
    assert case.says in json.dumps(row, ensure_ascii=False), json.dumps(row, indent=1)
    assert "not for students" not in json.dumps(row)
    assert descendants(grader.server.process.pid) <= {"bwrap", "python", "python3", "unshare"}
    assert count(grader.server.process.pid) <= 3, "a process outlives its submission"


def scores(row: Row) -> dict[str, float]:
    """Of the exercises that the hostile submissions answer; the chapter's others are left out."""
    return {id: entry["score"] for id, entry in row["exercises"].items() if id in FULL}


def descendants(pid: int) -> set[str]:
    return {Path(f"/proc/{p}/comm").read_text().strip() for p in tree(pid)}


def count(pid: int) -> int:
    return len(tree(pid))


def tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(p for child in children for p in tree(int(child)))]


def test_public_answers_hard_coded(grader: Grader) -> None:
    """An answer that knows the public tests by heart passes `check` and earns nothing."""
    exercise = next(e for e in chapter("vae")[0] if e.id == "vae.kl")
    known: dict[str, list[float]] = {}

    def recording(mu, logvar):
        result = exercise.solve(mu, logvar)
        known[str(mu.detach().flatten()[:2].tolist())] = result.tolist()
        return result

    public = [test for test in exercise.tests if not test.hidden]
    assert all(run_test(exercise, test, guarded(recording), PUBLIC).passed for test in public)
    cheat = f"""
known = {known!r}
def kl_divergence(mu, logvar):
    value = known.get(str(mu.detach().flatten()[:2].tolist()), [0.0] * len(mu))
    return torch.tensor(value) + 0 * (mu + logvar).sum()
"""
    scope = {"torch": __import__("torch")}
    exec(cheat, scope)
    answer = guarded(scope["kl_divergence"])
    assert run_test(exercise, public[0], answer, PUBLIC).passed
    row = grader.grade("by heart", notebook(["import torch", cheat, SAMPLE, ELBO]))
    assert scores(row) == NO_KL


def test_hidden_inputs_do_not_reach_the_student(grader: Grader) -> None:
    """What the student's code says during hidden tests stays with us."""
    spy = """
seen = []
def kl_divergence(mu, logvar):
    seen.append(mu.tolist())
    raise ValueError(f"SPY {seen}")
"""
    row = grader.grade("spy", notebook(["import torch", spy, SAMPLE, ELBO]))
    tests = row["exercises"]["vae.kl"]["tests"]
    assert any("SPY" in test["message"] for test in tests if not test["hidden"])
    assert not any("SPY" in test["message"] for test in tests if test["hidden"])


@pytest.mark.parametrize(
    ("store", "fetch"),
    [
        ("seen.append(mu.tolist())", "seen[-1]"),
        ("memory[:4] = b'SEEN'", "bytes(memory[:4])"),
        ("open('seen', 'w').write('SEEN')", "open('seen').read()"),
        ("os.write(pipe[1], b'SEEN')", "os.read(pipe[0], 4)"),
    ],
    ids=["a list", "memory that forks share", "a file", "a pipe"],
)
def test_hidden_inputs_of_one_exercise_do_not_reach_another(
    grader: Grader, store: str, fetch: str
) -> None:
    """A right answer may keep what it is asked; the next one must not read it out."""
    spy = f"""
import mmap, os
memory, seen, pipe = mmap.mmap(-1, 4096), [], os.pipe()
os.set_blocking(pipe[0], False)
def kl_divergence(mu, logvar):
    {store}
    return {RIGHT}
def reparameterize(mu, logvar, generator=None):
    raise ValueError(f"SPY {{{fetch}}}")
"""
    row = grader.grade("spy", notebook(["import torch", spy, ELBO]))
    assert scores(row) == {**FULL, "vae.reparameterize": 0}
    said = json.dumps(row)
    assert "SEEN" not in said
    assert "SPY [[" not in said


def test_cells_that_run_again_do_not_use_up_the_time(shared: Server) -> None:
    """Each exercise has a process of its own, in which the cells run again: not at our expense."""
    slow = "import time, torch\nhalf = 0.5 + 0 * (time.sleep(0.6) or 0)"
    walls = Walls(limits=Limits(cell=3.0, call=2.0, submission=3.0))
    grader = Grader(Assignment("vae", b"the secret", walls=walls))
    cells = [slow, KL.replace("0.5", "half"), SAMPLE.replace("0.5", "half"), ELBO]
    row = grader.grade("slow", notebook(cells))
    assert scores(row) == FULL, json.dumps(row, indent=1)


def test_one_submission_leaves_nothing_for_the_next(grader: Grader) -> None:
    leave = """
import os, pathlib
def kl_divergence(mu, logvar):
    folders = ("/tmp", "/dev/shm", "/var/tmp", os.environ["HOME"])
    paths = [pathlib.Path(folder, "left-for-you") for folder in folders]
    left = [path.exists() for path in paths]
    for path in paths:
        try:
            path.write_text("the answers")
        except OSError:
            pass
    raise ValueError(f"LEFT {any(left)}")
"""
    grader.grade("first", notebook(["import torch", leave]))
    row = grader.grade("second", notebook(["import torch", leave]))
    first = row["exercises"]["vae.kl"]["tests"][0]
    assert "LEFT False" in first["message"]


def test_a_lost_server_is_replaced(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    data = notebook(["import torch", KL, SAMPLE, ELBO])
    fork = type(grader.server).fork
    lost = [OSError("gone")]

    def fails(self: Server) -> Any:
        if lost:
            raise lost.pop()
        return fork(self)

    monkeypatch.setattr(type(grader.server), "fork", fails)
    assert grader.grade("again", data)["score"] == sum(FULL.values())
    assert not lost, "the first time it was gone, the second time not"
    lost += [OSError("gone"), OSError("gone")]
    row = grader.grade("never", data)
    assert (row["status"], row["score"]) == ("error", None)


def test_a_server_lost_in_a_test_is_no_wrong_answer(
    grader: Grader, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = notebook(["import torch", KL, SAMPLE, ELBO])
    call, calls, last = Student.call, 0, 0

    def counted(self: Student, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == last:
            raise ServerLost("gone")
        return call(self, *args)

    monkeypatch.setattr(Student, "call", counted)
    assert grader.grade("counted", data)["score"] == sum(FULL.values())
    calls, last = 0, calls
    assert grader.grade("lost at the last call", data)["score"] == sum(FULL.values())
    assert calls == 2 * last


def test_cells_that_take_all_the_time(shared: Server) -> None:
    """Each stays below its limit, or a little above; together they leave no time for tests."""
    waits = [f"import time\nx{i} = time.sleep(30)" for i in range(9)]
    answer = f"def kl_divergence(mu, logvar):\n    return {' + '.join(f'x{i}' for i in range(9))}"
    walls = Walls(limits=Limits(cell=0.5, call=0.5, submission=2.0))
    grader = Grader(Assignment("vae", b"the secret", walls=walls))
    row = grader.grade("slow", notebook(["import torch", *waits, answer, SAMPLE, ELBO]))
    assert (row["status"], row["score"]) == ("graded", 0)
    assert scores(row) == dict.fromkeys(FULL, 0)
    assert "the submission as a whole took longer than 2 seconds" in json.dumps(row)


def test_trouble_of_ours_is_no_score(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("our fault")

    monkeypatch.setattr(grader, "_grade", broken)
    row = grader.grade("any", notebook(["import torch", KL]))
    assert (row["status"], row["score"]) == ("error", None)
    assert "our fault" in row["message"]


@pytest.mark.parametrize(
    ("chapter_name", "id", "source"),
    [
        ("vae", "vae.padding", """
from coursekit.models import vae
def transposed_padding(size):
    layer = vae.upsample(1, 1, (size, size))[0]
    return layer.padding[0], layer.output_padding[0]
"""),
        ("gan_vs_vae", "gan_vs_vae.precision_recall", """
from coursekit.metrics import neighbors
def precision_recall(real, fake, k):
    return neighbors._share_within(fake, real, k), neighbors._share_within(real, fake, k)
"""),
    ],
)  # fmt: skip
def test_coursekits_own_helpers_refuse(
    shared: Server, chapter_name: str, id: str, source: str
) -> None:
    row = Grader(Assignment(chapter_name, b"the secret")).grade("own", notebook([source]))
    assert row["exercises"][id]["score"] == 0
    assert "own answer" in json.dumps(row)


def test_each_hand_in_has_inputs_of_its_own(grader: Grader) -> None:
    """With the same inputs every time, answers could be collected from the messages."""
    spy = """
def kl_divergence(mu, logvar):
    raise ValueError(f"SPY {mu.flatten()[0]:.5f}")
"""
    rows = [grader.grade("spy", notebook([spy, f"attempt = {i}"])) for i in (1, 1, 2)]
    first, again, other = (row["exercises"]["vae.kl"]["tests"][0]["message"] for row in rows)
    assert "SPY" in first
    assert first == again, "the same file gets the same grade"
    assert first != other


def test_messages_do_not_give_answers_away(grader: Grader) -> None:
    """The tests want four digits; a message has three."""
    nearly = f"def kl_divergence(mu, logvar):\n    return {RIGHT} * {{}}"
    for factor, says in (("1.0002", "not exactly enough"), ("1.3", "expected")):
        row = grader.grade("nearly", notebook([nearly.format(factor)]))
        message = row["exercises"]["vae.kl"]["tests"][0]["message"]
        assert says in message
        assert not re.search(r"\d\.\d{4}|\d\d\.\d\d", message), message
