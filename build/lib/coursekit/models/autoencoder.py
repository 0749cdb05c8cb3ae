"""The plain convolutional autoencoder: it compresses, and gives no samples."""

from torch import Tensor, nn

from coursekit import require
from coursekit.models.small_conv_vae import doubling
from coursekit.models.vae import halved_sizes


class Autoencoder(nn.Module):
    """Images to a map of 32 channels and back, trained by the squared error.

    For images of any size; with (3, 64, 64), 10,147 parameters:

    | encoder           |              | decoder             |              |
    | ----------------- | ------------ | ------------------- | ------------ |
    | image             | 3 x 64 x 64  | code                | 32 x 16 x 16 |
    | Conv 3x3 s2, ReLU | 16 x 32 x 32 | ConvT 3x3 s2, ReLU  | 16 x 32 x 32 |
    | Conv 3x3 s2, ReLU | 32 x 16 x 16 | ConvT 3x3 s2, tanh  | 3 x 64 x 64  |

    Hinton and Salakhutdinov (2006), with convolutions. No code but those of images has a meaning,
    so a random code decodes to nothing: the gap that the VAE closes.
    """

    def __init__(self, image_shape: tuple[int, int, int] = (3, 64, 64)) -> None:
        super().__init__()
        channels, *size = image_shape
        full, half, (height, width) = halved_sizes((size[0], size[1]), 2)
        self.image_shape = image_shape
        self.code_shape = (32, height, width)
        self.encoder = nn.Sequential(
            nn.Conv2d(channels, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            doubling(32, 16, half), nn.ReLU(), doubling(16, channels, full), nn.Tanh()
        )

    def encode(self, x: Tensor) -> Tensor:
        """Codes (B, 32, H / 4, W / 4) of images (B, C, H, W) in [0, 1]."""
        require.images(x, self.image_shape)
        return self.encoder(2.0 * x - 1.0)

    def decode(self, code: Tensor) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of codes (B, 32, H / 4, W / 4)."""
        require.shape("code", code, "B", *self.code_shape)
        # tanh gives [-1, 1]; images are in [0, 1] everywhere else.
        return 0.5 * (self.decoder(code) + 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction, (B, C, H, W) in [0, 1], of images (B, C, H, W) in [0, 1]."""
        return self.decode(self.encode(x))
