"""tools/: solutions/ -> book/, and the runs that give both their outputs."""

import asyncio
import base64
import copy
import io
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import build_book
import chapters
import make_student
import margins
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from coursekit.exercises import exercise

SOLUTION = '''def kl_divergence(mu, logvar):
    """KL divergence in nats."""
    # 1. sum over the latent dimensions
    ### BEGIN SOLUTION
    parts = mu**2
    return parts.sum(1)
    ### END SOLUTION


class Encoder:
    def forward(self, x):
        if x:
            ### BEGIN SOLUTION
            return 1
            ### END SOLUTION
        ### BEGIN SOLUTION
        return 2
        ### END SOLUTION'''

STUDENT = '''def kl_divergence(mu, logvar):
    """KL divergence in nats."""
    # 1. sum over the latent dimensions
    raise NotImplementedError  # your code here


class Encoder:
    def forward(self, x):
        if x:
            raise NotImplementedError  # your code here
        raise NotImplementedError  # your code here'''


def notebook(*cells: NotebookNode) -> NotebookNode:
    nb = new_notebook(cells=list(cells))
    for number, cell in enumerate(nb.cells):
        cell.id = cell.metadata.get("name", f"cell-{number}")
    return nb


def code(source: str, *tags: str) -> NotebookNode:
    return new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


def test_a_solution_block_becomes_a_stub_at_its_indent() -> None:
    student = make_student.project(notebook(code(SOLUTION)))
    assert student.cells[0].source == STUDENT
    names: dict[str, object] = {}
    exec(student.cells[0].source, names)
    with pytest.raises(NotImplementedError):
        names["kl_divergence"](None, None)  # type: ignore[operator]


def test_solution_cells_go_and_all_else_stays() -> None:
    output = new_output("stream", text="2.0")
    solution = notebook(
        new_markdown_cell("# Title\n\n### BEGIN SOLUTION is only a mark in code"),
        code("x = 1"),
        new_markdown_cell("the answer", metadata={"tags": ["solution"]}),
        code("print(x)", "solution"),
        code("assert x", "claim"),
        code("assert x > 0", "hide-input", "train"),
    )
    solution.cells[1].outputs, solution.cells[1].execution_count = [output], 3
    before = copy.deepcopy(solution)
    student = make_student.project(solution)

    assert solution == before
    assert [cell.id for cell in student.cells] == ["cell-0", "cell-1", "cell-5"]
    assert student.cells[0] == solution.cells[0]
    assert student.cells[2] == solution.cells[5]
    assert student.cells[1] == {**solution.cells[1], "outputs": [], "execution_count": None}
    assert student.metadata == solution.metadata


def printing(source: str, *tags: str) -> NotebookNode:
    cell = code(source, *tags)
    cell.outputs, cell.execution_count = [new_output("stream", text="printed")], 1
    return cell


UNSEEN = (
    printing("print(loss)", "predict", "train"),
    printing("hint('vae.kl')"),
    printing("\n  hint('vae.kl')", "nbval-ignore-output"),
)


def test_what_the_reader_is_to_find_out_is_not_given_out() -> None:
    seen = (printing("print('hint(1)')"), printing("x = hint"), new_markdown_cell("hint('a')"))
    student = notebook(*copy.deepcopy((*UNSEEN, *seen)))
    given = make_student.without_answers(student)
    assert [cell.outputs for cell in given.cells[:3]] == [[], [], []]
    assert [cell.execution_count for cell in given.cells[:3]] == [None] * 3
    assert given.cells[3:] == student.cells[3:]
    assert [cell.source for cell in given.cells] == [cell.source for cell in student.cells]
    assert all(cell.outputs for cell in student.cells if cell.cell_type == "code")


def test_the_page_folds_claims_and_answers_and_marks_a_failure() -> None:
    title, claim = new_markdown_cell("# Title"), printing("assert x", "claim")
    nb = notebook(*copy.deepcopy((title, claim, *UNSEEN, printing("print(1)", "train"))))
    page = build_book.page(nb, failed=False)
    assert [make_student.tags(cell) for cell in page.cells] == [
        set(),
        {"claim", "hide-cell"},
        {"predict", "train", "hide-output"},
        {"hide-output"},
        {"nbval-ignore-output", "hide-output"},
        {"train"},
    ]
    assert all(cell.outputs for cell in page.cells[1:])
    assert "hide-cell" not in nb.cells[1].metadata["tags"]  # what came in is left alone

    marked = build_book.page(nb, failed=True)
    assert marked.cells[0].source == "# Title"
    assert marked.cells[1].source == build_book.FAILED
    assert marked.cells[2:] == page.cells[1:]


