"""What the drawn sets share: a seeded stream of factors, and pictures made block by block."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from coursekit.data.imageset import ImageSet, check_resolution

_BLOCK = 512  # images drawn at a time: their intermediate results stay in the processor's cache

# What a picture is drawn from: the number of values of a discrete factor, or the usual range of a
# continuous one.
Factors: TypeAlias = Mapping[str, int | tuple[float, float]]


class Renderer(Protocol):
    """A module that draws pictures from factors: digits, shapes, faces."""

    CLASSES: tuple[str, ...]
    LABEL: str | None
    SIZES: dict[str, int]
    RESOLUTION: tuple[int, int]
    CHANNELS: int
    FACTORS: Factors
    CITATION: str
    LICENCE: str

    def sample_factors(self, n: int, generator: torch.Generator) -> dict[str, Tensor]: ...

    def images_from_factors(
        self,
        factors: dict[str, Tensor],
        resolution: tuple[int, int] = ...,
        generator: torch.Generator | None = None,
    ) -> Tensor: ...

    def attributes_from_factors(self, factors: dict[str, Tensor]) -> dict[str, Tensor]: ...


def render(
    renderer: Renderer,
    name: str,
    split: str,
    size: int | None,
    resolution: tuple[int, int] | None,
    seed: int,
    fixed: Mapping[str, float] | None = None,
) -> ImageSet:
    """Draw a set. Image i depends on name, split, seed and i alone, not on how many there are.

    fixed: factors that have the same value in all images; the others are drawn as without it.
    """
    unknown = [key for key in fixed or {} if key not in renderer.FACTORS]
    if unknown:
        raise ValueError(
            f"fixed names {', '.join(unknown)}, but the factors of {name!r} are "
            f"{', '.join(renderer.FACTORS)}"
        )
    count = renderer.SIZES[split] if size is None else size
    height, width = renderer.RESOLUTION if resolution is None else resolution
    images = torch.empty((count, renderer.CHANNELS, height, width), dtype=torch.uint8)

    def draw(start: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(_seed(name, split, seed, start // _BLOCK))
        factors = renderer.sample_factors(_BLOCK, generator)
        factors = {key: value[: count - start] for key, value in factors.items()}
        for key, value in (fixed or {}).items():
            factors[key] = torch.full_like(factors[key], value)
        images[start : start + _BLOCK] = renderer.images_from_factors(
            factors, (height, width), generator
        )
        return factors

    blocks = _in_threads(draw, range(0, count, _BLOCK))
    factors = {key: torch.cat([block[key] for block in blocks]) for key in blocks[0]}
    return ImageSet(
        name=name,
        split=split,
        images=images,
        labels=None if renderer.LABEL is None else factors[renderer.LABEL],
        classes=renderer.CLASSES,
        factors=factors,
        attributes=renderer.attributes_from_factors(factors),
        citation=renderer.CITATION,
        licence=renderer.LICENCE,
    )


def _in_threads(draw: Callable[[int], dict[str, Tensor]], starts: range) -> list[dict[str, Tensor]]:
    """Draw the blocks in parallel, each in one thread.

    The operations are too small to gain from several threads each. And because each block is drawn
    by one thread, the number of threads does not change the pictures.
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(starts) == 1:
        return [draw(start) for start in starts]
    with ThreadPoolExecutor(
        min(threads, len(starts)), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        try:
            return list(pool.map(draw, starts))
        finally:
            # The initializer's call has also set the number for threads that start later.
            torch.set_num_threads(threads)


def draw_in_chunks(
    draw: Callable[[dict[str, Tensor]], Tensor],
    factors: dict[str, Tensor],
    known: Factors,
    resolution: tuple[int, int],
    chunk_pixels: int,
) -> Tensor:
    """Draw as many pictures at a time as have `chunk_pixels` pixels, which bounds the memory.

    known: the factors that are expected. A continuous factor may lie outside its range.
    """
    check_resolution(resolution)
    missing = [name for name in known if name not in factors]
    if missing:
        raise ValueError(
            f"factors has no {', '.join(missing)}, but all of {', '.join(known)} are expected"
        )
    count = len(factors[next(iter(known))])
    for name, values in known.items():
        factor = factors[name]
        if factor.shape != (count,):
            raise ValueError(
                f"factor {name} has shape {tuple(factor.shape)}, but ({count},) is expected"
            )
        if isinstance(values, int):
            if factor.is_floating_point():
                raise ValueError(
                    f"factor {name} is {factor.dtype}, but whole numbers are expected: "
                    "give it .long()"
                )
            if count and not 0 <= int(factor.min()) <= int(factor.max()) < values:
                raise ValueError(
                    f"factor {name} has values from {factor.min()} to {factor.max()}, but "
                    f"0 to {values - 1} are expected"
                )
        elif not factor.is_floating_point():
            raise ValueError(
                f"factor {name} is {factor.dtype}, but floats are expected: give it .float()"
            )
        elif not bool(factor.isfinite().all()):
            raise ValueError(f"factor {name} has NaN or infinity, but finite values are expected")
    size = max(1, chunk_pixels // (resolution[0] * resolution[1]))
    # One chunk at least, so that no pictures at all still have a shape.
    starts = range(0, max(count, 1), size)
    return torch.cat(
        [draw({name: value[at : at + size] for name, value in factors.items()}) for at in starts]
    )


def _seed(name: str, split: str, seed: int, block: int) -> int:
    """A 63-bit seed of its own for every block of every set."""
    text = f"{name}/{split}/{seed}/{block}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
