"""The built pages in a browser: no error, nothing that axe-core finds, and what page.js adds."""

from importlib.resources import files

import chapters
import pytest

PAGES = sorted(
    path.stem
    for pattern in ("*.ipynb", "*.md")
    for path in chapters.BOOK.glob(pattern)
    if not path.name.startswith("_")
)
AXE = files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
FIND = (
    f"""const ours = e => !!e && !!e.closest(".bd-article") && !e.closest("[class^=citation]");
axe.run(document, {{runOnly: {RULES}}})"""
    """.then(found => found.violations.flatMap(rule => rule.nodes.map(node =>
  [rule.id, node.html, ours(document.querySelector(node.target[0]))])))"""
)

THEMES = {
    "aria-allowed-role",
    "aria-required-children",
    "aria-roles",
    "color-contrast",
    "label-content-name-mismatch",
    "region",
}
"""What axe-core finds in parts of the theme and of the bibliography's directive."""


@pytest.fixture
def show(browser, html):
    """Open a page of the book, with its errors collected in `seen`."""
    browser.send("Page.enable")
    script = "window.seen = []; addEventListener('error', e => seen.push(String(e.message)))"
    added = browser.send("Page.addScriptToEvaluateOnNewDocument", source=script)

    def open_page(name, **options):
        browser.open((html / f"{name}.html").as_uri(), **options)
        theme = "dark" if options.get("dark") else "light"
        browser.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        browser.evaluate("new Promise(done => setTimeout(done, 300))")
        return browser

    yield open_page
    browser.send("Page.removeScriptToEvaluateOnNewDocument", **added)


@pytest.mark.parametrize("name", PAGES)
def test_no_error(show, name):
    browser = show(name)
    errors = [e for e in browser.evaluate("seen") if "THEBE_JS_URL" not in e]  # the theme's own
    assert errors == []


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_of_ours(show, name, look):
    browser = show(name, width=390 if look == "phone" else 1200, dark=look == "dark")
    browser.evaluate(AXE + "; 0")
    found = browser.evaluate(FIND)
    assert [(rule, html) for rule, html, ours in found if ours] == []
    assert {rule for rule, _, ours in found if not ours} <= THEMES


def test_contents_marks_the_section_that_is_read(show):
    browser = show("notation", width=1400, height=500)
    links = "[...document.querySelectorAll('#pst-page-toc-nav .nav-link')]"
    sections = browser.evaluate(f"{links}.map(a => a.hash)")
    for section in (sections[1], sections[-1]):
        browser.evaluate(f"document.querySelector('{section}').scrollIntoView(); scrollBy(0, 5)")
        browser.evaluate("new Promise(done => setTimeout(done, 500))")
        marked = browser.evaluate(f"{links}.filter(a => a.matches('.active')).map(a => a.hash)")
        assert marked[-1] == section  # before it, the section that this one is a part of


def test_a_tap_shows_a_figure_in_full_size(show):
    browser = show("01_data", width=390)
    images = "[...document.querySelectorAll('.cell_output img')]"
    assert browser.evaluate(f"{images}.length") > 3
    assert browser.evaluate(f"{images}.every(i => i.closest('a').href === i.src)")


def test_wide_code_shows_that_it_scrolls_and_keys_reach_it(show):
    browser = show("01_data", width=390)
    wide = "[...document.querySelectorAll('.bd-article pre')]"
    wide += ".filter(e => e.scrollWidth > e.clientWidth + 1)"
    assert browser.evaluate(f"{wide}.length") > 0
    assert browser.evaluate(f"{wide}.every(e => e.classList.contains('scrolls') && !e.tabIndex)")


def test_paper_opens_what_is_folded(show):
    browser = show("03_vae")
    closed = "document.querySelectorAll('details:not([open])').length"
    before = browser.evaluate(closed)
    assert before > 0
    browser.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert browser.evaluate(closed) == 0
    browser.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert browser.evaluate(closed) == before
