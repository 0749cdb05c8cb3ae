"""Each chapter that lets its reader choose a data set runs on a real one's files.

The files hold a few hundred rendered pictures (miniature.py). So the chapters' sizes are reduced,
all by one rule, and nothing is said about results: what must hold is that no cell fails.
"""

import ast
import asyncio
import sys
from pathlib import Path

import chapters
import pytest
from nbformat import NotebookNode

sys.path.insert(0, str(Path(__file__).parent))

import miniature

REAL = {"faces": "celeba", "digits": "mnist"}
"""What takes the place of a chapter's rendered set."""
TRAIN, TEST = 600, 400  # images of CelebA; MNIST's files hold as many as the real ones
MOST = {"SIZE": TRAIN, "TEST_SIZE": TEST, "EPOCHS": 2, "STEPS": 30}
"""A number that a chapter assigns to such a name is reduced to this, wherever it is assigned."""
MOST_BY_NAME = {"steps": 30, "epochs": 2}
"""So is a number written as an argument of this name, or as its default value."""


class Smaller(ast.NodeTransformer):
    """Replace the data set, and reduce numbers by the rule above."""

    def __init__(self) -> None:
        self.chosen: list[str] = []

    def visit_Assign(self, node: ast.Assign) -> ast.AST | list[ast.AST]:
        self.generic_visit(node)
        names = [n.id for n in ast.walk(node.targets[0]) if isinstance(n, ast.Name)]
        if names == ["DATASET"]:
            self.chosen.append(REAL[ast.literal_eval(node.value)])
            node.value = ast.Constant(self.chosen[-1])
        after = [f"{name} = min({name}, {MOST[name]})" for name in names if name in MOST]
        return [node, *ast.parse("\n".join(after)).body]

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        named = [*node.args.posonlyargs, *node.args.args]
        with_default = named[len(named) - len(node.args.defaults) :]
        pairs = [
            *zip(with_default, node.args.defaults, strict=True),
            *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True),
        ]
        for argument, default in pairs:
            self.reduce(argument.arg, default)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        for word in node.keywords:
            self.reduce(word.arg, word.value)
        return node

    def reduce(self, name: str | None, value: ast.AST | None) -> None:
        if name in MOST_BY_NAME and isinstance(value, ast.Constant) and type(value.value) is int:
            value.value = min(value.value, MOST_BY_NAME[name])


def smaller(nb: NotebookNode) -> list[str]:
    """Change a chapter's cells; the sets that were put in place of its own."""
    change = Smaller()
    for cell in chapters.code_cells(nb):
        if cell.id != "setup":  # its magic is no Python
            cell.source = ast.unparse(
                ast.fix_missing_locations(change.visit(ast.parse(cell.source)))
            )
    return change.chosen


CHOOSING = [
    path
    for path in chapters.chapters(chapters.BOOK)
    if any(cell.source.startswith("DATASET = ") for cell in chapters.read(path).cells)
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    miniature.write_celeba(folder, train=TRAIN, validation=20, test=TEST)
    miniature.write_mnist(folder, different=500)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("path", CHOOSING, ids=lambda path: path.stem)
def test_a_chapter_runs_on_a_real_set(path: Path, home: Path) -> None:
    nb = chapters.read(path)
    (chosen,) = smaller(nb)
    env = {"COURSEKIT_DATA": str(home), "PYTHONPATH": str(chapters.ROOT)}
    ran = asyncio.run(chapters.execute(nb, env))
    assert ran.error is None, f"with {chosen}: {ran.error}"


def test_the_rule_replaces_the_set_and_reduces_numbers() -> None:
    source = """\
if LARGE:
    DATASET, SIZE = 'other', 9
SIZE, STEPS = (20000, 5) if LARGE else (4000, 700)

def trained(seed, steps=600, epochs=EPOCHS, *, epoch=50):
    pass
fit(model, test, epochs=50)
rows = table(size=2000, steps=12)"""
    expected = """\
if LARGE:
    DATASET, SIZE = ('other', 9)
    SIZE = min(SIZE, 600)
SIZE, STEPS = (20000, 5) if LARGE else (4000, 700)
SIZE = min(SIZE, 600)
STEPS = min(STEPS, 30)

def trained(seed, steps=30, epochs=EPOCHS, *, epoch=50):
    pass
fit(model, test, epochs=2)
rows = table(size=2000, steps=12)"""
    assert ast.unparse(Smaller().visit(ast.parse(source))) == expected
    change = Smaller()
    assert ast.unparse(change.visit(ast.parse("DATASET = 'faces'"))) == "DATASET = 'celeba'"
    assert change.chosen == ["celeba"]
