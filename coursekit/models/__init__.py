"""The models, one family per file, each readable in one sitting."""

from typing import Protocol

from torch import Tensor
from torch.distributions import Distribution

from coursekit.models.autodecoder import AutoDecoder, VariationalAutoDecoder
from coursekit.models.autoencoder import Autoencoder
from coursekit.models.burgess_vae import BurgessVAE
from coursekit.models.conditional_vae import ConditionalVAE
from coursekit.models.gan import DCGAN, GAN, MLPGAN, ConditionalGAN
from coursekit.models.gaussian_vae import GaussianVAE
from coursekit.models.hierarchical import HierarchicalVAE
from coursekit.models.iaf import IAFVAE
from coursekit.models.ladder import SkipVAE, attempt
from coursekit.models.mlp_vae import MLPVAE
from coursekit.models.pca import PCA, pca
from coursekit.models.pixel_vae import PixelVAE
from coursekit.models.planar_flow import PlanarFlow, PlanarFlowVAE
from coursekit.models.realnvp import RealNVP
from coursekit.models.small_conv_vae import SmallConvVAE
from coursekit.models.small_gan import SmallGAN
from coursekit.models.vae import VAE, ConvVAE
from coursekit.models.vae_gan import VAEGAN
from coursekit.models.vqvae import VQVAE, CodePrior

__all__ = [
    "DCGAN",
    "GAN",
    "IAFVAE",
    "MLPGAN",
    "MLPVAE",
    "PCA",
    "VAE",
    "VAEGAN",
    "VQVAE",
    "AutoDecoder",
    "Autoencoder",
    "BurgessVAE",
    "CodePrior",
    "ConditionalGAN",
    "ConditionalVAE",
    "ConvVAE",
    "GaussianVAE",
    "HierarchicalVAE",
    "LatentVariableModel",
    "PixelVAE",
    "PlanarFlow",
    "PlanarFlowVAE",
    "RealNVP",
    "SkipVAE",
    "SmallConvVAE",
    "SmallGAN",
    "VariationalAutoDecoder",
    "attempt",
    "pca",
]


class LatentVariableModel(Protocol):
    """What the likelihood metrics need to know of a model p(x, z) = p(z) p(x|z) with q(z|x)."""

    @property
    def prior(self) -> Distribution:
        """p(z): event shape (L,)."""

    def posterior(self, x: Tensor) -> Distribution:
        """q(z|x) of images (B, C, H, W): batch shape (B,), event shape (L,)."""

    def likelihood(self, z: Tensor) -> Distribution:
        """p(x|z) of codes (B, L): batch shape (B,), event shape (C, H, W)."""
