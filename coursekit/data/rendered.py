"""What the drawn sets share: a seeded stream of factors, and pictures made block by block."""

from __future__ import annotations

import hashlib
from typing import Protocol

import torch
from torch import Tensor

from coursekit.data.imageset import ImageSet

_BLOCK = 512  # images drawn at a time: their intermediate results stay in the processor's cache


class Renderer(Protocol):
    """A module that draws pictures from factors: digits, shapes, faces."""

    CLASSES: tuple[str, ...]
    LABEL: str | None
    SIZES: dict[str, int]
    RESOLUTION: tuple[int, int]
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
) -> ImageSet:
    """Draw a set. Image i depends on name, split, seed and i alone, not on how many there are."""
    if split not in renderer.SIZES:
        raise ValueError(
            f"split must be one of {', '.join(renderer.SIZES)} for {name!r}, got {split!r}"
        )
    count = renderer.SIZES[split] if size is None else size
    height, width = renderer.RESOLUTION if resolution is None else resolution
    blocks: list[dict[str, Tensor]] = []
    images = torch.empty(0)
    for start in range(0, count, _BLOCK):
        generator = torch.Generator().manual_seed(_seed(name, split, seed, start // _BLOCK))
        factors = renderer.sample_factors(_BLOCK, generator)
        block = renderer.images_from_factors(factors, (height, width), generator)
        if not blocks:
            images = torch.empty((count, *block.shape[1:]), dtype=torch.uint8)
        stop = min(start + _BLOCK, count)
        images[start:stop] = block[: stop - start]
        blocks.append(factors)
    factors = {key: torch.cat([block[key] for block in blocks])[:count] for key in blocks[0]}
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


def _seed(name: str, split: str, seed: int, block: int) -> int:
    """A 63-bit seed of its own for every block of every set."""
    text = f"{name}/{split}/{seed}/{block}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