@pytest.mark.parametrize(
    "source",
    [
        "### BEGIN SOLUTION\nx = 1",
        "x = 1\n### END SOLUTION",
        "### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION",
        "### BEGIN SOLUTION\n### END SOLUTION\n### END SOLUTION",
    ],
)
def test_a_broken_block_is_refused_and_its_cell_named(source: str) -> None:
    with pytest.raises(ValueError, match="cell 'cell-1'"):
        make_student.project(notebook(code("x = 0"), code(source)))


def test_the_book_is_the_projection_of_the_solutions() -> None:
    assert make_student.drift() == []


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of its own, with one chapter that has not drifted."""
    for name in ("book", "solutions", "coursekit"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(chapters, name.upper(), tmp_path / name, raising=False)
    monkeypatch.setattr(chapters, "ROOT", tmp_path)
    monkeypatch.setattr(chapters, "CACHE", tmp_path / "_build" / ".jupyter_cache")
    solution = notebook(code("a = 1"), code(exercise("vae.kl").source), code("b = 1", "train"))
    chapters.write(tmp_path / "solutions" / "03_vae.ipynb", solution)
    chapters.write(tmp_path / "book" / "03_vae.ipynb", make_student.project(solution))
    return tmp_path


def test_large_pictures_are_stored_in_256_colors_and_no_others_change() -> None:
    def png(side: int) -> str:
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "png", dpi=(200, 200))
        return base64.b64encode(buffer.getvalue()).decode()

    nb = notebook(code("show(1)"), code("show(2)"), code("print(3)"))
    for cell, side in zip(nb.cells, (20, 200), strict=False):
        cell.outputs = [new_output("display_data", data={"image/png": png(side), "text/plain": ""})]
    nb.cells[2].outputs = [new_output("stream", text="x" * 2 * chapters.LARGE)]
    before = copy.deepcopy(nb)
    done = chapters.smaller(nb)
    assert nb == before
    assert [done.cells[i] == nb.cells[i] for i in range(3)] == [True, False, True]
    with Image.open(
        io.BytesIO(base64.b64decode(done.cells[1].outputs[0].data["image/png"]))
    ) as picture:
        assert (picture.size, picture.mode) == ((200, 200), "P")
        assert picture.info["dpi"] == pytest.approx((200, 200), rel=0.01)
    assert chapters.smaller(done) == done


def test_drift_is_seen_whatever_has_drifted(course: Path) -> None:
    path = course / "book" / "03_vae.ipynb"
    good = chapters.read(path)
    assert make_student.drift() == []

    edits = {
        "source": lambda nb: nb.cells[0].update(source="a = 2"),
        "tags": lambda nb: nb.cells[2].metadata.update(tags=["train", "hide-cell"]),
        "id": lambda nb: nb.cells[0].update(id="other"),
        "type": lambda nb: nb.cells.__setitem__(0, new_markdown_cell("a = 1", id="cell-0")),
        "cell missing": lambda nb: nb.cells.pop(),
        "cell added": lambda nb: nb.cells.append(new_code_cell("c = 1", id="new")),
        "order": lambda nb: nb.cells.reverse(),
    }
    for what, edit in edits.items():
        nb = copy.deepcopy(good)
        edit(nb)
        chapters.write(path, nb)
        assert len(make_student.drift()) == 1, what

    outputs = copy.deepcopy(good)
    outputs.cells[0].outputs = [new_output("stream", text="1")]
    chapters.write(path, outputs)
    assert make_student.drift() == []

    chapters.write(path.with_name("04_other.ipynb"), good)
    assert make_student.drift() == ["book/04_other.ipynb has no solutions/04_other.ipynb"]
    path.with_name("04_other.ipynb").unlink()
    path.unlink()
    assert make_student.drift() == ["book/03_vae.ipynb is missing: run make student CHAPTER=03_vae"]


CLOCK = "import time\n\ntime.time_ns()"


def clock(nb: NotebookNode) -> str:
    return nb.cells[0].outputs[0].data["text/plain"]


def run(nb: NotebookNode) -> NotebookNode:
    done, failed = chapters.run({"a": nb})
    assert failed == []
    return done["a"]


def test_a_chapter_runs_again_only_when_code_has_changed(course: Path) -> None:
    nb = notebook(code(CLOCK), new_markdown_cell("text"))
    first = run(nb)
    assert nb.cells[0].outputs == []  # what came in is left alone

    text = copy.deepcopy(nb)
    text.cells[1].source = "other text"
    again = run(text)
    assert clock(again) == clock(first)
    assert again.cells[1].source == "other text"

    other = copy.deepcopy(nb)
    other.cells[0].source = CLOCK + "  # changed"
    assert clock(run(other)) != clock(first)

    for name in ("elbo.py", "plot.js", "recorded.json"):
        before = clock(run(nb))
        (course / "coursekit" / name).write_text("1\n")
        assert clock(run(nb)) != before, name


FAILING = ("print('before')", "raise OSError('no such luck')", "print('after')")


def test_a_chapter_that_fails_is_named_and_runs_again(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = notebook(code(CLOCK)), notebook(*map(code, FAILING))
    done, failed = chapters.run({"bad": bad, "good": good})
    assert failed == ["bad"]
    assert "no such luck" in capsys.readouterr().out
    before, error, after = done["bad"].cells
    assert before.outputs[0].text == "before\n"
    assert [out.output_type for out in error.outputs] == ["error"]
    assert after.outputs == []
    assert clock(done["good"])

    assert chapters.run({"bad": bad, "good": good})[1] == ["bad"]
    assert "1 of 2 notebooks ran" in capsys.readouterr().out


def test_all_pages_are_built_though_a_chapter_fails(
    course: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(Path(__file__).parents[1] / "_config.yml", course)
    shutil.copytree(Path(__file__).parents[1] / "book" / "_static", course / "book" / "_static")
    pages = {"intro.md": "# Welcome\n", "glossary.md": "# Glossary\n", "references.bib": ""}
    pages["_toc.yml"] = "format: jb-book\nroot: intro\nchapters:\n- file: 01_a\n- file: 03_vae\n"
    for name, text in pages.items():
        (course / "book" / name).write_text(text)
    bad = notebook(new_markdown_cell("# A title"), *map(code, FAILING))
    chapters.write(course / "book" / "01_a.ipynb", bad)
    good = notebook(new_markdown_cell("# Another"), code("print(6 * 7)"))
    chapters.write(course / "book" / "03_vae.ipynb", good)

    monkeypatch.setattr(sys, "argv", ["build_book.py"])
    with pytest.raises(SystemExit, match=r"marked on their pages: book/01_a\.ipynb\.") as end:
        build_book.main()
    assert isinstance(end.value.code, str)  # Python prints it last, and exits with status 1
    output = capfd.readouterr().out
    assert "no such luck" in output
    html = course / "_build" / "html"
    assert f"The book: {html.as_uri()}/index.html" in output

    article = {
        path.stem: BeautifulSoup(path.read_text(), "html.parser").article.get_text()
        for path in html.glob("[!_]*.html")
        if path.stem in ("intro", "01_a", "03_vae")
    }
    mark = "This chapter failed when the book was built."
    assert mark in article["01_a"]
    assert "before" in article["01_a"]
    assert "no such luck" in article["01_a"]
    assert "42" in article["03_vae"]
    assert mark not in article["03_vae"] + article["intro"]
    committed = chapters.read(course / "book" / "01_a.ipynb")
    assert committed.cells == bad.cells


def test_an_interrupt_ends_the_kernels(course: Path) -> None:
    program = f"""
