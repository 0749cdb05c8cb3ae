"""What every live figure with a plot keeps to: one page for two, keys, phones, no scripts."""

import json
import re
import textwrap
from importlib.resources import files
from pathlib import Path

import chapters
import pytest
import torch
from torch.distributions import Normal

from coursekit import recorded, viz
from coursekit.models import PlanarFlow
from coursekit.viz import live


def gap():
    z = torch.linspace(-12, 12, 2401, dtype=torch.float64)
    likelihood = Normal(z.exp(), 0.5).log_prob(torch.tensor(1.0))
    return viz.elbo_gap(z, Normal(0.0, 1.0).log_prob(z) + likelihood)


def flow():
    layers = PlanarFlow(2, 3).requires_grad_(False)
    return viz.flow_layers(layers.distribution(), lambda z: -z.square().sum(-1), count=50)


def rate():
    return viz.rate_distortion(**recorded.load("rate-distortion")["figures"])


FIGURES = (gap, rate, viz.gan_game, flow)


@pytest.fixture(scope="module", params=FIGURES, ids=lambda make: make.__name__)
def figure(request):
    return request.param()


def state(browser, number=0):
    """All that one figure shows: its paths, its bars, its texts."""
    return browser.evaluate(
        f"[...document.querySelectorAll('.live-figure')[{number}].querySelectorAll("
        "'path, rect, text, label, output')].map(e => e.outerHTML).join()"
    )


def test_two_on_a_page_do_not_disturb_each_other(page, figure):
    browser = page(figure, figure)
    assert browser.evaluate("document.querySelectorAll('.live-figure[data-live]').length") == 2
    before = state(browser)
    assert state(browser, 1) == before
    browser.evaluate("document.querySelector('input').focus()")
    browser.press("ArrowRight")
    assert state(browser) != before
    assert state(browser, 1) == before
    assert browser.evaluate("document.querySelectorAll('.live-figure [id]').length") == 0


def test_a_finger_works(page, figure):
    browser = page(figure, width=390)
    before = state(browser)
    browser.send("Emulation.setTouchEmulationEnabled", enabled=True)
    left, top, width, height = browser.evaluate(
        "[document.querySelector('input').getBoundingClientRect()]"
        ".flatMap(b => [b.left, b.top, b.width, b.height])"
    )
    middle = top + height / 2
    browser.touch((left + width / 2, middle), (left + 0.7 * width, middle))
    browser.send("Emulation.setTouchEmulationEnabled", enabled=False)
    assert state(browser) != before


