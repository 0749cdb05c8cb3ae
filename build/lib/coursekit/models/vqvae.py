"""The VQ-VAE: codes from a finite book, and an autoregressive prior that learns to write them."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution
from torch.nn import functional as F

from coursekit import require
from coursekit.models.vae import bernoulli, downsample, halved_sizes, upsample


class Coded(NamedTuple):
    """What the VQ-VAE makes of images; (h, w) is a quarter of their size."""

    logits: Tensor
    """(B, C, H, W) of the reconstruction."""
    encoded: Tensor
    """(B, D, h, w): the encoder's vectors."""
    quantized: Tensor
    """(B, D, h, w): the nearest entries of the code book."""
    codes: Tensor
    """(B, h, w), int64: which entries they are."""


class VQVAE(nn.Module):
    """Images to a small map of entries of a code book, and back, for images of any size.

    codes: entries in the book, K. code_dim: numbers in an entry, D. With (1, 28, 28) and width 64:

    | encoder              |               | decoder                  |              |
    | -------------------- | ------------- | ------------------------ | ------------ |
    | image                | 1 x 28 x 28   | entries                  | 32 x 7 x 7   |
    | Conv 3x3 s2, BN, ReLU| 64 x 14 x 14  | Conv 3x3, ReLU           | 128 x 7 x 7  |
    | Conv 3x3 s2, BN, ReLU| 128 x 7 x 7   | ConvT 4x4 s2, BN, Leaky  | 64 x 14 x 14 |
    | Conv 1x1             | 32 x 7 x 7    | ConvT 4x4 s2, BN, Leaky  | 64 x 28 x 28 |
    | nearest entry        | 32 x 7 x 7    | Conv 3x3: logits         | 1 x 28 x 28  |

    The choice of an entry has no gradient; the decoder's is copied to the encoder as if nothing
    had happened between (straight-through). Loss: `objectives.vq_loss`. Van den Oord, Vinyals and
    Kavukcuoglu (2017).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        codes: int = 128,
        code_dim: int = 32,
        width: int = 64,
    ) -> None:
        super().__init__()
        require.at_least("codes", codes, 1)
        require.at_least("code_dim", code_dim, 1)
        require.at_least("width", width, 1)
        channels, *size = image_shape
        full, half, quarter = halved_sizes((size[0], size[1]), 2)
        self.image_shape = image_shape
        self.code_shape = quarter
        self.encoder = nn.Sequential(
            downsample(channels, width),
            downsample(width, 2 * width),
            nn.Conv2d(2 * width, code_dim, 1),
        )
        self.book = nn.Parameter(torch.empty(codes, code_dim).uniform_(-1 / codes, 1 / codes))
        self.decoder = nn.Sequential(
            nn.Conv2d(code_dim, 2 * width, 3, padding=1),
            nn.ReLU(),
            upsample(2 * width, width, half),
            upsample(width, width, full),
            nn.Conv2d(width, channels, 3, padding=1),
        )

    def quantize(self, encoded: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest entries (B, D, h, w) of vectors (B, D, h, w), and their numbers (B, h, w)."""
        vectors = encoded.movedim(1, -1)
        index = torch.cdist(vectors.flatten(0, 2), self.book).argmin(dim=1)
        index = index.view(vectors.shape[:-1])
        return self.entries(index), index

    def entries(self, index: Tensor) -> Tensor:
        """The entries (B, D, h, w) with the numbers (B, h, w)."""
        return F.embedding(index, self.book).movedim(-1, 1)

    def decode(self, index: Tensor) -> Tensor:
        """Logits (B, C, H, W) of numbers of entries (B, h, w)."""
        require.shape("index", index, "B", *self.code_shape)
        return self.decoder(self.entries(index))

    def likelihood(self, index: Tensor) -> Distribution:
        """p(x|entries): batch shape (B,), event shape (C, H, W)."""
        return bernoulli(self.decode(index))

    def forward(self, x: Tensor) -> Coded:
        """Images (B, C, H, W) in [0, 1] through encoder, book and decoder."""
        require.images(x, self.image_shape)
        encoded = self.encoder(x)
        quantized, index = self.quantize(encoded)
        through = encoded + (quantized - encoded).detach()  # its value, the encoder's gradient
        return Coded(self.decoder(through), encoded, quantized, index)


class CodePrior(nn.Module):
    """p(index): a small PixelCNN over maps of code numbers, row by row, left to right.

    Without a prior, a trained VQ-VAE cannot generate: most maps of entries decode to nothing.
    Train it on `vqvae(x).codes` by `-prior.log_prob(index).mean()`, in nats, then decode
    `prior.sample(count)`. Embedding (B, width, h, w) -> a masked 5x5 convolution that does not see
    the position itself -> `layers` residual masked 3x3 ones that see the one before -> 1x1 ->
    logits (B, K, h, w). Van den Oord et al. (2016), "Pixel recurrent neural networks".
    """

    def __init__(
        self, codes: int, code_shape: tuple[int, int], width: int = 64, layers: int = 4
    ) -> None:
        super().__init__()
        require.at_least("codes", codes, 1)
        require.at_least("layers", layers, 0)
        self.code_shape = code_shape
        self.embedding = nn.Embedding(codes, width)
        self.first = MaskedConv(width, 5, own_position=False)
        self.layers = nn.ModuleList(MaskedConv(width, 3, own_position=True) for _ in range(layers))
        self.last = nn.Conv2d(width, codes, 1)

    def forward(self, index: Tensor) -> Tensor:
        """Logits (B, K, h, w) of each number, from the numbers before it, of maps (B, h, w)."""
        h = self.first(self.embedding(index).movedim(-1, 1))
        for layer in self.layers:
            h = h + layer(F.relu(h))
        return self.last(F.relu(h))

    def log_prob(self, index: Tensor) -> Tensor:
        """log p(index) in nats, summed over the map: (B, h, w) -> (B,)."""
        require.shape("index", index, "B", *self.code_shape)
        return -F.cross_entropy(self(index), index, reduction="none").flatten(1).sum(dim=1)

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        """Maps (count, h, w) drawn position by position, by h * w passes of the network."""
        require.at_least("count", count, 1)
        height, width = self.code_shape
        index = torch.zeros(
            count, height, width, dtype=torch.long, device=self.embedding.weight.device
        )
        for row in range(height):
            for column in range(width):
                logits = self(index)[:, :, row, column]
                index[:, row, column] = Categorical(logits=logits).sample()
        return index


class MaskedConv(nn.Conv2d):
    """A convolution that sees the rows above and what is to the left; own_position: and itself."""

    mask: Tensor

    def __init__(self, width: int, kernel: int, own_position: bool) -> None:
        super().__init__(width, width, kernel, padding=kernel // 2)
        seen = torch.ones(kernel, kernel)
        seen[kernel // 2, kernel // 2 + own_position :] = 0
        seen[kernel // 2 + 1 :] = 0
        self.register_buffer("mask", seen)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.mask, self.bias, padding="same")
