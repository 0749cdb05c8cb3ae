"""Link the terms of the glossary where a chapter uses them for the first time."""

from __future__ import annotations

import re
import unicodedata

import chapters
from nbformat import NotebookNode

# What stays as it is: code, formulas, links and HTML; then whole lines: headings, rows, listings.
KEPT = re.compile(
    r"<a .*?</a>|```.*?```|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|!?\[[^\]]*\]\([^)]*\)|<[^>]+>"
    r"|^(?:#|\|| {4}).*?$",
    re.S | re.M,
)


def terms() -> list[str]:
    """The glossary's terms, the longest first, so that "beta-VAE" is found before "VAE"."""
    text = (chapters.BOOK / "glossary.md").read_text(encoding="utf-8")
    found = re.findall(r"^(\S[^\n]*)\n {2}\S", text, re.M)
    return sorted(found, key=len, reverse=True)


def anchor(term: str) -> str:
    """The address of a term's entry, as Sphinx names it."""
    plain = unicodedata.normalize("NFKD", term).encode("ascii", "ignore").decode()
    return "glossary.html#term-" + re.sub(r"[^a-zA-Z0-9._]+", "-", plain).strip("-._")


def link(nb: NotebookNode) -> None:
    """Link, in place, the first use of each term in the notebook's prose.

    Everyday words, such as mode and rate, are linked only where the text emphasizes them.
    """
    left = terms()
    for cell in nb.cells:
        if cell.cell_type != "markdown":
            continue
        for term in list(left):
            source, done = _linked(cell.source, term)
            if done:
                cell.source = source
                left.remove(term)


def _linked(text: str, term: str) -> tuple[str, bool]:
    word = rf"{re.escape(term)}(?:s|es)?"
    everyday = re.fullmatch(r"[a-z]+", term) is not None
    pattern = re.compile(
        rf"(?<![\w*])(\*{{1,2}})({word})(\*{{1,2}})(?![\w*])"
        + ("" if everyday else rf"|\b{word}\b"),
        re.I,
    )
    kept = [match.span() for match in KEPT.finditer(text)]
    for match in pattern.finditer(text):
        if not any(start < match.end() and match.start() < end for start, end in kept):
            shown = match.group()
            if match.group(1):
                tag = "strong" if len(match.group(1)) == 2 else "em"
                shown = f"<{tag}>{match.group(2)}</{tag}>"
            new = f'<a class="term" href="{anchor(term)}">{shown}</a>'
            return text[: match.start()] + new + text[match.end() :], True
    return text, False