import chapters, pathlib, nbformat.v4 as v4
chapters.ROOT = pathlib.Path({str(course)!r})
chapters.CACHE = chapters.ROOT / "_build"
chapters.joblib.cpu_count = lambda: 3
cell = "import os, time; open(f'{course}/{{os.getpid()}}', 'w').close(); time.sleep(99)"
nb = v4.new_notebook(cells=[v4.new_code_cell(cell)])
short = v4.new_notebook(cells=[v4.new_code_cell("'short'")])
chapters.run({{"a": nb, "b": nb, "short": short}})
"""
    running = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=chapters.__file__.removesuffix("chapters.py"),
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300

    def numbers() -> list[str]:
        return [path.name for path in course.iterdir() if path.name.isdigit()]

    while len(numbers()) < 2 or not list(course.glob("_build/executed/*")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=60)
    assert "Interrupted" in errors
    assert "Traceback" not in errors
    assert "FAILED" not in output
    assert running.returncode == 1
    for kernel in numbers():
        with pytest.raises(ProcessLookupError):
            os.kill(int(kernel), 0)
    # What had run to its end before is kept.
    kept = chapters.get_cache(course / "_build").list_cache_records()
    assert [record.uri for record in kept] == ["short"]


def test_an_interrupt_of_several_executions_ends_them_all(tmp_path: Path) -> None:
    program = f"""
