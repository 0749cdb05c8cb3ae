"""The small convolutional VAE, whose code is a point in a plane that can be drawn."""

from torch import nn

from coursekit import require
from coursekit.models.vae import VAE, halved_sizes


class SmallConvVAE(VAE):
    """Two convolutions on each side, no BatchNorm, for images of any size.

    With the defaults, 69,076 parameters in the encoder with its heads, 65,089 in the decoder:

    | encoder              |              | decoder                 |              |
    | -------------------- | ------------ | ----------------------- | ------------ |
    | image                | 1 x 28 x 28  | code                    | 2            |
    | Conv 3x3 s2, ReLU    | 32 x 14 x 14 | Linear, ReLU            | 64 x 7 x 7   |
    | Conv 3x3 s2, ReLU    | 64 x 7 x 7   | ConvT 3x3 s2, ReLU      | 64 x 14 x 14 |
    | Linear, ReLU         | 16           | ConvT 3x3 s2, ReLU      | 32 x 28 x 28 |
    | 2 Linear: mu, logvar | 2, 2         | ConvT 3x3 s1: logits    | 1 x 28 x 28  |

    Kingma and Welling (2014); the architecture is that of the Keras example.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (1, 28, 28), latent_dim: int = 2
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        channels, *size = image_shape
        full, half, (height, width) = halved_sizes((size[0], size[1]), 2)
        encoder = nn.Sequential(
            nn.Conv2d(channels, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * height * width, 16),
            nn.ReLU(),
        )
        decoder = nn.Sequential(
            nn.Linear(latent_dim, 64 * height * width),
            nn.ReLU(),
            nn.Unflatten(1, (64, height, width)),
            doubling(64, 64, half),
            nn.ReLU(),
            doubling(64, 32, full),
            nn.ReLU(),
            nn.ConvTranspose2d(32, channels, 3, padding=1),
        )
        super().__init__(image_shape, latent_dim, encoder, 16, decoder)


def doubling(channels_in: int, channels_out: int, size: tuple[int, int]) -> nn.ConvTranspose2d:
    """A 3x3 transposed convolution of stride 2: ceil(H / 2) x ceil(W / 2) -> H x W = size.

    It maps n to 2n - 1 + output_padding, so an even size needs an output padding of 1.
    """
    output_padding = (1 - size[0] % 2, 1 - size[1] % 2)
    return nn.ConvTranspose2d(
        channels_in, channels_out, 3, stride=2, padding=1, output_padding=output_padding
    )
