"""The convolutional variational autoencoder (Kingma and Welling, 2014), for any image size."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from coursekit import require


class VAE(nn.Module):
    """Gaussian posterior, standard normal prior, Bernoulli likelihood, around any two networks.

    encoder: images (B, C, H, W) -> features (B, features), from which two linear heads read mu and
    logvar. decoder: codes (B, L) -> logits (B, C, H, W). image_shape: (C, H, W). latent_dim: L.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        encoder: nn.Module,
        features: int,
        decoder: nn.Module,
    ) -> None:
        super().__init__()
        require.at_least("latent_dim", latent_dim, 1)
        self.image_shape = image_shape
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.to_mu = nn.Linear(features, latent_dim)
        self.to_logvar = nn.Linear(features, latent_dim)
        self.decoder = decoder

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar = log sigma^2 of q(z|x), each (B, L), of images (B, C, H, W) in [0, 1]."""
        require.images(x, self.image_shape)
        return self.heads(self.encoder(x), x.dtype)

    def heads(self, h: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """mu and logvar, each (B, L), of features (B, F).

        They come in the images' dtype: under bf16 autocast the networks round to eight bits, but
        the KL, a sum over dimensions, should not.
        """
        return self.to_mu(h).to(dtype), self.to_logvar(h).to(dtype)

    def decode(self, z: Tensor) -> Tensor:
        """Logits of p(x|z), (B, C, H, W), of codes (B, L). Their sigmoid is the mean image."""
        require.shape("z", z, "B", self.latent_dim)
        return self.decoder(z)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Mean images (B, C, H, W) of the posterior means of images (B, C, H, W)."""
        return self.decode(self.encode(x)[0]).sigmoid()

    @property
    def prior(self) -> Distribution:
        """p(z) = N(0, I): event shape (L,)."""
        zero = self.to_mu.bias.new_zeros(self.latent_dim)
        return Independent(Normal(zero, torch.ones_like(zero), validate_args=False), 1)

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) of images (B, C, H, W): batch shape (B,), event shape (L,)."""
        return gaussian(*self.encode(x))

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) of codes (B, L): batch shape (B,), event shape (C, H, W)."""
        return bernoulli(self.decode(z))


class ConvVAE(VAE):
    """The convolutional VAE, for images of any size.

    image_shape: (C, H, W). latent_dim: L. widths: channels after each encoder block.
    With image_shape (3, 218, 178) and the default widths:

    | encoder              |              | decoder                  |              |
    | -------------------- | ------------ | ------------------------ | ------------ |
    | image                | 3 x 218 x 178| Linear                   | 256 x 14 x 12|
    | Conv 3x3 s2, BN, ReLU| 32 x 109 x 89| ConvT 4x4 s2, BN, Leaky  | 128 x 28 x 23|
    | the same             | 64 x 55 x 45 | the same                 | 64 x 55 x 45 |
    | the same             | 128 x 28 x 23| the same                 | 32 x 109 x 89|
    | the same             | 256 x 14 x 12| the same                 | 32 x 218 x 178|
    | 2 Linear: mu, logvar | L, L         | Conv 3x3: logits         | 3 x 218 x 178|
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        widths: Sequence[int] = (32, 64, 128, 256),
    ) -> None:
        encoder, features = conv_encoder(image_shape, widths)
        decoder = conv_decoder(image_shape, latent_dim, widths)
        super().__init__(image_shape, latent_dim, encoder, features, decoder)


def gaussian(mu: Tensor, logvar: Tensor) -> Distribution:
    """N(mu, diag(exp(logvar))) of mu, logvar (..., L): batch shape (...), event shape (L,).

    Not validated, like every distribution of a network's outputs here: where training blows up,
    the loss becomes NaN, and the loop says so.
    """
    return Independent(Normal(mu, torch.exp(0.5 * logvar), validate_args=False), 1)


def bernoulli(logits: Tensor) -> Distribution:
    """Independent Bernoulli pixels of logits (B, C, H, W): batch (B,), event (C, H, W).

    Grey pixels are allowed as targets and give minus the cross-entropy, which is no likelihood.
    """
    return Independent(Bernoulli(logits=logits, validate_args=False), 3)


def conv_encoder(
    image_shape: tuple[int, int, int], widths: Sequence[int]
) -> tuple[nn.Sequential, int]:
    """The encoder of ConvVAE, (B, C, H, W) -> (B, features), and the number of features."""
    channels, *size = image_shape
    if not widths:
        raise ValueError("widths is empty, but the encoder needs at least one block")
    blocks = [downsample(a, b) for a, b in itertools.pairwise((channels, *widths))]
    height, width = halved_sizes((size[0], size[1]), len(widths))[-1]
    return nn.Sequential(*blocks, nn.Flatten()), widths[-1] * height * width


def conv_decoder(
    image_shape: tuple[int, int, int], latent_dim: int, widths: Sequence[int]
) -> nn.Sequential:
    """The decoder of ConvVAE, (B, L) -> (B, C, H, W): the encoder's sizes, backwards."""
    require.at_least("latent_dim", latent_dim, 1)
    channels, *size = image_shape
    *sizes, (height, width) = halved_sizes((size[0], size[1]), len(widths))
    pairs = itertools.pairwise((*reversed(widths), widths[0]))  # 256, 128, 64, 32, 32
    blocks = [upsample(a, b, to) for (a, b), to in zip(pairs, reversed(sizes), strict=True)]
    return nn.Sequential(
        nn.Linear(latent_dim, widths[-1] * height * width),
        nn.Unflatten(1, (widths[-1], height, width)),
        *blocks,
        nn.Conv2d(widths[0], channels, 3, padding=1),
    )


def halved_sizes(size: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Image sizes before and after each stride-2 block: (28, 28), (14, 14), (7, 7), (4, 4), …"""
    sizes = [size]
    for _ in range(times):
        height, width = sizes[-1]
        sizes.append(((height + 1) // 2, (width + 1) // 2))
    return sizes


def downsample(channels_in: int, channels_out: int) -> nn.Sequential:
    """(B, channels_in, H, W) -> (B, channels_out, ceil(H / 2), ceil(W / 2))."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def upsample(channels_in: int, channels_out: int, size: tuple[int, int]) -> nn.Sequential:
    """(B, channels_in, ceil(H / 2), ceil(W / 2)) -> (B, channels_out, H, W) with size = (H, W).

    A 4x4 stride-2 transposed convolution maps n to 2n + 2 - 2 * padding + output_padding. Padding 1
    doubles n, as an even size needs; an odd size, 2n - 1, needs padding 2 and output padding 1.
    """
    odd = (size[0] % 2, size[1] % 2)
    padding = (1 + odd[0], 1 + odd[1])
    return nn.Sequential(
        nn.ConvTranspose2d(channels_in, channels_out, 4, 2, padding, output_padding=odd),
        nn.BatchNorm2d(channels_out),
        nn.LeakyReLU(),
    )
