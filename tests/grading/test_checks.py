"""`check` and `hint`, as a student meets them: in a plain script and in a notebook."""

import inspect
import math
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient

import coursekit
from coursekit import check, hint, objectives, solution
from coursekit.exercises import (
    Failed,
    chapter,
    chapters,
    copies,
    distinct,
    exercise,
    gradients,
    randn,
    record,
    standard_normal,
    untouched,
    values,
)
from coursekit.grading.checks import notebook as checks
from coursekit.grading.checks.verdict import PUBLIC, behavior, guarded, recognize, run_test
from coursekit.grading.gradebook.audit import incomplete
from coursekit.grading.gradebook.mutants import mutants

SOLUTIONS = Path(__file__).parents[2] / "solutions"


@pytest.mark.parametrize("id", ["vae.kl", "vae.reparameterize", "vae.elbo"])
def test_coursekits_own_functions_pass(id, capsys):
    found = exercise(id)
    result = check(id, getattr(objectives, found.function))
    assert result
    assert "public tests pass" in capsys.readouterr().out
    for test in found.tests:
        answer = guarded(getattr(objectives, found.function))
        assert run_test(found, test, answer, b"any").passed, test.name


def test_stub(capsys):
    def kl_divergence(mu, logvar):
        raise NotImplementedError  # your code here

    result = check("vae.kl", kl_divergence)
    assert not result
    assert (result.passed, result.total, result.message) == (0, 2, "not attempted yet")
    assert "not attempted yet. Write kl_divergence, run its cell" in capsys.readouterr().out


def test_mistake_is_named(capsys):
    assert not check(
        "vae.kl", lambda mu, logvar: objectives.kl_divergence(mu, logvar) / mu.shape[1]
    )
    out = capsys.readouterr().out
    assert "0 of 2 public tests pass" in out
    assert "averaged over the latent dimensions; it must be summed" in out


def test_error_names_its_line(capsys):
    def kl_divergence(mu, logvar):
        return mu @ logvar

    assert not check("vae.kl", kl_divergence)
    out = capsys.readouterr().out
    assert "RuntimeError" in out
    assert "return mu @ logvar" in out
    assert "Traceback" not in out


def test_an_error_in_the_courses_decoder_names_the_students_line(capsys):
    def every_search_at_once(decode, x, mask, starts, steps, lr):
        return decode(starts)

    check("auto_decoders.restarts", every_search_at_once)
    out = capsys.readouterr().out
    assert "flatten the axes" in out
    assert ": return decode(starts))" in out


@pytest.mark.parametrize(
    "answer",
    [
        None,
        3,
        "kl",
        lambda: None,
        lambda *a: None,
        lambda *a: a,
        lambda *a: {"kl": 1},
        lambda *a: torch.zeros(6, dtype=torch.complex64),
        lambda *a: torch.eye(6).to_sparse(),
        lambda *a: sys.exit("bye"),
        lambda *a: check("vae.kl", None) and {}[1],
        type,
    ],
)
@pytest.mark.parametrize("id", ["vae.kl", "vae.elbo", "vae.nothing", "", None, 3])
def test_never_raises(id, answer, capsys):
    result = check(id, answer)
    assert not result
    assert capsys.readouterr().out.count(":") >= 1


@pytest.mark.parametrize(("error", "known"), [("undefined", False), ("second time", True)])
def test_an_error_is_known_by_what_it_says(error, known, capsys):
    def answer(generator, discriminator, g_optimizer, d_optimizer, real, z):
        if not known:
            raise NameError(error)
        loss = discriminator(generator(z)).mean()
        loss.backward()
        loss.backward()

    assert not check("gans.step", answer)
    said = capsys.readouterr().out
    assert error in said
    assert ("backward ran through the generator" in said) == known


def test_a_count_as_a_number_hides_no_mistake(capsys):
    def answer(mu, threshold):
        return int((mu.std(dim=0) > threshold).sum()), mu.std(dim=0)

    assert not check("beta_vae.active_units", answer)
    assert "You return the standard deviation" in capsys.readouterr().out


