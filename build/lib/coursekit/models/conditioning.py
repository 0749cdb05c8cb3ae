"""How a class is told to a network: as a one-hot vector beside a code, or beside the channels."""

import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit import require


def beside_code(z: Tensor, labels: Tensor | None, classes: int) -> Tensor:
    """z (B, L) and class numbers (B,) -> (B, L + classes): the code and the one-hot class."""
    y = require.labels("labels", labels, len(z), classes)
    return torch.cat([z, F.one_hot(y, classes).to(z.dtype)], dim=1)


def beside_channels(x: Tensor, labels: Tensor | None, classes: int) -> Tensor:
    """x (B, C, H, W) and class numbers (B,) -> (B, C + classes, H, W): a plane of ones or zeros
    for each class below the image's channels."""
    y = require.labels("labels", labels, len(x), classes)
    planes = F.one_hot(y, classes).to(x.dtype)[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], dim=1)
