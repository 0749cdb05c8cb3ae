"""Hearts by VAEs with a tiny autoregressive decoder: posterior collapse, and four attempts at it.

    python benchmarks/collapse.py

All have the same number of steps. Each run goes on from where it was interrupted. Chapter 4 plots
the figures.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import record
import torch

from coursekit import data, metrics
from coursekit.models import PixelVAE
from coursekit.objectives import linear_annealing
from coursekit.training import fit, warmup_cosine
from coursekit.training.recipe import bound_loss
from coursekit.training.shipped import HEARTS

SIZE, EPOCHS, BATCH_SIZE = 6400, 12, 64
STEPS = EPOCHS * SIZE // BATCH_SIZE
RUNS = {
    "constant beta": (bound_loss(), False),
    "warm-up": (bound_loss(lambda step: linear_annealing(step, STEPS // 2)), False),
    "free bits": (bound_loss(floor=0.5), False),
    "code by row and column": (bound_loss(), True),
}


def run(name: str, seed: int) -> dict[str, object]:
    """Train one model; its rate after every epoch, and its figures on images it has not seen."""
    begin = time.process_time()
    options = {"resolution": (16, 16), "fixed": HEARTS}
    train = data.load("shapes", size=SIZE, **options).binarize("threshold")
    test = data.load("shapes", "test", 2000, **options).binarize("threshold")
    loss, places = RUNS[name]
    torch.manual_seed(seed)
    model = PixelVAE((1, 16, 16), 4, places=places)
    settings = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "lr": warmup_cosine(2e-3, STEPS)}
    history = fit(model, train, loss, **settings, seed=seed, precision="bf16", progress=False)
    parts = metrics.elbo(model, test, samples=4)
    return {
        "run": name,
        "seed": seed,
        "distortion": round(parts.reconstruction.mean().item(), 3),
        "rate": round(parts.kl.mean().item(), 4),
        "active units": metrics.active_units(model, test).active,
        "rate by epoch": [round(rate, 3) for rate in history.train_kl.tolist()],
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], parents=[record.OPTIONS])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--run", type=Path, default=Path("runs/collapse"), help="single runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commit = record.source(arguments.draft)
    rows = []
    for seed, name in product(range(arguments.seeds), RUNS):
        path = arguments.run / f"{name}-{seed}.json"
        if not path.exists():
            record.write(path, run(name, seed))
        rows.append(json.loads(path.read_text()))
        print({k: v for k, v in rows[-1].items() if k != "rate by epoch"}, flush=True)
    figures = {"steps": STEPS, "epochs": EPOCHS, "train_images": SIZE, "runs": rows}
    record.save("collapse", 0, figures, commit, folder=record.RECORDED)


if __name__ == "__main__":
    main()