def test_broken_exercise_is_our_fault(monkeypatch, capsys):
    def broken(*args):
        raise RuntimeError("inside")

    monkeypatch.setattr(checks, "run_test", broken)
    assert not check("vae.kl", objectives.kl_divergence)
    assert "which is not your fault" in capsys.readouterr().out


def test_check_leaves_random_numbers_and_grad_mode_alone():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with torch.no_grad():
        assert check("vae.reparameterize", objectives.reparameterize)
    assert torch.equal(torch.rand(2), expected)


def test_hints_are_a_ladder(capsys):
    checks._shown.clear()
    shown = []
    for _ in range(5):
        hint("vae.kl")
        shown.append(capsys.readouterr().out)
    found = exercise("vae.kl")
    assert all(text in out for text, out in zip(found.hints, shown[:3], strict=True))
    assert "That was the last hint" in shown[3]
    assert found.see in shown[3] == shown[4]
    assert "solution('vae.kl')" in shown[3]
    hint("vae.nothing")
    assert "there is no exercise" in capsys.readouterr().out


@record(
    "vae.twice",
    inputs=lambda g: (randn(g, 4, 3),),
    tests=(values(), gradients(), untouched()),
    mistakes={"x + x": {"x * x": "You squared x."}},
    hints=("Think of addition.", "What is x plus x?", "Add x to itself."),
    explanation="Addition works entry by entry.",
    see="chapter 1",
)
def twice(x):
    """Twice x. x: (B, L). Returns: (B, L)."""
    # 1. Add.
    ### BEGIN SOLUTION
    return x + x
    ### END SOLUTION


def test_a_record_holds_the_cell_the_code_and_the_mistakes():
    assert twice.source.startswith("def twice(x):\n")
    assert twice.source.endswith("### END SOLUTION")
    assert twice.code == "def twice(x):\n    return x + x"
    assert [m.says for m in twice.misconceptions] == ["You squared x."]
    for seed in range(5):
        outcomes = [run_test(twice, t, guarded(twice.solve), b"%d" % seed) for t in twice.tests]
        assert all(outcome.passed for outcome in outcomes)
    (mistake,) = twice.misconceptions
    assert recognize(twice, behavior(twice, guarded(mistake.wrong))) == mistake.name
    wrong = mutants(twice).items()
    assert len(wrong) >= 5
    for name, answer in wrong:
        assert not all(run_test(twice, t, answer, b"0").passed for t in twice.tests), name
    with pytest.raises(ValueError, match="occurs 0 times"):
        twice.edited("x - x", "x")


def test_the_solution_is_shown_after_a_pass_or_three_hints(capsys, monkeypatch):
    found = twice
    monkeypatch.setattr(checks, "exercise", lambda id: twice if id == "vae.twice" else exercise(id))
    checks._shown.clear()
    checks._solved.clear()

    def shown():
        solution("vae.twice")
        return capsys.readouterr().out

    assert "after 3 more" in shown()
    for left in (2, 1):
        hint("vae.twice")
        assert f"after {left} more" in shown()
    hint("vae.twice")
    assert found.code in shown()
    assert found.explanation in shown()
    checks._shown.clear()
    assert found.code not in shown()
    assert check("vae.twice", found.solve)
    assert found.code in shown()
    monkeypatch.setenv("COURSEKIT_LOCK_SOLUTIONS", "1")
    assert found.code not in shown()
    solution("vae.nothing")
    assert "there is no exercise" in capsys.readouterr().out


@pytest.mark.parametrize("name", chapters())
def test_every_exercise_is_complete(name):
    found, questions = chapter(name)
    assert found or questions
    for each in found:
        assert each.id.startswith(f"{name}.")
        assert inspect.getdoc(each.solve)
        assert each.points > 0
        assert not [*incomplete(each)]
    assert len({each.id for each in found}) == len(found)
    assert len({each.function for each in found}) == len(found)


