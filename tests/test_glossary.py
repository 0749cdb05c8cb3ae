"""Links from the chapters' prose to the glossary."""

import glossary
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


def linked(*sources):
    nb = new_notebook(cells=[new_markdown_cell(source) for source in sources])
    glossary.link(nb)
    return [cell.source for cell in nb.cells]


def test_the_first_use_is_linked_and_no_other():
    first, second = linked("A posterior collapse and a posterior collapse.", "posterior collapse")
    url = "glossary.html#term-posterior-collapse"
    assert (
        first == f'A <a class="term" href="{url}">posterior collapse</a> and a posterior collapse.'
    )
    assert second == "posterior collapse"


@pytest.mark.parametrize(
    "text",
    [
        "## Posterior collapse",
        "`posterior collapse`",
        "[posterior collapse](04_beta_vae.ipynb)",
        "| posterior collapse | 3 |",
        "$\\text{posterior collapse}$",
        "```\nposterior collapse\n```",
        "superposterior collapsed",
        "in eval-like mode, at a rate",  # everyday words without emphasis
    ],
)
def test_headings_code_links_and_everyday_words_stay(text):
    assert linked(text) == [text]


def test_emphasis_stays_and_plurals_count():
    (text,) = linked("Two **modes** and *beta-VAEs*.")
    assert '<a class="term" href="glossary.html#term-mode"><strong>modes</strong></a>' in text
    assert '<a class="term" href="glossary.html#term-beta-VAE"><em>beta-VAEs</em></a>' in text


def test_code_cells_stay():
    nb = new_notebook(cells=[new_code_cell("# posterior collapse")])
    glossary.link(nb)
    assert nb.cells[0].source == "# posterior collapse"


def test_every_anchor_exists(html):
    page = BeautifulSoup((html / "glossary.html").read_text(), "html.parser")
    there = {f"glossary.html#{term['id']}" for term in page.find_all("dt", id=True)}
    assert {glossary.anchor(term) for term in glossary.terms()} <= there
