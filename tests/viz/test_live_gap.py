"""The gap of the ELBO in a page: the numbers of torch, and a gap to close."""

import pytest
import torch
from torch.distributions import Normal

from coursekit.viz import elbo_gap

Z = torch.linspace(-12, 12, 2401, dtype=torch.float64)
READING = torch.tensor(1.0, dtype=torch.float64)
LOG_JOINT = Normal(0.0, 1.0).log_prob(Z) + Normal(Z.exp(), 0.5).log_prob(READING)
EVIDENCE = torch.trapezoid(LOG_JOINT.exp(), Z).log()
GAP = elbo_gap(Z, LOG_JOINT)


def elbo(mean, width):
    """On the grid, as chapter 2 has it; differentiable."""
    log_q = Normal(mean, width).log_prob(Z)
    return torch.trapezoid(log_q.exp() * (LOG_JOINT - log_q), Z)


def put(browser, mean, width):
    browser.slide(mean, 0)
    browser.slide(width, 1)


def expected(mean, width):
    """ELBO, gap and log-evidence as the page should say them."""
    value = elbo(*torch.tensor([mean, width], dtype=torch.float64)).item()
    evidence = EVIDENCE.item()
    return pytest.approx([value, evidence - value, evidence], abs=6e-4)


def test_page_computes_as_torch_does(page):
    browser = page(GAP)
    assert browser.numbers() == expected(0.8, 0.3)
    for place in ((-0.24, 0.45), (0.0, 1.0), (-2.0, 0.1), (-2.0, 1.5), (2.0, 1.5)):
        put(browser, *place)
        assert browser.numbers() == expected(*place)
    assert "The ELBO lies left of" in browser.evaluate("document.body.innerText")


def test_button_climbs_as_the_chapter_does(page):
    mean = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    log_width = torch.tensor(0.3, dtype=torch.float64).log().requires_grad_()
    browser = page(GAP)
    for _ in range(2):
        for _ in range(30):
            slopes = torch.autograd.grad(elbo(mean, log_width.exp()), (mean, log_width))
            with torch.no_grad():
                mean += 0.03 * slopes[0]
                log_width += 0.03 * slopes[1]
        browser.evaluate("document.querySelectorAll('button')[1].click()")
        assert browser.numbers() == expected(mean.item(), log_width.exp().item())
    browser.evaluate("for (let i = 0; i < 8; i++) document.querySelectorAll('button')[1].click()")
    assert browser.numbers()[1] == pytest.approx(0.08, abs=5e-3)
    browser.evaluate("document.querySelectorAll('button')[0].click()")
    assert browser.numbers() == expected(0.8, 0.3)


def test_keys_and_pointer_move_q(page):
    browser = page(GAP)
    browser.press("Tab")
    for _ in range(5):
        browser.press("ArrowLeft")
    assert browser.numbers() == expected(0.75, 0.3)
    left, top, width, height = browser.evaluate(
        "[document.querySelectorAll('input')[1].getBoundingClientRect()]"
        ".flatMap(b => [b.left, b.top, b.width, b.height])"
    )
    browser.drag((left + 20, top + height / 2), (left + width - 1, top + height / 2))
    assert browser.numbers() == expected(0.75, 1.5)


def test_bars_end_at_the_evidence(page):
    browser = page(GAP)

    def edges():
        return browser.evaluate(
            "[...document.querySelectorAll('rect')].flatMap(r => "
            "[+(r.getAttribute('x') || 0), +r.getAttribute('width')])"
        )

    first = edges()
    assert first[0] == 0
    assert first[1] == pytest.approx(first[2])
    put(browser, -0.24, 0.45)
    second = edges()
    assert second[1] > first[1]
    assert second[2] + second[3] == pytest.approx(first[2] + first[3])
    put(browser, 2.0, 1.5)
    assert edges()[:2] == [0, 0]


@pytest.mark.parametrize(
    ("z", "options", "message"),
    [
        (Z[None], {}, "z has shape"),
        (Z.exp(), {}, "equal steps"),
        (Z[1000:1400], {}, "but q of mean -2 to 2 and width 0.1 to 1.5 needs z from -11 to 11"),
        (Z, {"width": (0.001, 1)}, "in steps of at most 0.0005"),
    ],
)
def test_bad_grids_are_named(z, options, message):
    with pytest.raises(ValueError, match=message):
        elbo_gap(z, torch.zeros_like(z), **options)
