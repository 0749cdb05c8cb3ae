"""Hearts by eight beta-VAEs that differ in beta alone: rate, distortion and reconstructions.

    python benchmarks/rate_distortion.py     # 5 CPU-minutes

Writes coursekit/recorded/rate-distortion.json. The network is that of chapter 4 with twice the
hidden units, trained for longer. beta rises from 0 over the first 300 steps. One run per beta.
`sheet` is a PNG in base64: its first row shows test images, and below there is one row of
reconstructions per beta, each decoded from the mean of the code. A figure in chapter 4 shows this.
"""

import argparse
import base64
import io
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import torch
from PIL import Image
from torch import Tensor

from coursekit import data, metrics
from coursekit.models import MLPVAE
from coursekit.training import fit, warmup_cosine
from coursekit.training.recipe import vae_loss
from coursekit.training.shipped import HEARTS, rising

BETAS = (0.1, 0.3, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
SIZE, EPOCHS, BATCH_SIZE = 10_000, 50, 128
STEPS = EPOCHS * -(-SIZE // BATCH_SIZE)
SHOWN = 6  # test images in a row


def sheet(rows: list[Tensor]) -> str:
    """Rows of gray images (N, 1, H, W) in [0, 1] as one PNG, in base64."""
    pixels = torch.cat([torch.cat(list(row[:, 0]), dim=1) for row in rows])
    buffer = io.BytesIO()
    Image.fromarray((pixels * 255).round().byte().numpy()).save(buffer, "png", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], parents=[record.OPTIONS])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commit = record.source(arguments.draft)
    options = {"resolution": (32, 32), "fixed": HEARTS}
    train = data.load("shapes", size=SIZE, **options)
    test = data.load("shapes", "test", 2000, **options)
    shown = test.images[:SHOWN].float() / 255
    settings = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "lr": warmup_cosine(2e-3, STEPS)}
    settings |= {"precision": "bf16", "seed": arguments.seed, "device": "cpu", "progress": False}
    rows, points = [shown], []
    for beta in BETAS:
        begin = time.process_time()
        torch.manual_seed(arguments.seed)
        model = MLPVAE((1, 32, 32), latent_dim=4, hidden=256)
        fit(model, train, vae_loss(rising(beta)), **settings)
        model.eval()
        parts = metrics.elbo(model, test)
        with torch.no_grad():
            rows.append(model.decode(model.encode(shown)[0]).sigmoid())
        points.append(
            {
                "beta": beta,
                "rate": round(parts.kl.mean().item(), 3),
                "distortion": round(parts.reconstruction.mean().item(), 2),
                "cpu_seconds": round(time.process_time() - begin, 1),
            }
        )
        print(points[-1], flush=True)
    figures = {"points": points, "sheet": sheet(rows)}
    record.save("rate-distortion", arguments.seed, figures, commit, folder=record.RECORDED)


if __name__ == "__main__":
    main()