@pytest.mark.parametrize("name", chapters())
def test_hints_end_at_a_heading_that_exists(name):
    """Where the last hint sends a student, there is something to read."""
    (path,) = SOLUTIONS.glob(f"[0-9][0-9]_{name}.ipynb")
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    for each in chapter(name)[0]:
        number, heading = re.fullmatch(r"chapter (\d+), '(.+)'", each.see).groups()
        assert int(number) == int(path.name[:2]), each.id
        assert heading in headings, f"{each.id}: {heading!r} is not in {path.name}"


@pytest.mark.parametrize("name", chapters())
def test_every_reference_passes_its_tests(name):
    for each in chapter(name)[0]:
        for test in each.tests:
            outcome = run_test(each, test, guarded(each.solve), PUBLIC)
            assert outcome.passed, f"{each.id}: {test.name}: {outcome.message}"


def test_right_answer_is_no_misconception():
    found = exercise("vae.kl")
    assert recognize(found, behavior(found, guarded(objectives.kl_divergence))) is None


def test_chapter_by_either_name():
    assert repr(chapter("03_vae")) == repr(chapter("vae"))
    with pytest.raises(
        ValueError, match=r"no chapter 'gan9'; name it .* like 03_vae.* elbo, .*vae"
    ):
        chapter("gan9")


@pytest.mark.parametrize("error", [Failed, Failed(""), AssertionError])
def test_a_test_that_raises_has_failed(error):
    """Even without a message: points come from a test that returns, not from an empty message."""
    found = exercise("vae.kl")

    @found.test("always fails", points=3)
    def _fails(answer, g):
        raise error

    outcome = run_test(found, found.tests[-1], guarded(found.solve), PUBLIC)
    assert (outcome.passed, outcome.score) == (False, 0)


def test_two_tests_of_one_name_are_refused():
    found = exercise("vae.kl")
    with pytest.raises(ValueError, match="two tests named"):
        found.test(found.tests[0].name)(print)


def test_what_an_answer_does_to_a_dict_does_not_reach_the_next():
    factors = {"x": torch.zeros(2)}
    (given,) = copies((factors,))
    given["x"] += 1
    given["y"] = torch.ones(2)
    assert list(factors) == ["x"]
    assert factors["x"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("times", "shape"),
    [(300, (30, 20)), (100, (1, 600)), (100, (600, 1)), (100, (640, 16)), (40, (200, 200))],
)
def test_standard_normal_holds_its_rate(times, shape):
    """Many true samples, no alarm."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(times):
        standard_normal(torch.randn(shape, generator=generator))


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (lambda g: 1.2 * torch.randn(100, 100, generator=g), r"standard deviation 1\.(19|20|21)"),
        (lambda g: 0.1 + torch.randn(100, 100, generator=g), r"mean is 0\.(09|10|11)"),
        (lambda g: (torch.rand(100, 100, generator=g) - 0.5) * 12**0.5, "not Gaussian"),
        (lambda g: torch.randn(1, 100, generator=g).expand(100, 100), "rows of a batch"),
        (lambda g: torch.randn(100, 1, generator=g).expand(100, 100), "dimensions of a latent"),
        (lambda g: torch.full((9, 9), torch.nan), "not finite"),
        (lambda g: _mirrored(g, 100, 100), "another row again, or its negative"),
        (lambda g: _mirrored(g, 20, 30), "another row again, or its negative"),
        (lambda g: _mirrored(g, 640, 16), "another row again, or its negative"),
        (lambda g: _mirrored(g, 100, 100).T, "another again, or its negative"),
        (lambda g: _mirrored(g, 600, 1), "the same numbers again"),
        (lambda g: _mirrored(g, 600, 1).reshape(1, 600), "the same numbers again"),
        (lambda g: _shuffled(_mirrored(g, 100, 100), g), "the same numbers again"),
        (lambda g: torch.randn(320, 16, generator=g).repeat(2, 1), "another row again"),
        (lambda g: torch.randn(10, 30, generator=g).repeat(2, 1), "another row again"),
        (lambda g: torch.randn(512, generator=g)[torch.randint(512, (100, 100), generator=g)],
         "not Gaussian|the same numbers again|not N"),
        (lambda g: torch.randn(512, generator=g)[torch.randint(512, (200, 200), generator=g)],
         "not Gaussian|the same numbers again|not N"),
        (lambda g: torch.randn(100, 100, generator=g).clamp(-3, 3), "lie beyond 3"),
        (lambda g: _logistic(g, 0.9), "not N|not Gaussian"),
        (lambda g: _logistic(g, 0.95), "not N|not Gaussian"),
        (lambda g: _logistic(g, 1.0), "not Gaussian"),
        (lambda g: _logistic(g, 1.05), "not N|not Gaussian"),
    ],
)  # fmt: skip
def test_standard_normal_refuses(noise, message):
    """For any seed, since the seed is the grader's."""
    for seed in range(5):
        with pytest.raises(Failed, match=message):
            standard_normal(noise(torch.Generator().manual_seed(seed)))


