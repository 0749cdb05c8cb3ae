"""The latent explorer: a plane of the latent space to drag in, alive without a kernel."""

import base64
import io
from dataclasses import dataclass
from importlib.resources import files
from string import Template

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from coursekit.viz.decoded import Decode, decode_plane, tile

_LARGEST_SIDE = 64  # pixels of one image on the sheet: more is not seen, and weighs on the notebook
_LARGEST_SHEET = 380_000  # bytes of the sheet as text: with the script, under 400 kB


@dataclass(frozen=True)
class LatentExplorer:
    """Displays itself in a notebook or a page. `html` stands alone: no kernel, file or network."""

    html: str
    summary: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.summary


def latent_explorer(
    decode: Decode,
    extent: float = 2.5,
    steps: int = 13,
    dims: tuple[int, int] = (0, 1),
    base: Tensor | None = None,
) -> LatentExplorer:
    """Decode a grid in the plane of two latent coordinates, to be explored by mouse, touch or keys.

    decode: codes (N, L) -> images (N, C, H, W) in [0, 1], such as
    `lambda z: model.likelihood(z).mean`; its model is in evaluation mode meanwhile. extent, dims,
    base: as in `show_manifold`. steps: grid points along a side. Images with a side above 64
    pixels are reduced to that.

    The model decodes the steps * steps grid points, now; between them the figure mixes the nearest
    four images, and says so. Raises ValueError where the images would not fit into 400 kB.
    """
    images = decode_plane(decode, extent, steps, dims, base)
    height, width = images.shape[2:]
    factor = min(1.0, _LARGEST_SIDE / max(height, width))
    if factor < 1:
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        images = interpolate(images, size=size, mode="bilinear", antialias=True).clamp(0, 1)
    names = [f"z[{dim}]" for dim in dims]
    others = 0 if base is None else len(base) - 2
    html = Template(files("coursekit.viz").joinpath("explorer.html").read_text("utf-8")).substitute(
        steps=steps,
        extent=f"{extent:g}",
        first=names[0],
        second=names[1],
        fixed=f"The other {others} coordinates stay fixed." if others else "",
        alt=f"{steps} by {steps} decoded images; {names[0]} grows to the right, {names[1]} upward",
        sheet=_as_data_url(tile(images, steps)),
    )
    summary = (
        f"LatentExplorer({steps} x {steps} images of {height} x {width} pixels, "
        f"{names[0]} and {names[1]} from {-extent:g} to {extent:g})"
    )
    return LatentExplorer(html, summary)


def _as_data_url(picture: Tensor) -> str:
    """A picture (C, H, W) in [0, 1] as a data URL: exact where that fits, else as a good JPEG."""
    from PIL import Image

    pixels = (picture * 255).round().to(torch.uint8).permute(1, 2, 0).squeeze(-1)
    image = Image.fromarray(pixels.numpy())
    for form, options in (
        ("png", {}),
        ("jpeg", {"quality": 90}),
        ("jpeg", {"quality": 75}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, form, **options)
        text = base64.b64encode(buffer.getvalue()).decode()
        if len(text) <= _LARGEST_SHEET:
            return f"data:image/{form};base64,{text}"
    raise ValueError(
        f"the decoded images take {len(text) // 1000} kB, but a figure has room for "
        f"{_LARGEST_SHEET // 1000}: take fewer steps"
    )
