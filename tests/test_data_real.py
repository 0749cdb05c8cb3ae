"""Real sets from files as torchvision leaves them, and from damaged ones."""

import gzip
import hashlib
import io
import os
import pickle
import shutil
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torchvision.datasets import CIFAR10
from torchvision.datasets.mnist import read_image_file

from coursekit import data
from coursekit.data import DataError, real


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    return tmp_path


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def mnist(home, monkeypatch):
    """Twelve pictures per split, in MNIST's files: unpacked for training, gzipped for the test."""
    monkeypatch.setattr(real, "_COUNTS", {"train": 12, "test": 12})
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(12, 28, 28), dtype=np.uint8)
    labels = (np.arange(12) % 10).astype(np.uint8)
    unpacked = {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}
    gzipped = {
        "t10k-images-idx3-ubyte": gzip.compress(idx(images[::-1].copy())),
        "t10k-labels-idx1-ubyte": gzip.compress(idx(labels[::-1].copy())),
    }
    for folder, known in (("MNIST", real._MNIST_FILES), ("FashionMNIST", real._FASHION_FILES)):
        raw = home / folder / "raw"
        raw.mkdir(parents=True)
        for name, array in unpacked.items():
            (raw / name).write_bytes(idx(array))
        for name, content in gzipped.items():
            (raw / f"{name}.gz").write_bytes(content)
            monkeypatch.setitem(known, name, (hashlib.md5(content).hexdigest(), len(content)))
    return home / "MNIST" / "raw", images, labels


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_unpacked_and_gzipped(mnist, name):
    _, images, labels = mnist
    train, test = data.load(name), data.load(name, "test")
    assert np.array_equal(train.images[:, 0].numpy(), images)
    assert np.array_equal(test.images[:, 0].numpy(), images[::-1])
    assert train.labels.tolist() == labels.tolist()
    assert test.labels.tolist() == labels[::-1].tolist()
    assert train.labels.dtype == torch.int64
    assert len(train.classes) == 10
    assert train.citation
    assert train.licence
    few = data.load(name, size=3, resolution=(14, 14))
    assert few.images.shape == (3, 1, 14, 14)
    with pytest.raises(ValueError, match=r"size is 13, but .* has only 12 train images"):
        data.load(name, size=13)
    with pytest.raises(ValueError, match="split is 'validation', but one of train, test is exp"):
        data.load(name, "validation")


def test_damaged_idx_files(mnist):
    raw, images, _ = mnist
    path = raw / "train-images-idx3-ubyte"
    good = path.read_bytes()
    for bad in (
        b"",
        b"<html>",
        good[:7],
        good[:-1],
        good + b"x",
        good[:2] + b"\x0d" + good[3:],
        idx(images[:11]),
        idx(images[0]),
        (raw / "train-labels-idx1-ubyte").read_bytes(),  # a slip with two names
    ):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"an idx file of shape \(12, 28, 28\)") as caught:
            data.load("mnist")
        assert str(path) in str(caught.value)
        assert path.read_bytes() == bad  # nothing that was there is lost
    path.write_bytes(good)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.full(12, 10, dtype=np.uint8)))
    with pytest.raises(DataError, match="has a label 10, but 0 to 9"):
        data.load("mnist")


def test_other_archives_are_not_unpacked(mnist):
    raw, images, _ = mnist
    path = raw / "t10k-images-idx3-ubyte.gz"
    bomb = gzip.compress(idx(images) + bytes(50_000_000))
    for bad in (path.read_bytes()[:-4], b"\x1f\x8b", b"<html>", bomb):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz has the MD5 .*delete it"):
            data.load("mnist", "test")
        assert not [*raw.glob("t10k-images-idx3-ubyte"), *raw.glob(".*")]


def test_missing_files_are_fetched_and_the_error_says_where_they_belong(home, monkeypatch):
    monkeypatch.setattr(real, "_MNIST_MIRRORS", ("http://127.0.0.1:9/",))
    with pytest.raises(
        FileNotFoundError, match=r"train-images-idx3-ubyte\.gz is not here, and"
    ) as e:
        data.load("mnist")
    assert str(home / "MNIST" / "raw") in str(e.value)


