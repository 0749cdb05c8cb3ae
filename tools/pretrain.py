"""Train a model that is shipped with coursekit, as `coursekit train NAME` does, and keep its cost.

    python tools/pretrain.py faces-vae-32      # into runs/faces-vae-32; run it again to go on

Writes beside the checkpoints `origin.json`: command, commit, machine and CPU-seconds, over all the
parts of a run that was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import chapters

from coursekit.training.recipes import train
from coursekit.training.shipped import SHIPPED

sys.path.append(str(chapters.ROOT / "benchmarks"))
import record


def pretrain(name: str, folder: Path) -> None:
    """Train until the recipe's last epoch; what earlier calls have done is kept."""
    path = folder / "origin.json"
    earlier = json.loads(path.read_text()) if path.exists() else {"cpu_seconds": 0.0, "commits": []}
    commits = list(dict.fromkeys([*earlier["commits"], record.commit()]))
    begin = time.process_time()

    def note(row: dict[str, float]) -> None:
        origin = {
            "command": f"coursekit train {name}",
            "commits": commits,
            "machine": record.machine(),
            "cpu_seconds": earlier["cpu_seconds"] + time.process_time() - begin,
            "last": row,
        }
        record.write(path, origin)

    train(name, out=folder, resume=(folder / "last.pt").exists(), on_epoch=note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=SHIPPED)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="default: runs")
    arguments = parser.parse_args()
    pretrain(arguments.name, arguments.runs / arguments.name)


if __name__ == "__main__":
    main()
