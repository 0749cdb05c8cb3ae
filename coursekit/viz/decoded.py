"""What a decoder makes of chosen codes: a plane of the latent space, one coordinate after another.

A `decode` here is any function from codes (N, L), float, to images (N, C, H, W) in [0, 1]. Of a
model in evaluation mode: `lambda z: model.likelihood(z).mean`.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from coursekit import require
from coursekit.models.latent import traversal
from coursekit.viz.images import checked, show_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Decode = Callable[[Tensor], Tensor]


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
    )
    axes.set(xlabel=f"z[{dims[0]}]", ylabel=f"z[{dims[1]}]")
    return figure


def show_traversals(
    decode: Decode, code: Tensor, dims: Sequence[int], values: Tensor, title: str = ""
) -> "Figure":
    """Draw one row per coordinate in `dims`: the code (L,) decoded with it set to each of `values`.

    The column with the value that the code itself has shows the same image in every row.
    """
    with torch.no_grad():
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
    with torch.no_grad():  # in small batches: a decoder's activations can be a gigabyte for 169
        return torch.cat([checked(decode(part), len(part)) for part in codes.split(64)])


def tile(images: Tensor, columns: int) -> Tensor:
    """Images (rows * columns, C, H, W) as one picture (C, rows * H, columns * W), without gaps."""
    count, channels, height, width = images.shape
    grid = images.reshape(count // columns, columns, channels, height, width)
    return grid.permute(2, 0, 3, 1, 4).reshape(channels, -1, columns * width)
