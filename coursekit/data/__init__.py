"""Image sets: drawn ones whose true factors are known, and real ones, by one call.

from coursekit import data
train = data.load("digits", size=5000)
for batch in train.batches(128, shuffle=True): ...
"""

from __future__ import annotations

from collections.abc import Mapping

from coursekit.data import celeba, digits, faces, real, shapes
from coursekit.data.files import DataError, data_home
from coursekit.data.imageset import Batch, Binarization, ImageSet, check_resolution
from coursekit.data.rendered import Renderer, render
from coursekit.data.sweeps import center_of_mass, sweep

__all__ = [
    "NAMES",
    "Batch",
    "Binarization",
    "DataError",
    "ImageSet",
    "center_of_mass",
    "data_home",
    "load",
    "splits",
    "sweep",
]

_RENDERED: dict[str, Renderer] = {"digits": digits, "shapes": shapes, "faces": faces}
_REAL = {
    "optdigits": real.load_optdigits,
    "mnist": real.load_mnist,
    "fashion_mnist": real.load_fashion_mnist,
    "cifar10": real.load_cifar10,
}
NAMES = (*_RENDERED, *_REAL, "celeba")


def splits(name: str) -> tuple[str, ...]:
    """The splits of an image set, "train" first."""
    if name not in NAMES:
        raise ValueError(f"name is {name!r}, but one of {', '.join(NAMES)} is expected")
    if name in _RENDERED:
        return tuple(_RENDERED[name].SIZES)
    return celeba.SPLITS if name == "celeba" else real.SPLITS


def load(
    name: str,
    split: str = "train",
    size: int | None = None,
    resolution: tuple[int, int] | None = None,
    seed: int = 0,
    fixed: Mapping[str, float] | None = None,
) -> ImageSet:
    """Load an image set by name.

    name: one of NAMES. "digits", "shapes" and "faces" are drawn here and need no file.
    split: "train" or "test"; the drawn sets and celeba also have "validation".
    size: how many images. A drawn set has any number; of a real one the first `size` are taken.
        None: all of a real set, a usual number of a drawn one.
    resolution: (height, width) in pixels; drawn so, or resized. None: as is usual for the set.
    seed: of the drawn sets; image i of a seed is the same whatever `size` is.
    fixed: factors of a drawn set that have one value in all images, as {"orientation": 0.0}.

    Raises ValueError for arguments that do not fit, FileNotFoundError where a real set is not here
    and cannot be fetched, DataError (a ValueError) where its files are damaged.
    """
    known = splits(name)
    if split not in known:
        raise ValueError(
            f"split is {split!r}, but one of {', '.join(known)} is expected for {name!r}"
        )
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ValueError(f"size is {size!r}, but a number of images (or None for all) is expected")
    if resolution is not None:
        check_resolution(resolution)
    if name in _RENDERED:
        return render(_RENDERED[name], name, split, size, resolution, seed, fixed)
    if fixed:
        raise ValueError(f"fixed is given, but {name!r} is a real set, whose factors nobody knows")
    if name == "celeba":
        return celeba.load(split, size, resolution)
    images = _REAL[name](split)
    if size is not None:
        if size > len(images):
            raise ValueError(
                f"size is {size}, but {name!r} has only {len(images)} {split} images: "
                "ask for fewer, or take a drawn set, which has any number"
            )
        images = images.subset(slice(size))
    if resolution is not None:
        images = images.resize(resolution)
    return images
