"""CelebA: 202,599 photographs of faces, read from the zip and decoded once to a cache of bytes.

A JPEG takes hundreds of microseconds to decode and scale, an image in memory a few. So there is a
cache file for each resolution, all images in their order, mapped into memory; beside it one
checksum for every block of it. A block is decoded when it is first asked for, and its checksum is
written when its images are on disk: whatever interrupts the work costs one block per thread, and
damage is found when the cache is opened.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from coursekit.data.files import DataError, Remote, data_home, fetch, make_folder
from coursekit.data.imageset import ImageSet

SPLITS = ("train", "validation", "test")  # 0, 1 and 2 in the file that says which is which
LANDMARKS = ("left eye", "right eye", "nose", "left corner of the mouth", "right corner")
SIZE = (218, 178)  # height and width of the photographs
RESOLUTION = (64, 64)

_FOLDER = "celeba"
_MIRRORS = (
    "https://graal.ift.ulaval.ca/public/celeba/",
    "https://huggingface.co/datasets/Yuehao/celeba/resolve/main/",
)
_FILES = {
    "img_align_celeba.zip": ("00d2c5bc6d35e252742224ab0c1e8fcb", 1_443_490_838),
    "list_attr_celeba.txt": ("75e246fa4810816ffd6ee81facbd244c", 26_721_026),
    "identity_CelebA.txt": ("32bd1bd63d3c78cd57e08160ec5ed1e2", 3_424_458),
    "list_landmarks_align_celeba.txt": ("cc24ecafdb5b50baae59b03474781f8c", 12_156_055),
    "list_eval_partition.txt": ("d32c9cbf5e040fd4025c592c306e6668", 2_836_386),
}
_BLOCK = 256  # images
_LARGEST_JPEG = 1_000_000  # bytes; CelebA's largest has a twentieth of that


def load(split: str, size: int | None, resolution: tuple[int, int] | None) -> ImageSet:
    """CelebA's aligned faces, cut to the shape of `resolution` around the middle, then scaled.

    labels: who it is, one of 10,177 identities. attributes: the 40 binary ones. annotations:
    "landmarks" (N, 5, 2), x and y in pixels of the picture as it is here, in the order LANDMARKS.
    size: the first so many of the split; no others are decoded.
    """
    height, width = RESOLUTION if resolution is None else resolution
    names, places = _partition(fetch_celeba("list_eval_partition.txt"))
    chosen = np.flatnonzero(places == SPLITS.index(split))
    if size is not None:
        if size > len(chosen):
            raise ValueError(f"size is {size}, but 'celeba' has only {len(chosen)} {split} images")
        chosen = chosen[:size]
    if len(chosen) == 0:
        raise DataError(f"{fetch_celeba('list_eval_partition.txt')} names no {split} images")

    header, attributes = _table(fetch_celeba("list_attr_celeba.txt"), names, header=True)
    _, identities = _table(fetch_celeba("identity_CelebA.txt"), names, header=False)
    corners, landmarks = _table(fetch_celeba("list_landmarks_align_celeba.txt"), names, header=True)
    _expect(identities.shape[1] == 1, "identity_CelebA.txt", "one number an image")
    _expect(len(corners) == 10, "list_landmarks_align_celeba.txt", "ten numbers an image")
    _expect(bool(np.isin(attributes, (-1, 1)).all()), "list_attr_celeba.txt", "only 1 and -1")

    images = Cache(fetch_celeba("img_align_celeba.zip"), names, (height, width)).images(chosen)
    top, left, crop_height, crop_width = _crop(height, width)
    scale = np.array([width / crop_width, height / crop_height])
    points = (landmarks[chosen].reshape(-1, 5, 2) - np.array([left, top])) * scale
    return ImageSet(
        name="celeba",
        split=split,
        images=images,
        labels=torch.from_numpy(identities[chosen, 0]),
        attributes={
            name: torch.from_numpy(column)
            for name, column in zip(header, (attributes[chosen] == 1).T.copy(), strict=True)
        },
        annotations={"landmarks": torch.from_numpy(points).float()},
        citation=(
            "Z. Liu, P. Luo, X. Wang, X. Tang: Deep learning face attributes in the wild. "
            "ICCV 2015."
        ),
        licence="non-commercial research only; see the authors' agreement",
    )


def fetch_celeba(name: str) -> Path:
    """The local path of one of CelebA's files."""
    return fetch(Remote(f"{_FOLDER}/{name}", *_FILES[name], _MIRRORS, "faces"))


