"""The beta-TCVAE: a weight on the dependence between latent dimensions, not on the whole rate."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from coursekit import require
from coursekit.objectives.elbo import negative_elbo


class TCVAELoss(NamedTuple):
    """The loss of a beta-TCVAE and its parts: scalars in nats per image."""

    loss: Tensor
    """reconstruction + kl + (beta - 1) * total_correlation: what training minimizes."""
    reconstruction: Tensor
    """-log p(x|z), summed over pixels."""
    kl: Tensor
    """KL(q(z|x) || p(z)), summed over latent dimensions."""
    total_correlation: Tensor
    """Estimated from the batch, see `total_correlation`."""


def total_correlation(z: Tensor, mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(q(z) || prod_l q(z_l)) in nats, where q(z) is the average of the posteriors of a batch.

    z, mu, logvar: (B, L); row i of z is a draw from N(mu_i, exp(logvar_i)). Returns a scalar. It
    estimates the total correlation of the batch. That of the whole set is smaller, because few
    images fill L dimensions thinly. The weights of Chen et al. (2018), appendix C.1, add only a
    constant for a set of known size, so the gradient is the same.
    """
    require.same_shape(z=z, mu=mu, logvar=logvar)
    require.shape("z", z, "B", "L")
    # (B, B, L): the log-density of draw i under the posterior of image j, dimension by dimension.
    square = (z[:, None] - mu).square() * torch.exp(-logvar)
    log_q = -0.5 * (square + logvar + math.log(2 * math.pi))
    joint = log_q.sum(dim=2).logsumexp(dim=1) - math.log(len(z))
    marginals = log_q.logsumexp(dim=1) - math.log(len(z))
    return (joint - marginals.sum(dim=1)).mean()


def tcvae_loss(
    x: Tensor, logits: Tensor, mu: Tensor, logvar: Tensor, z: Tensor, beta: float
) -> TCVAELoss:
    """The negative ELBO plus (beta - 1) times the total correlation of the batch.

    x, logits: (B, C, H, W); mu, logvar, z: (B, L), z the codes that gave the logits. Chen et al.
    (2018), "Isolating sources of disentanglement in variational autoencoders", equation 4 with
    alpha = gamma = 1.
    """
    require.at_least("beta", beta, 0.0)
    loss, reconstruction, kl = negative_elbo(x, logits, mu, logvar)
    dependence = total_correlation(z, mu, logvar)
    return TCVAELoss(loss + (beta - 1) * dependence, reconstruction, kl, dependence)
