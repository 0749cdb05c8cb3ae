"""Reconstruction errors of models without a likelihood."""

from typing import NamedTuple

from torch import Tensor

from coursekit import require


class SquaredError(NamedTuple):
    """Scalars, averaged over the batch; pixels in [0, 1]."""

    loss: Tensor
    """Squared error of an image, summed over its pixels and channels."""
    mse: Tensor
    """The same a pixel and channel: what is commonly called the MSE."""


class FrobeniusError(NamedTuple):
    """Scalars of a batch; pixels in grey levels, 0 to 255."""

    loss: Tensor
    """||x - x_hat||_F / number of pixels in the batch."""
    rmse: Tensor
    """Root of the mean squared error, in grey levels: does not depend on the batch size."""


def squared_error(x: Tensor, x_hat: Tensor) -> SquaredError:
    """The squared error of reconstructions: x, x_hat (B, C, H, W) in [0, 1].

    In nats it is -log N(x; x_hat, I / 2) up to a constant, see GaussianVAE.
    """
    require.same_shape(x=x, x_hat=x_hat)
    require.at_least("batch size", len(x), 1)
    square = (x - x_hat).square()
    return SquaredError(square.flatten(1).sum(dim=1).mean(), square.mean())


def frobenius_error(x: Tensor, x_hat: Tensor) -> FrobeniusError:
    """||x - x_hat||_F / numel: x, x_hat (B, C, H, W) in [0, 1], the batch taken as one matrix.

    A norm of a batch is no mean over images: it falls with the square root of the batch size, so
    compare at equal batch sizes, or compare `rmse` (= loss * 224 for 64 images of 28 x 28).
    """
    require.same_shape(x=x, x_hat=x_hat)
    require.at_least("batch size", len(x), 1)
    norm = 255.0 * (x - x_hat).norm()
    return FrobeniusError(norm / x.numel(), norm / x.numel() ** 0.5)
