"""The real sets in torchvision's file formats."""

from __future__ import annotations

from pathlib import Path

import torch

from coursekit.data.files import DataError, data_home
from coursekit.data.idx import read_idx
from coursekit.data.imageset import ImageSet

_MNIST_COUNTS = {"train": 60_000, "test": 10_000}


def load_optdigits(split: str) -> ImageSet:
    """Optdigits: 8x8 digits by 13 writers, which scikit-learn brings along.

    The files are ordered by writer, so the last fifth (the test split) is by other hands.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be one of train, test for 'optdigits', got {split!r}")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    chosen = slice(0, 1437) if split == "train" else slice(1437, None)
    grey = torch.tensor(bunch.images[chosen], dtype=torch.float32)
    return ImageSet(
        name="optdigits",
        split=split,
        images=(grey / 16 * 255).round().byte()[:, None],
        labels=torch.tensor(bunch.target[chosen], dtype=torch.int64),
        classes=tuple("0123456789"),
        citation=(
            "E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits. "
            "UCI Machine Learning Repository, 1998."
        ),
        licence="CC BY 4.0",
    )


def load_mnist(split: str) -> ImageSet:
    """MNIST: 28x28 handwritten digits, 60,000 to train on and 10,000 to test."""
    return _idx_set(
        name="mnist",
        folder="MNIST",
        split=split,
        classes=tuple("0123456789"),
        citation=(
            "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to "
            "document recognition. Proceedings of the IEEE 86(11), 1998."
        ),
        licence="CC BY-SA 3.0",
    )


def _idx_set(
    name: str, folder: str, split: str, classes: tuple[str, ...], citation: str, licence: str
) -> ImageSet:
    if split not in _MNIST_COUNTS:
        raise ValueError(
            f"split must be one of {', '.join(_MNIST_COUNTS)} for {name!r}, got {split!r}"
        )
    count = _MNIST_COUNTS[split]
    prefix = "train" if split == "train" else "t10k"
    home = data_home() / folder / "raw"
    images = read_idx(_find(home, f"{prefix}-images-idx3-ubyte"), (count, 28, 28))
    labels = read_idx(_find(home, f"{prefix}-labels-idx1-ubyte"), (count,))
    if int(labels.max()) >= len(classes):
        raise DataError(f"{name}: a label is {int(labels.max())}, there are {len(classes)} classes")
    return ImageSet(
        name=name,
        split=split,
        images=images[:, None],
        labels=labels.to(torch.int64),
        classes=classes,
        citation=citation,
        licence=licence,
    )


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{folder / name} (or {name}.gz) is missing. Put it there, or set COURSEKIT_DATA to the "
        'folder that holds it; meanwhile load("digits") needs no file'
    )