import asyncio, chapters, nbformat.v4 as v4
cell = "import os, time; open(f'{tmp_path}/{{os.getpid()}}', 'w').close(); time.sleep(99)"
nb = v4.new_notebook(cells=[v4.new_code_cell(cell)])
async def both():
    await asyncio.gather(chapters.execute(nb), chapters.execute(nb))
asyncio.run(both())
"""
    running = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=chapters.__file__.removesuffix("chapters.py"),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while len(kernels := list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    for kernel in kernels:
        with pytest.raises(ProcessLookupError):
            os.kill(int(kernel.name), 0)


DRAWS = """\
import numpy as np
import torch
from sklearn.model_selection import ShuffleSplit
from sklearn.utils import shuffle
from torch import Generator

torch.manual_seed({0})
print(torch.rand(3, dtype=torch.float64).tolist())
print(torch.rand(3, dtype=torch.float64, generator=Generator().manual_seed({0})).tolist())
generator = torch.Generator()
generator.manual_seed({0})
print(torch.randperm(9, generator=generator).tolist())
print(np.random.default_rng({0}).random(3).tolist())
print(next(ShuffleSplit(random_state={0}).split(range(30)))[1].tolist())
print(shuffle(list(range(9)), random_state={0}))"""


def test_a_shift_moves_the_seeds_of_torch_numpy_and_sklearn() -> None:
    async def lines(seed: int, shift: int) -> list[str]:
        run = {"shift": shift, "instructions": "as they are", "threads": 1}
        ran = await margins.once(notebook(code(DRAWS.format(seed))), run, None)
        assert ran.error is None, ran.error
        return ran.notebook.cells[1].outputs[0].text.splitlines()

    async def both() -> list[list[str]]:
        return await asyncio.gather(lines(3, 0), lines(0, 3), lines(0, 0))

    plain, shifted, other = asyncio.run(both())
    assert shifted == plain
    assert [line for line, same in zip(other, plain, strict=True) if line == same] == []
    assert len(plain) == 6


def test_dead_widgets_are_left_out(course: Path) -> None:
    show = f'display({{"{chapters.WIDGET}": {{}}, "text/plain": "dead"}}, raw=True)\nprint("alive")'
    (cell,) = run(notebook(code(show))).cells
    assert [out.output_type for out in cell.outputs] == ["stream"]


def test_reading_drops_what_editors_and_kernels_leave(tmp_path: Path) -> None:
    nb = notebook(code("x = 1", "train"))
    nb.cells[0].metadata.update(collapsed=True, execution={"iopub.status.busy": "2026"})
    nb.metadata.update(language_info={"name": "python", "version": "3.99"}, widgets={})
    nbformat.write(nb, tmp_path / "03_vae.ipynb")
    clean = chapters.read(tmp_path / "03_vae.ipynb")
    assert clean.cells[0].metadata == {"tags": ["train"]}
    assert clean.metadata.language_info == {"name": "python"}
    assert set(clean.metadata) == {"kernelspec", "language_info"}


def test_an_unknown_chapter_is_refused(course: Path) -> None:
    with pytest.raises(SystemExit, match=r"No chapter 9_none in book/; there are: 03_vae"):
        chapters.chapters(chapters.BOOK, ["9_none"])