def test_fits_a_phone_and_is_legible(page, figure):
    browser = page(figure, width=390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    sizes = browser.evaluate(
        "[...document.querySelectorAll('svg text')].map(t => "
        "12 * t.getScreenCTM().a || 12 * Math.abs(t.getScreenCTM().b))"
    )
    assert min(sizes) > 11.5


def test_screen_readers_are_told(page, figure):
    browser = page(figure)
    nodes = [n for n in browser.send("Accessibility.getFullAXTree")["nodes"] if not n["ignored"]]
    names = {role: [] for role in ("slider", "image", "button")}
    for node in nodes:
        names.get(node["role"]["value"], []).append(node["name"]["value"])
    assert names["slider"]
    assert names["image"]
    assert all(name for found in names.values() for name in found)
    assert "status" in [n["role"]["value"] for n in nodes]  # changes are read aloud


def test_takes_the_color_of_the_page(page, figure):
    browser = page(figure, dark=True)
    browser.evaluate("document.body.style.color = 'rgb(1, 2, 3)'")
    parts = "document.querySelectorAll('figcaption, label, output, button')"
    colors = browser.evaluate(f"[...{parts}].map(e => getComputedStyle(e).color)")
    assert len(colors) >= 3
    assert set(colors) == {"rgb(1, 2, 3)"}
    assert browser.evaluate("getComputedStyle(document.querySelector('text')).fill") == (
        "rgb(1, 2, 3)"
    )


def luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_colors_stand_out_in_light_and_dark(figure):
    used = set(re.findall(r'"(#\w{6})"', figure.html))
    assert used
    for color in used:
        for page_color in ("#ffffff", "#121212", "#14181e"):  # pages in light and dark
            low, high = sorted((luminance(color), luminance(page_color)))
            assert (high + 0.05) / (low + 0.05) > 3, (color, page_color)


def test_without_scripts_there_is_a_picture(page, figure):
    browser = page(figure, scripts=False)
    assert browser.evaluate("document.querySelector('.still img').naturalWidth") > 200
    assert browser.evaluate("document.querySelector('.still img').alt")
    assert browser.evaluate("document.querySelector('input')") is None
    assert browser.evaluate("getComputedStyle(document.querySelector('.try')).display") == "none"
    page(figure)
    assert browser.evaluate("document.querySelector('.still').offsetHeight") == 0
    assert browser.evaluate("document.querySelector('.try').offsetHeight") > 0


def test_stands_alone_and_is_small(figure):
    found = re.sub("http://www.w3.org/2000/svg", "", figure.html)
    assert "http" not in found
    assert "$" not in found
    assert len(figure.html.encode()) < 300_000


def test_marks_of_an_axis_are_round(page):
    script = files("coursekit.viz").joinpath("plot.js").read_text("utf-8")
    calls = "[ticks(0, 26.2, 8), ticks(-6.9, -0.6, 8), ticks(-3, 3, 7), ticks(0, 0.5, 5)]"
    assert page().evaluate(f"{script}\n{calls}") == [
        [0, 5, 10, 15, 20, 25],
        [-6, -5, -4, -3, -2, -1],
        [-3, -2, -1, 0, 1, 2, 3],
        [0, 0.1, 0.2, 0.3, 0.4, 0.5],
    ]


TEMPLATES = {
    re.search(r'class="live-figure ([\w-]+)"', path.read_text("utf-8"))[1]: path
    for path in Path(live.__file__).parent.glob("*.html")
}


def kinds(html):
    return set(re.findall(r'class="live-figure ([\w-]+)"', html))


def test_every_figure_with_a_plot_is_tested_here():
    tested = set().union(*(kinds(make().html) for make in FIGURES))
    assert TEMPLATES.keys() - tested == {"latent-dials", "latent-explorer"}, "add it to FIGURES"


@pytest.mark.parametrize("folder", [chapters.BOOK, chapters.SOLUTIONS], ids=lambda f: f.name)
def test_chapters_show_the_figures_as_they_are_now(folder):
    """Their styles and scripts; the other tests compare the numbers."""
    seen, stale = set(), set()
    for path in chapters.chapters(folder):
        for cell in chapters.code_cells(chapters.read(path)):
            for html in (out.get("data", {}).get("text/html", "") for out in cell.outputs):
                for kind in kinds(html):
                    seen.add(kind)
                    if not all(part in html for part in fixed(TEMPLATES[kind])):
                        stale.add(f"make student CHAPTER={path.stem}")
    assert seen == TEMPLATES.keys(), "a chapter shows every figure; after an edit, make student"
    assert stale == set(), "run this"


def fixed(template):
    """What a template writes into every figure."""
    shared = {"network": "network.js", "plot": "plot.js", "style": "live.css"}
    for name, text in re.findall(r"([^$]+)|[$](\w+)", template.read_text("utf-8")):
        if text in shared:
            yield template.with_name(shared[text]).read_text("utf-8")
        elif name:
            yield name


def test_the_template_of_the_docstring_is_a_figure(page, tmp_path):
    text = live.__doc__.split("The smallest template is\n\n")[1].split("\n`wake`")[0]
    template = tmp_path / "half.html"
    template.write_text(textwrap.dedent(text), "utf-8")
    parts = {"spec": json.dumps({"start": 3}), "picture": "", "alt": "half"}
    browser = page(live.live_figure(str(template), "half of z", **parts))
    assert browser.numbers() == [1.5]
    browser.press("Tab")
    browser.press("End")
    assert browser.numbers() == [4]
    template.write_text("$style ${value}", "utf-8")
    with pytest.raises(ValueError, match=r"names none of its parts .*value.*strings with"):
        live.live_figure(str(template), "half of z", **parts)
