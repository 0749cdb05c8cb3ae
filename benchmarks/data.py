"""The data floor, measured: drawing, decoding, batches, and whether drawn digits read as digits.

    python benchmarks/data.py [speed] [read] [--seeds 3] [--rounds 5] [--threads 1]

speed   images drawn and JPEGs decoded per second, batches from memory and from CelebA's cache,
        beside torchvision's data set and DataLoader. By CPU time, the least of the rounds: other
        programs on the machine can only add to it. With --threads 2 by wall-clock time.
read    a small CNN trained on drawn digits and tested on MNIST, and the other way round. Needs
        MNIST (COURSEKIT_DATA). Mean, least and largest accuracy over the seeds 0, 1, ...
"""

import argparse
import functools
import io
import os
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import record
import torch
from torch import nn
from torch.nn import functional as F

from coursekit import data
from coursekit.data import ImageSet, celeba

BATCH = 128


def rate(work: Callable[[], int], rounds: int) -> float:
    """How many of what `work` returns are done per second, in the best of the rounds."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    work()
    best = 0.0
    for _ in range(rounds):
        start = clock()
        count = work()
        best = max(best, count / (clock() - start))
    return best


def drawing(rounds: int) -> dict[str, float]:
    sets: list[tuple[str, tuple[int, int], int]] = [
        ("digits", (28, 28), 8192),
        ("shapes", (64, 64), 4096),
        ("faces", (64, 64), 2048),
        ("faces", (218, 178), 512),
    ]
    figures = {}
    for name, resolution, size in sets:
        draw = functools.partial(data.load, name, size=size, resolution=resolution)
        height, width = resolution
        figures[f"{name} {height}x{width}, images/s"] = rate(lambda draw=draw: len(draw()), rounds)
    return figures


def batches(rounds: int) -> dict[str, float]:
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms.functional import to_tensor

    digits = data.load("digits", size=20_000)
    grey = digits.images[:, 0].numpy()

    class OneByOne(Dataset):
        """What torchvision.datasets.MNIST does: an image at a time, by way of PIL."""

        def __len__(self):
            return len(grey)

        def __getitem__(self, index):
            from PIL import Image

            return to_tensor(Image.fromarray(grey[index])), int(digits.labels[index])

    def ours() -> int:
        return sum(1 for _ in digits.batches(BATCH, shuffle=True))

    def theirs() -> int:
        return sum(1 for _ in DataLoader(OneByOne(), BATCH, shuffle=True))

    return {
        "digits, batches of 128 per second": rate(ours, rounds),
        "digits, the same by torchvision's way and DataLoader": rate(theirs, 1),
    }


def decoding(rounds: int) -> dict[str, float]:
    """On drawn faces in CelebA's format; real photographs have larger files and decode slower."""
    from PIL import Image

    count = 2048
    faces = data.load("faces", size=256, resolution=celeba.SIZE)
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "faces.zip"
        names = [f"{i:06d}.jpg" for i in range(count)]
        bytes_an_image = 0
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for i, name in enumerate(names):
                picture = faces.images[i % len(faces)].permute(1, 2, 0).numpy()
                # As grainy as a photograph, so that the file is as large as CelebA's are: 7 kB.
                noise = np.random.default_rng(i).normal(0, 5, picture.shape[:2])[..., None]
                content = io.BytesIO()
                grainy = (picture + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(grainy).save(content, "JPEG", quality=70)
                file.writestr(f"img_align_celeba/{name}", content.getvalue())
                bytes_an_image += len(content.getvalue()) / count

        def decode() -> int:
            celeba.decoded(archive, names, (64, 64))
            shutil.rmtree(archive.parent / "cache")
            return count

        decoded = rate(decode, rounds)
        images = ImageSet("celeba", "train", celeba.decoded(archive, names, (64, 64)))

        def ordered() -> int:
            return sum(1 for _ in images.batches(BATCH))

        def shuffled() -> int:
            return sum(1 for _ in images.batches(BATCH, shuffle=True))

        return {
            "bytes per JPEG": bytes_an_image,
            "218x178 JPEG from the zip to the cache, 64x64: images/s of CPU": decoded,
            "64x64x3 from the cache, batches of 128 per second": rate(ordered, rounds),
            "the same, shuffled": rate(shuffled, rounds),
        }


def reading(seeds: int) -> dict[str, float]:
    """Test accuracy of a small CNN, by what it was trained on and what it is tested on."""
    runs = [read_once(seed) for seed in range(seeds)]
    return {
        f"{name}, {part}": of([run[name] for run in runs])
        for name in runs[0]
        for part, of in (("mean", statistics.mean), ("least", min), ("largest", max))
    }


def read_once(seed: int) -> dict[str, float]:
    sets = {
        name: (data.load(name, size=20_000), data.load(name, "test", size=10_000))
        for name in ("digits", "mnist")
    }
    figures = {}
    for source, (train, _) in sets.items():
        torch.manual_seed(seed)
        network = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(),
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(32 * 49, 64), nn.ReLU(), nn.Linear(64, 10),
        )  # fmt: skip
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(5):
            for batch in train.batches(BATCH, shuffle=True, generator=generator):
                assert batch.labels is not None
                loss = F.cross_entropy(network(batch.images), batch.labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()
        for target, (_, test) in sets.items():
            with torch.no_grad():
                right = sum(
                    int((network(batch.images).argmax(1) == batch.labels).sum())
                    for batch in test.batches(1000)
                )
            figures[f"trained on {source}, tested on {target}"] = right / len(test)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], parents=[record.OPTIONS])
    parser.add_argument("parts", nargs="*", default=["speed", "read"], help="speed, read")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    commit = record.source(args.draft)
    torch.set_num_threads(args.threads)
    figures: dict[str, float] = {}
    if "speed" in args.parts:
        for part in (drawing, batches, decoding):
            figures |= part(args.rounds)
    if "read" in args.parts:
        figures |= reading(args.seeds)
    print(record.table([("", ""), *((name, f"{value:,.4g}") for name, value in figures.items())]))
    suffix = "-".join(args.parts) if len(args.parts) < 2 else "all"
    record.save(f"data-{suffix}-{args.threads}", 0, figures, commit)


if __name__ == "__main__":
    main()
