"""tools/: solutions/ -> book/, and the runs that give both their outputs."""

import copy
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import chapters
import make_student
import nbformat
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

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
        code("assert x", "remove-cell", "train"),
    )
    solution.cells[1].outputs, solution.cells[1].execution_count = [output], 3
    before = copy.deepcopy(solution)
    student = make_student.project(solution)

    assert solution == before
    assert [cell.id for cell in student.cells] == ["cell-0", "cell-1", "cell-4"]
    assert student.cells[0] == solution.cells[0]
    assert student.cells[2] == solution.cells[4]
    assert student.cells[1] == {**solution.cells[1], "outputs": [], "execution_count": None}
    assert student.metadata == solution.metadata


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
    solution = notebook(code("a = 1"), code(SOLUTION), code("b = 1", "train"))
    chapters.write(tmp_path / "solutions" / "03_vae.ipynb", solution)
    chapters.write(tmp_path / "book" / "03_vae.ipynb", make_student.project(solution))
    return tmp_path


def test_drift_is_seen_whatever_has_drifted(course: Path) -> None:
    path = course / "book" / "03_vae.ipynb"
    good = chapters.read(path)
    assert make_student.drift() == []

    edits = {
        "source": lambda nb: nb.cells[0].update(source="a = 2"),
        "tags": lambda nb: nb.cells[2].metadata.update(tags=["train", "remove-cell"]),
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
    assert make_student.drift() == [
        "book/03_vae.ipynb is missing: run tools/make_student.py 03_vae"
    ]


CLOCK = "import time\n\ntime.time_ns()"


def clock(nb: NotebookNode) -> str:
    return nb.cells[0].outputs[0].data["text/plain"]


def test_a_chapter_runs_again_only_when_code_has_changed(course: Path) -> None:
    nb = notebook(code(CLOCK), new_markdown_cell("text"))
    first = chapters.run({"a": nb})["a"]
    assert nb.cells[0].outputs == []  # what came in is left alone

    text = copy.deepcopy(nb)
    text.cells[1].source = "other text"
    again = chapters.run({"a": text})["a"]
    assert clock(again) == clock(first)
    assert again.cells[1].source == "other text"

    other = copy.deepcopy(nb)
    other.cells[0].source = CLOCK + "  # changed"
    assert clock(chapters.run({"a": other})["a"]) != clock(first)

    (course / "coursekit" / "elbo.py").write_text("beta = 1\n")
    assert clock(chapters.run({"a": nb})["a"]) != clock(first)


def test_a_chapter_that_fails_is_named_and_the_others_are_kept(
    course: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (
        notebook(code(CLOCK)),
        notebook(code("x = 1"), code("raise OSError('no such luck')")),
    )
    with pytest.raises(SystemExit, match="1 of 2 notebooks failed: bad"):
        chapters.run({"good": good, "bad": bad})
    assert "no such luck" in capsys.readouterr().out
    chapters.run({"good": good})
    assert "0 of 1 notebooks ran" in capsys.readouterr().out


def test_an_interrupt_ends_the_kernels(course: Path) -> None:
    program = f"""
import chapters, pathlib, nbformat.v4 as v4
chapters.ROOT = pathlib.Path({str(course)!r})
chapters.CACHE = chapters.ROOT / "_build"
cell = "import os, time; open(f'{course}/{{os.getpid()}}', 'w').close(); time.sleep(99)"
nb = v4.new_notebook(cells=[v4.new_code_cell(cell)])
chapters.run({{"a": nb, "b": nb}})
"""
    running = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=chapters.__file__.removesuffix("chapters.py"),
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while len(kernels := [p.name for p in course.iterdir() if p.name.isdigit()]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=30)
    assert "Interrupted" in errors
    assert "Traceback" not in errors
    assert running.returncode == 1
    for kernel in kernels:
        with pytest.raises(ProcessLookupError):
            os.kill(int(kernel), 0)


def test_dead_widgets_are_left_out(course: Path) -> None:
    show = f'display({{"{chapters.WIDGET}": {{}}, "text/plain": "dead"}}, raw=True)\nprint("alive")'
    (cell,) = chapters.run({"a": notebook(code(show))})["a"].cells
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
