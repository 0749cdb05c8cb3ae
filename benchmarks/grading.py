"""The grader, measured: many submissions on one core, and beside otter-grader and nbgrader.

    python benchmarks/grading.py load [--submissions 1000]
    python benchmarks/grading.py compare [--few 2] [--many 6]

load     synthetic submissions, drawn from the bank of right and wrong answers to three exercises
         and filled up with a training cell, graded by one process that is bound to one core:
         seconds, memory, rows.
compare  the same three exercises under each grader, bound to one core: seconds per submission
         (marginal: the time of more submissions less that of fewer), points over part of the
         hostile set that nobody deserves, submissions without a row, size on disk on top of torch.
         CPU seconds, of all processes: other programs may run meanwhile. The other graders are the
         extra `benchmark`, with torch some gigabytes, and want an environment of their own:
             python -m venv VENV && VENV/bin/pip install -e '.[benchmark]'
             VENV/bin/python benchmarks/grading.py compare
"""

import argparse
import contextlib
import csv
import ctypes
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from importlib.metadata import distribution
from pathlib import Path

import record

from coursekit.exercises import chapter
from coursekit.grading.gradebook.bank import Variant, as_notebook, load_bank, notebook

ROOT = Path(__file__).parent.parent
BANK = ROOT / "tests" / "grading" / "bank" / "vae.py"

TRAINING = """\
train = data.load("digits", size=20_000)
model = models.ConvVAE((1, 28, 28), 10)
history = training.fit(model, train, loss, epochs=50)"""


def synthetic(folder: Path, count: int, seed: int = 0) -> None:
    """`count` notebooks as a class would hand them in, each with random variants of the bank."""
    exercises = [e for e in chapter("vae")[0] if e.function in POINTS]
    chosen = random.Random(seed)
    variants: dict[str, list[Variant]] = {e.id: [] for e in exercises}
    for variant in load_bank(BANK):
        if variant.exercise in variants:
            variants[variant.exercise].append(variant)
    sources = {
        variant: [cell["source"] for cell in json.loads(as_notebook(variant, exercise))["cells"]]
        for exercise in exercises
        for variant in variants[exercise.id]
    }
    for number in range(count):
        cells = ["%matplotlib inline\nfrom coursekit import check, data, models, training"]
        for exercise in exercises:
            cells += sources[chosen.choice(variants[exercise.id])]
            cells.append(f"check({exercise.id!r}, {exercise.function})")
        (folder / f"student {number:04d}.ipynb").write_bytes(notebook([*cells, TRAINING]))


def one_core() -> None:
    """Bind this process, and all it starts, to one core."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def rss(pid: int) -> dict[int, float]:
    """Megabytes of memory of a process and its descendants, by process."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return {}
    found = {pid: pages * os.sysconf("SC_PAGE_SIZE") / 2**20}
    for child in children:
        found |= rss(int(child))
    return found


