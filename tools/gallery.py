"""Write the page of the shipped models, book/gallery.md, from their cards.

python tools/gallery.py
"""

from __future__ import annotations

from pathlib import Path

import chapters
from jinja2 import Environment, StrictUndefined

from coursekit import pretrained
from coursekit.files import write_text

PICTURES = chapters.BOOK / "_static" / "gallery"
"""NAME-rebuilt.png and NAME-samples.png, which tools/pretrain.py draws."""

TEMPLATE = Path(__file__).with_name("gallery.md.jinja")


def pictures(card: dict[str, str]) -> list[tuple[str, str]]:
    """Files of the model's pictures, and what they show."""
    name, kinds = card["name"], {"rebuilt": "test images above their reconstructions"}
    kinds["samples"] = "samples from the prior"
    files = {f"{name}-{kind}.png": f"{card['about']}: {says}" for kind, says in kinds.items()}
    return [(file, alt) for file, alt in files.items() if (PICTURES / file).exists()]


def counts(card: dict[str, dict[str, int]]) -> str:
    return ", ".join(f"{part} {count:,}" for part, count in card["parameters"].items())


def page() -> str:
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    cards = [pretrained.card(name) for name in pretrained.names()]
    return template.render(cards=cards, pictures=pictures, counts=counts) + "\n"


if __name__ == "__main__":
    write_text(chapters.BOOK / "gallery.md", page())