def _partition(path: Path) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The images' names in their order, and the place of each one's split in SPLITS."""
    words = _words(path)
    if not words or len(words) % 2:
        raise DataError(f"{path} is damaged: it does not have a name and a number on every line")
    names, numbers = words[::2], _numbers(path, words[1::2])
    if len(set(names)) != len(names) or not np.isin(numbers, (0, 1, 2)).all():
        raise DataError(f"{path} is damaged: a name occurs twice, or a split is not 0, 1 or 2")
    return names, numbers


def _table(path: Path, names: list[str], header: bool) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The columns' names and the numbers (N, columns) of a list; its rows must be `names`."""
    words = _words(path)
    columns: list[str] = []
    if header:
        # The number of images, the columns' names, then the rows.
        end = words.index(names[0], 1) if names[0] in words[1:200] else 0
        count, columns, words = words[:1], words[1:end], words[end:]
        if count != [str(len(names))]:
            raise DataError(
                f"{path} announces {' '.join(count)} images, list_eval_partition.txt has "
                f"{len(names)}; one of them is damaged or of another version. Delete it and load "
                "the set again"
            )
    width = len(columns) + 1 if header else 2
    if len(words) != width * len(names) or words[::width] != names:
        raise DataError(
            f"{path} does not have one line of {width - 1} numbers for each of the {len(names)} "
            "images of list_eval_partition.txt; delete the damaged one and load the set again"
        )
    del words[::width]
    return columns, _numbers(path, words).reshape(len(names), width - 1)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").split()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file; delete it and load the set again") from error


def _numbers(path: Path, words: list[str]) -> npt.NDArray[np.int64]:
    try:
        return np.array(words, dtype=np.int32).astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and load the set again") from error


