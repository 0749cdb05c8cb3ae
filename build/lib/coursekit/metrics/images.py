"""What can be said of images without a network: their spectrum and their sharpness."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Spectrum(NamedTuple):
    frequency: Tensor
    """(K,) cycles a pixel, 0 … 0.5."""
    power: Tensor
    """(K,) mean squared amplitude at that frequency; white noise of variance v has power v."""


def power_spectrum(images: Tensor) -> Spectrum:
    """Radially averaged power spectrum of images (N, C, H, W), averaged over images and channels.

    Blur shows as power missing at high frequencies: compare with real images of the same size.
    Durall, Keuper and Keuper (2020) use it to tell generated images from real ones. The first
    entry is H * W times the squared mean brightness, where neither side is twice the other. An
    image whose opposite borders differ leaks some power into all frequencies; that hits real and
    generated images alike. No bias in N.
    """
    images = check_images(images)
    height, width = images.shape[2:]
    power = torch.fft.fft2(images).abs().square().mean(dim=(0, 1)) / (height * width)
    radius = torch.hypot(
        torch.fft.fftfreq(height, dtype=power.dtype)[:, None],
        torch.fft.fftfreq(width, dtype=power.dtype)[None, :],
    )
    # Rings one frequency step wide. The corners, above 0.5, are no full rings: left out.
    steps = min(height, width)
    ring = (radius * steps).round().long().flatten()
    rings = steps // 2 + 1
    inside = ring < rings
    count = torch.bincount(ring[inside], minlength=rings)
    total = torch.bincount(ring[inside], weights=power.flatten()[inside], minlength=rings)
    return Spectrum(torch.arange(rings) / steps, total / count)


def sharpness(images: Tensor) -> Tensor:
    """Variance of the Laplacian of each image, averaged over channels: (N, C, H, W) -> (N,).

    A classic measure of focus (Pech-Pacheco et al., 2000). Blur lowers it; noise and contrast
    raise it, so higher is not better: compare with real images in the same pixel range.
    """
    images = check_images(images)
    if min(images.shape[2:]) < 4:
        raise ValueError(f"images are {tuple(images.shape[2:])}, but sharpness needs 4x4 or more")
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    channels = images.shape[1]
    laplacian = F.conv2d(images, kernel.expand(channels, 1, 3, 3), groups=channels)
    return laplacian.flatten(2).var(dim=2).mean(dim=1)


def check_images(images: Tensor) -> Tensor:
    """Images (N, C, H, W) as float64 on the CPU, uint8 divided by 255; else ValueError."""
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            f"images has shape {tuple(images.shape)}, but it must be (N, C, H, W) with N >= 1"
        )
    scale = 1 if images.is_floating_point() else 255
    images = images.detach().cpu().double() / scale
    if not torch.isfinite(images).all():
        raise ValueError("images has values that are not finite")
    return images
