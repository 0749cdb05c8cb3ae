"""Real sets from files as torchvision leaves them, and from damaged ones."""

import gzip
import hashlib
import io
import pickle
import tarfile
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from coursekit import data
from coursekit.data import DataError, real
from coursekit.data.idx import read_idx


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSEKIT_DATA", str(tmp_path))
    return tmp_path


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


@pytest.fixture
def mnist(home, monkeypatch):
    """Twelve pictures a split, in MNIST's files: unpacked ones to train on, gzipped to test."""
    monkeypatch.setattr(real, "_COUNTS", {"train": 12, "test": 12})
    generator = np.random.default_rng(0)
    images = generator.integers(256, size=(12, 28, 28), dtype=np.uint8)
    labels = (np.arange(12) % 10).astype(np.uint8)
    for folder in ("MNIST", "FashionMNIST"):
        raw = home / folder / "raw"
        raw.mkdir(parents=True)
        (raw / "train-images-idx3-ubyte").write_bytes(idx(images))
        (raw / "train-labels-idx1-ubyte").write_bytes(idx(labels))
        (raw / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images[::-1].copy())))
        (raw / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels[::-1].copy())))
    return home / "MNIST" / "raw", images, labels


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_mnist_unpacked_and_gzipped(mnist, name):
    _, images, labels = mnist
    train, test = data.load(name), data.load(name, "test")
    assert np.array_equal(train.images[:, 0].numpy(), images)
    assert np.array_equal(test.images[:, 0].numpy(), images[::-1])
    assert train.labels.tolist() == labels.tolist()
    assert test.labels.tolist() == labels[::-1].tolist()
    assert len(train.classes) == 10
    assert train.citation
    assert train.licence
    few = data.load(name, size=3, resolution=(14, 14))
    assert few.images.shape == (3, 1, 14, 14)
    with pytest.raises(ValueError, match=r"size is 13, but .* has only 12 train images"):
        data.load(name, size=13)
    with pytest.raises(ValueError, match="split must be one of train, test"):
        data.load(name, "validation")


def test_damaged_idx_files(mnist):
    raw, images, _ = mnist
    path = raw / "train-images-idx3-ubyte"
    good = path.read_bytes()
    for bad, message in (
        (good[:-1], "announces 9408 bytes of data and holds only 9407"),
        (good + b"x", "holds more"),
        (b"", "its header is empty"),
        (good[:7], "its header is 00 00 08 03 00 00 00,"),
        (idx(images[:11]), "is not the idx file of 12 x 28 x 28 bytes"),
        (idx(images[0]), "is not the idx file of 12 x 28 x 28 bytes"),
        (good[:2] + b"\x0d" + good[3:], "its header is 00 00 0d"),
    ):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=message):
            data.load("mnist")
        assert path.read_bytes() == bad  # nothing that was there is lost
    path.write_bytes(good)
    # The labels in the images' place, as after a slip with two names.
    path.write_bytes((raw / "train-labels-idx1-ubyte").read_bytes())
    with pytest.raises(DataError, match="is not the idx file of 12 x 28 x 28"):
        data.load("mnist")
    path.write_bytes(good)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.full(12, 10, dtype=np.uint8)))
    with pytest.raises(DataError, match="has a label 10; there are ten classes"):
        data.load("mnist")


