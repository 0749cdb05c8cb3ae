"""Is a picture a face that the program of the set `faces` could have drawn?

A reader network says which factors a picture seems to have. The program draws a face from them. If
the picture is such a face, and was read correctly, both look alike; a picture between two faces has
no factors from which it could be drawn, so they differ. Reading errors add to the difference:
compare with real test pictures, which have nothing else.
"""

import torch
from torch import Tensor

from coursekit.data import faces
from coursekit.metrics.evaluation import evaluating, image_batches
from coursekit.metrics.reader import FactorReader


def redraw(reader: FactorReader, images: Tensor) -> Tensor:
    """Draw faces from the factors that `reader` reads in images (N, 3, H, W), uint8 or in [0, 1].

    A factor that is read beyond its range is set to the end of the range. Returns: (N, 3, H, W) in
    [0, 1].
    """
    factors = reader.read(images)
    for name, (low, high) in faces.RANGES.items():
        factors[name] = factors[name].clamp(low, high)
    height, width = images.shape[2:]
    return faces.images_from_factors(factors, (height, width)).float() / 255


def redraw_error(reader: FactorReader, images: Tensor) -> Tensor:
    """How far each image is from its redrawn face, (N,): root mean square, in gray levels of 255.

    images: (N, 3, H, W), floats in [0, 1].
    """
    difference = redraw(reader, images) - images.cpu()
    return 255 * difference.square().flatten(1).mean(dim=1).sqrt()


def undecided(reader: FactorReader, images: Tensor, name: str, sure: float = 0.9) -> Tensor:
    """Whether `reader` gives no value of a discrete factor the probability `sure`, (N,) bool.

    images: (N, 3, H, W), uint8 or floats in [0, 1]. ValueError unless the factor is discrete.
    """
    if not isinstance(reader.factors.get(name), int):
        discrete = [key for key, values in reader.factors.items() if isinstance(values, int)]
        raise ValueError(f"{name!r} is no discrete factor of the reader, which are {discrete}")
    with evaluating(reader) as device:
        parts = [
            reader(x)[name].softmax(dim=1).amax(dim=1).cpu()
            for x in image_batches(images, 500, device)
        ]
    return torch.cat(parts) < sure
