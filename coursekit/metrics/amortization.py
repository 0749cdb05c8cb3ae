"""What a VAE loses because one encoder serves all images."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from coursekit import require
from coursekit.objectives import kl_divergence


def amortization_gap(
    decode: Callable[[Tensor], Tensor],
    x: Tensor,
    mu: Tensor,
    logvar: Tensor,
    eps: Tensor,
    judge: Tensor,
    lr: float,
) -> tuple[Tensor, Tensor]:
    """ELBOs before and after the posteriors are optimized for their images, (B,) each, in nats.

    decode: codes (B, L) -> logits (B, D). x: (B, D) in [0, 1]. mu, logvar: (B, L), the encoder's.
    eps: (T, K, B, L), noise for T steps of Adam at rate lr. judge: (J, B, L), noise for both
    results. Bernoulli likelihood, prior N(0, I). The difference of both is a lower bound on the
    amortization gap of Cremer et al. (2018), as the search may not reach the best posterior.
    """
    require.same_shape(mu=mu, logvar=logvar)
    require.shape("eps", eps, *eps.shape[:2], *mu.shape)
    require.shape("judge", judge, "J", *mu.shape)
    with torch.no_grad():
        before = _elbo(decode, x, mu, logvar, judge)
    mu, logvar = mu.clone().requires_grad_(), logvar.clone().requires_grad_()
    optimizer = torch.optim.Adam([mu, logvar], lr=lr)
    for noise in eps:
        loss = -_elbo(decode, x, mu, logvar, noise).sum()
        mu.grad, logvar.grad = torch.autograd.grad(loss, (mu, logvar))
        optimizer.step()
    with torch.no_grad():
        return before, _elbo(decode, x, mu, logvar, judge)


def _elbo(
    decode: Callable[[Tensor], Tensor], x: Tensor, mu: Tensor, logvar: Tensor, noise: Tensor
) -> Tensor:
    z = mu + (0.5 * logvar).exp() * noise
    logits = decode(z.flatten(0, 1)).unflatten(0, z.shape[:2])
    loss = F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
    return -loss.sum(dim=2).mean(dim=0) - kl_divergence(mu, logvar)
