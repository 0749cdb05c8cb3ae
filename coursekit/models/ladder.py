"""Five attempts at a sharp VAE: each sharper than the last, and the last one no VAE at all."""

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn import functional as F

from coursekit import require
from coursekit.models.attention import SelfAttention
from coursekit.models.gaussian_vae import GaussianVAE
from coursekit.models.vae import (
    VAE,
    ConvVAE,
    bernoulli,
    downsample,
    gaussian,
    halved_sizes,
    upsample,
)


def attempt(number: int, narrow: bool = False) -> VAE:
    """The model of one of the five attempts, for images of 64 x 64, untrained.

    narrow: with fewer channels and latents, for a training of minutes on one core.

    1. small and grey: ConvVAE, two blocks, latent 20
    2. deeper, in color, latent 128, squared error: GaussianVAE of variance 1/2
    3. the same with the cross-entropy of grey levels: ConvVAE
    4. deeper again: ConvVAE with a fifth block
    5. skip connections around the code: SkipVAE, latent 256
    """
    require.between("number", number, 1, 5)
    grey, color = (1, 64, 64), (3, 64, 64)
    widths = NARROW if narrow else (32, 64, 128, 256, 512)
    latent_dim = 32 if narrow else 128
    if number == 1:
        return ConvVAE(grey, 20, widths[:2])
    if number == 2:
        return GaussianVAE(color, latent_dim, widths[:4], scale=math.sqrt(0.5))
    if number == 3:
        return ConvVAE(color, latent_dim, widths[:4])
    if number == 4:
        return ConvVAE(color, latent_dim, widths)
    return SkipVAE(color, 32, NARROW[:4]) if narrow else SkipVAE(color, 256)


NARROW = (16, 32, 64, 96, 128)
"""Channels of the narrow versions, block by block."""


def block_vae(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    widths: Sequence[int],
    residual: bool = False,
    attention: bool = False,
) -> VAE:
    """A convolutional VAE of exchangeable blocks, to measure what each kind of block adds.

    Each encoder block halves the image, each decoder block doubles it. residual: a `ResidualBlock`
    in place of each convolution. attention: a `SelfAttention` layer on the smallest map but one,
    in the encoder and in the decoder.
    """
    channels, *size = image_shape
    *sizes, bottom = halved_sizes((size[0], size[1]), len(widths))
    require.at_least("number of widths", len(widths), 2)
    features = widths[-1] * math.prod(bottom)
    down: list[nn.Module] = [
        ResidualBlock(a, b, stride=2) if residual else downsample(a, b)
        for a, b in itertools.pairwise((channels, *widths))
    ]
    up: list[nn.Module] = [
        nn.Sequential(nn.Upsample(to), ResidualBlock(a, b)) if residual else upsample(a, b, to)
        for (a, b), to in zip(
            itertools.pairwise((*reversed(widths), widths[0])), reversed(sizes), strict=True
        )
    ]
    if attention:
        down.insert(-1, SelfAttention(widths[-2]))
        up.insert(1, SelfAttention(widths[-2]))
    first = nn.Sequential(nn.Linear(latent_dim, features), nn.Unflatten(1, (widths[-1], *bottom)))
    decoder = nn.Sequential(first, *up, nn.Conv2d(widths[0], channels, 3, padding=1))
    encoder = nn.Sequential(*down, nn.Flatten())
    return VAE(image_shape, latent_dim, encoder, features, decoder)


