"""A small classifier, trained here, whose last hidden layer makes the features of the distances.

Its distances are no FID and compare with no published figure, only with each other: same data,
same seed. On the pictures of the course they say more than Inception's, which saw photographs.
"""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coursekit import require
from coursekit.data import Batch, ImageSet, data_home
from coursekit.metrics.evaluation import evaluating, image_batches
from coursekit.training import fit, load_checkpoint, load_weights, save_checkpoint

_RECIPE = "1"  # change it with the architecture or its training, so that old caches are left alone
_STEPS = 500


class Classifier(nn.Module):
    """A convolutional classifier for any image size, as (C, H, W) -> 64 features -> K logits.

    Three convolutions 3x3 of stride 2 (16, 32, 64 channels), pooled to 4x4, Linear to 64 features,
    a ReLU after each; then the linear layer that makes the logits.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((channels, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.ReLU()]
        self.hidden = nn.Sequential(
            *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU()
        )
        self.output = nn.Linear(64, outputs)
        self.unit: Tensor
        self.register_buffer("unit", torch.ones(()))

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, 64), of mean square 1 on the training images."""
        h: Tensor = self.hidden(x)
        return h / self.unit

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, K) logits."""
        logits: Tensor = self.output(self.hidden(x))
        return logits


def classifier(data: ImageSet, seed: int = 0, progress: bool = True) -> Classifier:
    """A `Classifier` of the images of `data`, trained now or read from the cache, in eval mode.

    It learns the classes or, where a set has no labels, all binary attributes. Give it the
    training split, so that the test split stays fresh. It takes 500 steps of 128 images, some
    ten seconds on one core for 28x28, and is kept in the folder `cache` of the data folder under
    a name made of the very images and the seed. Raises ValueError where there is nothing to learn.
    """
    targets, loss = _task(data)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = Classifier(
            data.images.shape[1],
            targets.shape[1]
            if targets.ndim > 1
            else max(len(data.classes), int(targets.max()) + 1),
        )
    path = data_home() / "cache" / f"classifier-{data.name}-{_digest(data, targets, seed)}.pt"
    if not _read(network, path):
        epochs = max(1, round(_STEPS * 128 / len(data)))
        fit(network, data, loss, epochs=epochs, seed=seed, progress=progress)
        # Without a unit of its own, distances would grow with the scale that training ended at.
        network.unit.copy_(extract(network, data).square().mean().sqrt())
        try:
            save_checkpoint(path, {"model": network.cpu().state_dict()})
        except OSError as error:  # the network is here all the same
            warnings.warn(f"the classifier is trained anew each time: {error}", stacklevel=2)
    return network.cpu().eval()


def extract(network: Classifier, images: ImageSet | Tensor, *, batch_size: int = 500) -> Tensor:
    """Features of images (N, C, H, W), uint8 or floats in [0, 1], of any set: (N, 64)."""
    with evaluating(network) as device:
        batches = image_batches(images, batch_size, device)
        return torch.cat([network.features(x).cpu() for x in batches])


def predict(network: Classifier, images: ImageSet | Tensor, *, batch_size: int = 500) -> Tensor:
    """The most probable class of each image, (N,) int64; images as for `extract`."""
    with evaluating(network) as device:
        batches = image_batches(images, batch_size, device)
        return torch.cat([network(x).argmax(dim=1).cpu() for x in batches])


def label_accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of samples that the classifier takes for the class they were asked to be: 0 … 1.

    Higher is better, up to the classifier's own accuracy on real test images, which belongs
    beside it. Says nothing of variety: one good picture a class scores 1 (see `mode_coverage`,
    and `diversity` within a class). Ravuri and Vinyals (2019) measure the converse as well.
    """
    require.same_shape(predicted=predicted, labels=labels)
    require.shape("predicted", predicted, "N")
    return (predicted.cpu() == labels.cpu()).double().mean().item()


class ModeCoverage(NamedTuple):
    modes: int
    """Classes with at least one sample, out of those that occur in the reference."""
    kl: float
    """KL(samples' classes || reference's classes) in nats: 0 is best, log K is one of K classes."""


def mode_coverage(predicted: Tensor, reference: Tensor) -> ModeCoverage:
    """Are all classes sampled, in the right shares? The count of modes of Srivastava et al. (2017).

    predicted: (N,) classes of samples; reference: (M,) classes of real images. With few samples
    classes are missed by chance, and the KL is biased upwards by about (K - 1) / 2N.
    """
    require.shape("predicted", predicted, "N")
    require.shape("reference", reference, "M")
    size = int(max(predicted.max(), reference.max())) + 1
    p, q = (
        torch.bincount(y.cpu(), minlength=size).double() / len(y) for y in (predicted, reference)
    )
    seen = p > 0
    kl = (p[seen] * (p[seen] / q[seen]).log()).sum().item()
    return ModeCoverage(int((seen & (q > 0)).sum()), kl)


class _Loss(NamedTuple):
    loss: Tensor


def _task(data: ImageSet) -> tuple[Tensor, Callable[[Classifier, Batch, int], _Loss]]:
    """Targets, classes (N,) or attributes (N, K), and the loss that goes with them."""
    if data.labels is not None:
        return data.labels, lambda net, batch, _: _Loss(
            F.cross_entropy(net(batch.images), batch.labels)
        )
    if not data.attributes:
        raise ValueError(
            f"data ({data!r}) has neither labels nor attributes, so there is nothing to learn: "
            "use a set that has them, of the same kind of picture"
        )
    targets = torch.stack(list(data.attributes.values()), dim=1).float()
    return targets, lambda net, batch, _: _Loss(
        F.binary_cross_entropy_with_logits(
            net(batch.images), targets.to(batch.index.device)[batch.index]
        )
    )


def _digest(data: ImageSet, targets: Tensor, seed: int) -> str:
    digest = hashlib.sha256(
        f"{_RECIPE} {seed} {data.binarization} {tuple(data.images.shape)}".encode()
    )
    for tensor in (data.images, targets):
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(network: Classifier, path: Path) -> bool:
    try:
        load_weights(network, load_checkpoint(path)["model"], path)
    except (FileNotFoundError, ValueError):  # not there, or damaged: train it anew
        return False
    return True
