"""What is measured of each shipped model: the same images and the same noise on every machine."""

from __future__ import annotations

from statistics import fmean
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence
from torch.nn import functional as F

from coursekit import data, metrics, pretrained
from coursekit.data import ImageSet
from coursekit.metrics.evaluation import evaluating
from coursekit.metrics.features import Classifier
from coursekit.metrics.reader import FactorReader, agreement, difference
from coursekit.models.autodecoder import AutoDecoder, VariationalAutoDecoder
from coursekit.models.gan import GAN
from coursekit.models.hierarchical import HierarchicalVAE
from coursekit.models.ladder import SkipVAE
from coursekit.models.realnvp import RealNVP
from coursekit.models.vae import VAE

IMAGES = 500
"""Test images, and as many samples, from which every score is made."""

Scores = dict[str, float]


def measure(model: nn.Module, about: dict[str, Any]) -> Scores:
    """The scores of a model, by name. about: its card, which names data and resolution.

    Likelihoods are in nats per image, with the gray values of the pixels as Bernoulli targets.
    """
    size = tuple(about["resolution"])
    test = data.load(about["data"], "test", IMAGES, size, fixed=about.get("fixed"))
    if isinstance(model, FactorReader):
        return {"factors read correctly": _share(model, model.read(test), test)}
    if isinstance(model, Classifier):
        labels = cast(Tensor, test.labels)
        return {"accuracy": metrics.label_accuracy(metrics.predict(model, test), labels)}
    if isinstance(model, RealNVP):
        return _prior(model, cast(VAE, pretrained.load(about["codes of"])), test)
    scores: Scores = {}
    if isinstance(model, AutoDecoder):
        scores |= _own_codes(model, data.load(about["data"], "train", about["images"], size), test)
    elif isinstance(model, VAE):
        scores |= _likelihood(model, test)
        if test.name == "faces":
            scores |= _survival(model, test)
        if test.name == "shapes":
            scores |= _axes(model, test)
    else:
        assert isinstance(model, GAN)
    return scores | _samples(model, test)


def _likelihood(model: VAE, test: ImageSet) -> Scores:
    elbo, reconstruction, kl = (part.mean().item() for part in metrics.elbo(model, test))
    x = test.images.double() / 255
    floor = F.binary_cross_entropy(x, x, reduction="none").sum((1, 2, 3)).mean().item()
    scores = {
        "negative ELBO": -elbo,
        "reconstruction above the entropy floor": reconstruction - floor,
        "KL": kl,
    }
    if isinstance(model, HierarchicalVAE):
        groups = _kl_of_groups(model, test)
        return scores | {f"KL of group {i}": v for i, v in enumerate(groups, start=1)}
    if isinstance(model, SkipVAE):  # above: as it generates, with maps of zeros
        beside = _through_skips(model, test) - floor
        scores["reconstruction with the image's maps above the entropy floor"] = beside
    return scores | {"active units": float(metrics.active_units(model, test).active)}


def _kl_of_groups(model: HierarchicalVAE, test: ImageSet) -> list[float]:
    with evaluating(model, 0):
        return model.terms(test.images.float() / 255)[1].mean(dim=0).tolist()


def _through_skips(model: SkipVAE, test: ImageSet) -> float:
    x = test.images.float() / 255
    with evaluating(model, 0):
        posterior, likelihood = model.through_skips(x)
        return -likelihood(posterior.sample()).log_prob(x).mean().item()


def _own_codes(model: AutoDecoder, train: ImageSet, test: ImageSet) -> Scores:
    """How well the codes that an auto-decoder owns give back their images, and the codes' KL."""
    ours, theirs = rows(model)
    scores: Scores = {}
    with evaluating(model):
        for name, index, images in (("training", ours, train), ("test", theirs, test)):
            error = model.decode(model.codes(index)) - images.images.float() / 255
            rms = 255 * error.square().mean().sqrt().item()
            scores[f"error on {name} images, gray levels"] = rms
        if isinstance(model, VariationalAutoDecoder):
            kl = kl_divergence(model.posterior(theirs), model.prior).mean().item()
            scores["KL of test codes"] = kl
    return scores


def rows(model: AutoDecoder) -> tuple[Tensor, Tensor]:
    """Where a shipped auto-decoder keeps the codes of its training images and of test images."""
    return torch.arange(model.location.num_embeddings).split(
        [model.location.num_embeddings - IMAGES, IMAGES]
    )


