"""The one container for pictures: images held once as bytes, batches as an index and a cast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

Binarization = Literal["none", "threshold", "static", "dynamic"]
_CHUNK = 1024  # images converted at a time: bounds the memory of a float copy


class Batch(NamedTuple):
    """Some images of an :class:`ImageSet`, ready for a model.

    images: float32 (B, C, H, W) in [0, 1].
    labels: int64 (B,), or None where the set has no labels.
    index: int64 (B,), the position of each image in the set.
    """

    images: Tensor
    labels: Tensor | None
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody needs here


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """A set of pictures of one size, with all that is known about them.

    images: uint8 (N, C, H, W).
    labels: int64 (N,), the class of each image, or None.
    classes: the name of each class; ``classes[labels[i]]`` names image i.
    factors: name -> (N,) tensor, what a rendered picture was drawn from; empty for real sets.
    attributes: name -> bool (N,) tensor, as CelebA's binary attributes.
    annotations: name -> (N, ...) tensor, what people noted about real pictures.
    citation, licence: what to cite, and under which terms the pictures may be used.
    binarization: see :meth:`binarize`; a "dynamic" set is sampled anew in every batch.
    """

    name: str
    split: str
    images: Tensor
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    factors: dict[str, Tensor] = field(default_factory=dict)
    attributes: dict[str, Tensor] = field(default_factory=dict)
    annotations: dict[str, Tensor] = field(default_factory=dict)
    citation: str = ""
    licence: str = ""
    binarization: Binarization = "none"

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(
                f"images is {self.images.dtype} of shape {tuple(self.images.shape)}, but uint8 "
                "of shape (N, C, H, W) is expected"
            )
        columns = {**self.factors, **self.attributes}
        if self.labels is not None:
            if self.labels.dtype != torch.int64:
                raise ValueError(
                    f"labels is {self.labels.dtype}, but int64 is expected: give labels.long()"
                )
            columns["labels"] = self.labels
        for name, column in self.annotations.items():
            if column.ndim == 0 or len(column) != len(self):
                raise ValueError(
                    f"{name} has shape {tuple(column.shape)}, but {len(self)} rows are expected, "
                    "one per image"
                )
        for name, column in columns.items():
            if column.shape != (len(self),):
                raise ValueError(
                    f"{name} has shape {tuple(column.shape)}, but ({len(self)},) is expected, "
                    "one value per image"
                )

    def __len__(self) -> int:
        return self.images.shape[0]

    def __repr__(self) -> str:
        n, c, h, w = self.images.shape
        parts = [f"{n} images of {c}x{h}x{w}"]
        if self.classes:
            parts.append(f"{len(self.classes)} classes")
        if self.factors:
            parts.append(f"{len(self.factors)} factors")
        if self.attributes:
            parts.append(f"{len(self.attributes)} attributes")
        if self.binarization != "none":
            parts.append(f"binarization {self.binarization}")
        return f"ImageSet({self.name!r}, {self.split!r}: {', '.join(parts)})"

    def _columns(self, change: Callable[[Tensor], Tensor]) -> ImageSet:
        """The set with `change` applied to every tensor that has one value per image."""
        return replace(
            self,
            images=change(self.images),
            labels=None if self.labels is None else change(self.labels),
            factors={name: change(value) for name, value in self.factors.items()},
            attributes={name: change(value) for name, value in self.attributes.items()},
            annotations={name: change(value) for name, value in self.annotations.items()},
        )

    def to(self, device: torch.device | str) -> ImageSet:
        """The same set, its tensors on `device`."""
        return self._columns(lambda column: column.to(device))

    def subset(self, index: Tensor | Sequence[int] | slice) -> ImageSet:
        """The images at `index`: a slice, positions, or a bool mask of length N."""
        if isinstance(index, slice):
            return self._columns(lambda column: column[index])
        chosen = torch.as_tensor(index, device=self.images.device)
        if chosen.numel() == 0 and chosen.dtype != torch.bool:
            chosen = chosen.long()
        if chosen.ndim != 1 or chosen.is_floating_point():
            raise ValueError(
                f"index is {chosen.dtype} of shape {tuple(chosen.shape)}, but a slice, a list of "
                "positions or a bool mask is expected"
            )
        if chosen.dtype == torch.bool and len(chosen) != len(self):
            raise ValueError(
                f"index is a mask of {len(chosen)}, but one of {len(self)} is expected: "
                "the set has so many images"
            )
        if chosen.dtype == torch.bool:
            chosen = chosen.nonzero()[:, 0]
        elif len(chosen) and not -len(self) <= int(chosen.min()) <= int(chosen.max()) < len(self):
            raise IndexError(
                f"index goes from {chosen.min()} to {chosen.max()}, but at most {len(self) - 1} "
                f"is expected: the set has {len(self)} images"
            )
        chosen = chosen.long() % max(len(self), 1)
        return self._columns(lambda column: column.index_select(0, chosen))

    def _converted(self, change: Callable[[Tensor], Tensor]) -> ImageSet:
        """The set with `change`, float [0, 255] to float, applied to chunks of the images."""
        if self.binarization in ("threshold", "static"):
            raise ValueError(
                f"the pixels are black or white ({self.binarization}) and would be grey again: "
                "change size or color first, then binarize"
            )
        chunks = [change(chunk.float()) for chunk in torch.split(self.images, _CHUNK)]
        images = torch.cat([chunk.round_().clamp_(0, 255).byte() for chunk in chunks])
        return replace(self, images=images)

    def resize(self, resolution: tuple[int, int]) -> ImageSet:
        """The images at `resolution` = (H, W) pixels, by bilinear filtering with anti-aliasing."""
        check_resolution(resolution)
        if self.images.shape[2:] == tuple(resolution):
            return self
        if len(self) == 0:
            return replace(
                self, images=self.images.new_empty((0, self.images.shape[1], *resolution))
            )
        return self._converted(
            lambda chunk: torch.nn.functional.interpolate(
                chunk, size=tuple(resolution), mode="bilinear", antialias=True
            )
        )

    def greyscale(self) -> ImageSet:
        """The images with one channel: the luminance of ITU-R BT.601."""
        if self.images.shape[1] == 1:
            return self
        if self.images.shape[1] != 3:
            raise ValueError(
                f"images have {self.images.shape[1]} channels, but 1 or 3 are expected"
            )
        weights = torch.tensor([0.299, 0.587, 0.114], device=self.images.device).view(1, 3, 1, 1)
        return self._converted(lambda chunk: (chunk * weights).sum(1, keepdim=True))

    def binarize(self, how: Binarization, seed: int = 0) -> ImageSet:
        """The set with pixels that are 0 or 1 in every batch, grey values read as probabilities.

        "none": grey values as they are. "threshold": 1 where the grey value exceeds 1/2.
        "static": one Bernoulli draw for every pixel, made here from `seed`.
        "dynamic": a new draw in every batch, from the generator given to :meth:`batches`.
        The four are different targets: likelihoods on them do not compare (Burda et al. 2016).
        """
        if how not in get_args(Binarization):
            names = ", ".join(get_args(Binarization))
            raise ValueError(f"how is {how!r}, but one of {names} is expected")
        if self.binarization != "none":
            raise ValueError(
                f"the set is binarized already ({self.binarization}): start from the grey images"
            )
        images = self.images
        if how == "threshold":
            images = (images > 127).byte() * 255
        elif how == "static":
            generator = torch.Generator().manual_seed(seed)
            images = torch.cat(
                [
                    _bernoulli(chunk.float() / 255, generator).byte() * 255
                    for chunk in torch.split(images, _CHUNK)
                ]
            )
        return replace(self, images=images, binarization=how)

    def batches(
        self,
        batch_size: int,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        drop_last: bool = False,
    ) -> Iterator[Batch]:
        """One pass over the set, `batch_size` images at a time.

        shuffle: visit the images in an order drawn from `generator`.
        generator: also draws dynamic binarization; None means torch's global one.
        device: where the batch is wanted; bytes are moved, then cast. None leaves it where the set
            is. Move a set that fits with :meth:`to` once, and no batch has to travel.
        drop_last: leave out the last batch if it has fewer than `batch_size` images.
        """
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size is {batch_size!r}, but a positive integer is expected")
        return self._batches(batch_size, shuffle, generator, device, drop_last)

    def _batches(
        self,
        batch_size: int,
        shuffle: bool,
        generator: torch.Generator | None,
        device: torch.device | str | None,
        drop_last: bool,
    ) -> Iterator[Batch]:
        home = self.images.device
        target = home if device is None else torch.device(device)
        count = len(self)
        if shuffle:
            where = "cpu" if generator is None else generator.device
            order = torch.randperm(count, generator=generator, device=where).to(home)
        else:
            order = torch.arange(count, device=home)
        end = count - count % batch_size if drop_last else count
        for start in range(0, end, batch_size):
            index = order[start : start + batch_size]
            if shuffle:  # images[index] would give the same, ten times slower
                chunk = self.images.index_select(0, index)
            else:
                chunk = self.images[start : start + batch_size]
            images = chunk.to(target).float().div_(255)
            if self.binarization == "dynamic":
                images = _bernoulli(images, generator)
            labels = None if self.labels is None else self.labels[index].to(target)
            yield Batch(images, labels, index.to(target))


def _bernoulli(probabilities: Tensor, generator: torch.Generator | None) -> Tensor:
    """A float 0-or-1 draw of the same shape, wherever the generator lives."""
    where = probabilities.device if generator is None else generator.device
    uniform = torch.rand(probabilities.shape, generator=generator, device=where)
    return (uniform.to(probabilities.device) < probabilities).float()


def check_resolution(resolution: tuple[int, int]) -> None:
    """Raise ValueError unless `resolution` is (height, width), both positive integers."""
    if (
        not isinstance(resolution, (tuple, list))
        or len(resolution) != 2
        or not all(isinstance(side, int) and side > 0 for side in resolution)
    ):
        raise ValueError(
            f"resolution is {resolution!r}, but (height, width) in pixels is expected, such as "
            "(64, 64)"
        )