def _mirrored(g, rows, columns):
    half = torch.randn(rows // 2, columns, generator=g)
    return torch.cat([half, -half])


def _shuffled(noise, g):
    return noise.flatten()[torch.randperm(noise.numel(), generator=g)].reshape(noise.shape)


def _logistic(g, std):
    return std * 3**0.5 / math.pi * torch.logit(torch.rand(150, 150, generator=g).double())


def test_numbers_of_a_pool_are_found_in_a_second_draw():
    """Each slice of a fixed pool looks like noise; two slices share numbers."""
    g = torch.Generator().manual_seed(0)
    pool = torch.randn(60_000, generator=g)
    drawn = [pool[start : start + 40_000] for start in (0, 20_000)]
    for part in drawn:
        standard_normal(part.reshape(200, 200))
    with pytest.raises(Failed, match="the same numbers again"):
        distinct(drawn)
    distinct([torch.randn(40_000, generator=g) for _ in range(2)])


def test_in_a_notebook():
    """HTML with a plain alternative, once, escaped; nothing more for a check on the last line."""
    cells = [
        "from coursekit import check, hint, objectives",
        "check('vae.kl', objectives.kl_divergence)",
        "result = check('vae.kl', lambda mu, logvar: '<script>')\nbool(result)",
        "hint('vae.kl')",
        "def f(mu, logvar):\n    raise ValueError('<b>')\ncheck('vae.kl', f)",
    ]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(book, kernel_name="python3", timeout=300).execute()
    passed, failed, hinted, raised = (cell.outputs for cell in book.cells[1:])
    assert [output.output_type for output in passed] == ["display_data"]
    assert "2 of 2 public tests pass" in passed[0].data["text/html"]
    assert "2 of 2 public tests pass" in passed[0].data["text/plain"]
    assert [output.output_type for output in failed] == ["display_data", "execute_result"]
    assert "Hint 1 of 3" in hinted[0].data["text/html"]
    html = raised[0].data["text/html"]
    assert "&lt;b&gt;" in html
    assert "<b>'" not in html
    assert "line 2: raise ValueError" in html
    mark, rest = html.split("</span>", 1)
    assert mark.count("background:") == 1
    assert not re.search(r"(background|(?<!-)color)\s*:", rest), "text keeps the page's own colors"


def test_in_a_script():
    """Plain text, no IPython; `import coursekit` alone does not even load torch."""
    script = """
    import sys
    import coursekit
    assert "torch" not in sys.modules
    coursekit.check("vae.kl", lambda mu, logvar: (mu**2).sum(1))
    assert "IPython" not in sys.modules
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("✗ vae.kl: 0 of 2 public tests pass")
    assert "<div" not in ran.stdout
    with pytest.raises(AttributeError, match="no attribute 'chek'"):
        coursekit.chek  # noqa: B018
