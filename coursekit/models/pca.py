"""Principal component analysis: the best linear decoder, and where an auto-decoder can start."""

from dataclasses import dataclass

import torch
from torch import Tensor

from coursekit import require


@dataclass(frozen=True)
class PCA:
    """Images as the mean image plus L directions, each weighted by a coordinate of the code.

    mean: (D,), where D = C * H * W. directions: (L, D), orthonormal, the one with the most variance
    first. scale: (L,), the standard deviation along each. Among all linear decoders with L
    coordinates none has a smaller squared error on the images it was made from (Eckart and Young,
    1936).
    """

    mean: Tensor
    directions: Tensor
    scale: Tensor
    image_shape: torch.Size

    def codes(self, images: Tensor) -> Tensor:
        """Codes (N, L) of images (N, C, H, W) in [0, 1]; those of the set it was made from have
        mean 0, variance 1 and no correlations."""
        require.shape("images", images, "N", *self.image_shape)
        return (images.flatten(1) - self.mean) @ self.directions.T / self.scale

    def decode(self, z: Tensor) -> Tensor:
        """Images (N, C, H, W), near [0, 1] and not always in it, of codes (N, L)."""
        require.shape("z", z, "N", len(self.scale))
        return (z * self.scale @ self.directions + self.mean).unflatten(1, self.image_shape)


def pca(x: Tensor, latent_dim: int) -> PCA:
    """The principal components of images x (N, C, H, W), pixels in [0, 1].

    Raises ValueError unless latent_dim is less than N and at most C * H * W.
    """
    require.shape("x", x, "N", "C", "H", "W")
    require.pixels("x", x)
    flat = x.flatten(1)
    require.between("latent_dim", latent_dim, 1, min(len(flat) - 1, flat.shape[1]))
    mean = flat.mean(0)
    _, singular, directions = torch.linalg.svd(flat - mean, full_matrices=False)
    scale = singular[:latent_dim] / len(flat) ** 0.5
    return PCA(mean, directions[:latent_dim], scale, x.shape[1:])