class SkipVAE(VAE):
    """Attempt 5: a U-Net with a code at its bottom. The decoder sees the encoder's maps as well.

    With (3, 64, 64), latent_dim 256 and the default widths:

    | encoder           |               | decoder                             |               |
    | ----------------- | ------------- | ----------------------------------- | ------------- |
    | image             | 3 x 64 x 64   | code                                | 256           |
    | residual block s2 | 64 x 32 x 32  | Linear                              | 512 x 4 x 4   |
    | residual block s2 | 128 x 16 x 16 | up, + encoder's map, residual block | 256 x 8 x 8   |
    | residual block s2 | 256 x 8 x 8   | up, + encoder's map, residual block | 128 x 16 x 16 |
    | residual block s2 | 512 x 4 x 4   | up, + encoder's map, residual block | 64 x 32 x 32  |
    | 2 Linear          | 256, 256      | up, residual block, Conv 3x3: logits| 3 x 64 x 64   |

    "+ encoder's map": the encoder's channels are concatenated with the decoder's, as in Ronneberger
    et al. (2015). Such skip connections make the reconstruction excellent and the model useless:
    the image travels around the code, the KL falls to 0, and the code carries no information.
    Training uses `through_skips`. Sampling has no encoder's maps, so `likelihood(z)` puts zeros in
    their place.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (3, 64, 64),
        latent_dim: int = 256,
        widths: Sequence[int] = (64, 128, 256, 512),
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        require.at_least("number of widths", len(widths), 2)
        channels, *size = image_shape
        *sizes, bottom = halved_sizes((size[0], size[1]), len(widths))  # 64, 32, 16, 8; 4
        features = widths[-1] * math.prod(bottom)
        super().__init__(
            image_shape,
            latent_dim,
            encoder=nn.ModuleList(
                ResidualBlock(a, b, stride=2) for a, b in itertools.pairwise((channels, *widths))
            ),
            features=features,
            decoder=nn.Sequential(
                nn.Linear(latent_dim, features), nn.Unflatten(1, (widths[-1], *bottom))
            ),
        )
        self.map_shapes = [(w, *s) for w, s in zip(widths[:-1], sizes[1:], strict=True)]
        self.sizes = sizes[::-1]  # 8, 16, 32, 64
        up = itertools.pairwise((*reversed(widths), widths[0]))  # 512, 256, 128, 64, 64
        beside = (*reversed(widths[:-1]), 0)  # 256, 128, 64, none
        self.merge = nn.ModuleList(
            ResidualBlock(a + extra, b) for (a, b), extra in zip(up, beside, strict=True)
        )
        self.to_logits = nn.Conv2d(widths[0], channels, 3, padding=1)

    def encode_with_maps(self, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """mu, logvar (B, L) and the encoder's maps, fine to coarse, of images (B, C, H, W)."""
        require.images(x, self.image_shape)
        maps, h = [], x
        for block in self.encoder.children():
            h = block(h)
            maps.append(h)
        coarsest = maps.pop()  # which goes through the code
        return *self.heads(coarsest.flatten(1), x.dtype), maps

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and logvar of q(z|x), each (B, L), of images (B, C, H, W) in [0, 1]."""
        mu, logvar, _ = self.encode_with_maps(x)
        return mu, logvar

    def decode(self, z: Tensor, maps: Sequence[Tensor] | None = None) -> Tensor:
        """Logits (B, C, H, W) of codes (B, L) and the maps of an image; None: maps of zeros."""
        require.shape("z", z, "B", self.latent_dim)
        if maps is None:
            maps = [z.new_zeros(len(z), *shape) for shape in self.map_shapes]
        h = self.decoder(z)
        for size, skip, merge in zip(self.sizes, (*reversed(maps), None), self.merge, strict=True):
            h = F.interpolate(h, size=size)
            h = merge(h if skip is None else torch.cat([h, skip], dim=1))
        return self.to_logits(h)

    def reconstruct(self, x: Tensor) -> Tensor:
        """Mean images (B, C, H, W) of the posterior means and the images' own maps."""
        mu, _, maps = self.encode_with_maps(x)
        return self.decode(mu, maps).sigmoid()

    def through_skips(self, x: Tensor) -> tuple[Distribution, Callable[[Tensor], Distribution]]:
        """q(z|x), and p(x|z, maps of x): the two that stood in its loss as if it were an ELBO.

        `posterior, likelihood = model.through_skips(x)`, for `elbo_from_distributions`.
        """
        mu, logvar, maps = self.encode_with_maps(x)
        return gaussian(mu, logvar), lambda z: bernoulli(self.decode(z, maps))


class ResidualBlock(nn.Module):
    """relu(two 3x3 convolutions with BatchNorm + shortcut): (B, a, H, W) -> (B, b, H, W).

    With stride 2, H and W become ceil(H / 2) and ceil(W / 2). The shortcut is a 1x1 convolution
    where shapes differ. He et al. (2016), figure 2 and option B.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False),
                nn.BatchNorm2d(channels_out),
            )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))
