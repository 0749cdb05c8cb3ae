"""A small classifier, trained here, whose inner layers make the features of the distances.

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
from coursekit.noise import seeded
from coursekit.training import fit, load_checkpoint, load_weights, save_checkpoint

_RECIPE = "1"  # change it with the architecture or its training, so that old caches are left alone
_STEPS = 500


class Classifier(nn.Module):
    """A convolutional classifier of images (B, C, H, W), with 128 features and K logits.

    The first convolution brings any size to some 16x16, with a window of nearly two strides so
    that no detail is skipped; two of stride 2 follow (16, 32, 64 channels), each with batch
    normalization and a ReLU. Then pooling to 4x4, Linear to 64 and a ReLU, Linear to K logits.

    The features are the means of the last 64 channels over the picture, as Inception's are, and
    the 64 hidden units. The latter say what is shown and where, but pixel noise can look like a
    digit to them; the former say whether it is made of the right strokes.
    """

    def __init__(self, image_shape: tuple[int, int, int], outputs: int) -> None:
        super().__init__()
        channels, *size = image_shape
        stem = max(1, round(min(size) / 16))
        layers: list[nn.Module] = []
        for a, b, stride in ((channels, 16, stem), (16, 32, 2), (32, 64, 2)):
            convolution = nn.Conv2d(a, b, 2 * stride - 1, stride, padding=stride - 1)
            layers += [convolution, nn.BatchNorm2d(b), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Sequential(
            nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * 16, 64), nn.ReLU()
        )
        self.output = nn.Linear(64, outputs)
        self.unit: Tensor
        self.register_buffer("unit", torch.ones(128))

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, 128), both halves of mean square 1 on the training set."""
        h = self.convolutions(x)
        return torch.cat([h.mean(dim=(2, 3)), self.hidden(h)], dim=1) / self.unit

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, K) logits."""
        return self.output(self.hidden(self.convolutions(x)))


def classifier(data: ImageSet, seed: int = 0, progress: bool = True) -> Classifier:
    """A `Classifier` of the images of `data`, trained now or read from the cache, in eval mode.

    It learns the classes or, where the set names none but has binary attributes, all of these:
    the labels of CelebA are identities. Give it the training split, so that the test split stays
    fresh. It takes 500 steps of 128 images, some ten seconds on one core for 28x28, and is kept in
    the folder `cache` of the data folder under a name made of the very images and the seed. Raises
    ValueError where there is nothing to learn.
    """
    targets, outputs, loss = _task(data)
    with seeded(seed):
        _, channels, height, width = data.images.shape
        network = Classifier((channels, height, width), outputs)
    path = data_home() / "cache" / f"classifier-{data.name}-{_digest(data, targets, seed)}.pt"
    if not _read(network, path):
        # Batch normalization cannot learn from a last batch of one image.
        whole = data.subset(slice(len(data) - (len(data) % 128 == 1)))
        fit(network, whole, loss, steps=_STEPS, lr=_rate, seed=seed, progress=progress)
        # Without a unit of its own, distances would grow with the scale that training ended at.
        halves = extract(network, data).square().mean(dim=0).view(2, 64)
        network.unit.copy_(halves.mean(dim=1).sqrt().repeat_interleave(64))
        try:
            save_checkpoint(path, {"model": network.cpu().state_dict()})
        except OSError as error:  # the network is here all the same
            warnings.warn(f"the classifier is trained anew each time: {error}", stacklevel=2)
    return network.cpu().eval()


def extract(network: Classifier, images: ImageSet | Tensor, *, batch_size: int = 500) -> Tensor:
    """Features of images (N, C, H, W), uint8 or floats in [0, 1], of any set: (N, 128)."""
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
    beside it. Says nothing of variety: one good picture per class scores 1 (see `mode_coverage`,
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


def _rate(step: int) -> float:
    """The learning rate falls to 0, so that the averages of batch normalization come to rest."""
    return 3e-3 * max(0.0, 1 - step / _STEPS)


class _Loss(NamedTuple):
    loss: Tensor


def _task(data: ImageSet) -> tuple[Tensor, int, Callable[[Classifier, Batch, int], _Loss]]:
    """Targets, (N,) classes or (N, K) attributes, their number K, and the loss that fits them."""
    if data.labels is not None and (data.classes or not data.attributes):

        def by_class(network: Classifier, batch: Batch, _: int) -> _Loss:
            assert batch.labels is not None
            return _Loss(F.cross_entropy(network(batch.images), batch.labels))

        return data.labels, max(len(data.classes), int(data.labels.max()) + 1), by_class

    if not data.attributes:
        raise ValueError(
            f"data ({data!r}) has neither labels nor attributes, so there is nothing to learn: "
            "use a set that has them, of the same kind of picture"
        )
    attributes = torch.stack(list(data.attributes.values()), dim=1).float()

    def by_attribute(network: Classifier, batch: Batch, _: int) -> _Loss:
        logits = network(batch.images)
        wanted = attributes[batch.index.to(attributes.device)].to(logits.device)
        return _Loss(F.binary_cross_entropy_with_logits(logits, wanted))

    return attributes, attributes.shape[1], by_attribute


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
    except (OSError, ValueError):  # not there, not readable or damaged: train it anew
        return False
    return True
