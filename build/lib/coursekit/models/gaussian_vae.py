"""The convolutional VAE with a Gaussian likelihood, its variance fixed or learned."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from coursekit import require
from coursekit.models.vae import ConvVAE


class GaussianVAE(ConvVAE):
    """ConvVAE with p(x|z) = N(sigmoid(logits), scale^2 I), a density of real pixels.

    scale: a standard deviation in units of pixels (0 = black, 1 = white), or None to learn one
    that all pixels share: the sigma-VAE of Rybkin, Daniilidis and Levine (2021). With
    scale = sqrt(1/2), -log p(x|z) is the squared error, summed over pixels, plus a constant: so
    "training with MSE" is a choice of the variance, and with it of beta. As a density, it has no
    lower bound: -log p(x|z) falls below 0 nats where the scale is small. Layers as in ConvVAE.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        scale: float | None = None,
    ) -> None:
        if scale is not None and not 0 < scale < math.inf:
            raise ValueError(
                f"scale is {scale}, but a standard deviation is > 0: use None to learn it"
            )
        require.at_least("latent_dim", latent_dim, 1)
        super().__init__(image_shape, latent_dim, widths)
        start = torch.tensor(math.log(0.3 if scale is None else scale))
        self.log_scale = nn.Parameter(start, requires_grad=scale is None)

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) of codes (B, L): batch shape (B,), event shape (C, H, W)."""
        mean = torch.sigmoid(self.decode(z))
        return Independent(Normal(mean, self.log_scale.exp(), validate_args=False), 3)
