"""Write the course's public address and tag wherever they stand.

    python tools/set_address.py owner/name v1   # make address REPO=owner/name TAG=v1
    python tools/set_address.py                 # again, with what pyproject.toml has

pyproject.toml has both; everything else is derived from it: the badges, the *Run it* button, the
first cell of every notebook, the line above that cell, and what README and book say about them.
While the owner is called OWNER the course has no address, and all of these offer none.

In a text file, what this program writes stands between a line with `address: NAME` and one with
`address: end`, both comments; in a notebook, in the cells `in-colab` and `setup`.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import chapters
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell

NOBODY = "OWNER"


@dataclass(frozen=True)
class Address:
    """A repository on GitHub and the tag, or branch, that students get."""

    owner: str
    name: str
    tag: str

    @property
    def is_set(self) -> bool:
        return self.owner != NOBODY

    @property
    def repository(self) -> str:
        return f"https://github.com/{self.owner}/{self.name}"

    @property
    def pages(self) -> str:
        return f"https://{self.owner}.github.io/{self.name}"

    def colab(self, path: str) -> str:
        place = f"{self.owner}/{self.name}/blob/{self.tag}/{path}"
        return f"https://colab.research.google.com/github/{place}"

    def binder(self, path: str) -> str:
        place = f"{self.owner}/{self.name}/{self.tag}"
        return f"https://mybinder.org/v2/gh/{place}?urlpath=lab/tree/{path}"


def published(root: Path = chapters.ROOT) -> Address:
    """The address in pyproject.toml."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    url = settings["project"]["urls"]["Repository"]
    owner, name = url.removeprefix("https://github.com/").split("/")
    return Address(owner, name, settings["tool"]["course"]["tag"])


SETUP = """\
# Colab has all but the course's own package. Where that is installed, this cell does nothing.
from importlib import import_module, util
from pathlib import Path

course = util.find_spec("coursekit")  # an unrelated package has this name, too, but no exercises
if not (course and (Path(course.origin or "").parent / "exercises").exists()):
"""
INSTALL = """\
    %pip install -q git+{address.repository}@{address.tag}
    try:
        import_module("coursekit.exercises")
    except ImportError:
        raise ImportError("Not installed: check the network, restart, run again.") from None"""
CANNOT_INSTALL = """\
    raise ImportError(
        "This copy of the course has no public address yet, so there is nothing to install from: "
        "in its folder, run `pip install --editable .`, and restart this notebook."
    )"""

FIRST = "book/00_welcome.ipynb"
NO_ADDRESS = (
    "This copy of the course has no public address yet, so nothing here opens in Colab or Binder: "
    "work with it on your own machine. `make address REPO=owner/name TAG=v1` sets the address."
)


def setup(address: Address) -> str:
    """The first code cell of every notebook: it installs the course's package where needed."""
    if address.is_set:
        return SETUP + INSTALL.format(address=address)
    return SETUP.replace("import import_module, util", "import util") + CANNOT_INSTALL


def in_colab(address: Address) -> str:
    """The line above the first code cell of every notebook."""
    page = f"{address.pages}/colab.html" if address.is_set else "colab.md"
    return (
        "**In Colab,** begin with *File → Save a copy in Drive*: what you write is lost otherwise. "
        f"[Working in Colab]({page}) says how to keep checkpoints, go on after a disconnect and "
        "hand in."
    )


def buttons(address: Address) -> str:
    if not address.is_set:
        return "# No repository and no buttons: the course has no public address yet."
    return f"""\
repository:
  url: {address.repository}
  path_to_book: book
  branch: {address.tag}

launch_buttons:
  colab_url: https://colab.research.google.com
  binderhub_url: https://mybinder.org
  notebook_interface: jupyterlab"""


def links(address: Address) -> str:
    shown = str(address.is_set).lower()
    return f"  use_repository_button: {shown}\n  use_issues_button: {shown}"


def badges(address: Address) -> str:
    if not address.is_set:
        return f"> {NO_ADDRESS}"
    badge = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"""\
[![Open in Colab]({badge})]({address.colab(FIRST)})
[![Open in Binder](https://mybinder.org/badge_logo.svg)]({address.binder(FIRST)})"""