def rebuilt(model: VAE | AutoDecoder, x: Tensor) -> Tensor:
    """Mean images of the codes of test images (B, C, H, W) in [0, 1].

    Those of an auto-decoder are in its table, so x must be the first of the test images.
    """
    with evaluating(model):
        if isinstance(model, AutoDecoder):
            return model.decode(model.codes(rows(model)[1][: len(x)])).clamp(0, 1)
        return model.reconstruct(x)


def sampled(model: VAE | GAN | AutoDecoder, count: int) -> tuple[Tensor, Tensor | None]:
    """Images (count, C, H, W) of codes from the prior, and the classes they were asked to be."""
    labels = torch.arange(count) % 10 if hasattr(model, "classes") else None
    with evaluating(model):
        z = model.prior.sample(torch.Size([count]))
        if isinstance(model, AutoDecoder):
            return model.decode(z).clamp(0, 1), None
        if isinstance(model, VAE):
            return model.decode(z).sigmoid(), labels
        return model.generate(z, labels), labels


def _survival(model: VAE, test: ImageSet) -> Scores:
    """How many of the factors that can be read from a picture its reconstruction still shows."""
    reader = cast(FactorReader, pretrained.load("faces-reader"))
    images = rebuilt(model, test.images.float() / 255)
    return {
        "factors read from test images": _share(reader, reader.read(test), test),
        "factors read from reconstructions": _share(reader, reader.read(images), test),
    }


def _axes(model: VAE, test: ImageSet) -> Scores:
    """Does each factor that varies have a latent dimension of its own?"""
    factors = {name: v for name, v in test.factors.items() if v.unique().numel() > 1}
    columns = torch.stack([v.double() for v in factors.values()], dim=1)
    codes = metrics.encode(model, test)
    best = metrics.rank_correlation(codes.means, columns).max(axis=0)
    scores = {
        f"best correlation of {name}": float(c) for name, c in zip(factors, best, strict=True)
    }
    return scores | {"MIG": metrics.mig(codes.samples, columns)}


def _share(reader: FactorReader, read: dict[str, Tensor], test: ImageSet) -> float:
    return fmean(agreement(reader.factors, read, test.factors).values())


DRAWS = 20
"""Codes of each test image, by which a flow is scored."""


def _prior(flow: RealNVP, vae: VAE, test: ImageSet) -> Scores:
    """A flow as the prior of a VAE: the KL of test images to it, and its samples, decoded."""
    prior = flow.distribution()
    with evaluating(flow):
        q = vae.posterior(test.images.float() / 255)
        draws = [q.sample() for _ in range(DRAWS)]
        rates = [(q.log_prob(z) - prior.log_prob(z)).mean().item() for z in draws]
        closed = torch.distributions.kl_divergence(q, vae.prior).mean().item()
        height, width = test.images.shape[2:]
        fresh = data.load(test.name, "validation", IMAGES, (height, width))
        others = vae.decode(vae.posterior(fresh.images.float() / 255).sample()).sigmoid()
    return {
        "KL to the standard Gaussian": closed,
        "KL to the flow": fmean(rates),
        "difference of the samples' factors": _apart(decoded(vae, flow), test),
        "the same of codes of other real faces": _apart(others, test),
    }


def decoded(vae: VAE, flow: RealNVP, count: int = IMAGES) -> Tensor:
    """Images (count, C, H, W) of codes that the flow draws."""
    with evaluating(flow):
        return vae.decode(flow.distribution().sample(torch.Size([count]))).sigmoid()


def _apart(images: Tensor, test: ImageSet) -> float:
    """How differently the factors of two sets of faces are distributed, averaged over factors."""
    reader = cast(FactorReader, pretrained.load("faces-reader"))
    return fmean(difference(reader.factors, reader.read(images), reader.read(test)).values())


def _samples(model: VAE | GAN | AutoDecoder, test: ImageSet) -> Scores:
    """Samples from the prior beside test images."""
    images, labels = sampled(model, IMAGES)
    if test.name == "faces":
        return {"difference of the samples' factors": _apart(images, test)}
    if test.name != "digits":
        return {}
    classifier = cast(Classifier, pretrained.load("digits-classifier"))
    real, fake = metrics.extract(classifier, test), metrics.extract(classifier, images)
    precision, recall = metrics.precision_recall(real, fake)
    scores = {
        "feature distance": metrics.frechet_distance(real, fake),
        "precision": precision,
        "recall": recall,
    }
    if labels is not None:
        asked = metrics.label_accuracy(metrics.predict(classifier, images), labels)
        scores["label accuracy"] = asked
    return scores
