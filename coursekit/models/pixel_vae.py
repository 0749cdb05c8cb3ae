"""A VAE whose decoder is autoregressive: each pixel sees the code and the pixels before it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent
from torch.nn import functional as F

from coursekit import require
from coursekit.models.vae import VAE, conv_encoder


class MaskedConv(nn.Conv2d):
    """A convolution that sees only pixels before its own in reading order: above, or left.

    own: whether it also sees the place of the output itself, as all layers but the first may.
    van den Oord, Kalchbrenner and Kavukcuoglu (2016), "Pixel recurrent neural networks", section 3.
    """

    mask: Tensor

    def __init__(self, channels_in: int, channels_out: int, size: int, own: bool) -> None:
        super().__init__(channels_in, channels_out, size, padding=size // 2)
        mask = torch.zeros(size, size)
        mask[: size // 2] = 1
        mask[size // 2, : size // 2 + own] = 1
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding=self.padding)


class PixelDecoder(nn.Module):
    """Logits of each pixel, from the code and the pixels before it: (B, L), (B, C, H, W).

    A masked 5x5 convolution, a masked 3x3 one, and two 1x1 ones, with `channels` channels. The code
    is added after the first: the same numbers at every pixel, or, with `places`, numbers of its own
    for each row and for each column, so that a code can say where a thing is.
    """

    def __init__(
        self, image_shape: tuple[int, int, int], latent_dim: int, channels: int, places: bool
    ) -> None:
        super().__init__()
        require.at_least("latent_dim", latent_dim, 1)
        colors, *size = image_shape
        self.size = (size[0], size[1]) if places else (1, 1)
        self.code = nn.Sequential(
            nn.Linear(latent_dim, 64), nn.ReLU(), nn.Linear(64, channels * sum(self.size))
        )
        self.first = MaskedConv(colors, channels, 5, own=False)
        self.second = MaskedConv(channels, channels, 3, own=True)
        self.third = nn.Conv2d(channels, channels, 1)
        self.last = nn.Conv2d(channels, colors, 1)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        rows, columns = self.code(z).view(len(z), -1, sum(self.size)).split(self.size, dim=2)
        h = (self.first(x) + rows[..., None] + columns[..., None, :]).relu()
        h = (h + self.second(h)).relu()
        h = (h + self.third(h)).relu()
        return self.last(h)


class Autoregressive(Distribution):
    """p(x|z) as a product over pixels: batch shape (B,), event shape (C, H, W).

    logits: images (B, C, H, W) -> logits (B, C, H, W), each of the pixels before it only.
    """

    arg_constraints = {}  # noqa: RUF012  # torch's name

    def __init__(
        self, logits: Callable[[Tensor], Tensor], count: int, image_shape: tuple[int, int, int]
    ) -> None:
        self.logits = logits
        super().__init__(torch.Size([count]), torch.Size(image_shape), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(x|z) of images (B, C, H, W) of zeros and ones: (B,), in nats."""
        pixels = Bernoulli(logits=self.logits(value), validate_args=False)
        return Independent(pixels, 3).log_prob(value)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Images (B, C, H, W), drawn pixel by pixel: one run of the decoder per pixel."""
        if sample_shape:
            raise ValueError(f"sample_shape is {tuple(sample_shape)}, but only () can be drawn")
        _, height, width = self.event_shape
        x = torch.zeros(self.batch_shape + self.event_shape)
        for row in range(height):
            for column in range(width):
                logits = self.logits(x)[:, :, row, column]
                x[:, :, row, column] = torch.bernoulli(logits.sigmoid())
        return x


class PixelVAE(VAE):
    """A VAE with a tiny autoregressive decoder, for pictures of zeros and ones.

    The decoder can draw well without a code, so training may leave the code empty: posterior
    collapse. places: whether the code can say different things to different rows and columns.
    Chen et al. (2017), "Variational lossy autoencoder"; Gulrajani et al. (2017), "PixelVAE". With
    image_shape (1, 16, 16), 4 latents and 16 channels, 5,425 parameters in the decoder.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        channels: int = 16,
        places: bool = False,
    ) -> None:
        encoder, features = conv_encoder(image_shape, (16, 32))
        decoder = PixelDecoder(image_shape, latent_dim, channels, places)
        super().__init__(image_shape, latent_dim, encoder, features, decoder)

    def decode(self, z: Tensor) -> Tensor:
        """Refused: a pixel's logit needs the pixels before it. Ask `likelihood(z)`."""
        raise TypeError("the decoder is autoregressive: use likelihood(z).log_prob(x) or .sample()")

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) of codes (B, L): batch shape (B,), event shape (C, H, W)."""
        require.shape("z", z, "B", self.latent_dim)
        return Autoregressive(lambda x: self.decoder(z, x), len(z), self.image_shape)