def test_damaged_gzip_files(mnist):
    raw, _, _ = mnist
    path = raw / "t10k-images-idx3-ubyte.gz"
    good = path.read_bytes()
    for bad in (good[:-4], good[: len(good) // 2], b"\x1f\x8b", b"<html>", good[:100] + good[101:]):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte\.gz"):
            data.load("mnist", "test")


def test_a_gzip_bomb_is_not_unpacked(mnist):
    raw, images, _ = mnist
    bomb = gzip.compress(idx(images) + bytes(50_000_000))
    (raw / "t10k-images-idx3-ubyte.gz").write_bytes(bomb)
    with pytest.raises(DataError, match="holds more"):
        data.load("mnist", "test")


def test_optdigits():
    train, test = data.load("optdigits"), data.load("optdigits", "test")
    assert len(train) + len(test) == 1797
    assert train.images.shape[1:] == (1, 8, 8)
    assert train.images.max() == 255
    assert test.labels.bincount().min() > 30
    with pytest.raises(ValueError, match="split must be one of train, test"):
        data.load("optdigits", "validation")


# CIFAR-10


class Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2 did, with which CIFAR-10 was made: both as byte strings."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, value):
        content = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_string


def batch(images, labels):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump({"data": images, "labels": labels, "batch_label": "x"})
    # NumPy's module had another name then.
    return file.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


@pytest.fixture
def cifar(home, monkeypatch):
    """Six batches of four pictures, in CIFAR-10's format; returns the archive's content by name."""
    generator = np.random.default_rng(0)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    contents = {
        name: batch(generator.integers(256, size=(4, 3072), dtype=np.uint8), [0, 3, 9, i])
        for i, name in enumerate(names)
    }
    trust(monkeypatch, contents)
    return contents


def trust(monkeypatch, contents):
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setattr(real, "_CIFAR_BATCHES", sums)


def pack(home, contents, prefix="cifar-10-batches-py/"):
    with tarfile.open(home / "cifar-10-python.tar.gz", "w:gz") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("unpacked", [False, True])
def test_cifar(home, cifar, unpacked):
    if unpacked:
        (home / "cifar-10-batches-py").mkdir()
        for name, content in cifar.items():
            (home / "cifar-10-batches-py" / name).write_bytes(content)
    else:
        pack(home, cifar)
    train, test = data.load("cifar10"), data.load("cifar10", "test")
    assert train.images.shape == (20, 3, 32, 32)
    assert test.images.shape == (4, 3, 32, 32)
    assert train.labels.tolist() == [0, 3, 9, 0, 0, 3, 9, 1, 0, 3, 9, 2, 0, 3, 9, 3, 0, 3, 9, 4]
    pixels = pickle.loads(cifar["test_batch"], encoding="latin1")["data"]
    assert np.array_equal(test.images.numpy().reshape(4, -1), pixels)
    assert len(train.classes) == 10
    assert not (home / "cifar-10-batches-py").exists() or unpacked  # read, never unpacked


def test_damaged_cifar(home, cifar):
    pack(home, {**cifar, "data_batch_3": cifar["data_batch_3"][:-1]})
    with pytest.raises(DataError, match=r"data_batch_3 has the MD5 .* instead of"):
        data.load("cifar10")
    pack(home, {name: content for name, content in cifar.items() if name != "data_batch_5"})
    with pytest.raises(DataError, match="lacks data_batch_5"):
        data.load("cifar10")
    path = home / "cifar-10-python.tar.gz"
    pack(home, cifar)
    good = path.read_bytes()
    for bad in (good[: len(good) // 2], b"<html>", b"", gzip.compress(b"not a tar")):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"cifar-10-python.tar.gz (is damaged|lacks)"):
            data.load("cifar10")


def test_paths_that_leave_the_archive_lead_nowhere(home, cifar):
    with tarfile.open(home / "cifar-10-python.tar.gz", "w:gz") as tar:
        for prefix in ("../../", "/tmp/", "cifar-10-batches-py/../../"):
            info = tarfile.TarInfo(prefix + "test_batch")
            info.size = len(cifar["test_batch"])
            tar.addfile(info, io.BytesIO(cifar["test_batch"]))
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match="lacks test_batch"):
        data.load("cifar10", "test")
    assert [path.name for path in home.iterdir()] == ["cifar-10-python.tar.gz"]


class Evil:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_pickle_cannot_run_anything(home, cifar, monkeypatch, capsys):
    evil = {**cifar, "test_batch": pickle.dumps({"data": Evil(), "labels": []}, protocol=2)}
    pack(home, evil)
    with pytest.raises(DataError, match="test_batch has the MD5"):
        data.load("cifar10", "test")
    # Even with the right MD5.
    trust(monkeypatch, evil)
    with pytest.raises(DataError, match=r"test_batch .*it asks for .*print"):
        data.load("cifar10", "test")
    assert "this must not run" not in capsys.readouterr().out


def test_cifar_with_other_content(home, cifar, monkeypatch):
    for content in (
        batch(np.zeros((4, 3071), dtype=np.uint8), [0] * 4),
        batch(np.zeros((4, 3072)), [0] * 4),
        batch(np.zeros((4, 3072), dtype=np.uint8), [0] * 3),
        batch(np.zeros((4, 3072), dtype=np.uint8), [0, 1, 2, 10]),
        batch("text", "more"),
        pickle.dumps([], protocol=2),
        b"\x80\x02garbage",
    ):
        other = {**cifar, "test_batch": content}
        trust(monkeypatch, other)
        pack(home, other)
        with pytest.raises(DataError, match="test_batch"):
            data.load("cifar10", "test")


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
        found = read_idx(path, (2, 3, 4))
    except DataError:
        assert content[:16] != GOOD[:16] or len(content) != len(GOOD)
    else:
        assert found.shape == (2, 3, 4)
        assert found.dtype == torch.uint8
        assert bytes(found.flatten().tolist()) == content[16:]


@fuzzed
@given(content=st.one_of(st.binary(max_size=60), damaged(gzip.compress(GOOD, mtime=0))))
@example(content=gzip.compress(GOOD, mtime=0))
def test_fuzz_gzip(home, content):
    path = home / "fuzz.gz"
    path.write_bytes(content)
    try:
        found = read_idx(path, (2, 3, 4))
    except DataError:
        pass
    else:
        assert found.flatten().tolist() == list(range(24))


@fuzzed
@given(
    content=st.one_of(st.binary(max_size=200), damaged(batch(np.zeros((1, 3072), np.uint8), [1])))
)
def test_fuzz_cifar(content):
    try:
        images, labels = real._parse_cifar("test_batch", content, hashlib.md5(content).hexdigest())
    except DataError:
        pass
    else:
        assert images.shape[1:] == (3, 32, 32)
        assert len(images) == len(labels)
