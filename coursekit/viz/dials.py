"""One slider per latent coordinate and the image that it makes, alive without a kernel."""

import json

import torch
from torch import Tensor, nn

from coursekit import require
from coursekit.models.latent import traversal
from coursekit.viz.decoded import evaluation, tile
from coursekit.viz.images import checked
from coursekit.viz.live import LiveFigure, as_data_url, live_figure, packed

_LARGEST_SHEET = 20_000  # bytes of the fallback picture as text


def latent_dials(decoder: nn.Module, code: Tensor, extent: float = 2.5) -> LiveFigure:
    """Sliders for all coordinates of a code, and the image that the page decodes from them.

    decoder: codes (N, L) -> logits (N, C, H, W), of layers that `live.packed` knows, with at most
    200,000 weights. code: (L,), where the sliders start. Readers without JavaScript see each
    coordinate moved in five steps. Raises ValueError where the figure would not fit into 300 kB.
    """
    require.shape("code", code, "L")
    if not extent > 0:
        raise ValueError(f"extent is {extent}, but sliders from -extent to extent need it above 0")
    values = torch.linspace(-extent, extent, 5)
    with evaluation(decoder.forward):
        rows = [traversal(code, dim, values) for dim in range(len(code))]
        images = checked(decoder(torch.cat(rows)).sigmoid(), 5 * len(code))
    height, width = images.shape[2:]
    names = ", ".join(f"z[{dim}]" for dim in range(len(code)))
    spec = {
        "decoder": packed(decoder, len(code)),
        "extent": extent,
        "start": [round(value, 4) for value in code.tolist()],
        "height": height,
        "width": width,
    }
    return live_figure(
        "dials.html",
        f"latent dials: {names} from {-extent:g} to {extent:g}, "
        f"images of {height} x {width} pixels",
        spec=json.dumps(spec),
        alt=f"One row per coordinate, {names}, moved from {-extent:g} to {extent:g} in five steps",
        sheet=as_data_url(tile(images, 5), _LARGEST_SHEET),
    )
