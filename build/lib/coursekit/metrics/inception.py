"""The Inception network of FID, built from torchvision's blocks, with weights from a file."""

import pickle
import zipfile
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coursekit.metrics.distances import frechet_distance

PUBLISHED = "pt_inception-2015-12-05-6726825d.pth"


def fid(real: Tensor, fake: Tensor, weights: str | Path) -> float:
    """Frechet inception distance (Heusel et al., 2017) of images (N, C, H, W) and (M, C, H, W).

    uint8, C = 1 or 3, any size. 0 … infinity, lower is better. Papers use N = M = 50,000; below
    some 10,000 the bias towards larger values dwarfs most differences, and below 2,048 not even
    the covariance has full rank. `weights`: see `inception`. Raises what `inception` raises.
    """
    network = inception(weights)
    return frechet_distance(_features(network, real), _features(network, fake))


def inception(weights: str | Path) -> nn.Module:
    """The network of FID: uint8 images (B, C, H, W) -> features (B, 2048), in eval mode.

    weights: a file in the layout of pytorch-fid's and torch-fidelity's
    pt_inception-2015-12-05-6726825d.pth (the network of 2015, 1,008 classes). It is not shipped
    and not downloaded. torchvision's own inception_v3 weights belong to another network; with
    them the result would not be FID. Raises FileNotFoundError or ValueError.
    """
    path = Path(weights)
    if not path.is_file():
        raise FileNotFoundError(
            f"there are no Inception weights at {path}: download {PUBLISHED} (pytorch-fid's "
            "releases on GitHub) and pass its path, or use `classifier` and `frechet_distance`"
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged or holds no weights: download it again") from error
    network = FIDInception()
    try:
        network.net.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = str(error).replace("\n", " ")[:200]
        raise ValueError(
            f"{path} does not hold the weights of FID's Inception network: use {PUBLISHED}, not "
            f"torchvision's inception_v3 ({reason} …)"
        ) from error
    network.net.fc = nn.Identity()
    return network.eval().requires_grad_(False)


class FIDInception(nn.Module):
    """torchvision's inception_v3, changed in its pooling to be the network of 2015.

    uint8 images (B, 1 or 3, H, W) -> (B, 1008) logits; `inception` removes the last layer.
    """

    def __init__(self) -> None:
        from torchvision.models import inception as tv

        super().__init__()

        class Pooled:
            """The pooling branch averages without the padding that torchvision counts in."""

            pool = staticmethod(partial(F.avg_pool2d, count_include_pad=False))

            def _forward(self, x: Tensor) -> list[Tensor]:
                *branches, _ = super()._forward(x)  # type: ignore[misc]
                pooled = self.pool(x, kernel_size=3, stride=1, padding=1)
                return [*branches, self.branch_pool(pooled)]  # type: ignore[attr-defined]

        a, c, e = (
            type(block.__name__, (Pooled, block), {})
            for block in (tv.InceptionA, tv.InceptionC, tv.InceptionE)
        )
        blocks = [tv.BasicConv2d, a, tv.InceptionB, c, tv.InceptionD, e, tv.InceptionAux]
        self.net = tv.Inception3(
            num_classes=1008, aux_logits=False, inception_blocks=blocks, init_weights=False
        )
        # The last block takes the maximum instead: a slip of 2015 that is part of FID.
        self.net.Mixed_7c.pool = F.max_pool2d

    def forward(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"images is {images.dtype} of shape {tuple(images.shape)}, but FID is defined on "
                "uint8 images (N, 1 or 3, H, W): round(255 * x), clamped"
            )
        x = images.float().expand(-1, 3, -1, -1)
        rows, columns = (_tf1_resize(n, 299, x.device) for n in x.shape[2:])
        return self.net((rows @ x @ columns.T - 128) / 128)


def _tf1_resize(size: int, new: int, device: torch.device) -> Tensor:
    """(new, size) matrix of TensorFlow 1's bilinear resize: pixel i reads at i * size / new."""
    at = torch.arange(new, device=device) * torch.tensor(size / new, device=device)
    low = at.long()
    high = (low + 1).clamp(max=size - 1)
    weight = (at - low)[:, None]
    one_hot = torch.eye(size, device=device)
    return one_hot[low] * (1 - weight) + one_hot[high] * weight


@torch.no_grad()
def _features(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(batch) for batch in images.split(50)])
