"""CelebA: 202,599 photographs of faces, read from the zip and decoded once to a file of bytes.

A JPEG takes hundreds of microseconds to decode and scale, an image in memory a few. So the images
that are asked for are decoded to a cache file, which is mapped into memory. All of them take one
or two minutes.
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
from coursekit.files import replacing

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
_BLOCK = 256  # images decoded at a time by a thread
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
            raise ValueError(
                f"size is {size}, but 'celeba' has only {len(chosen)} {split} images: ask for fewer"
            )
        chosen = chosen[:size]
    if len(chosen) == 0:
        raise DataError(f"{fetch_celeba('list_eval_partition.txt')} names no {split} images")

    header, attributes = _table(fetch_celeba("list_attr_celeba.txt"), names, header=True)
    _, identities = _table(fetch_celeba("identity_CelebA.txt"), names, header=False)
    corners, landmarks = _table(fetch_celeba("list_landmarks_align_celeba.txt"), names, header=True)
    _expect(identities.shape[1] == 1, "identity_CelebA.txt", "one number per image")
    _expect(len(corners) == 10, "list_landmarks_align_celeba.txt", "ten numbers per image")
    _expect(bool(np.isin(attributes, (-1, 1)).all()), "list_attr_celeba.txt", "only 1 and -1")

    archive = fetch_celeba("img_align_celeba.zip")
    images = decoded(archive, [names[i] for i in chosen], (height, width))
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
        raise DataError(
            f"{path} is damaged, but it should have a name and a number on every line: "
            "delete it and load the set again"
        )
    names, numbers = words[::2], _numbers(path, words[1::2])
    if len(set(names)) != len(names) or not np.isin(numbers, (0, 1, 2)).all():
        raise DataError(
            f"{path} is damaged (a name occurs twice, or a split is not 0, 1 or 2): "
            "delete it and load the set again"
        )
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
                f"{path} announces {' '.join(count)} images, but list_eval_partition.txt has "
                f"{len(names)}: delete the one that is damaged or of another version, and load the "
                "set again"
            )
    width = len(columns) + 1 if header else 2
    if len(words) != width * len(names) or words[::width] != names:
        raise DataError(
            f"{path} does not have one line of {width - 1} numbers for each of the {len(names)} "
            "images of list_eval_partition.txt: delete the damaged one and load the set again"
        )
    del words[::width]
    return columns, _numbers(path, words).reshape(len(names), width - 1)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").split()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file: delete it and load the set again") from error


def _numbers(path: Path, words: list[str]) -> npt.NDArray[np.int64]:
    try:
        return np.array(words, dtype=np.int32).astype(np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path} is damaged ({error}): delete it and load the set again") from error


def _expect(holds: bool, name: str, what: str) -> None:
    if not holds:
        raise DataError(
            f"{data_home() / _FOLDER / name} is damaged, but it should hold {what}: "
            "delete it and load the set again"
        )


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


def decoded(archive: Path, names: list[str], resolution: tuple[int, int]) -> Tensor:
    """The images `names` of the archive at a resolution, uint8 (N, 3, H, W), mapped, not read.

    They come from a file of their own in the folder `cache` beside the archive, and are decoded
    into it, with a progress bar, when they are first asked for. Changes to the tensor do not reach
    the file. A file that is there may be read-only.
    """
    height, width = resolution
    image_bytes = 3 * height * width
    size = len(names) * image_bytes
    path = _cache_file(archive, names, resolution)
    if not path.is_file() or path.stat().st_size != size:
        make_folder(path.parent)
        free = shutil.disk_usage(path.parent).free
        if free < size:
            raise OSError(
                errno.ENOSPC,
                f"{size / 1e6:,.1f} MB are needed for decoded images, but only "
                f"{free / 1e6:,.1f} MB are free. Make room, ask for a smaller size or resolution, "
                "or set COURSEKIT_DATA to a folder on another disk",
                str(path.parent),
            )
        with replacing(path) as part:
            _decode(archive, names, resolution, part)
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8).view(
        len(names), 3, height, width
    )


def _cache_file(archive: Path, names: list[str], resolution: tuple[int, int]) -> Path:
    """A name that belongs to these images of this archive."""
    # The end of a zip is its table of contents, with a checksum of every image.
    size = archive.stat().st_size
    with archive.open("rb") as file:
        file.seek(max(0, size - 65536))
        key = zlib.crc32(file.read(), zlib.crc32(f"{size} {names}".encode()))
    height, width = resolution
    return archive.parent / "cache" / f"{len(names)}-{height}x{width}-{key:08x}.uint8"


def _decode(archive: Path, names: list[str], resolution: tuple[int, int], path: Path) -> None:
    """Write the images to `path`, one after the other, decoded by one thread per processor."""
    from tqdm.auto import tqdm

    with (
        _open(archive) as pictures,
        path.open("wb") as file,
        tqdm(total=len(names), unit=" images", desc=f"decoding {_FOLDER}") as bar,
        ThreadPoolExecutor(_processors()) as pool,
    ):

        def decode_block(start: int) -> bytes:
            block = names[start : start + _BLOCK]
            return b"".join(_read(pictures, name, resolution).tobytes() for name in block)

        try:
            for pixels in pool.map(decode_block, range(0, len(names), _BLOCK)):
                file.write(pixels)
                bar.update(min(_BLOCK, len(names) - bar.n))
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _open(archive: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(archive)
    except Exception as error:
        raise DataError(
            f"{archive} is not a whole zip archive ({error}): delete it and load the set again"
        ) from error


def _read(
    archive: zipfile.ZipFile, name: str, resolution: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """One decoded image, or a DataError that says what is wrong with it."""
    member = f"img_align_celeba/{name}"
    try:
        info = archive.getinfo(member)
        if info.file_size > _LARGEST_JPEG:
            raise ValueError(f"it has {info.file_size} bytes, more than any of CelebA's")
        return decode(archive.read(info), resolution)
    except KeyError:
        raise DataError(
            f"{archive.filename} lacks {member}: delete it and load the set again"
        ) from None
    except Exception as error:  # there is no telling what damaged bytes make a parser raise
        raise DataError(
            f"{archive.filename}: {member} is damaged ({error}): delete the archive and load the "
            "set again"
        ) from error
