"""The game of a GAN in a page: the steps of torch, buttons, a run."""

import math
import time

import pytest
import torch
from torch.distributions import Normal
from torch.nn import functional as F

from coursekit.viz import gan_game

GAME = gan_game()
TWO = ((0.6, -2.0, 0.5), (0.4, 2.0, 0.5))
X = torch.linspace(-12, 12, 4001, dtype=torch.float64)
NOISE = torch.linspace(-8, 8, 1001, dtype=torch.float64)


class Game:
    """The same game by autograd, on finer grids."""

    def __init__(self, data=((1.0, 1.5, 0.7),), start=(-1.5, 1.0), degree=2, rates=(0.5, 0.2)):
        self.p_data = sum(w * Normal(m, s).log_prob(X).exp() for w, m, s in data)
        self.psi = torch.zeros(degree + 1, dtype=torch.float64, requires_grad=True)
        mean, width = start
        self.theta = torch.tensor([mean, math.log(width)], dtype=torch.float64, requires_grad=True)
        self.rates = rates

    def score(self, x):
        return sum(weight * (x / 2) ** k for k, weight in enumerate(self.psi))

    def fake(self):
        return self.theta[0] + self.theta[1].exp() * NOISE

    def over_noise(self, values):
        return torch.trapezoid(Normal(0.0, 1.0).log_prob(NOISE).exp() * values, NOISE)

    def value(self):
        real = torch.trapezoid(self.p_data * F.logsigmoid(self.score(X)), X)
        return real + self.over_noise(F.logsigmoid(-self.score(self.fake())))

    def step_d(self):
        (slope,) = torch.autograd.grad(self.value(), self.psi)
        with torch.no_grad():
            self.psi += self.rates[0] * slope

    def step_g(self):
        loss = self.over_noise(F.softplus(-self.score(self.fake())))
        (slope,) = torch.autograd.grad(loss, self.theta)
        with torch.no_grad():
            self.theta -= self.rates[1] * slope

    def best_value(self):
        log_data = self.p_data.log()
        log_g = Normal(self.theta[0], self.theta[1].exp()).log_prob(X)
        both = torch.logaddexp(log_data, log_g)
        real = torch.where(self.p_data > 0, self.p_data * (log_data - both), 0.0)
        return torch.trapezoid(real + log_g.exp() * (log_g - both), X)

    def told(self):
        numbers = self.theta[0], self.theta[1].exp(), self.value(), self.best_value()
        return pytest.approx([n.item() for n in numbers], abs=0.006)


def told(browser, number=0):
    """Mean, width, value and best value, as the page says them."""
    return browser.numbers(number)[:4]


def click(browser, name, times=1, number=0):
    browser.evaluate(
        f"(b => {{ for (let i = 0; i < {times}; i++) b.click() }})"
        f"([...document.querySelectorAll('.live-figure')[{number}].querySelectorAll('button')]"
        f".find(b => b.innerText === '{name}'))"
    )


def curve(browser, number):
    """The path of that number: the mean of x and y over its points, in pixels."""
    d = browser.evaluate(
        "[...document.querySelectorAll('.live-figure > svg > svg path')]"
        f"[{number}].getAttribute('d')"
    )
    return torch.tensor([[float(v) for v in pair.split(",")] for pair in d[1:].split("L")])


@pytest.mark.parametrize(
    "options",
    [{}, {"data": TWO, "start": (0.5, 1.5), "degree": 4, "rates": (0.3, 0.1)}],
    ids=["one peak", "two peaks"],
)
def test_page_steps_as_torch_does(page, options):
    game, browser = Game(**options), page(gan_game(**options))
    assert told(browser) == game.told()
    assert told(browser)[2] == -1.39
    for d, g in ((1, 0), (2, 1), (0, 1), (5, 3), (1, 5)):
        for _ in range(d):
            game.step_d()
        click(browser, "Step D", d)
        for _ in range(g):
            game.step_g()
        click(browser, "Step G", g)
        assert told(browser) == game.told()
    x = torch.linspace(-5, 5, 251, dtype=torch.float64)
    with torch.no_grad():
        expected = game.score(x).sigmoid()
    drawn = curve(browser, 3)[:, 1]
    height = browser.evaluate(
        "+document.querySelector('.live-figure > svg > svg').getAttribute('height')"
    )
    assert torch.allclose(height * (1 - expected / 1.2), drawn.double(), atol=0.1)


def test_turns_have_as_many_steps_of_d_as_the_slider_says(page):
    game, browser = Game(), page(GAME)
    browser.slide(10)  # steps of D per step of G
    click(browser, "20 turns")
    for _ in range(20):
        for _ in range(10):
            game.step_d()
        game.step_g()
    assert told(browser) == game.told()
    text = browser.evaluate("document.querySelector('output').textContent")
    assert text.startswith("Steps of D: 200, of G: 20.")
    click(browser, "Start again")
    assert told(browser)[:2] == [-1.5, 1.0]


def test_a_good_discriminator_leads_to_the_data(page):
    """What the caption says: with 20 steps of D it arrives, with one it does not settle."""
    browser = page(GAME)
    click(browser, "20 turns", 20)
    assert abs(told(browser)[1] - 0.7) > 0.15
    click(browser, "Start again")
    browser.slide(20)  # steps of D per step of G
    click(browser, "20 turns", 10)
    assert told(browser) == pytest.approx([1.5, 0.7, -1.386, -1.386], abs=0.02)


def test_a_frozen_discriminator_is_passed_and_numbers_stay_finite(page):
    browser = page(GAME)
    click(browser, "Step D", 5)
    browser.slide(0)  # steps of D per step of G
    click(browser, "20 turns", 4)
    assert told(browser)[0] > 2.2  # a width past the data
    click(browser, "20 turns", 100)
    click(browser, "Step D", 5)
    assert "NaN" not in browser.evaluate("document.querySelector('figure').outerHTML")
    assert "Infinity" not in browser.evaluate("document.querySelector('output').textContent")


def test_run_and_stop(page):
    browser = page(GAME, GAME)
    click(browser, "Run")
    end = time.monotonic() + 20
    while told(browser)[0] == -1.5:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert browser.evaluate("document.querySelector('output').getAttribute('aria-live')") == "off"
    click(browser, "Stop")
    stopped = told(browser)
    time.sleep(0.3)
    assert told(browser) == stopped
    assert told(browser, 1)[0] == -1.5
    assert browser.evaluate("document.querySelector('output').ariaLive") == "polite"


def test_keys_press_the_buttons(page):
    browser = page(GAME)
    browser.evaluate("document.querySelectorAll('button')[0].focus()")
    browser.send(
        "Input.dispatchKeyEvent",
        type="keyDown",
        key="Enter",
        code="Enter",
        text="\r",
        windowsVirtualKeyCode=13,
    )
    browser.send("Input.dispatchKeyEvent", type="keyUp", key="Enter", windowsVirtualKeyCode=13)
    game = Game()
    game.step_d()
    assert told(browser) == game.told()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": ((0.5, 0.0, 1.0),)}, "add up to 1"),
        ({"data": ((1.0, 10.0, 1.0),)}, "must lie between -12 and 12"),
        ({"start": (0.0, 0.01)}, "width of at least 0.05"),
        ({"degree": 0}, "degree is 0"),
    ],
)
def test_bad_games_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        gan_game(**options)
