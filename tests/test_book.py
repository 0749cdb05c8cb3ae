"""The built book: no warning, no dead link, nothing that needs a network to be read."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import chapters
import pytest
import set_address
from bs4 import BeautifulSoup


@pytest.fixture(scope="module")
def pages(html: Path) -> dict[Path, BeautifulSoup]:
    found = {path: BeautifulSoup(path.read_text(), "html.parser") for path in html.glob("*.html")}
    assert html / "intro.html" in found
    return found


def addresses(page: BeautifulSoup, *kinds: tuple[str, str]) -> Iterator[str]:
    for tag, attribute in kinds:
        yield from (element[attribute] for element in page.find_all(tag, attrs={attribute: True}))


def test_every_chapter_opens_in_colab_if_the_course_has_an_address(
    pages: dict[Path, BeautifulSoup],
) -> None:
    address = set_address.published()
    by_name = {path.stem: page for path, page in pages.items()}
    for chapter in chapters.chapters(chapters.BOOK):
        links = set(addresses(by_name[chapter.stem], ("a", "href")))
        offered = {link for link in links if link.startswith("https://colab.research")}
        assert offered == ({address.colab(f"book/{chapter.name}")} if address.is_set else set())


def test_no_link_inside_the_book_is_dead(pages: dict[Path, BeautifulSoup]) -> None:
    names = {path: {e["id"] for e in page.find_all(id=True)} for path, page in pages.items()}
    dead = []
    for path, page in pages.items():
        for address in addresses(page, ("a", "href"), ("img", "src"), ("link", "href")):
            url = urlsplit(address)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchored = url.fragment and target in names
            if not target.exists() or (anchored and unquote(url.fragment) not in names[target]):
                dead.append(f"{path.name}: {address}")
    assert dead == []


def test_the_book_is_read_without_a_network(pages: dict[Path, BeautifulSoup]) -> None:
    kinds = ("script", "src"), ("img", "src"), ("iframe", "src")
    for path, page in pages.items():
        outside = [a for a in addresses(page, *kinds) if urlsplit(a).scheme in ("http", "https")]
        styles = [e["href"] for e in page.find_all("link", rel="stylesheet")]
        outside += [a for a in styles if urlsplit(a).scheme]
        assert outside == [], path.name
    assert (path.parent / "_static" / "mathjax" / "tex-chtml.js").exists()


def test_the_menu_button_that_is_seen_is_the_one_that_works(
    pages: dict[Path, BeautifulSoup],
) -> None:
    # The theme's script takes the first; a phone has no other way to the chapters.
    for path, page in pages.items():
        if path.name == "index.html":  # only sends on to intro.html
            continue
        assert len(page.select(".primary-toggle")) == 1


def test_every_formula_is_set(html: Path) -> None:
    """A display formula inside a list, without empty lines around it, comes out as dollars."""
    raw = []
    for path in html.glob("*.html"):
        page = BeautifulSoup(path.read_text(), "html.parser")
        article = page.find("article")
        for tag in article.select("pre, code, script, .math") if article else []:
            tag.decompose()
        raw += [path.name] * (article is not None and "$" in article.get_text())
    assert raw == []
