"""The loss of a VQ-VAE, and how much of its code book is in use."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit import require


class VQLoss(NamedTuple):
    """What a VQ-VAE minimizes, and its parts: scalars, averaged over the batch."""

    loss: Tensor
    """reconstruction + codebook + weight * commitment."""
    reconstruction: Tensor
    """-log p(x|entries), Bernoulli, summed over pixels, in nats."""
    codebook: Tensor
    """Squared distance of the entries to the encoder's vectors, summed; moves the entries only."""
    commitment: Tensor
    """The same number, but it moves the encoder only."""


def vq_loss(
    x: Tensor, logits: Tensor, encoded: Tensor, quantized: Tensor, weight: float = 0.25
) -> VQLoss:
    """The loss of van den Oord, Vinyals and Kavukcuoglu (2017), equation 3, whose beta is `weight`.

    x, logits: (B, C, H, W), x in [0, 1]; grey pixels give the cross-entropy, which is then no
    likelihood. encoded, quantized: (B, D, h, w), as VQVAE gives them.
    """
    require.same_shape(x=x, logits=logits)
    require.same_shape(encoded=encoded, quantized=quantized)
    require.at_least("weight", weight, 0.0)
    require.at_least("batch size", len(x), 1)
    require.pixels("x", x)
    entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
    reconstruction = entropy.flatten(1).sum(dim=1).mean()
    codebook = (quantized - encoded.detach()).square().flatten(1).sum(dim=1).mean()
    commitment = (quantized.detach() - encoded).square().flatten(1).sum(dim=1).mean()
    loss = reconstruction + codebook + weight * commitment
    return VQLoss(loss, reconstruction, codebook, commitment)


def perplexity(index: Tensor, codes: int) -> Tensor:
    """exp of the entropy of the entries' frequencies in `index`: 1 (one in use) to `codes` (all).

    index: int64 of any shape, at least one number, each in [0, codes).
    """
    require.at_least("count of index", index.numel(), 1)
    share = torch.bincount(index.flatten(), minlength=codes) / index.numel()
    return torch.special.entr(share).sum().exp()
