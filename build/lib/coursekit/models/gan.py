"""Generative adversarial networks: fully connected, convolutional (DCGAN), conditional."""

import itertools
from math import prod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from coursekit import require
from coursekit.models.attention import SelfAttention
from coursekit.models.conditioning import beside_channels, beside_code


class GAN(nn.Module):
    """Two networks and the noise between them (Goodfellow et al., 2014).

    generator: noise (B, latent_dim) -> images (B, C, H, W). discriminator: images -> a score an
    image, (B, 1) or (B,). A subclass says which; this class says how they are called. It has no
    encoder and no likelihood: an image cannot be encoded, and p(x) is not known.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        generator: nn.Module,
        discriminator: nn.Module,
    ) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.latent_dim = latent_dim
        self.generator = generator
        self.discriminator = discriminator

    @property
    def prior(self) -> Distribution:
        """p(z) = N(0, I), where the noise comes from: event shape (latent_dim,)."""
        zero = next(self.generator.parameters()).new_zeros(self.latent_dim)
        return Independent(Normal(zero, torch.ones_like(zero)), 1)

    def generate(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of noise (B, latent_dim)."""
        self._no_labels(labels)
        require.shape("z", z, "B", self.latent_dim)
        require.batch_of_two(
            "the generator", len(z), self.training and has_batch_norm(self.generator)
        )
        # The networks work on [-1, 1], the range of tanh; images are in [0, 1] everywhere else.
        return 0.5 * (self.generator(z) + 1.0)

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Scores (B,) of images (B, C, H, W) in [0, 1]: logits of "this image is real"."""
        self._no_labels(labels)
        require.shape("x", x, "B", *self.image_shape)
        return self.discriminator(2.0 * x - 1.0).flatten()

    def _no_labels(self, labels: Tensor | None) -> None:
        if labels is not None:
            raise ValueError(
                f"labels were given, but {type(self).__name__} is not conditional: "
                "leave them out, or use ConditionalGAN"
            )


class MLPGAN(GAN):
    """The fully connected GAN, for images of any shape.

    | generator            |           | discriminator                  |           |
    | -------------------- | --------- | ------------------------------ | --------- |
    | noise                | 100       | image, flattened               | C * H * W |
    | Linear, LeakyReLU    | 256       | Linear, LeakyReLU, dropout 0.3 | 1024      |
    | the same             | 512       | the same                       | 512       |
    | the same             | 1024      | the same                       | 256       |
    | Linear, tanh, shaped | C x H x W | Linear: the score              | 1         |

    After Goodfellow et al. (2014), section 5, whose nets were fully connected too.
    """

    def __init__(
        self, image_shape: tuple[int, int, int] = (1, 28, 28), latent_dim: int = 100
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        pixels = prod(image_shape)
        grow: list[nn.Module] = []
        for a, b in itertools.pairwise((latent_dim, 256, 512, 1024)):
            grow += [nn.Linear(a, b), nn.LeakyReLU(0.2)]
        shrink: list[nn.Module] = []
        for a, b in itertools.pairwise((pixels, 1024, 512, 256)):
            shrink += [nn.Linear(a, b), nn.LeakyReLU(0.2), nn.Dropout(0.3)]
        out = [nn.Linear(1024, pixels), nn.Tanh(), nn.Unflatten(1, image_shape)]
        super().__init__(
            image_shape,
            latent_dim,
            nn.Sequential(*grow, *out),
            nn.Sequential(nn.Flatten(), *shrink, nn.Linear(256, 1)),
        )


class DCGAN(GAN):
    """The convolutional GAN: 2,305,472 and 212,865 trainable parameters.

    For images of (1, 28, 28), or any whose height and width are multiples of 4:

    | generator                          |             | discriminator                 |    |
    | ---------------------------------- | ----------- | ----------------------------- | -- |
    | noise                              | 100         | image              | 1 x 28 x 28   |
    | Linear, no bias, BN, LeakyReLU     | 256 x 7 x 7 | Conv 5x5 s2, Leaky,|               |
    | ConvT 5x5 s1, no bias, BN, Leaky   | 128 x 7 x 7 |    dropout 0.3     | 64 x 14 x 14  |
    | ConvT 5x5 s2, no bias, BN, Leaky   | 64 x 14 x 14| the same           | 128 x 7 x 7   |
    | ConvT 5x5 s2, no bias, tanh        | 1 x 28 x 28 | Linear: the score  | 1             |

    After Radford, Metz and Chintala (2016). The discriminator has no BatchNorm, so that each
    score depends on its own image alone. attention: put self-attention on the maps of 64 channels
    of both networks (Zhang et al., 2019), which then have 2,310,593 and 217,986 parameters.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        latent_dim: int = 100,
        attention: bool = False,
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        channels, height, width = quarter(image_shape)
        features = 256 * height * width
        generator = nn.Sequential(
            nn.Linear(latent_dim, features, bias=False),
            nn.BatchNorm1d(features),
            nn.LeakyReLU(0.3),
            nn.Unflatten(1, (256, height, width)),
            nn.ConvTranspose2d(256, 128, 5, padding=2, bias=False),
            nn.BatchNorm2d(128),
            nn.LeakyReLU(0.3),
            nn.ConvTranspose2d(128, 64, 5, stride=2, padding=2, output_padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.LeakyReLU(0.3),
            *([SelfAttention(64)] if attention else []),
            nn.ConvTranspose2d(64, channels, 5, stride=2, padding=2, output_padding=1, bias=False),
            nn.Tanh(),
        )
        discriminator = nn.Sequential(
            nn.Conv2d(channels, 64, 5, stride=2, padding=2),
            nn.LeakyReLU(0.3),
            nn.Dropout(0.3),
            *([SelfAttention(64)] if attention else []),
            nn.Conv2d(64, 128, 5, stride=2, padding=2),
            nn.LeakyReLU(0.3),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(128 * height * width, 1),
        )
        super().__init__(image_shape, latent_dim, generator, discriminator)


class ConditionalGAN(GAN):
    """The conditional GAN: 1,491,215 and 80,385 trainable parameters.

    Generator and discriminator are told the class, as a one-hot vector beside the noise and as
    one-hot channels beside the image. With (1, 28, 28) and 10 classes:

    | generator                  |              | discriminator             |              |
    | -------------------------- | ------------ | ------------------------- | ------------ |
    | noise and one-hot class    | 138          | image and one-hot channels| 11 x 28 x 28 |
    | Linear, LeakyReLU          | 138 x 7 x 7  | Conv 3x3 s2, LeakyReLU    | 64 x 14 x 14 |
    | ConvT 4x4 s2, LeakyReLU    | 128 x 14 x 14| Conv 3x3 s2, LeakyReLU    | 128 x 7 x 7  |
    | ConvT 4x4 s2, LeakyReLU    | 128 x 28 x 28| maximum over the positions| 128          |
    | Conv 7x7, sigmoid          | 1 x 28 x 28  | Linear: the score         | 1            |

    Mirza and Osindero (2014).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        latent_dim: int = 128,
        classes: int = 10,
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        require.at_least("classes", classes, 1)
        channels, height, width = quarter(image_shape)
        joint = latent_dim + classes
        generator = nn.Sequential(
            nn.Linear(joint, joint * height * width),
            nn.LeakyReLU(0.2),
            nn.Unflatten(1, (joint, height, width)),
            nn.ConvTranspose2d(joint, 128, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.ConvTranspose2d(128, 128, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(128, channels, 7, padding=3),
            nn.Sigmoid(),
        )
        discriminator = nn.Sequential(
            nn.Conv2d(channels + classes, 64, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(128, 1),
        )
        super().__init__(image_shape, latent_dim, generator, discriminator)
        self.classes = classes

    def generate(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of noise (B, latent_dim) and class numbers (B,)."""
        require.shape("z", z, "B", self.latent_dim)
        return self.generator(beside_code(z, labels, self.classes))

    def discriminate(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Scores (B,) of images (B, C, H, W) in [0, 1] and class numbers (B,): logits."""
        require.shape("x", x, "B", *self.image_shape)
        return self.discriminator(beside_channels(x, labels, self.classes)).flatten()


def quarter(image_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """(C, H, W) -> (C, H / 4, W / 4), for networks that double the size twice."""
    channels, height, width = image_shape
    if height % 4 or width % 4 or min(image_shape) < 1:
        raise ValueError(
            f"image_shape is {image_shape}, but height and width must be multiples of 4: "
            "load the data at such a resolution"
        )
    return channels, height // 4, width // 4


def has_batch_norm(module: nn.Module) -> bool:
    """Whether a BatchNorm layer is anywhere inside."""
    return any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())