def load(submissions: int, commit: str | None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        given, out = Path(scratch, "given"), Path(scratch, "out")
        given.mkdir()
        synthetic(given, submissions)
        command = [sys.executable, "-m", "coursekit.cli", "grade", "vae", str(given)]
        begin = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--out", str(out)],
            preexec_fn=one_core,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
        )
        results, seen = out / "results.jsonl", []
        while process.poll() is None:
            rows = results.read_bytes().count(b"\n") if results.exists() else 0
            memory = rss(process.pid)
            seen.append((time.perf_counter() - begin, rows, memory.get(process.pid, 0.0)))
            time.sleep(0.25)
        wall = time.perf_counter() - begin
        assert process.returncode == 0
        end_children()
        spent = os.times()  # of our children: the grader, its sandbox and every submission
        working = [entry for entry in seen if 0 < entry[1] < submissions]
        (t0, n0, _), (t1, n1, _) = working[0], working[-1]
        early = [mb for _, rows, mb in working if rows <= submissions // 5]
        late = [mb for _, rows, mb in working if rows >= submissions * 4 // 5]
        rows = [json.loads(line) for line in results.read_text().splitlines()]
    record.save(
        f"grading-load-{submissions}",
        0,
        {
            "submissions": submissions,
            "rows": len(rows),
            "graded": sum(row["status"] == "graded" for row in rows),
            "sandbox": rows[0]["sandbox"],
            "wall-clock seconds, start to reports": round(wall, 1),
            "CPU seconds, start to reports": round(spent.children_user + spent.children_system, 1),
            "wall-clock seconds per submission, marginal": round((t1 - t0) / (n1 - n0), 4),
            "grader's memory in MB, first fifth": round(max(early)),
            "grader's memory in MB, last fifth": round(max(late)),
        },
        commit,
    )


# --- beside others ------------------------------------------------------------------------------

POINTS = {"kl_divergence": 5, "reparameterize": 7, "negative_elbo": 7}

# The same three exercises as an instructor would test them there: fresh random inputs, values and
# gradients, one test each.
TESTS = {
    "kl_divergence": """
from torch.distributions import Normal, kl_divergence as kl
mu, logvar = (torch.randn(6, 3).requires_grad_() for _ in range(2))
expected = kl(Normal(mu, (logvar / 2).exp()), Normal(0.0, 1.0)).sum(1)
result = kl_divergence(mu, logvar)
assert result.shape == (6,)
assert torch.allclose(result, expected, atol=1e-4)
slopes = torch.autograd.grad(result.sum(), (mu, logvar))
for slope, other in zip(slopes, torch.autograd.grad(expected.sum(), (mu, logvar))):
    assert torch.allclose(slope, other, atol=1e-4)""",
    "reparameterize": """
mu, logvar = (torch.randn(200, 100).requires_grad_() for _ in range(2))
generator = torch.Generator().manual_seed(1)
z = reparameterize(mu, logvar, generator)
noise = (z - mu) / (logvar / 2).exp()
assert abs(noise.mean()) < 0.05
assert abs(noise.std() - 1) < 0.05
assert not torch.allclose(z, reparameterize(mu, logvar, generator))
assert torch.allclose(z, reparameterize(mu, logvar, torch.Generator().manual_seed(1)))
assert torch.allclose(torch.autograd.grad(z.sum(), mu)[0], torch.ones_like(mu))""",
    "negative_elbo": """
x, logits = torch.rand(5, 2, 4, 3), torch.randn(5, 2, 4, 3)
mu, logvar = torch.randn(5, 7), torch.randn(5, 7)
bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / 5
kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum() / 5
for value, expected in zip(negative_elbo(x, logits, mu, logvar, 0.5), (bce + kl / 2, bce, kl)):
    assert torch.allclose(value, expected, atol=1e-3)""",
}

# The part of the hostile set that means something to graders of any kind.
NAMES = [
    "an infinite loop in a cell that is not needed",
    "an infinite loop in a function",
    "sys.exit in a cell",
    "os._exit in a cell that is needed",
    "os._exit in a function",
    "a segfault in a function",
    "a child that outlives the run",
    "a write to the home folder",
    "the environment read",
    "torch and builtins patched",
    "one function of torch patched",
    "the names that tests use replaced",
    "asserts dropped",
    "another grader's results forged",
    "an object that equals everything",
    "a tensor that lies about itself",
    "the question changed to an easy one",
    "NaN everywhere, the inputs too",
    "hooks everywhere",
    "a syntax error in one cell",
    "a function missing",
    "invalid JSON",
    "an empty file",
]

LIMIT = 90
"""Seconds that another grader gets for one submission before it is killed."""

PR_SET_CHILD_SUBREAPER = 36


def cpu_seconds(command: list[str], cwd: Path, limit: float = 3600) -> float:
    """Run a command on one core and end what it leaves behind; CPU seconds of all its processes."""
    before = os.times()
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    environment["PATH"] = f"{Path(command[0]).parent}:{environment['PATH']}"
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        preexec_fn=one_core,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    end_children()
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def end_children() -> None:
    """End all our children; what lost its parent is among them (see PR_SET_CHILD_SUBREAPER)."""
    while True:
        for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def code(source: str, **nbgrader: object) -> dict[str, object]:
    given = {"nbgrader": {"schema_version": 3, "task": False, **nbgrader}} if nbgrader else {}
    made = {"cell_type": "code", "id": f"c{random.randrange(2**40):x}", "metadata": given}
    return {**made, "outputs": [], "execution_count": None, "source": source}


def book(cells: list[dict[str, object]]) -> bytes:
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    made = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(made).encode()


def as_cells(data: bytes) -> list[dict[str, object]] | None:
    """The cells of one of our notebooks, or None if it is none."""
    try:
        return [code(cell["source"]) for cell in json.loads(data)["cells"]]
    except ValueError:
        return None


class Ours:
    name = "coursekit"

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch

    def grade(self, submissions: dict[str, bytes]) -> tuple[dict[str, float], float]:
        """Scores by name, and CPU seconds for all together."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        (folder / "in").mkdir()
        for name, data in submissions.items():
            (folder / "in" / f"{name}.ipynb").write_bytes(data)
        command = [sys.executable, "-m", "coursekit.cli", "grade", "vae", "in", "--out", "out"]
        spent = cpu_seconds(command, folder)
        lines = (folder / "out" / "results.jsonl").read_text().splitlines()
        rows = [row for row in map(json.loads, lines) if row["status"] != "error"]
        return {row["submission"]: row["score"] for row in rows}, spent


class Otter:
    name = "otter-grader"

    def __init__(self, scratch: Path) -> None:
        self.program = str(Path(sys.executable).with_name("otter"))
        self.scratch = scratch
        (scratch / "tests").mkdir()
        for name, points in POINTS.items():
            body = "".join(f"    {line}\n" for line in TESTS[name].strip().split("\n"))
            (scratch / "tests" / f"{name}.py").write_text(
                f"OK_FORMAT = False\nfrom otter.test_files import test_case\nimport torch\n"
                f"name = {name!r}\npoints = {points}\n"
                f"@test_case(points={points}, hidden=True)\ndef test_it({name}):\n{body}"
            )
        cpu_seconds([self.program, "generate", "-t", "tests", "-o", "a.zip"], scratch)

    def grade(self, submissions: dict[str, bytes]) -> tuple[dict[str, float], float]:
        scores, spent = {}, 0.0
        for name, data in submissions.items():
            folder = Path(tempfile.mkdtemp(dir=self.scratch))
            cells = as_cells(data)
            (folder / "s.ipynb").write_bytes(data if cells is None else book(cells))
            command = [self.program, "run", "s.ipynb", "-a", str(self.scratch / "a.zip"), "-o", "."]
            spent += cpu_seconds(command, folder, LIMIT)
            results = folder / "results.json"
            if results.exists():
                tests = json.loads(results.read_text())["tests"]
                scores[name] = sum(test.get("score", 0) for test in tests)
        return scores, spent


class Nbgrader:
    name = "nbgrader"

    def __init__(self, scratch: Path) -> None:
        self.program = str(Path(sys.executable).with_name("nbgrader"))
        self.scratch = scratch

    def grade(self, submissions: dict[str, bytes]) -> tuple[dict[str, float], float]:
        course = Path(tempfile.mkdtemp(dir=self.scratch))
        (course / "nbgrader_config.py").write_text("get_config().CourseDirectory.course_id = 'x'\n")
        (course / "source" / "vae").mkdir(parents=True)
        tests = [
            code(TESTS[n], grade=True, solution=False, locked=True, grade_id=n, points=points)
            for n, points in POINTS.items()
        ]
        blank = code("pass", grade=False, solution=True, locked=False, grade_id="answer")
        (course / "source" / "vae" / "vae.ipynb").write_bytes(
            book([code("import torch"), blank, *tests])
        )
        cpu_seconds([self.program, "generate_assignment", "vae", "--create"], course)
        names = {f"s{i}": name for i, name in enumerate(submissions)}
        spent = 0.0
        for student, name in names.items():
            folder = course / "submitted" / student / "vae"
            folder.mkdir(parents=True)
            cells = as_cells(submissions[name])
            data = submissions[name] if cells is None else book([*cells, blank, *tests])
            (folder / "vae.ipynb").write_bytes(data)
        # One by one where one may hang for ever, else all would be lost with it.
        limit = LIMIT * max(len(names), 1)
        if len(names) > 1 and "right 0" not in submissions:
            for student in names:
                command = [self.program, "autograde", "vae", "--create", f"--student={student}"]
                spent += cpu_seconds(command, course, LIMIT)
        else:
            spent = cpu_seconds([self.program, "autograde", "vae", "--create"], course, limit)
        cpu_seconds([self.program, "export"], course)
        with (course / "grades.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        done = {path.parent.parent.name for path in course.glob("autograded/*/vae/vae.ipynb")}
        scores = {
            names[line["student_id"]]: float(line["score"] or 0)
            for line in lines
            if line["student_id"] in done
        }
        return scores, spent


def needs(*requirements: str) -> set[str]:
    """The packages that these need here, directly or not, themselves included."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    todo, seen = [Requirement(text) for text in requirements], set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            found = [Requirement(text) for text in distribution(name).requires or []]
            todo += [r for r in found if not r.marker or r.marker.evaluate({"extra": extra})]
    return {name for name, _ in seen}


def megabytes(packages: set[str]) -> float:
    paths = [Path(f.locate()) for name in packages for f in distribution(name).files or []]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 2**20


def compare(few: int, many: int, commit: str | None) -> None:
    sys.path.insert(0, str(ROOT / "tests" / "grading"))
    from hostile import CASES, ELBO, KL, SAMPLE

    right = notebook(["import torch", KL, SAMPLE, ELBO])
    hostile = {case.name: case for case in CASES if case.name in NAMES}
    assert len(hostile) == len(NAMES)
    torch = needs("torch", "numpy")
    own = sum(path.stat().st_size for path in (ROOT / "coursekit").rglob("*.py")) / 2**20
    figures: dict[str, dict[str, object]] = {}
    cost: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["HOME"] = scratch  # some of the hostile write there
        for kind, requirement in (
            (Otter, "otter-grader[grading]"),
            (Nbgrader, "nbgrader"),
            (Ours, "coursekit"),
        ):
            grader = kind(Path(tempfile.mkdtemp(dir=scratch)))
            factor = 20 if kind is Ours else 1
            spent = []
            for count in (few * factor, many * factor):
                submissions = {f"right {i}": right for i in range(count)}
                scores, seconds = grader.grade(submissions)
                assert scores == dict.fromkeys(submissions, sum(POINTS.values())), scores
                spent.append(seconds)
            scores, seconds = grader.grade({name: case.data for name, case in hostile.items()})
            too_much = {
                name: score - sum(hostile[name].scores.values())
                for name, score in scores.items()
                if score > sum(hostile[name].scores.values())
            }
            packages = needs(requirement) - torch if kind is not Ours else set()
            cost[grader.name] = round(sum(spent) + seconds, 1)
            figures[grader.name] = {
                "version": distribution(requirement.split("[")[0]).version,
                "CPU seconds per submission, marginal": round(
                    (spent[1] - spent[0]) / ((many - few) * factor), 3
                ),
                "undeserved points": sum(too_much.values()),
                "undeserved points, by submission": too_much,
                "submissions without a row": len(hostile) - len(scores),
                "without a row": sorted(set(hostile) - set(scores)),
                "MB on top of torch": round(megabytes(packages) if packages else own, 1),
                "packages on top of torch": len(packages),
            }
            print(grader.name, json.dumps(figures[grader.name], indent=1), flush=True)
    deserved = {name: sum(hostile[name].scores.values()) for name in NAMES}
    result = {"graders": figures, "hostile": deserved, "cpu_seconds": cost}
    record.save("grading-compare", 0, result, commit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser("load", parents=[record.OPTIONS])
    loading.add_argument("--submissions", type=int, default=1000)
    comparing = commands.add_parser("compare", parents=[record.OPTIONS])
    comparing.add_argument("--few", type=int, default=2, help="submissions of the shorter run")
    comparing.add_argument("--many", type=int, default=6, help="of the longer run; ours: 20 times")
    args = parser.parse_args()
    commit = record.source(args.draft)
    # What the sandbox leaves behind becomes our child, or its CPU time would be counted nowhere.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if args.command == "load":
        load(args.submissions, commit)
    else:
        compare(args.few, args.many, commit)


if __name__ == "__main__":
    main()