def test_optdigits():
    train, test = data.load("optdigits"), data.load("optdigits", "test")
    assert len(train) + len(test) == 1797
    assert train.images.shape[1:] == (1, 8, 8)
    assert train.images.max() == 255
    assert test.labels.bincount().min() > 30
    with pytest.raises(ValueError, match="split is 'validation', but one of train, test is exp"):
        data.load("optdigits", "validation")


# CIFAR-10


@pytest.fixture
def cifar(home, monkeypatch):
    """Six batches of four pictures and the classes' names, in CIFAR-10's format, by file name."""
    generator = np.random.default_rng(0)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    values = {
        name: {
            "data": generator.integers(256, size=(4, 3072), dtype=np.uint8),
            "labels": [0, 3, 9, i],
        }
        for i, name in enumerate(names)
    }
    values["batches.meta"] = {"label_names": [f"class {i}" for i in range(10)]}
    contents = {name: pickle.dumps(value) for name, value in values.items()}
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": sums["batches.meta"]})
    return contents


def pack(home, contents, monkeypatch):
    """The archive, known as the right one."""
    path = home / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    monkeypatch.setattr(real, "_CIFAR", replace(real._CIFAR, md5=md5))
    return path


@pytest.mark.parametrize("unpacked", [False, True])
def test_cifar(home, cifar, unpacked, monkeypatch):
    folder = home / "cifar-10-batches-py"
    if unpacked:
        folder.mkdir()
        for name, content in cifar.items():
            (folder / name).write_bytes(content)
    else:
        pack(home, cifar, monkeypatch)
    train, test = data.load("cifar10"), data.load("cifar10", "test")
    assert train.images.shape == (20, 3, 32, 32)
    assert train.images.is_contiguous()
    assert test.images.shape == (4, 3, 32, 32)
    assert train.labels.tolist() == [0, 3, 9, 0, 0, 3, 9, 1, 0, 3, 9, 2, 0, 3, 9, 3, 0, 3, 9, 4]
    pixels = pickle.loads(cifar["test_batch"])["data"]
    assert np.array_equal(test.images.numpy().reshape(4, -1), pixels)
    assert train.classes == tuple(f"class {i}" for i in range(10))
    assert sorted(path.name for path in folder.iterdir()) == sorted(cifar)


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


def test_damaged_cifar(home, cifar, monkeypatch, capsys):
    folder = home / "cifar-10-batches-py"
    for name, content in (
        ("data_batch_3", cifar["data_batch_3"][:-1]),
        ("test_batch", None),
        ("batches.meta", b"<html>"),
        ("test_batch", pickle.dumps({"data": Evil(), "labels": []})),
    ):
        found = {key: value for key, value in cifar.items() if key != name}
        path = pack(home, found | ({} if content is None else {name: content}), monkeypatch)
        with pytest.raises(DataError, match=r"batches-py lacks a file or .* delete the folder"):
            data.load("cifar10")
        shutil.rmtree(folder)
    assert "this must not run" not in capsys.readouterr().out
    for bad in (path.read_bytes()[:-4], b"<html>", b""):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz has the MD5 .*delete it"):
            data.load("cifar10")
        assert os.listdir(home) == [path.name]


# Fuzzing: whatever the bytes, the answer is a tensor of the right shape or a DataError.

fuzzed = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@st.composite
def damaged(draw, good=GOOD):
    """A good file with bytes changed, removed, repeated or inserted."""
    content = bytearray(good)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(0, 8))
        how = draw(st.sampled_from(["set", "cut", "repeat", "insert", "truncate"]))
        if how == "set":
            content[at : at + length] = draw(st.binary(min_size=length, max_size=length))
        elif how == "cut":
            del content[at : at + length]
        elif how == "repeat":
            content[at:at] = content[at : at + length]
        elif how == "insert":
            content[at:at] = draw(st.binary(max_size=8))
        else:
            del content[at:]
    return bytes(content)


@fuzzed
@given(content=st.one_of(st.binary(max_size=60), damaged()))
@example(content=GOOD)
def test_fuzz_idx(home, content):
    path = home / "fuzz"
    path.write_bytes(content)
    try:
        found = real._read_idx(path, read_image_file, (2, 3, 4))
    except DataError:
        assert content[:16] != GOOD[:16] or len(content) != len(GOOD)
    else:
        assert found.shape == (2, 3, 4)
        assert found.dtype == torch.uint8
        assert bytes(found.flatten().tolist()) == content[16:]
