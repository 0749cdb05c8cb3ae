"""A flow bent in a page: the places of torch, between layers as well."""

import time

import pytest
import torch
from torch.distributions import ComposeTransform, Independent, Normal, TransformedDistribution
from torch.distributions.transforms import AffineTransform

from coursekit.models import PlanarFlow, RealNVP
from coursekit.noise import seeded
from coursekit.viz import flow_layers
from coursekit.viz.flow import _outline, _target, quadrants

COUNT = 60


def model(kind):
    """A flow that bends a lot, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        flow = PlanarFlow(2, 4) if kind == "planar" else RealNVP(2, couplings=4, hidden=8)
        for weight in flow.parameters():
            weight.data *= 1.5
    return flow.double().requires_grad_(False)


def ring(z):
    """The log-density of a ring of radius 2, up to a constant."""
    return -0.5 * ((z.norm(dim=-1) - 2) / 0.3) ** 2


@pytest.fixture(scope="module", params=["planar", "coupling"])
def bent(request):
    flow = model(request.param).distribution()
    with seeded(0):
        path = [flow.base_dist.sample((COUNT,))]
    for layer in flow.transforms:
        path.append(layer(path[-1]))
    return flow_layers(flow, ring, count=COUNT), path


def places(browser, number=0):
    """Where the points of each quadrant stand, (N, 2), in units of the plane."""
    paths = browser.evaluate(
        f"[...document.querySelectorAll('.live-figure')[{number}]"
        ".querySelectorAll('svg svg path')].slice(-4).map(p => p.getAttribute('d'))"
    )
    width, height = browser.evaluate(
        "(s => [+s.getAttribute('width'), +s.getAttribute('height')])"
        "(document.querySelector('svg svg'))"
    )
    found = []
    for path in paths:
        pairs = [p.split("m")[0].split(",") for p in path.split("M")[1:]]
        pixels = torch.tensor([[float(x), float(y)] for x, y in pairs]).view(-1, 2)
        found.append(torch.stack([6 * pixels[:, 0] / width - 3, 3 - 6 * pixels[:, 1] / height], 1))
    return found


def assert_at(browser, points, start):
    number = quadrants(start)
    for quadrant, found in enumerate(places(browser)):
        expected = points[number == quadrant].float()
        assert found.shape == expected.shape
        assert torch.allclose(found, expected, atol=2e-3)


def test_points_go_where_torch_sends_them(page, bent):
    figure, path = bent
    browser = page(figure)
    assert_at(browser, path[0], path[0])
    for layer in range(1, 5):
        browser.slide(layer)
        assert_at(browser, path[layer], path[0])
    browser.slide(2.25)
    assert_at(browser, 0.75 * path[2] + 0.25 * path[3], path[0])
    text = browser.evaluate("document.querySelector('output').innerText")
    assert text == "After 2 of 4 layers and 25 % of the next."


def test_halfway_is_a_layer_too():
    """What the docstring says of straight lines, for a coupling layer."""
    flow = model("coupling")
    layer = flow.distribution().transforms[0]
    z = torch.randn(50, 2, dtype=torch.float64)
    s, t = layer._scale_and_shift(z)
    halfway = 0.5 * (z + layer(z))
    scale = 0.5 * (1 + s.exp())
    assert torch.allclose(halfway, z * scale + 0.5 * t)
    assert (scale > 0).all()  # so it can be undone


def test_buttons_and_keys_go_by_layers(page, bent):
    figure, path = bent
    browser = page(figure)
    click = "document.querySelectorAll('button')[{}].click()"
    browser.slide(1.5)
    browser.evaluate(click.format(0))
    assert_at(browser, path[1], path[0])
    browser.evaluate(click.format(0) + ";" + click.format(0))
    assert_at(browser, path[0], path[0])
    browser.slide(2.5)
    browser.evaluate(click.format(1))
    assert_at(browser, path[3], path[0])
    for _ in range(3):
        browser.evaluate(click.format(1))
    assert_at(browser, path[4], path[0])
    browser.evaluate("document.querySelector('input').focus()")
    for _ in range(20):
        browser.press("ArrowLeft")
    assert_at(browser, path[3], path[0])


def test_play_runs_to_the_end_and_can_be_stopped(page, bent):
    figure, path = bent
    browser = page(figure)
    play = "document.querySelectorAll('button')[2]"
    browser.evaluate(f"{play}.click()")
    end = time.monotonic() + 30
    while browser.evaluate("document.querySelector('output').innerText") == "After 0 of 4 layers.":
        assert time.monotonic() < end
        time.sleep(0.05)
    browser.evaluate(f"{play}.click()")
    stopped = places(browser)
    time.sleep(0.3)
    assert all(map(torch.equal, places(browser), stopped))
    browser.slide(3.9)
    browser.evaluate(f"{play}.click()")
    while browser.evaluate(f"{play}.innerText") != "Play":
        assert time.monotonic() < end
        time.sleep(0.05)
    assert_at(browser, path[4], path[0])


def test_grid_takes_the_place_of_the_points(page, bent):
    figure, _ = bent
    browser = page(figure)
    browser.evaluate("document.querySelector('input[type=checkbox]').click()")
    assert [len(found) for found in places(browser)] == [0, 0, 0, 0]
    grid = "[...document.querySelectorAll('svg svg path')].at(-5).getAttribute('d')"
    before = browser.evaluate(grid)
    assert before.count("M") == 18
    browser.slide(1)
    assert browser.evaluate(grid) != before


def test_contours_contain_the_mass_they_say():
    density, levels = _target(ring, 3.0)
    for level, share in zip(levels, (0.9, 0.6, 0.3), strict=True):
        inside = density[density >= level].sum() / density.sum()
        assert inside == pytest.approx(share, abs=0.01)
        outlines = _outline(density, level, 3.0)
        assert len(outlines) == 2  # inside and outside of the ring
        for line in outlines:
            assert torch.equal(line[0], line[-1])
            assert ring(line) == pytest.approx(torch.tensor(level).log().expand(len(line)), abs=0.2)


def test_composed_layers_are_taken_apart():
    base = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
    layers = [AffineTransform(1.0, 2.0), ComposeTransform([AffineTransform(0.0, 2.0)] * 2)]
    figure = flow_layers(TransformedDistribution(base, layers), ring, count=5)
    assert repr(figure) == "flow in the plane: 5 points through 3 layers"


def test_bad_flows_are_named():
    flow = model("planar").distribution()
    with pytest.raises(ValueError, match="event shape"):
        flow_layers(PlanarFlow(3, 2).distribution(), ring)
    with pytest.raises(ValueError, match="limit is 0"):
        flow_layers(flow, ring, limit=0)
    with pytest.raises(ValueError, match="count is 0"):
        flow_layers(flow, ring, count=0)
