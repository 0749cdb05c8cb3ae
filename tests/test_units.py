"""The converter of units, and the page that explains them: its examples print what it shows."""

import contextlib
import io
import math
import re
from pathlib import Path

import pytest
import torch
from torch.distributions import Categorical, Uniform

from coursekit import pretrained
from coursekit.units import (
    bernoulli_level_nats,
    bits_per_dimension,
    dequantized,
    gaussian_level_nats,
    nats_per_image,
)

PAGE = Path(__file__).parents[1] / "book" / "units.md"


def test_bits_and_nats_of_distributions_that_are_known() -> None:
    # All 256 values equally probable: 8 bits, as a probability and as a dequantized density.
    pixels = torch.randint(256, (3, 4, 5), generator=torch.Generator().manual_seed(0))
    nats = -Categorical(torch.ones(256)).log_prob(pixels).sum()
    assert bits_per_dimension(nats, (3, 4, 5)).item() == pytest.approx(8)
    density = -Uniform(0.0, 1.0).log_prob(pixels / 256).sum()
    assert bits_per_dimension(density, (3, 4, 5), levels=256).item() == pytest.approx(8)
    # A fair coin per pixel is one bit.
    assert bits_per_dimension(784 * math.log(2), (1, 28, 28)) == pytest.approx(1)


def test_a_dequantized_density_bounds_the_discrete_probability() -> None:
    """A density that is constant over each gray level: the bound is exact."""
    shares = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    discrete = -(shares * shares.log()).sum().item()
    density = -(shares * (shares * 4).log()).sum().item()  # height of a step of width 1/4
    expected = bits_per_dimension(discrete, (1, 1, 1))
    assert bits_per_dimension(density, (1, 1, 1), levels=4) == pytest.approx(expected)


@pytest.mark.parametrize("levels", [None, 2, 256])
def test_back_and_forth(levels: int | None) -> None:
    nats = torch.tensor([-100.0, 0.0, 90.5], dtype=torch.float64)
    bits = bits_per_dimension(nats, (3, 32, 32), levels)
    torch.testing.assert_close(nats_per_image(bits, (3, 32, 32), levels), nats)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image_shape is \(28, 28\), but \(C, H, W\)"):
        bits_per_dimension(1.0, (28, 28))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="W is 0"):
        nats_per_image(1.0, (1, 28, 0))
    with pytest.raises(ValueError, match="levels is 1"):
        bits_per_dimension(1.0, (1, 28, 28), levels=1)


def test_the_examples_of_the_page_print_what_it_shows() -> None:
    examples = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(examples) == PAGE.read_text().count("```python")
    names: dict[str, object] = {}
    for source, shown in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(source, names)
        assert printed.getvalue() == shown


def test_the_figures_of_the_page() -> None:
    text = " ".join(PAGE.read_text().split())
    for quoted, value in (
        (r"1 / \ln 2 \approx 1.443$ bits", 1 / math.log(2)),
        (r"\ln 2 \approx 0.693$ nats", math.log(2)),
    ):
        assert quoted in text
        assert f"{value:.3f}" in quoted
    assert "1 in 22,000" in text
    assert round(math.exp(10), -3) == 22_000
    assert f"{pretrained.card('digits-vae-2')['scores']['negative ELBO']:.1f}" == "147.9"
    assert f"{pretrained.card('faces-vae-32')['scores']['negative ELBO']:.1f}" == "6765.0"


def test_dequantized_counts_the_width_of_a_level() -> None:
    images = torch.randint(16, (3, 1, 2, 2), generator=torch.Generator().manual_seed(0))

    def uniform(x: torch.Tensor) -> torch.Tensor:
        assert ((x >= 0) & (x < 1)).all()
        assert ((x * 16).floor() == images).all()
        return torch.zeros(len(x))

    found = dequantized(images, uniform, 16, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found, torch.full((3,), -4 * math.log(16)))


def test_the_levels_of_a_normalized_cross_entropy_have_probabilities() -> None:
    logits = torch.tensor([-30.0, -2.0, -1e-4, 0.0, 0.7, 40.0], dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64) / 255
    x, t = levels[:, None].expand(256, 6), logits.expand(256, 6)
    nats = torch.stack([bernoulli_level_nats(x[:, [i]], t[:, [i]]) for i in range(6)], dim=1)
    torch.testing.assert_close((-nats).exp().sum(0), torch.ones(6, dtype=torch.float64))
    expected = -(x * t).log_softmax(dim=0)
    torch.testing.assert_close(nats, expected)


def test_the_levels_of_a_gaussian_have_probabilities_and_agree_with_its_density() -> None:
    levels = (torch.arange(256, dtype=torch.float64) / 255)[:, None]
    nats = gaussian_level_nats(levels, torch.full_like(levels, 0.4), 0.05)
    torch.testing.assert_close((-nats).exp().sum(), torch.ones((), dtype=torch.float64))
    density = -torch.distributions.Normal(0.4, 0.05).log_prob(levels[60:140, 0])
    torch.testing.assert_close(nats[60:140], density + math.log(255), rtol=0, atol=0.01)
