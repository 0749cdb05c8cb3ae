"""The convolutional VAE with which shapes are disentangled."""

from torch import nn

from coursekit import require
from coursekit.models.vae import VAE


class BurgessVAE(VAE):
    """4x4 convolutions of stride 2 and two linear layers on each side, for 32x32 images.

    With one channel and 4 latents, 58,481 parameters in the decoder:

    | encoder              |              | decoder              |              |
    | -------------------- | ------------ | -------------------- | ------------ |
    | image                | 1 x 32 x 32  | code                 | 4            |
    | Conv 4x4 s2, ReLU    | 16 x 16 x 16 | Linear, ReLU         | 64           |
    | the same             | 32 x 8 x 8   | Linear, ReLU         | 32 x 4 x 4   |
    | the same             | 32 x 4 x 4   | ConvT 4x4 s2, ReLU   | 32 x 8 x 8   |
    | Linear, ReLU         | 64           | the same             | 16 x 16 x 16 |
    | 2 Linear: mu, logvar | 4, 4         | ConvT 4x4 s2: logits | 1 x 32 x 32  |

    Burgess et al. (2018), "Understanding disentangling in beta-VAE", appendix A.1, with half the
    image's side and fewer channels.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (1, 32, 32), latent_dim: int = 4
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        channels, *size = image_shape
        if tuple(size) != (32, 32):
            raise ValueError(f"image_shape is {tuple(image_shape)}, but 32x32 images are expected")
        encoder = nn.Sequential(
            nn.Conv2d(channels, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 64),
            nn.ReLU(),
        )
        decoder = nn.Sequential(
            nn.Linear(latent_dim, 64),
            nn.ReLU(),
            nn.Linear(64, 32 * 4 * 4),
            nn.ReLU(),
            nn.Unflatten(1, (32, 4, 4)),
            nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1),
        )
        super().__init__(image_shape, latent_dim, encoder, 64, decoder)
