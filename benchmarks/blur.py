"""How sharp a decoder gets: what its code holds, its size, and the length of its training.

    python benchmarks/blur.py     # 6 CPU-minutes

Writes coursekit/recorded/vae-blur.json. There is no encoder here and no noise. The code of a face
is a list of its true factors, either four of them or all 23, and a decoder is trained to draw the
face from them by the cross-entropy of a VAE. The best possible answer is the mean of all faces
with these factors, which is computed by drawing them. Sharpness is the variance of the Laplacian,
relative to that of the test faces themselves.
"""

import argparse
import math
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import record
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coursekit import data, metrics
from coursekit.data import ImageSet, faces
from coursekit.metrics.reader import CIRCULAR
from coursekit.models.vae import conv_decoder
from coursekit.training import warmup_cosine

SIZE, TEST, RESOLUTION, BATCH, RATE, ALIKE = 12_000, 200, (32, 32), 64, 4e-3, 200
STEPS = (200, 800, 2_400)
CODES = {
    "four factors": ("skin", "background", "hair_color", "hair_style"),
    "all factors": tuple(faces.FACTORS),
}
DECODERS = {"small": (8, 16, 64), "large": (16, 32, 128)}


def code(factors: dict[str, Tensor], held: tuple[str, ...]) -> Tensor:
    """The held factors as numbers in [-1, 1], (N, K): one-hot if discrete, a point on the circle
    if circular."""
    columns = []
    for name in held:
        values = faces.FACTORS[name]
        if isinstance(values, int):
            columns.append(F.one_hot(factors[name], values).float())
            continue
        share = (factors[name] - values[0]) / (values[1] - values[0])
        if name in CIRCULAR:
            angle = 2 * math.pi * share
            columns.append(torch.stack([angle.cos(), angle.sin()], dim=1))
        else:
            columns.append(2 * share[:, None] - 1)
    return torch.cat(columns, dim=1)


def trained(
    train: ImageSet, held: tuple[str, ...], widths: tuple[int, ...], steps: int
) -> nn.Module:
    """A decoder from the held factors to logits."""
    torch.manual_seed(0)
    codes = code(train.factors, held)
    model = conv_decoder((3, *RESOLUTION), codes.shape[1], widths)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, fused=True)
    rate = warmup_cosine(RATE, steps)
    for step in range(steps):
        index = torch.randint(len(train), (BATCH,))
        x = train.images[index].float() / 255
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(codes[index])
        loss = F.binary_cross_entropy_with_logits(logits.float(), x, reduction="sum") / BATCH
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval().requires_grad_(False)


def conditional_means(test: ImageSet, held: tuple[str, ...]) -> Tensor:
    """The mean of faces that agree with a test face in the held factors: (N, C, H, W)."""
    generator, means = torch.Generator().manual_seed(1), []
    for place in range(len(test)):
        drawn = faces.sample_factors(ALIKE, generator)
        for name in held:
            drawn[name] = test.factors[name][place].expand(ALIKE)
        means.append((faces.images_from_factors(drawn, RESOLUTION).float() / 255).mean(dim=0))
    return torch.stack(means)


def cost(x: Tensor, mean: Tensor) -> float:
    """The cross-entropy in nats per image."""
    return F.binary_cross_entropy(mean.clamp(1e-6, 1 - 1e-6), x, reduction="sum").item() / len(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], parents=[record.OPTIONS])
    arguments = parser.parse_args()
    commit = record.source(arguments.draft)
    train = data.load("faces", "train", SIZE, RESOLUTION)
    test = data.load("faces", "test", TEST, RESOLUTION)
    x = test.images.float() / 255
    sharp = metrics.sharpness(x).mean().item()
    start, rows = time.process_time(), []
    for name, held in CODES.items():
        best = conditional_means(test, held)
        rows.append({"code": name, "decoder": "conditional mean", "steps": 0})
        rows[-1] |= _figures(x, best, sharp)
        print(rows[-1], flush=True)
        for size, widths in DECODERS.items():
            for steps in STEPS:
                model = trained(train, held, widths, steps)
                drawn = model(code(test.factors, held)).sigmoid()
                rows.append({"code": name, "decoder": size, "steps": steps})
                rows[-1] |= _figures(x, drawn, sharp)
                print(f"{time.process_time() - start:5.0f} s  {rows[-1]}", flush=True)
    figures = {
        "train_images": len(train),
        "test_images": len(test),
        "resolution": RESOLUTION,
        "held": CODES["four factors"],
        "widths": DECODERS,
        "batch": BATCH,
        "cpu_seconds": round(time.process_time() - start),
        "rows": rows,
    }
    record.save("vae-blur", 0, figures, commit, record.RECORDED)


def _figures(x: Tensor, drawn: Tensor, sharp: float) -> dict[str, float]:
    ratio = metrics.sharpness(drawn).mean().item() / sharp
    return {"sharpness": round(ratio, 4), "cross-entropy": round(cost(x, drawn), 2)}


if __name__ == "__main__":
    main()
