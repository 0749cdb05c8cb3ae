"""Rate, distortion and reconstructions for several values of beta, alive in the page."""

import base64
import binascii
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from coursekit.viz.curves import BLUE, GREY
from coursekit.viz.live import LiveFigure, as_picture, live_figure


def rate_distortion(points: Sequence[Mapping[str, float]], sheet: str) -> LiveFigure:
    """A slider over the values of beta: the point on the curve, its sum, and reconstructions.

    points: one trained model each, with "beta", "rate" and "distortion", in nats per image; beta
    rises. sheet: a PNG in base64, of rows of equal height: test images, and their reconstructions
    by each model. `recorded.load("rate-distortion")["figures"]` holds both.
    """
    from PIL import Image, UnidentifiedImageError

    betas = [point["beta"] for point in points]
    if len(betas) < 2 or betas != sorted(set(betas)):
        raise ValueError(f"beta is {betas}, but at least two values that rise are expected")
    try:
        image = Image.open(io.BytesIO(base64.b64decode(sheet, validate=True)))
    except (binascii.Error, UnidentifiedImageError) as error:
        raise ValueError("sheet is no PNG in base64") from error
    rows = len(points) + 1
    if image.height % rows:
        raise ValueError(
            f"sheet is {image.height} pixels high, but {rows} rows of equal height are expected: "
            f"the test images, and one row for each of {len(points)} points"
        )
    size = image.height // rows
    spec = {
        "points": [
            {name: point[name] for name in ("beta", "rate", "distortion")} for point in points
        ],
        "sheet": f"data:image/png;base64,{sheet}",
        "width": image.width,
        "height": size,
    }
    return live_figure(
        "rate.html",
        f"rate and distortion: {len(points)} models, beta from {betas[0]:g} to {betas[-1]:g}",
        spec=json.dumps(spec, separators=(",", ":")),
        picture=_picture(points, image, size),
        alt=f"Distortion against rate for beta from {betas[0]:g} to {betas[-1]:g}, and "
        "reconstructions of the same test images for each beta",
    )


def _picture(points: Sequence[Mapping[str, float]], image: Any, size: int) -> str:
    import matplotlib.pyplot as plt

    figure, (curve, rows) = plt.subplots(1, 2, figsize=(6.6, 3.4), layout="constrained", dpi=100)
    rates, distortions = ([p[name] for p in points] for name in ("rate", "distortion"))
    curve.plot(rates, distortions, "-", color=GREY)
    curve.plot(rates, distortions, "o", color=BLUE)
    for point in points:
        place = (point["rate"], point["distortion"])
        curve.annotate(f" {point['beta']:g}", place, va="bottom", fontsize=9)
    curve.set(xlabel="rate R (nats per image)", ylabel="distortion D (nats per image)")
    rows.imshow(image, cmap="gray", vmin=0, vmax=255)
    names = ["test", *(f"{point['beta']:g}" for point in points)]
    rows.set_yticks([size * (row + 0.5) for row in range(len(names))], names)
    rows.set_xticks([])
    rows.set(ylabel="beta")
    return as_picture(figure)
