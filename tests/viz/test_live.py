"""Small decoders in the page: the numbers of torch, and sliders to turn."""

import base64
import io
import json
from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from coursekit import pretrained
from coursekit.models.vae import conv_decoder
from coursekit.viz import latent_dials, latent_explorer
from coursekit.viz.live import LiveFigure, packed

SMALL = ("faces-vae-3-small", "digits-vae-2", "hearts-tcvae")


def in_page(page, decoder, codes):
    """The images that the page decodes, as torch would give them."""
    script = files("coursekit.viz").joinpath("network.js").read_text("utf-8")
    browser = page(LiveFigure(f"<script>{script}</script>", ""))
    spec = json.dumps(packed(decoder, codes.shape[1]))
    found = browser.evaluate(f"{json.dumps(codes.tolist())}.map(z => [...decoderOf({spec})(z)])")
    with torch.no_grad():
        expected = decoder(codes).sigmoid()
    return torch.tensor(found).view_as(expected), expected


@pytest.mark.parametrize("name", SMALL)
def test_page_decodes_as_torch_does(page, name):
    decoder = pretrained.load(name).decoder
    latents = next(iter(decoder.parameters())).shape[1]
    codes = torch.randn(4, latents, generator=torch.Generator().manual_seed(0))
    found, expected = in_page(page, decoder, codes)
    error = (found - expected).abs()
    assert error.mean() < 1 / 255
    assert error.max() < 40 / 255  # at a sharp edge


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (5, 3)])
def test_int8_weights_are_decoded_exactly(page, size):
    """Weights that int8 holds leave only float32's rounding: odd sizes, batch norm, every layer."""
    generator = torch.Generator().manual_seed(1)
    decoder = conv_decoder((3, *size), 2, (4, 6)).eval()
    with torch.no_grad():
        for layer in decoder.modules():
            if isinstance(layer, nn.BatchNorm2d):  # its own scale: 1 / sqrt(var + eps) = 1
                layer.running_var.fill_(1 - layer.eps)
                layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator))
                layer.bias.copy_(torch.randn(layer.num_features, generator=generator))
            elif hasattr(layer, "weight"):
                axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
                steps = torch.randint(-127, 128, layer.weight.shape, generator=generator)
                steps = steps.movedim(axis, 0).contiguous()
                steps.flatten(1)[:, 0] = 127  # so that every channel has the scale 1 / 500
                layer.weight.copy_(steps.movedim(0, axis) / 500)
    codes = torch.randn(3, 2, generator=generator)
    found, expected = in_page(page, decoder, codes)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_decoder_in_training_is_drawn_as_in_evaluation():
    decoder = conv_decoder((1, 8, 8), 2, (4, 6))
    figures = []
    for training in (False, True, True):
        decoder.train(training)
        figures += [(latent_explorer(decoder, steps=3).html, latent_dials(decoder, torch.zeros(2)))]
        assert all(layer.training == training for layer in decoder.modules())
    assert figures[0] == figures[1] == figures[2]


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        (nn.Sequential(nn.Linear(2, 4), nn.Tanh()), "Tanh cannot be drawn in a page here"),
        (
            nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (4, 1, 1)), nn.BatchNorm2d(4)),
            "BatchNorm2d right after a convolution",
        ),
        (
            nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.ConvTranspose2d(2, 2, (1, 2))),
            "plain, square kernel",
        ),
        (nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Conv2d(2, 2, 1, 2)), "expected stride 1"),
    ],
)
def test_other_layers_are_refused(decoder, message):
    with pytest.raises(ValueError, match=message):
        packed(decoder, 2)


def test_large_figures_are_refused():
    decoder = nn.Sequential(nn.Linear(3, 300 * 300), nn.Unflatten(1, (1, 300, 300)))
    with pytest.raises(ValueError, match="but 300 kB are allowed"):
        latent_dials(decoder, torch.zeros(3))


@pytest.fixture(scope="module")
def dials():
    decoder = pretrained.load("hearts-tcvae").decoder
    return latent_dials(decoder, torch.zeros(3))


def image(browser, number=0):
    url = browser.evaluate(f"document.querySelectorAll('canvas')[{number}].toDataURL()")
    picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")
    return np.asarray(picture).astype(int)


def values(browser):
    return browser.evaluate("[...document.querySelectorAll('label span')].map(s => s.innerText)")


def test_keys_turn_a_dial(page, dials):
    browser = page(dials)
    assert values(browser) == ["z[0] = 0.00", "z[1] = 0.00", "z[2] = 0.00"]
    before = image(browser)
    browser.press("Tab")
    for _ in range(10):
        browser.press("ArrowRight")
    assert values(browser) == ["z[0] = 0.50", "z[1] = 0.00", "z[2] = 0.00"]
    decoder = pretrained.load("hearts-tcvae").decoder
    with torch.no_grad():
        expected = decoder(torch.tensor([[0.5, 0, 0]])).sigmoid()[0, 0].numpy() * 255
    assert np.abs(image(browser)[..., 0] - expected).mean() < 1
    assert np.abs(image(browser) - before).max() > 100


def test_pointer_and_buttons(page, dials):
    browser = page(dials)
    left, top, width, height = browser.evaluate(
        "[document.querySelectorAll('input')[2].getBoundingClientRect()]"
        ".flatMap(b => [b.left, b.top, b.width, b.height])"
    )
    browser.drag((left + width / 2, top + height / 2), (left + width - 1, top + height / 2))
    assert values(browser)[2] == "z[2] = 2.50"
    browser.evaluate("document.querySelectorAll('button')[0].click()")
    drawn = values(browser)
    assert drawn[0] != "z[0] = 0.00"
    browser.evaluate("document.querySelectorAll('button')[1].click()")
    assert values(browser) == ["z[0] = 0.00", "z[1] = 0.00", "z[2] = 0.00"]


def test_two_on_a_page_do_not_disturb_each_other(page, dials):
    browser = page(dials, dials)
    browser.press("Tab")
    browser.press("ArrowRight")
    still = ["z[0] = 0.00", "z[1] = 0.00", "z[2] = 0.00"]
    assert values(browser) == ["z[0] = 0.05", *still[1:], *still]


def test_screen_readers_are_told_what_a_dial_is(page, dials):
    browser = page(dials)
    nodes = [n for n in browser.send("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]
    sliders = [n["name"]["value"] for n in nodes if n["role"]["value"] == "slider"]
    assert sliders == ["z[0] = 0.00", "z[1] = 0.00", "z[2] = 0.00"]
    pictures = [n["name"]["value"] for n in nodes if n["role"]["value"] == "image"]
    assert pictures == ["image at z = (0.00, 0.00, 0.00)"]


def test_without_scripts_there_is_a_picture(page, dials):
    browser = page(dials, scripts=False)
    assert browser.evaluate("document.querySelector('.still img').naturalWidth") == 5 * 32
    assert browser.evaluate("document.querySelector('figcaption').innerText") == (
        "Each coordinate of the code changes the decoded image."
    )


def test_fits_a_phone(page, dials):
    browser = page(dials, width=390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def test_bad_dials_are_named():
    decoder = nn.Sequential(nn.Linear(2, 4), nn.Unflatten(1, (1, 2, 2)))
    with pytest.raises(ValueError, match="code has shape"):
        latent_dials(decoder, torch.zeros(1, 2))
    with pytest.raises(ValueError, match="extent is -1"):
        latent_dials(decoder, torch.zeros(2), extent=-1)