def _expect(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise DataError(f"{data_home() / _FOLDER / name} is damaged: expected {what}")


def _crop(height: int, width: int) -> tuple[float, float, float, float]:
    """Top, left, height and width of the largest middle part of a photograph of this shape."""
    scale = min(SIZE[0] / height, SIZE[1] / width)
    crop_height, crop_width = height * scale, width * scale
    return (SIZE[0] - crop_height) / 2, (SIZE[1] - crop_width) / 2, crop_height, crop_width


def decode(content: bytes, resolution: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A JPEG of CelebA's size as uint8 (3, H, W): cut to shape around the middle, then scaled."""
    from PIL import Image

    height, width = resolution
    top, left, crop_height, crop_width = _crop(height, width)
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        if image.size != (SIZE[1], SIZE[0]):
            raise ValueError(f"it is {image.width}x{image.height}, not {SIZE[1]}x{SIZE[0]}")
        box = (left, top, left + crop_width, top + crop_height)
        small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR, box)
    return np.asarray(small).transpose(2, 0, 1)


class Cache:
    """The decoded images of an archive at one resolution.

    archive: the zip, which holds `img_align_celeba/<name>` for every one of `names`. The cache lies
    in the folder `cache` beside it, under a name that belongs to this archive's content.
    """

    def __init__(self, archive: Path, names: list[str], resolution: tuple[int, int]) -> None:
        self.archive, self.names, self.resolution = archive, names, resolution
        height, width = resolution
        self.image_bytes = 3 * height * width
        # The end of a zip is its table of contents, with a checksum of every image.
        size = archive.stat().st_size
        with archive.open("rb") as file:
            file.seek(max(0, size - 65536))
            key = zlib.crc32(file.read(), zlib.crc32(f"{size} {len(names)}".encode()))
        stem = archive.parent / "cache" / f"{height}x{width}-{key:08x}"
        self.pixels = stem.with_suffix(".pixels")
        self.sums = stem.with_suffix(".crc32")

    def images(self, chosen: npt.NDArray[np.int64]) -> Tensor:
        """The images at these ascending places: uint8 (N, 3, H, W), mapped, not read.

        Decodes what is missing, with a progress bar. Changes to the tensor do not reach the file.
        A cache that is complete may be read-only.
        """
        blocks = np.unique(chosen // _BLOCK).tolist()
        if self._missing(blocks):
            from filelock import FileLock

            make_folder(self.pixels.parent)
            with FileLock(self.pixels.with_suffix(".lock")):
                if not self._has_size():
                    self._create()
                self._fill(self._missing(blocks))
        count, (height, width) = len(self.names), self.resolution
        everything = torch.from_file(
            str(self.pixels), shared=False, size=count * self.image_bytes, dtype=torch.uint8
        ).view(count, 3, height, width)
        first, last = int(chosen[0]), int(chosen[-1])
        if last - first + 1 == len(chosen):  # as all of CelebA's splits are
            return everything[first : last + 1]
        return everything[torch.from_numpy(chosen)]

    def _sizes(self) -> dict[Path, int]:
        blocks = -(-len(self.names) // _BLOCK)
        return {self.sums: 8 * blocks, self.pixels: len(self.names) * self.image_bytes}

    def _has_size(self) -> bool:
        return all(path.is_file() and path.stat().st_size == n for path, n in self._sizes().items())

    def _create(self) -> None:
        """Make both files anew."""
        # The sums go first and come last: without them no pixel counts.
        self.sums.unlink(missing_ok=True)
        with self.pixels.open("wb") as file:
            file.truncate(self._sizes()[self.pixels])  # takes no room until it is written to
        self.sums.write_bytes(bytes(self._sizes()[self.sums]))

    def _span(self, block: int) -> tuple[int, int]:
        """The first byte of a block, and how many it has."""
        count = min(_BLOCK, len(self.names) - block * _BLOCK)
        return block * _BLOCK * self.image_bytes, count * self.image_bytes

    def _missing(self, blocks: list[int]) -> list[int]:
        """Those of the blocks that are not there, or not as they were written."""
        if not self._has_size():
            return blocks
        # One word a block: 0 if it is not there.
        sums = np.fromfile(self.sums, dtype="<u8")
        missing = []
        with self.pixels.open("rb") as file:
            for block in blocks:
                start, size = self._span(block)
                file.seek(start)
                if not sums[block] or sums[block] != _checksum(file.read(size)):
                    missing.append(block)
        return missing

    def _fill(self, blocks: list[int]) -> None:
        """Decode these blocks, in as many threads as there are processors."""
        from tqdm.auto import tqdm

        total = sum(self._span(block)[1] for block in blocks)
        free = shutil.disk_usage(self.pixels.parent).free
        if free < total:
            raise OSError(
                errno.ENOSPC,
                f"{total / 1e6:,.1f} MB are needed for decoded images, but only "
                f"{free / 1e6:,.1f} MB are free. Make room, ask for a smaller size or resolution, "
                "or set COURSEKIT_DATA to a folder on another disk",
                str(self.pixels.parent),
            )
        reader = _Reader(self.archive)

        def decode_block(block: int) -> int:
            start, size = self._span(block)
            names = self.names[block * _BLOCK : (block + 1) * _BLOCK]
            pixels = b"".join(reader.image(name, self.resolution).tobytes() for name in names)
            _write(self.pixels, start, pixels)
            _write(self.sums, 8 * block, _checksum(pixels).to_bytes(8, "little"))
            return size // self.image_bytes

        with (
            reader,
            tqdm(
                total=total // self.image_bytes, unit=" images", desc=f"decoding {_FOLDER}"
            ) as bar,
            ThreadPoolExecutor(_processors()) as pool,
        ):
            try:
                for done in pool.map(decode_block, blocks):
                    bar.update(done)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise


def _write(path: Path, start: int, content: bytes) -> None:
    """Overwrite a part of a file, and wait until it is on disk."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Reader:
    """The archive, opened once and read by several threads, one at a time."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        try:
            self.zip = zipfile.ZipFile(archive)
        except Exception as error:
            raise DataError(
                f"{archive} is not a whole zip archive ({error}); delete it and load the set again"
            ) from error

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.zip.close()

    def image(self, name: str, resolution: tuple[int, int]) -> npt.NDArray[np.uint8]:
        member = f"img_align_celeba/{name}"
        try:
            info = self.zip.getinfo(member)
            if info.file_size > _LARGEST_JPEG:
                raise ValueError(f"it has {info.file_size} bytes, more than any of CelebA's")
            return decode(self.zip.read(info), resolution)
        except KeyError:
            raise DataError(
                f"{self.archive} lacks {member}; delete it and load the set again"
            ) from None
        except Exception as error:  # there is no telling what damaged bytes make a parser raise
            raise DataError(
                f"{self.archive}: {member} is damaged ({error}); delete the archive and load the "
                "set again"
            ) from error


def _checksum(content: bytes) -> int:
    """CRC-32 with bit 32 set, so that it is never 0."""
    return zlib.crc32(content) | 1 << 32
