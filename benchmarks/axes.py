"""Hearts by VAE, beta-VAE and beta-TCVAE, over seeds: does each factor get a dimension of its own?

    python benchmarks/axes.py

Each run goes on from where it was interrupted. Chapter 4 plots the figures.
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import record
import torch

from coursekit import data, metrics
from coursekit.models import BurgessVAE
from coursekit.training import fit, warmup_cosine
from coursekit.training.recipe import tc_loss, vae_loss
from coursekit.training.shipped import HEARTS, rising

STEPS, SIZE = 1200, 10_000
LOSSES = {
    "VAE": vae_loss(),
    "beta-VAE, 4": vae_loss(rising(4.0)),
    "beta-VAE, 8": vae_loss(rising(8.0)),
    "beta-TCVAE, 8": tc_loss(rising(8.0)),
}


def run(name: str, seed: int) -> dict[str, object]:
    """Train one model and score it on images that it has not seen."""
    begin = time.process_time()
    train = data.load("shapes", size=SIZE, resolution=(32, 32), fixed=HEARTS)
    test = data.load("shapes", "test", 2000, (32, 32), fixed=HEARTS)
    torch.manual_seed(seed)
    model = BurgessVAE()
    settings = {"steps": STEPS, "batch_size": 64, "lr": warmup_cosine(2e-3, STEPS)}
    fit(model, train, LOSSES[name], **settings, seed=seed, precision="bf16", progress=False)
    factors = torch.stack([test.factors[key].double() for key in ("x", "y", "scale")], dim=1)
    parts, codes = metrics.elbo(model, test), metrics.encode(model, test)
    return {
        "loss": name,
        "seed": seed,
        "distortion": round(parts.reconstruction.mean().item(), 2),
        "rate": round(parts.kl.mean().item(), 3),
        "MIG": round(metrics.mig(codes.samples, factors), 4),
        "correlation": metrics.rank_correlation(codes.means, factors).round(3).tolist(),
        "cpu_seconds": round(time.process_time() - begin, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], parents=[record.OPTIONS])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--run", type=Path, default=Path("runs/axes"), help="folder of single runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commit = record.source(arguments.draft)
    rows = []
    for seed, name in product(range(arguments.seeds), LOSSES):
        path = arguments.run / f"{name}-{seed}.json"
        if not path.exists():
            record.write(path, run(name, seed))
        rows.append(json.loads(path.read_text()))
        print(rows[-1], flush=True)
    figures = {"steps": STEPS, "train_images": SIZE, "factors": ["x", "y", "scale"], "runs": rows}
    record.save("axes", 0, figures, commit, folder=record.RECORDED)


if __name__ == "__main__":
    main()
