"""The latent explorer, as a reader has it: in a browser, by mouse, touch and keys."""

import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from coursekit.viz import latent_explorer


def ramp_decoder():
    """Logits (N, 3, 6, 4): red follows z[0], green z[1], blue neither. int8 holds its weights."""
    layer = torch.nn.Linear(2, 72)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[:24, 0] = 1.0
        layer.weight[24:48, 1] = 1.0
        layer.bias[48:52] = 3.0  # the mark at the top
    return torch.nn.Sequential(layer, torch.nn.Unflatten(1, (3, 6, 4)))


def rings_decoder():
    """A network that is no linear map, so that a mixture of images is not what it decodes."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 64)
        decoder = torch.nn.Sequential(*layers, torch.nn.Unflatten(1, (1, 8, 8)))
    with torch.no_grad():
        decoder[0].weight *= 3
        decoder[2].weight *= 6
    return decoder


RAMP, RINGS = ramp_decoder(), rings_decoder()


def ramp(z):
    return RAMP(z).sigmoid().detach()


def rings(z):
    return RINGS(z).sigmoid().detach()


@pytest.fixture(scope="module")
def explorer():
    return latent_explorer(RAMP, extent=2.0, steps=5)


def at(browser, first, second, extent=2.0, steps=5, number=0):
    """Where in the window the code (first, second) lies, in the figure of that number."""
    left, top, width, height = browser.evaluate(
        f"[document.querySelectorAll('.plane')[{number}].getBoundingClientRect()]"
        ".flatMap(box => [box.left, box.top, box.width, box.height])"
    )
    edge = extent + extent / (steps - 1)
    return left + width * (first + edge) / (2 * edge), top + height * (edge - second) / (2 * edge)


def shown(browser, number=0):
    """The large image (H, W, 3), as integers."""
    url = browser.evaluate(f"document.querySelectorAll('.view canvas')[{number}].toDataURL()")
    picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB")
    return np.asarray(picture).astype(int)


def text(browser, number=0):
    return browser.evaluate(f"document.querySelectorAll('output')[{number}].textContent")


def decoded(decode, *z):
    image = decode(torch.tensor([z]))[0].expand(3, -1, -1)
    return (image * 255).round().permute(1, 2, 0).numpy().astype(int)


def assert_same(image, expected):
    assert image.shape == expected.shape
    assert np.abs(image - expected).max() <= 2  # int8 weights


def test_starts_in_the_middle(page, explorer):
    browser = page(explorer)
    assert text(browser) == "z[0] = 0.00, z[1] = 0.00"
    assert_same(shown(browser), decoded(ramp, 0.0, 0.0))
    caption = browser.evaluate("document.querySelector('figcaption').innerText")
    assert caption.startswith("Left to right: z[0] from −2 to 2. Bottom to top: z[1], likewise.")
    assert caption.endswith("The model decodes the large image here, in the page.")


def test_mouse_drags_the_point(page, explorer):
    browser = page(explorer)
    browser.drag(at(browser, 0, 0), at(browser, 1, 0.5), at(browser, -1, 2))
    assert text(browser) == "z[0] = −1.00, z[1] = 2.00"
    assert_same(shown(browser), decoded(ramp, -1.0, 2.0))
    browser.drag(at(browser, 2, -2), at(browser, 9, -9))  # let go outside: the edge is the end
    assert text(browser) == "z[0] = 2.00, z[1] = −2.00"
    assert_same(shown(browser), decoded(ramp, 2.0, -2.0))
    x, y = at(browser, 0, 0)
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    assert text(browser) == "z[0] = 2.00, z[1] = −2.00"  # no button is down


def test_between_grid_points_it_decodes(page):
    browser = page(latent_explorer(RINGS, extent=2.0, steps=5))
    browser.drag(at(browser, 0.25, 1.5))
    first, second = (
        float(part.split("= ")[1].replace("−", "-")) for part in text(browser).split(", ")
    )
    assert [first, second] == pytest.approx([0.25, 1.5], abs=0.02)
    assert np.abs(shown(browser) - decoded(rings, first, second)).max() <= 6  # of 255
    corners = [((0, 1), 0.375), ((1, 1), 0.125), ((0, 2), 0.375), ((1, 2), 0.125)]
    mixture = sum(w * decoded(rings, float(a), float(b)) for (a, b), w in corners)
    assert np.abs(shown(browser) - mixture).max() > 25


def test_keys_move_the_point_and_not_the_page(page, explorer):
    browser = page(explorer)
    browser.press("Tab")
    for key in ("ArrowRight", "ArrowUp", "ArrowUp"):
        browser.press(key)
    assert text(browser) == "z[0] = 0.25, z[1] = 0.50"
    browser.press("ArrowLeft", shift=True)
    browser.press("ArrowDown")
    assert text(browser) == "z[0] = −0.75, z[1] = 0.25"
    for _ in range(3):
        browser.press("ArrowUp", shift=True)
    assert text(browser) == "z[0] = −0.75, z[1] = 2.00"  # the edge
    browser.press("Home")
    assert text(browser) == "z[0] = 0.00, z[1] = 0.00"
    assert_same(shown(browser), decoded(ramp, 0.0, 0.0))
    assert browser.evaluate("window.scrollY") == 0


def test_finger_moves_the_point_and_not_the_page(page, explorer):
    browser = page(explorer, width=390)
    browser.send("Emulation.setTouchEmulationEnabled", enabled=True)
    browser.touch(at(browser, 0, 1), at(browser, 0, 0.5), at(browser, 1, -1))
    browser.send("Emulation.setTouchEmulationEnabled", enabled=False)
    assert text(browser) == "z[0] = 1.00, z[1] = −1.00"
    assert_same(shown(browser), decoded(ramp, 1.0, -1.0))
    assert browser.evaluate("window.scrollY") == 0


def test_phone_shows_all_of_it(page, explorer):
    browser = page(explorer, width=390)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = "[...document.querySelectorAll('canvas, .plane')].map(e => e.getBoundingClientRect())"
    view, plane = browser.evaluate(f"{boxes}.map(b => [b.top, b.bottom, b.left, b.right])")
    assert view[1] <= plane[0], "the large image must stand above the finger"
    assert plane[3] - plane[2] > 250


def test_several_on_a_page_do_not_clash(page, explorer):
    """The same one twice, and another: each moves alone, by mouse and by keys."""
    browser = page(explorer, latent_explorer(RINGS, extent=1.0, steps=3), explorer, height=2000)
    assert browser.evaluate("document.querySelectorAll('canvas').length") == 3
    browser.drag(at(browser, 2, 1, number=2))
    assert [text(browser, n)[:11] for n in range(3)] == [
        "z[0] = 0.00",
        "z[0] = 0.00",
        "z[0] = 2.00",
    ]
    browser.drag(at(browser, -1, 1, extent=1.0, steps=3, number=1))
    browser.press("ArrowDown", shift=True)
    assert text(browser, 1) == "z[0] = −1.00, z[1] = 0.00"
    assert_same(shown(browser, 1), decoded(rings, -1.0, 0.0))
    assert_same(shown(browser, 0), decoded(ramp, 0.0, 0.0))
    assert_same(shown(browser, 2), decoded(ramp, 2.0, 1.0))


def test_screen_readers_are_told(page, explorer):
    browser = page(explorer)
    browser.press("Tab")
    browser.press("ArrowRight")
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    found = {n["role"]["value"]: n for n in nodes if not n["ignored"]}
    plane = found["application"]
    assert plane["name"]["value"] == "z[0] and z[1], from −2 to 2: arrow keys move the point"
    properties = {p["name"]: p["value"].get("value") for p in plane["properties"]}
    assert properties["focused"] is True
    assert properties["roledescription"] == "two-dimensional slider"
    live = {p["name"]: p["value"].get("value") for p in found["status"]["properties"]}
    assert live["live"] == "polite"
    names = [n["name"]["value"] for n in nodes if n.get("name") and not n["ignored"]]
    assert "z[0] = 0.25, z[1] = 0.00" in names  # the text of the live region
    assert "image at z[0] = 0.25, z[1] = 0.00" in names
    style = "getComputedStyle(document.activeElement)"
    assert browser.evaluate(f"{style}.outlineStyle + {style}.outlineWidth") == "solid3px"


@pytest.mark.parametrize("dark", [False, True])
def test_takes_the_color_of_the_page(page, explorer, dark):
    browser = page(explorer, dark=dark)
    browser.evaluate("document.body.style.color = 'rgb(1, 2, 3)'")
    for part in ("figcaption", "output"):
        style = f"getComputedStyle(document.querySelector('{part}'))"
        assert browser.evaluate(f"{style}.color") == "rgb(1, 2, 3)"
        assert browser.evaluate(f"{style}.backgroundColor") == "rgba(0, 0, 0, 0)"


def test_without_scripts_the_grid_is_there(page, explorer):
    browser = page(explorer, scripts=False)
    image = "document.querySelector('.plane img')"
    assert browser.evaluate(f"[{image}.naturalWidth, {image}.naturalHeight]") == [20, 30]
    assert browser.evaluate(f"{image}.alt").startswith("5 by 5 decoded images; z[0] grows to the")
    assert browser.evaluate("document.querySelector('canvas')") is None
    assert "Drag" not in browser.evaluate("document.body.innerText")


def test_sheet_has_the_grid_point_at_its_place(explorer):
    """Without a browser: the picture in the HTML, taken apart."""
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', explorer._repr_html_())
    sheet = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
    for row, second in enumerate([2.0, 1.0, 0.0, -1.0, -2.0]):
        for column, first in enumerate([-2.0, -1.0, 0.0, 1.0, 2.0]):
            part = sheet[6 * row : 6 * row + 6, 4 * column : 4 * column + 4]
            assert np.array_equal(part, decoded(ramp, first, second))


def test_stands_alone_and_is_the_same_every_time(explorer):
    html = explorer._repr_html_()
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert "$" not in html
    assert html == latent_explorer(RAMP, extent=2.0, steps=5)._repr_html_()
    assert repr(explorer) == (
        "latent explorer: 5 x 5 images of 6 x 4 pixels, z[0] and z[1] from -2 to 2"
    )


def test_other_coordinates_keep_the_base(page):
    base = torch.tensor([0.5, 9.0, -1.0, 9.0])
    layer = torch.nn.Linear(4, 4)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(4))
        layer.bias.zero_()
    decoder = torch.nn.Sequential(layer, torch.nn.Unflatten(1, (1, 2, 2)))
    explorer = latent_explorer(decoder, extent=1.0, steps=3, dims=(3, 1), base=base)
    assert base.equal(torch.tensor([0.5, 9.0, -1.0, 9.0]))
    assert "Left to right: z[3] from" in explorer.html
    assert "The other 2 coordinates stay fixed" in explorer.html
    browser = page(explorer)
    browser.drag(at(browser, 1, -1, extent=1.0, steps=3))
    expected = (torch.tensor([0.5, -1.0, -1.0, 1.0]).sigmoid() * 255).round().view(2, 2)
    assert np.abs(shown(browser)[:, :, 0] - expected.numpy()).max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 1}, "steps is 1"),
        ({"extent": 0.0}, "extent is 0.0"),
        ({"extent": float("nan")}, "extent is nan"),
        ({"dims": (0, 2)}, "give base"),
        ({"dims": (1, 1)}, "two different"),
        ({"base": torch.zeros(1, 4)}, "base has shape"),
        ({"decoder": torch.nn.Linear(2, 4)}, "add a missing axis"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        latent_explorer(**{"decoder": RAMP, **options})


def test_is_shown_by_its_html(explorer):
    assert explorer._repr_html_().count("<figure") == 1
