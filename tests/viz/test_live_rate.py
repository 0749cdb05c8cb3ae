"""Rate and distortion in a page: the recorded models, their pictures, a slider over beta."""

import base64
import io
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from coursekit import recorded
from coursekit.viz import rate_distortion

POINTS = [
    {"beta": 0.5, "rate": 9.0, "distortion": 20.0},
    {"beta": 1, "rate": 6.0, "distortion": 22.0},
    {"beta": 4, "rate": 1.5, "distortion": 30.0},
]
PIXELS = np.random.default_rng(0).integers(0, 256, (4 * 5, 12), dtype=np.uint8)


def png(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


FIGURE = rate_distortion(POINTS, png(PIXELS))


def rows(browser):
    """The pixels of both canvases, once the sheet is there."""
    urls = browser.evaluate(
        "new Promise(done => { const look = () => { "
        "const [a, b] = [...document.querySelectorAll('canvas')]; "
        "const full = c => c.getContext('2d').getImageData(0, 0, 1, 1).data[3] > 0; "
        "full(a) && full(b) ? done([a.toDataURL(), b.toDataURL()]) : setTimeout(look, 20) }; "
        "look() })"
    )
    images = [Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) for url in urls]
    return [np.asarray(image.convert("L")) for image in images]


def test_slider_goes_through_the_models(page):
    browser = page(FIGURE)
    assert browser.numbers() == [6.0, 22.0, 28.0, 28.0]  # it begins at beta = 1
    top, chosen = rows(browser)
    assert np.array_equal(top, PIXELS[:5])
    assert np.array_equal(chosen, PIXELS[10:15])
    browser.press("Tab")
    browser.press("ArrowRight")
    assert browser.numbers() == [1.5, 30.0, 31.5, 36.0]
    top, chosen = rows(browser)
    assert np.array_equal(top, PIXELS[:5])
    assert np.array_equal(chosen, PIXELS[15:])
    browser.press("Home")
    assert browser.numbers() == [9.0, 20.0, 29.0, 24.5]
    assert browser.evaluate("document.querySelector('label').innerText") == "beta = 0.5"


def test_line_touches_the_point_with_slope_minus_beta(page):
    """In units of the data: from the ticks of the axes to the ends of the dashed line."""
    browser = page(FIGURE)
    browser.press("Tab")
    browser.press("Home")
    for point in POINTS:
        (x, y), first, last, *dots = browser.evaluate(
            "(s => [[s.querySelector('[r=\"7\"]').getAttribute('cx'), "
            "s.querySelector('[r=\"7\"]').getAttribute('cy')].map(Number), "
            "...s.querySelectorAll('path')[1].getAttribute('d').slice(1).split('L')"
            ".map(p => p.split(',').map(Number)), "
            "...[...s.querySelectorAll('[r=\"3.5\"]')]"
            ".map(c => [+c.getAttribute('cx'), +c.getAttribute('cy')])])"
            "(document.querySelector('svg svg'))"
        )
        # Two models give the scales; the axes are linear.
        across = (dots[0][0] - dots[2][0]) / (9.0 - 1.5)
        up = (dots[0][1] - dots[2][1]) / (20.0 - 30.0)
        slope = ((last[1] - first[1]) / up) / ((last[0] - first[0]) / across)
        assert slope == pytest.approx(-point["beta"], rel=0.02)
        on_line = first[1] + (last[1] - first[1]) * (x - first[0]) / (last[0] - first[0])
        assert y == pytest.approx(on_line, abs=0.2)
        browser.press("ArrowRight")


def test_recorded_models_are_what_the_chapter_says():
    figures = recorded.load("rate-distortion")["figures"]
    points = figures["points"]
    for low, high in pairwise(points):  # the proof of the chapter, for trained models
        saved = low["rate"] - high["rate"]
        assert saved > 0
        price = (high["distortion"] - low["distortion"]) / saved
        assert low["beta"] < price < high["beta"]
    best = min(points, key=lambda point: point["rate"] + point["distortion"])
    assert best["beta"] == 1
    figure = rate_distortion(points, figures["sheet"])
    assert repr(figure) == "rate and distortion: 8 models, beta from 0.1 to 30"


@pytest.mark.parametrize(
    ("points", "sheet", "message"),
    [
        (POINTS[:1], png(PIXELS), "at least two values"),
        (POINTS[::-1], png(PIXELS), "values that rise"),
        (POINTS, png(PIXELS[1:]), "19 pixels high, but 4 rows"),
        (POINTS, "no picture", "no PNG"),
        (POINTS, base64.b64encode(b"no picture").decode(), "no PNG"),
    ],
)
def test_bad_sheets_are_named(points, sheet, message):
    with pytest.raises(ValueError, match=message):
        rate_distortion(points, sheet)
