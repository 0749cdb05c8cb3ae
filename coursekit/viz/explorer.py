"""The latent explorer: a plane of the latent space to drag in, alive without a kernel."""

import json

import torch
from torch import Tensor, nn

from coursekit.viz.decoded import decode_plane, tile
from coursekit.viz.live import LiveFigure, as_data_url, live_figure, packed

_LARGEST_SHEET = 150_000  # bytes of the sheet as text: the decoder's weights need room as well


def latent_explorer(
    decoder: nn.Module,
    extent: float = 2.5,
    steps: int = 13,
    dims: tuple[int, int] = (0, 1),
    base: Tensor | None = None,
) -> LiveFigure:
    """Decode any point in the plane of two latent coordinates, chosen by mouse, touch or keys.

    decoder: codes (N, L) -> logits (N, C, H, W), of layers that `live.packed` knows, with at most
    200,000 weights. The page decodes by itself. extent, dims, base: as in `show_manifold`. steps:
    grid points along a side of the picture to drag in, which is also what a reader without
    JavaScript sees. Raises ValueError where the figure would not fit into 300 kB.
    """
    images = decode_plane(lambda z: decoder(z).sigmoid(), extent, steps, dims, base)
    height, width = images.shape[2:]
    code = torch.zeros(2) if base is None else base.detach()
    names = [f"z[{dim}]" for dim in dims]
    others = len(code) - 2
    spec = {
        "decoder": packed(decoder, len(code)),
        "steps": steps,
        "extent": extent,
        "names": names,
        "dims": list(dims),
        "code": [round(value, 4) for value in code.tolist()],
        "height": height,
        "width": width,
    }
    return live_figure(
        "explorer.html",
        f"latent explorer: {steps} x {steps} images of {height} x {width} pixels, "
        f"{names[0]} and {names[1]} from {-extent:g} to {extent:g}",
        spec=json.dumps(spec),
        extent=f"{extent:g}",
        first=names[0],
        second=names[1],
        fixed=f"The other {others} coordinates stay fixed." if others else "",
        alt=f"{steps} by {steps} decoded images; {names[0]} grows to the right, {names[1]} upward",
        sheet=as_data_url(tile(images, steps), _LARGEST_SHEET),
    )
