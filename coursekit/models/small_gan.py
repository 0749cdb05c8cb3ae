"""A convolutional GAN that a single core trains in a minute, with or without classes."""

from torch import Tensor, nn

from coursekit import require
from coursekit.models.conditioning import beside_code
from coursekit.models.gan import GAN, quarter


class SmallGAN(GAN):
    """A small GAN for images whose height and width are multiples of 4.

    classes: None, or the number K of classes; the GAN is then conditional. With (1, 28, 28) it has
    63,377 and 10,065 parameters; with 10 classes 79,057 and 24,186, as here:

    | generator                  |              | discriminator             |              |
    | -------------------------- | ------------ | ------------------------- | ------------ |
    | noise and one-hot class    | 42           | image                     | 1 x 28 x 28  |
    | Linear, BN, ReLU           | 32 x 7 x 7   | Conv 4x4 s2, LeakyReLU,   |              |
    |                            |              |    dropout 0.2            | 16 x 14 x 14 |
    | ConvT 4x4 s2, BN, ReLU     | 16 x 14 x 14 | the same                  | 32 x 7 x 7   |
    | ConvT 4x4 s2, sigmoid      | 1 x 28 x 28  | Linear: one score per class | 10         |

    The conditional discriminator has one score per class and reads that of the class it is told.
    After Radford, Metz and Chintala (2016) and Mirza and Osindero (2014).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        latent_dim: int = 32,
        classes: int | None = None,
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        if classes is not None:
            require.at_least("classes", classes, 1)
        channels, height, width = quarter(image_shape)
        features = 32 * height * width
        generator = nn.Sequential(
            nn.Linear(latent_dim + (classes or 0), features),
            nn.BatchNorm1d(features),
            nn.ReLU(),
            nn.Unflatten(1, (32, height, width)),
            nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.ConvTranspose2d(16, channels, 4, stride=2, padding=1),
            nn.Sigmoid(),
        )
        discriminator = nn.Sequential(
            nn.Conv2d(channels, 16, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.2),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(features, classes or 1),
        )
        super().__init__(image_shape, latent_dim, generator, discriminator)
        if classes is not None:
            self.classes = classes  # `gan_losses` tells labels to a model that has classes

    def generate(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of noise (B, latent_dim) and, if conditional, classes."""
        require.shape("z", z, "B", self.latent_dim)
        require.batch_of_two("the generator", len(z), self.training)
        if not hasattr(self, "classes"):
            self._no_labels(labels)
            return self.generator(z)
        return self.generator(beside_code(z, labels, self.classes))

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Scores (B,) of images (B, C, H, W) in [0, 1] and, if conditional, classes: logits."""
        require.shape("x", x, "B", *self.image_shape)
        scores: Tensor = self.discriminator(2.0 * x - 1.0)
        if not hasattr(self, "classes"):
            self._no_labels(labels)
            return scores.flatten()
        y = require.labels("labels", labels, len(x), self.classes)
        return scores.gather(1, y[:, None]).flatten()
