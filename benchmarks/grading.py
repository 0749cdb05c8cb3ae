"""The grader, measured: many submissions on one core, and beside otter-grader and nbgrader.

    python benchmarks/grading.py load [--submissions 1000]
    python benchmarks/grading.py compare --otter VENV --nbgrader VENV

load     synthetic submissions, drawn from the bank of right and wrong answers and filled up with a
         training cell, graded by one process that is bound to one core: seconds, memory, rows.
compare  the same three exercises under each grader, bound to one core: seconds a submission
         (marginal: the time of more submissions less that of fewer), points over part of the
         hostile set that nobody deserves, submissions without a row, size on disk on top of torch.
         VENV are environments with torch and the grader, made for this alone.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record

from coursekit.exercises import chapter
from coursekit.grading.bank import Variant, as_notebook, load_bank, notebook

ROOT = Path(__file__).parent.parent
BANK = ROOT / "tests" / "grading" / "bank" / "vae.py"

TRAINING = """\
train = data.load("digits", size=20_000)
model = models.ConvVAE((1, 28, 28), 10)
history = training.fit(model, train, loss, epochs=50)"""


def synthetic(folder: Path, count: int, seed: int = 0) -> None:
    """`count` notebooks as a class would hand them in, each with random variants of the bank."""
    exercises = chapter("vae")[0]
    chosen = random.Random(seed)
    variants: dict[str, list[Variant]] = {e.id: [] for e in exercises}
    for variant in load_bank(BANK):
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


def load(submissions: int) -> None:
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
            "wall-clock seconds a submission, marginal": round((t1 - t0) / (n1 - n0), 4),
            "grader's memory in MB, first fifth": round(max(early)),
            "grader's memory in MB, last fifth": round(max(late)),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser("load")
    loading.add_argument("--submissions", type=int, default=1000)
    args = parser.parse_args()
    if args.command == "load":
        load(args.submissions)


if __name__ == "__main__":
    main()
