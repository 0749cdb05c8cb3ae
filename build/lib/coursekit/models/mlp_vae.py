"""The fully connected VAE: 784-400-20 on MNIST, the example that everybody knows."""

from math import prod

from torch import nn

from coursekit import require
from coursekit.models.vae import VAE


class MLPVAE(VAE):
    """One hidden layer on each side, for images of any shape.

    With the defaults, 652,824 parameters:

    | encoder          |             | decoder          |             |
    | ---------------- | ----------- | ---------------- | ----------- |
    | image            | 1 x 28 x 28 | code             | 20          |
    | flattened        | 784         | Linear, ReLU     | 400         |
    | Linear, ReLU     | 400         | Linear           | 784         |
    | 2 Linear         | 20, 20      | shaped: logits   | 1 x 28 x 28 |

    Kingma and Welling (2014), section 5; the sizes are those of pytorch/examples.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        latent_dim: int = 20,
        hidden: int = 400,
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        require.at_least("hidden", hidden, 1)
        pixels = prod(image_shape)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU())
        decoder = nn.Sequential(
            nn.Linear(latent_dim, hidden),
            nn.ReLU(),
            nn.Linear(hidden, pixels),
            nn.Unflatten(1, image_shape),
        )
        super().__init__(image_shape, latent_dim, encoder, hidden, decoder)
