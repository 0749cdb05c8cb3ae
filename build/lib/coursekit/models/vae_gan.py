"""The VAE-GAN: a VAE whose reconstructions are compared in the features of a discriminator."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import kl_divergence

from coursekit import require
from coursekit.models.vae import ConvVAE, halved_sizes
from coursekit.objectives import (
    DiscriminatorLoss,
    bce_discriminator,
    non_saturating_generator,
)


class VAEGANLoss(NamedTuple):
    """What encoder and decoder minimize, and its parts: scalars, in nats per image."""

    loss: Tensor
    """reconstruction + kl + weight * adversarial."""
    reconstruction: Tensor
    """-log N(features of x; features of its reconstruction, I), without its constant."""
    kl: Tensor
    """KL(q(z|x) || p(z))."""
    adversarial: Tensor
    """-log D of reconstructions and of samples: the mean of both."""


class VAEGAN(ConvVAE):
    """ConvVAE, and a discriminator that judges its images and measures its errors.

    A sum over pixels punishes an edge that is one pixel off as hard as a missing one, and a blur
    hardly at all. Here the squared error is taken between features inside the discriminator, which
    learns what tells real images from decoded ones. encoder, decoder: as in ConvVAE, but images are
    sigmoid(logits) and p(x|z) in pixels is not what is trained. discriminator, for H x W images:

    | layer                              | output                  |
    | ---------------------------------- | ----------------------- |
    | image                              | C x H x W               |
    | Conv 3x3 s2, LeakyReLU, per width  | 32 x H/2 x W/2 …        |
    | flattened: the features            | 256 * H/16 * W/16       |
    | Linear: the score                  | 1                       |

    weight: of the adversarial part. The encoder has no gradient from it, and for the decoder, under
    Adam, it is 1 / gamma of the paper. Train it by `fit_adversaries` with `discriminator_loss` and
    `generator_loss`. Larsen et al. (2016), "Autoencoding beyond pixels using a learned similarity
    metric", algorithm 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        widths: Sequence[int] = (32, 64, 128, 256),
        weight: float = 10.0,
    ) -> None:
        require.at_least("weight", weight, 0.0)
        super().__init__(image_shape, latent_dim, widths)
        self.weight = weight
        self.discriminator = Discriminator(image_shape, widths)

    def generate(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of codes (B, L)."""
        return torch.sigmoid(self.decode(z))

    def discriminate(self, x: Tensor) -> Tensor:
        """Scores (B,) of images (B, C, H, W) in [0, 1]: logits of "this image is real"."""
        require.shape("x", x, "B", *self.image_shape)
        return self.discriminator(x)

    def discriminator_loss(self, x: Tensor) -> DiscriminatorLoss:
        """Cross-entropy of telling images (B, C, H, W) from reconstructions and from samples."""
        with torch.no_grad():
            z = self.posterior(x).sample()
            fake = self.generate(torch.cat([z, self.prior.sample(torch.Size([len(x)]))]))
        return bce_discriminator(self.discriminate(x), self.discriminate(fake))

    def generator_loss(self, x: Tensor) -> VAEGANLoss:
        """The loss of encoder and decoder for images (B, C, H, W) in [0, 1]."""
        posterior = self.posterior(x)
        z = posterior.rsample()
        error = self.discriminator.features(self.generate(z)) - self.discriminator.features(x)
        reconstruction = 0.5 * error.square().sum(dim=1).mean()
        kl = kl_divergence(posterior, self.prior).mean()
        # Detached: the discriminator's verdict does not train the encoder.
        codes = torch.cat([z.detach(), self.prior.sample(torch.Size([len(x)]))])
        adversarial = non_saturating_generator(self.discriminate(self.generate(codes))).loss
        loss = reconstruction + kl + self.weight * adversarial
        return VAEGANLoss(loss, reconstruction, kl, adversarial)


class Discriminator(nn.Module):
    """Convolutions of stride 2 without BatchNorm, then one linear score."""

    def __init__(self, image_shape: tuple[int, int, int], widths: Sequence[int]) -> None:
        super().__init__()
        channels, *size = image_shape
        height, width = halved_sizes((size[0], size[1]), len(widths))[-1]
        layers: list[nn.Module] = []
        for a, b in zip((channels, *widths), widths, strict=False):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers, nn.Flatten())
        self.score = nn.Linear(widths[-1] * height * width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B,) of images (B, C, H, W)."""
        return self.score(self.features(x)).flatten()
