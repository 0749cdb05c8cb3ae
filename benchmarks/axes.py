"""Hearts by VAE, beta-VAE and beta-TCVAE, over seeds: does each factor get a dimension of its own?

    python benchmarks/axes.py --runs runs

Trains as tools/pretrain.py does, so that each of the models can be shipped. Each run goes on from
where it was interrupted. Chapter 4 plots the figures.
"""

import argparse
import json
import sys
from itertools import product
from pathlib import Path

import record
import torch

from coursekit import data, metrics
from coursekit.training.shipped import HEARTS, SHIPPED

sys.path.append(str(Path(__file__).parents[1] / "tools"))
import pretrain

NAMES = ("hearts-tcvae", "hearts-vae", "hearts-beta-vae")
FACTORS = ("x", "y", "scale")


def finished(name: str, folder: Path) -> bool:
    """Whether a run has reached its last epoch."""
    origin, epochs = folder / "origin.json", SHIPPED[name].settings["epochs"]
    return origin.exists() and json.loads(origin.read_text())["last"]["epoch"] == epochs


def run(name: str, seed: int, folder: Path) -> dict[str, object]:
    """Train one model, or go on with it, and score it on images that it has not seen."""
    if not finished(name, folder):
        pretrain.run(name, folder, seed)
    model, about = pretrain.trained(name, folder, seed)
    model.eval()
    test = data.load("shapes", "test", 2000, (32, 32), fixed=HEARTS)
    factors = torch.stack([test.factors[key].double() for key in FACTORS], dim=1)
    parts, codes = metrics.elbo(model, test), metrics.encode(model, test)
    return {
        "name": name,
        "seed": seed,
        "distortion": round(parts.reconstruction.mean().item(), 2),
        "rate": round(parts.kl.mean().item(), 3),
        "MIG": round(metrics.mig(codes.samples, factors), 4),
        "correlation": metrics.rank_correlation(codes.means, factors).round(3).tolist(),
        "commits": about["commits"],
        "cpu_seconds": about["cpu_seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], parents=[record.OPTIONS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--finished", action="store_true", help="train none, record what there is")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="as for tools/pretrain.py")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commit = record.source(arguments.draft)
    rows = []
    for seed, name in product(range(arguments.seeds), NAMES):
        folder = pretrain.place(arguments.runs, name, seed)
        if finished(name, folder) or not arguments.finished:
            rows.append(run(name, seed, folder))
            print(rows[-1], flush=True)
    figures = {"factors": FACTORS, "runs": rows}
    record.save("axes", 0, figures, commit, folder=record.RECORDED)


if __name__ == "__main__":
    main()