def start(address: Address) -> str:
    if not address.is_set:
        return "Install the course on your own machine, as below, and open the first chapter."
    return (
        "Nothing to install: click a badge above for the first chapter, or the *Run it* button on "
        f"any page of [the book]({address.pages}/)."
    )


def clone(address: Address) -> str:
    if not address.is_set:
        return "In the folder that holds this file:"
    return f"""\
```sh
git clone --branch {address.tag} {address.repository} && cd {address.name}
```"""


def intro(address: Address) -> str:
    if not address.is_set:
        return f"**Start with [chapter 0](00_welcome.ipynb).** {NO_ADDRESS}"
    return (
        "**Start with [chapter 0](00_welcome.ipynb):** press *Run it* at its top, which opens it "
        "in Colab. [Working in Colab](colab.md) says what to know there."
    )


def opening(address: Address) -> str:
    if not address.is_set:
        return NO_ADDRESS
    return (
        "*Run it*, at the top of every chapter, opens the chapter in Colab. Its first code cell "
        f"installs the course's package, always as of `{address.tag}`, so that the course does not "
        "change under your hands."
    )


TEXTS: dict[str, dict[str, Callable[[Address], str]]] = {
    "README.md": {"badges": badges, "start": start, "clone": clone},
    "_config.yml": {"buttons": buttons, "links": links},
    "book/intro.md": {"start": intro},
    "book/colab.md": {"opening": opening},
}


def project(text: str, address: Address) -> str:
    """pyproject.toml with this address."""
    text, urls = re.subn(r'(?m)^Repository = ".*"$', f'Repository = "{address.repository}"', text)
    text, tags = re.subn(r'(?m)^tag = ".*"$', f'tag = "{address.tag}"', text)
    if (urls, tags) != (1, 1):
        raise ValueError(f"pyproject.toml has {urls} lines `Repository = …` and {tags} `tag = …`")
    return text


def between(text: str, name: str, content: str) -> str:
    """`text` with `content` in place of what stands between the marks of that name."""
    marks = rf"(?ms)^([^\n]*\baddress: {name}\b[^\n]*\n).*?(^[^\n]*\baddress: end\b)"
    text, count = re.subn(marks, lambda found: f"{found[1]}{content}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"the marks `address: {name}` … `address: end` stand there {count} times")
    return text


def notebook(nb: NotebookNode, address: Address) -> NotebookNode:
    """A notebook with this address in the cells `in-colab` and `setup`, which it gets if needed."""
    line = new_markdown_cell(in_colab(address), id="in-colab")
    cell = new_code_cell(setup(address), id="setup", execution_count=1)
    rest = [other for other in nb.cells[1:] if other.id not in ("in-colab", "setup")]
    nb.cells = [nb.cells[0], line, cell, *rest]
    return nb


def write(address: Address, root: Path = chapters.ROOT) -> list[str]:
    """Write the address everywhere; return the names of the files that this changed."""
    changed = {"pyproject.toml": project((root / "pyproject.toml").read_text("utf-8"), address)}
    for name, parts in TEXTS.items():
        text = (root / name).read_text("utf-8")
        for part, render in parts.items():
            text = between(text, part, render(address))
        changed[name] = text
    changed = {n: text for n, text in changed.items() if (root / n).read_text("utf-8") != text}
    for name, text in changed.items():
        temporary = root / f"{name}.part"
        temporary.write_text(text, "utf-8")
        temporary.replace(root / name)
    names = list(changed)
    for folder in ("solutions", "book"):
        for path in chapters.chapters(root / folder):
            nb = notebook(chapters.read(path), address)
            if nb != chapters.read(path):
                chapters.write(path, nb)
                names.append(f"{folder}/{path.name}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("repository", nargs="?", help="owner/name on GitHub")
    parser.add_argument("tag", nargs="?", help="the tag, or branch, that students get")
    given = parser.parse_args()
    address = published()
    if given.repository:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", given.repository) or not given.tag:
            sys.exit(
                f"Expected a repository owner/name and a tag, got {given.repository!r} and "
                f"{given.tag!r}: make address REPO=owner/name TAG=v1"
            )
        address = Address(*given.repository.split("/"), given.tag)
    for name in write(address):
        print(f"wrote {name}")
    print(f"The course's address is {address.repository}, its tag {address.tag}.")


if __name__ == "__main__":
    main()
