"""The conditional VAE: it is told the class, so its code need not say it, and draws on demand."""

from collections.abc import Sequence

from torch import Tensor
from torch.distributions import Distribution

from coursekit import require
from coursekit.models.conditioning import beside_channels, beside_code
from coursekit.models.vae import VAE, bernoulli, conv_decoder, conv_encoder, gaussian


class ConditionalVAE(VAE):
    """q(z|x, y), p(x|z, y) and p(z) = N(0, I), the same for all classes y.

    The networks are those of ConvVAE, but the encoder sees C + classes channels and the decoder
    L + classes numbers: the class comes as one-hot planes and as a one-hot vector. labels: class
    numbers (B,), int64. Its bound, on log p(x|y):

        elbo_from_distributions(
            x, model.posterior(x, y), model.prior, lambda z: model.likelihood(z, y)
        )

    Sohn, Lee and Yan (2015); Kingma et al. (2014), model M2.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int,
        classes: int = 10,
        widths: Sequence[int] = (32, 64, 128, 256),
    ) -> None:
        require.at_least("latent_dim", latent_dim, 1)
        require.at_least("classes", classes, 1)
        channels, *size = image_shape
        encoder, features = conv_encoder((channels + classes, size[0], size[1]), widths)
        decoder = conv_decoder(image_shape, latent_dim + classes, widths)
        super().__init__(image_shape, latent_dim, encoder, features, decoder)
        self.classes = classes

    def encode(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """mu and logvar of q(z|x, y), each (B, L), of images (B, C, H, W) in [0, 1] and labels."""
        require.images(x, self.image_shape)
        return self.heads(self.encoder(beside_channels(x, labels, self.classes)), x.dtype)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits of p(x|z, y), (B, C, H, W), of codes (B, L) and labels (B,)."""
        require.shape("z", z, "B", self.latent_dim)
        return self.decoder(beside_code(z, labels, self.classes))

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> Distribution:
        """q(z|x, y): batch shape (B,), event shape (L,)."""
        return gaussian(*self.encode(x, labels))

    def likelihood(self, z: Tensor, labels: Tensor | None = None) -> Distribution:
        """p(x|z, y): batch shape (B,), event shape (C, H, W)."""
        return bernoulli(self.decode(z, labels))
