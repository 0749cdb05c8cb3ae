"""Sliders for a decoder, where a kernel runs."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from coursekit import require
from coursekit.viz.decoded import Decode, evaluation
from coursekit.viz.images import checked

if TYPE_CHECKING:
    from ipywidgets import HBox


def explore(
    decode: Decode, base: Tensor, dims: Sequence[int] | None = None, extent: float = 3.0
) -> "HBox":
    """One slider per coordinate of the code, and the image that the model decodes at once.

    decode: codes (N, L) -> images (N, C, H, W) in [0, 1], such as
    `lambda z: model.likelihood(z).mean`; its model is in evaluation mode whenever it is called.
    base: the code (L,) to begin with.
    dims: the coordinates with a slider; by default the first ten. extent: sliders run from -extent
    to extent, or further where base lies further out.
    """
    import ipywidgets
    from torchvision.transforms.functional import to_pil_image

    require.shape("base", base, "L")
    dims = range(min(len(base), 10)) if dims is None else dims
    code = base.detach().clone()
    picture = ipywidgets.Image(format="png", layout={"object_fit": "contain"})

    def draw() -> None:
        with evaluation(decode):
            image = to_pil_image(checked(decode(code[None]), 1)[0])
        times = max(1, 256 // max(image.size))  # whole pixels, as a browser would blur small images
        buffer = io.BytesIO()
        image.resize((image.width * times, image.height * times), 0).save(buffer, "png")
        picture.value = buffer.getvalue()

    def slider(dim: int) -> ipywidgets.FloatSlider:
        require.between("dims", dim, 0, len(code) - 1)
        start = float(code[dim])
        reach = max(extent, abs(start))
        made = ipywidgets.FloatSlider(
            start, min=-reach, max=reach, step=0.05, description=f"z[{dim}]"
        )

        def moved(change: dict[str, float]) -> None:
            code[dim] = change["new"]
            draw()

        made.observe(moved, "value")
        return made

    sliders = [slider(dim) for dim in dims]
    draw()
    return ipywidgets.HBox([picture, ipywidgets.VBox(sliders)])
