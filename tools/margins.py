"""Run chapters many times, and record by how much their claims hold.

    python tools/margins.py                 # every chapter: benchmarks/margins/NN_name.json
    python tools/margins.py 03_vae          # one
    python tools/margins.py --draft 03_vae  # print the margins and write nothing
    python tools/margins.py --students      # the students' versions in the same runs: errors only
    python tools/margins.py --shift 52      # every chapter, both versions, once, with every seed
                                            # shifted by 52 and all claims in force; writes nothing

A chapter runs about twelve times: with every seed shifted by eight numbers, with each instruction
set that the processor has, and with two threads. A claim holds with a margin when the mean over
these runs lies at least 4 standard deviations beyond its bound, and the mean of its wrong variant
as far on the other side.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import chapters
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

from coursekit.claims import RECORDED, margin

sys.path.append(str(chapters.ROOT / "benchmarks"))
import record

SHIFTS = (1, 2, 3, 5, 11, 100, 1000, 12345)
LEAST = 4  # standard deviations
INSTRUCTIONS = {
    "SSE4": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    },
    "AVX2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}


def runs() -> list[dict[str, Any]]:
    """What each run of a chapter changes: seeds, instructions, threads."""
    native = torch.backends.cpu.get_cpu_capability()
    plain = {"shift": 0, "instructions": native, "threads": 1}
    lower = [name for name in INSTRUCTIONS if name != native]
    return [
        plain,
        *({**plain, "shift": shift} for shift in SHIFTS),
        *({**plain, "instructions": name} for name in lower if native != "DEFAULT"),
        {**plain, "threads": 2},
    ]


async def once(nb: NotebookNode, run: dict[str, Any], into: Path | None) -> chapters.Run:
    """Run a chapter once; with `into`, its claims are recorded in that file and do not raise."""
    nb = copy.deepcopy(nb)
    nb.cells.insert(0, new_code_cell("import shift_seeds"))
    env = {
        "SEED_SHIFT": str(run["shift"]),
        "OMP_NUM_THREADS": str(run["threads"]),
        "PYTHONPATH": os.pathsep.join(
            [str(chapters.ROOT / "tools"), str(chapters.ROOT), os.environ.get("PYTHONPATH", "")]
        ),
        **INSTRUCTIONS.get(run["instructions"], {}),
    }
    if into is not None:
        env["COURSEKIT_MARGINS"] = str(into)
    return await chapters.execute(nb, env)


async def measure(path: Path, cores: asyncio.Semaphore) -> dict[str, Any]:
    """All runs of a chapter: the figures of its claims, and the errors."""
    nb, errors, claims = chapters.read(path), [], {}
    done = [{**run} for run in runs()]

    async def one(run: dict[str, Any], into: Path) -> None:
        async with cores:
            ran = await once(nb, run, into)
        run["seconds"] = round(ran.seconds)
        if ran.error is not None:
            errors.append(f"{run}: {ran.error[-1500:]}")
        print(f"{path.stem} {run} {'FAILED' if ran.error else ''}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, str(number)) for number in range(len(done))]
        await asyncio.gather(*map(one, done, files))
        for file in files:
            for line in file.read_text().splitlines() if file.exists() else ():
                entry = json.loads(line)
                value, wrong = entry.pop("measured"), entry.pop("wrong_measured")
                text = entry.pop("claim")
                claims.setdefault(text, {**entry, "measured": [], "wrong_measured": []})
                claims[text]["measured"].append(value)
                claims[text]["wrong_measured"].append(wrong)
    return {"runs": done, "errors": errors, "claims": claims}


async def measure_all(paths: list[Path]) -> dict[Path, dict[str, Any]]:
    cores = asyncio.Semaphore(os.cpu_count() or 1)
    results = await asyncio.gather(*(measure(path, cores) for path in paths))
    return dict(zip(paths, results, strict=True))


async def shifted(paths: list[Path], shift: int) -> list[str]:
    """Run the chapters, both versions, once; the errors."""
    cores = asyncio.Semaphore(os.cpu_count() or 1)
    run = {**runs()[0], "shift": shift}

    async def one(path: Path) -> list[str]:
        async with cores:
            ran = await once(chapters.read(path), run, None)
        name = f"{path.parent.name}/{path.name}"
        print(f"{name} {'FAILED' if ran.error else 'ran'} in {ran.seconds:.0f} s", flush=True)
        return [f"{name}: {ran.error}"] if ran.error else []

    both = [folder / path.name for path in paths for folder in (chapters.SOLUTIONS, chapters.BOOK)]
    return [error for errors in await asyncio.gather(*map(one, both)) for error in errors]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("chapter", nargs="*", help="such as 03_vae; none means all")
    parser.add_argument("--draft", action="store_true", help="print the margins, write nothing")
    parser.add_argument("--students", action="store_true", help="run book/, write nothing")
    parser.add_argument("--shift", type=int, help="run both versions once, claims in force")
    arguments = parser.parse_args()
    paths = chapters.chapters(chapters.SOLUTIONS, arguments.chapter)
    if arguments.shift is not None:
        sys.exit("\n\n".join(asyncio.run(shifted(paths, arguments.shift))) or 0)

    draft = arguments.draft or arguments.students
    if arguments.students:
        paths = [chapters.BOOK / path.name for path in paths]
    commit = "draft" if draft else record.commit()
    failed = False
    for path, result in asyncio.run(measure_all(paths)).items():
        for text, claim in result["claims"].items():
            right, wrong = margin(claim)
            thin = min(right, wrong) < LEAST
            failed |= thin
            print(f"{path.stem}: {text}: {right:.1f}, wrong {wrong:.1f}{' THIN' if thin else ''}")
            for name in ("measured", "wrong_measured"):
                print("   ", name, " ".join(f"{value:.4g}" for value in claim[name]))
        errors = result.pop("errors")
        failed |= bool(errors)
        print("\n\n".join(f"{path.stem} FAILED with {error}" for error in errors))
        if not draft and not errors:
            command = f"python tools/margins.py {path.stem}"
            head = {"command": command, "commit": commit, "machine": record.machine()}
            record.write(RECORDED / f"{path.stem}.json", {**head, **result})
    if failed:
        sys.exit("A chapter failed, or a claim has a margin below 4 standard deviations.")


if __name__ == "__main__":
    main()
