"""What every benchmark writes beside its figures, so that another can repeat them."""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from coursekit import recorded
from coursekit.files import write_text

RESULTS = Path(__file__).parent / "results"
RECORDED = recorded.FOLDER
"""For experiments that a chapter reads while it runs: they come with the package."""

OPTIONS = argparse.ArgumentParser(add_help=False)
"""The options that all benchmarks share: a parent of each one's parser."""
OPTIONS.add_argument("--draft", action="store_true", help="print the figures and save nothing")


def machine() -> dict[str, Any]:
    """The kind of machine, without its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": bool(torch.cpu._is_avx512_bf16_supported()),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit that the figures come from; a tree with uncommitted changes ends the program."""
    git = ["git", "-C", str(Path(__file__).parent)]
    status = [*git, "status", "--porcelain", "--untracked-files=no"]
    changed = subprocess.run(status, capture_output=True, text=True, check=True).stdout
    if changed:
        sys.exit(f"Recorded figures come from a commit, and these files differ from it:\n{changed}")
    head = [*git, "rev-parse", "--short=12", "HEAD"]
    return subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()


def source(draft: bool) -> str | None:
    """The commit for `save`, or None for a draft. Ask before the work begins, which may be long."""
    return None if draft else commit()


def save(name: str, seed: int, figures: Any, commit: str | None, folder: Path = RESULTS) -> None:
    """Write folder/NAME.json: figures, seed, machine, commit and command. A draft is printed."""
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    result = {
        "name": name,
        "command": command,
        "commit": commit,
        "seed": seed,
        "machine": machine(),
        "figures": figures,
    }
    if commit is None:
        print(json.dumps(result, indent=2))
    else:
        write(folder / f"{name}.json", result)


def write(path: Path, content: Any) -> None:
    """Write a JSON file aside and move it into place."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def table(rows: list[tuple[str, ...]]) -> str:
    """Rows of cells as a Markdown table; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)
