"""Auto-decoders: no encoder; each image owns its code, learned together with the decoder."""

import copy
import math
from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Laplace, Normal, Uniform

from coursekit import require
from coursekit.models.gan import quarter

Family = Literal["normal", "laplace", "uniform"]

WIDTHS = (128, 64)
"""Channels of the inner layers of the published decoder."""


class AutoDecoder(nn.Module):
    """Each image i of a set owns a code z_i, a parameter like the decoder's weights.

    count: images in the set. labels: (count,) class numbers, to start each class in a region of
    its own; without them all codes start near 0. `start_at` puts them elsewhere. The decoder,
    1,375,313 parameters for 28x28:

    | layer                       | output       |
    | --------------------------- | ------------ |
    | code                        | 100 x 1 x 1  |
    | ConvT 7x7, BN, ReLU         | 128 x 7 x 7  |
    | ConvT 4x4 s2, BN, ReLU      | 64 x 14 x 14 |
    | ConvT 4x4 s2, sigmoid       | 1 x 28 x 28  |
    | Linear over all pixels      | 1 x 28 x 28  |

    widths: channels of the two inner layers. mix_pixels: whether the last layer stands; without it
    the decoder is much smaller, and its images lie in [0, 1]. With it they come out near [0, 1] and
    not always in it. For images whose height and width are multiples of 4 (the first kernel is a
    quarter of them). A new image has no code until one is found for it by optimization: see
    `for_new_images`. Park et al. (2019), "DeepSDF"; Zadeh et al. (2019), "Variational
    auto-decoder".
    """

    def __init__(
        self,
        count: int,
        latent_dim: int = 100,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        labels: Tensor | None = None,
        *,
        widths: Sequence[int] = WIDTHS,
        mix_pixels: bool = True,
    ) -> None:
        super().__init__()
        require.at_least("count", count, 1)
        require.at_least("latent_dim", latent_dim, 1)
        self.image_shape = image_shape
        self.latent_dim = latent_dim
        self.decoder = decoder(image_shape, latent_dim, widths, mix_pixels)
        self.location = table(starting_codes(count, latent_dim, labels))

    @property
    def prior(self) -> Distribution:
        """Where codes for new images may be drawn from, N(0, I): event shape (L,)."""
        zero = self.location.weight.new_zeros(self.latent_dim)
        return Independent(Normal(zero, torch.ones_like(zero)), 1)

    def codes(self, index: Tensor) -> Tensor:
        """The codes (B, L) of the images at the positions `index` (B,) of the set."""
        return self.location(index)

    def start_at(self, codes: Tensor) -> None:
        """Let the codes start at `codes` (count, L), such as those of `models.pca`.

        The codes of a uniform posterior are their hyperbolic tangents, which lie inside its prior.
        """
        require.shape("codes", codes, *self.location.weight.shape)
        with torch.no_grad():
            self.location.weight.copy_(codes)

    def decode(self, z: Tensor) -> Tensor:
        """Images (B, C, H, W), black 0 and white 1 though not clipped, of codes (B, L)."""
        require.shape("z", z, "B", self.latent_dim)
        return self.decoder(z)

    def for_new_images(self, count: int) -> Self:
        """The same model for another set: fresh codes, and a frozen copy of the decoder.

        Only the codes have gradients, and the decoder stays in eval mode, so fitting the codes
        of test images leaves no trace in it, not even in the running averages of BatchNorm.
        """
        require.at_least("count", count, 1)
        new = copy.deepcopy(self)
        new.requires_grad_(False)
        codes = starting_codes(count, self.latent_dim).to(self.location.weight.device)
        new.location = table(codes)
        return new.train()

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but a frozen decoder."""
        super().train(mode)
        if not any(p.requires_grad for p in self.decoder.parameters()):
            self.decoder.eval()
        return self


class VariationalAutoDecoder(AutoDecoder):
    """Each image owns a distribution q_i(z) over codes: the VAE's posterior without its encoder.

    family, with the prior of the same family and this sampling:
    "normal":  N(mu, sigma^2), prior N(0, 1);  z = mu + sigma eps
    "laplace": Laplace(mu, b), prior Laplace(0, 1);  z = mu - b sign(v) log(1 - 2|v|)
    "uniform": U(a, b), prior U(-1, 1);  z = a + (b - a) u, with a and b inside the prior, since
               outside the KL is infinite.
    The likelihood is p(x|z) = N(decode(z), noise^2 I), one learned noise for all pixels, so the
    bound of `elbo_from_distributions(x, model.posterior(index), model.prior, model.likelihood)`
    weighs both parts by itself. Arguments and decoder are those of AutoDecoder.
    """

    def __init__(
        self,
        count: int,
        latent_dim: int = 100,
        image_shape: tuple[int, int, int] = (1, 28, 28),
        labels: Tensor | None = None,
        family: Family = "normal",
        *,
        widths: Sequence[int] = WIDTHS,
        mix_pixels: bool = True,
    ) -> None:
        if family not in ("normal", "laplace", "uniform"):
            raise ValueError(f"family is {family!r}, but normal, laplace or uniform is expected")
        super().__init__(
            count, latent_dim, image_shape, labels, widths=widths, mix_pixels=mix_pixels
        )
        self.family = family
        self.spread = starting_spread(count, latent_dim)
        self.log_noise = nn.Parameter(torch.tensor(math.log(0.3)))

    @property
    def prior(self) -> Distribution:
        """p(z), of the same family as the posteriors: event shape (L,)."""
        one = self.location.weight.new_ones(self.latent_dim)
        if self.family == "normal":
            return Independent(Normal(0 * one, one), 1)
        if self.family == "laplace":
            return Independent(Laplace(0 * one, one), 1)
        return Independent(Uniform(-one, one), 1)

    def posterior(self, index: Tensor) -> Distribution:
        """q_i(z) of the images at the positions `index` (B,): batch shape (B,), event (L,)."""
        location, spread = self.location(index), self.spread(index)
        if self.family == "normal":
            return Independent(Normal(location, spread.exp(), validate_args=False), 1)
        if self.family == "laplace":
            return Independent(Laplace(location, spread.exp(), validate_args=False), 1)
        # A half width in (0, 1), and a center that leaves room for it: a >= -1 and b <= 1.
        half = torch.sigmoid(spread)
        center = (1.0 - half) * torch.tanh(location)
        return Independent(Uniform(center - half, center + half, validate_args=False), 1)

    def codes(self, index: Tensor) -> Tensor:
        """The means (B, L) of the posteriors of the images at the positions `index` (B,)."""
        return self.posterior(index).mean

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) of codes (B, L): batch shape (B,), event shape (C, H, W)."""
        mean = self.decode(z)
        return Independent(Normal(mean, self.log_noise.exp(), validate_args=False), 3)

    def for_new_images(self, count: int) -> Self:
        """The same model for another set: fresh posteriors, and a frozen copy of the decoder."""
        new = super().for_new_images(count)
        new.spread = starting_spread(count, self.latent_dim).to(self.log_noise.device)
        return new


