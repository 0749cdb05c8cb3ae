"""Spectrum and sharpness against white noise and pure waves, whose values are known."""

import math

import pytest
import torch

from coursekit.metrics import power_spectrum, sharpness


def noise(n, c, h, w, scale=0.1):
    return 0.5 + scale * torch.randn(n, c, h, w, generator=torch.Generator().manual_seed(0))


def blur(images):
    return torch.nn.functional.avg_pool2d(images, 3, stride=1)


@pytest.mark.parametrize("size", [(32, 32), (31, 31), (40, 24)])
def test_white_noise_has_a_flat_spectrum_of_its_variance(size):
    found = power_spectrum(noise(400, 2, *size))
    assert found.frequency[0] == 0
    assert found.frequency[-1] <= 0.5
    torch.testing.assert_close(
        found.power[1:], torch.full_like(found.power[1:], 0.01), rtol=0.06, atol=0
    )


def test_the_first_entry_is_the_squared_mean_brightness_of_all_pixels():
    found = power_spectrum(torch.full((2, 1, 16, 16), 0.25))
    assert found.power[0].item() == pytest.approx(0.25**2 * 256)
    assert found.power[1:].max() < 1e-20


@pytest.mark.parametrize("waves", [1, 5, 16])
def test_a_wave_has_its_power_at_its_frequency(waves):
    x = torch.arange(32) / 32
    image = 0.5 + 0.3 * torch.cos(2 * math.pi * waves * x).expand(1, 1, 32, 32)
    found = power_spectrum(image)
    assert found.power[1:].argmax() + 1 == waves
    assert found.frequency[waves] == waves / 32


def test_blur_takes_power_from_high_frequencies_and_sharpness():
    sharp = noise(50, 1, 34, 34)
    before, after = power_spectrum(sharp[:, :, 1:-1, 1:-1]), power_spectrum(blur(sharp))
    ratio = after.power / before.power
    assert ratio[1] > 0.8
    assert ratio[-1] < 0.1
    assert sharpness(blur(sharp)).max() < sharpness(sharp).min()


def test_sharpness_of_white_noise_is_twenty_variances():
    # The Laplacian's weights 1, 1, 1, 1, -4 have squares that sum to 20.
    assert sharpness(noise(50, 3, 32, 32)).mean().item() == pytest.approx(0.2, rel=0.03)
    assert sharpness(noise(50, 3, 32, 32)).shape == (50,)


def test_sharpness_of_a_ramp_is_zero_and_scale_follows_uint8():
    ramp = torch.linspace(0, 1, 8).expand(1, 1, 8, 8)
    assert sharpness(ramp).item() == pytest.approx(0, abs=1e-12)
    bytes_ = (noise(3, 1, 8, 8).clamp(0, 1) * 255).round().byte()
    torch.testing.assert_close(sharpness(bytes_), sharpness(bytes_.double() / 255))


@pytest.mark.parametrize("metric", [power_spectrum, sharpness])
def test_bad_images_are_refused(metric):
    with pytest.raises(ValueError, match=r"shape \(3, 8, 8\)"):
        metric(torch.zeros(3, 8, 8))
    with pytest.raises(ValueError, match="N >= 1"):
        metric(torch.zeros(0, 1, 8, 8))
    with pytest.raises(ValueError, match="finite"):
        metric(torch.full((1, 1, 8, 8), math.nan))


def test_images_too_small_for_the_laplacian_are_refused():
    with pytest.raises(ValueError, match="4x4"):
        sharpness(torch.zeros(1, 1, 3, 8))
