"""What a decoder makes of chosen codes: a plane of the latent space, one coordinate after another.

A `decode` here is any function from codes (N, L), float, to images (N, C, H, W) in [0, 1], such as
`lambda z: model.likelihood(z).mean`. It is called without gradients and with its model in
evaluation mode, see `evaluation`.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from coursekit import require
from coursekit.models.latent import traversal
from coursekit.viz.images import checked, show_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Decode = Callable[[Tensor], Tensor]


@contextmanager
def evaluation(decode: Decode) -> Iterator[None]:
    """Inside, no gradients are kept, and the models that `decode` uses are in evaluation mode.

    After `fit` a model is in training mode: batch normalization then lets the images of a batch
    change each other, and one code shows several pictures.
    """
    models = _models(decode, set())
    training = {part for model in models for part in model.modules() if part.training}
    try:
        for part in training:
            part.training = False
        with torch.no_grad():
            yield
    finally:
        for part in training:
            part.training = True


def _models(thing: object, seen: set[int]) -> Iterator[nn.Module]:
    """The models that a function uses: by name, as `self`, in a list, through a function."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    parts: Iterable[object] = ()
    if isinstance(thing, nn.Module):
        yield thing
    elif inspect.isfunction(thing):
        used = inspect.getclosurevars(thing)
        parts = [*used.nonlocals.values(), *used.globals.values()]
    elif inspect.ismethod(thing):
        parts = [thing.__self__, thing.__func__]
    elif isinstance(thing, partial):
        parts = [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, dict):
        parts = thing.values()
    elif isinstance(thing, (list, tuple)):
        parts = thing
    for part in parts:
        yield from _models(part, seen)


def show_manifold(
    decode: Decode,
    extent: float = 2.5,
    steps: int = 13,
    dims: tuple[int, int] = (0, 1),
    base: Tensor | None = None,
) -> "Figure":
    """Draw the images decoded on a square grid in the plane of two latent coordinates.

    The first of `dims` runs from -extent to extent from left to right, the second from bottom to
    top. `base`, (L,), gives the other coordinates; without it the code has two, and no others.
    """
    import matplotlib.pyplot as plt

    images = decode_plane(decode, extent, steps, dims, base)
    height, width = images.shape[2:]
    figure, axes = plt.subplots(
        figsize=(5.2, 4.8 * height / width + 0.5), layout="constrained", dpi=100
    )
    edge = extent + extent / (steps - 1)  # the images stand on the grid points: half of one beyond
    axes.imshow(
        tile(images, steps).permute(1, 2, 0).numpy(),
        cmap="gray",
        vmin=0,
        vmax=1,
        extent=(-edge, edge, -edge, edge),
        aspect=height / width,
        interpolation="nearest",
    )
    axes.set(xlabel=f"z[{dims[0]}]", ylabel=f"z[{dims[1]}]")
    return figure


def show_traversals(
    decode: Decode, code: Tensor, dims: Sequence[int], values: Tensor, title: str = ""
) -> "Figure":
    """Draw one row per coordinate in `dims`: the code (L,) decoded with it set to each of `values`.

    The column with the value that the code itself has shows the same image in every row.
    """
    with evaluation(decode):
        rows = {
            f"z[{dim}]": checked(decode(traversal(code, dim, values)), len(values)) for dim in dims
        }
    return show_rows(rows, title, column_labels=[f"{value:.3g}" for value in values.tolist()])


def decode_plane(
    decode: Decode, extent: float, steps: int, dims: tuple[int, int], base: Tensor | None
) -> Tensor:
    """Images (steps * steps, C, H, W), row by row; the first has the lowest z[dims[0]] and the
    highest z[dims[1]], as it stands at the top left of a picture."""
    require.at_least("steps", steps, 2)
    if not extent > 0:
        raise ValueError(
            f"extent is {extent}, but the grid from -extent to extent needs it above 0"
        )
    base = torch.zeros(2) if base is None else base.detach()
    require.shape("base", base, "L")
    if len(set(dims)) != 2 or not all(0 <= dim < len(base) for dim in dims):
        raise ValueError(
            f"dims is {dims}, but two different ones from 0 to {len(base) - 1} are expected: "
            "for codes of more than two give base, a tensor (L,), for the others"
        )
    values = torch.linspace(-extent, extent, steps)
    second, first = torch.meshgrid(values.flip(0), values, indexing="ij")
    codes = base.repeat(steps * steps, 1)
    codes[:, dims[0]] = first.flatten().to(codes)
    codes[:, dims[1]] = second.flatten().to(codes)
    with evaluation(decode):  # in small batches: a decoder's activations can be a gigabyte for 169
        return torch.cat([checked(decode(part), len(part)) for part in codes.split(64)])


def tile(images: Tensor, columns: int) -> Tensor:
    """Images (rows * columns, C, H, W) as one picture (C, rows * H, columns * W), without gaps."""
    count, channels, height, width = images.shape
    grid = images.reshape(count // columns, columns, channels, height, width)
    return grid.permute(2, 0, 3, 1, 4).reshape(channels, -1, columns * width)