def decoder(
    image_shape: tuple[int, int, int],
    latent_dim: int,
    widths: Sequence[int] = WIDTHS,
    mix_pixels: bool = True,
) -> nn.Sequential:
    """The decoder of both models: (B, L) -> (B, C, H, W)."""
    channels, height, width = quarter(image_shape)
    wide, narrow = widths
    layers = [
        nn.Unflatten(1, (latent_dim, 1, 1)),
        nn.ConvTranspose2d(latent_dim, wide, (height, width)),
        nn.BatchNorm2d(wide),
        nn.ReLU(),
        nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1),
        nn.BatchNorm2d(narrow),
        nn.ReLU(),
        nn.ConvTranspose2d(narrow, channels, 4, stride=2, padding=1),
        nn.Sigmoid(),
    ]
    if mix_pixels:
        pixels = math.prod(image_shape)
        layers += [nn.Flatten(), nn.Linear(pixels, pixels), nn.Unflatten(1, image_shape)]
    return nn.Sequential(*layers)


def starting_codes(count: int, latent_dim: int, labels: Tensor | None = None) -> Tensor:
    """Codes (count, L) close to 0, or to a center of their class that is drawn from N(0, I)."""
    codes = 0.1 * torch.randn(count, latent_dim)
    if labels is None:
        return codes
    require.shape("labels", labels, count)
    return codes + torch.randn(int(labels.max()) + 1, latent_dim)[labels.cpu()]


def starting_spread(count: int, latent_dim: int) -> nn.Embedding:
    """Narrow posteriors: the codes tell images apart from the first step."""
    return table(torch.full((count, latent_dim), -2.0))


def table(rows: Tensor) -> nn.Embedding:
    """One row per image, (count, L), each of them a parameter."""
    return nn.Embedding(len(rows), rows.shape[1], _weight=rows)
