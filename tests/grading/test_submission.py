"""Reading notebooks: formats, magics, which statements are needed; and what crosses the wire."""

import contextlib
import json
import math
import socket
import time

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from coursekit.grading.gradebook import alike
from coursekit.grading.gradebook.bank import notebook
from coursekit.grading.gradebook.notebook import (
    MAX_CODE,
    MAX_STATEMENTS,
    Cell,
    Unreadable,
    plain,
    program,
    prose,
    read,
)
from coursekit.grading.sandbox import wire


def code(*sources):
    return program(read(notebook(list(sources))))


def needed(*sources, names=("f",)):
    """What of a notebook's statements runs, as text."""
    parsed = code(*sources)
    lines = []
    for number, source, statements in parsed.needed(names):
        split = source.split("\n")
        lines += [f"{number}: {split[i]}" for i in statements]
    return lines


def test_only_what_the_answer_needs_runs():
    assert needed(
        "import torch\nimport seaborn\nscale = 2\nepochs = 100",
        "def helper(x): return x * scale",
        "model = train(epochs)",
        "def f(x): return helper(torch.exp(x))",
        "f(model(1))",
    ) == ["1: import torch", "1: scale = 2", "2: def helper(x): return x * scale",
          "4: def f(x): return helper(torch.exp(x))"]  # fmt: skip


def test_local_names_are_not_global_ones():
    """A function's own `loss` must not drag the training loop in that sets a global `loss`."""
    loop = "for loss in train(): pass"
    assert needed(loop, "def f(x, loss=1): return loss") == ["2: def f(x, loss=1): return loss"]
    assert needed(loop, "def f(): return loss") == [f"1: {loop}", "2: def f(): return loss"]
    assert needed("a = 1", "f = lambda x: [a for a in x]") == ["2: f = lambda x: [a for a in x]"]
    assert needed("a = 1", "class f:\n  a = 2") == ["2: class f:"]


def test_what_modifies_a_needed_object_is_needed():
    assert needed("w = {}", "w['a'] = 1", "w.update(b=2)", "v['a'] = 1", "def f(): return w") == [
        "1: w = {}", "2: w['a'] = 1", "3: w.update(b=2)", "5: def f(): return w"
    ]  # fmt: skip
    saves = "torch.save(model, 'x')"
    assert needed("import torch", saves, "def f(x): return torch.exp(x)") == [
        "1: import torch", "3: def f(x): return torch.exp(x)"
    ]  # fmt: skip


def test_names_mean_what_they_meant_where_the_answer_was_defined():
    helper, f, check = "def g(x): return 2", "def f(x): return g(x)", "check('a.f', f)"
    reused = "g = g(1)"
    assert needed(helper, f, check, reused) == [f"1: {helper}", f"2: {f}"]
    assert needed(helper, f, reused) == [f"1: {helper}", f"2: {f}"]
    assert needed(helper, f, reused, check)[-1] == f"3: {reused}", "as the last check saw it"
    assert needed(f, helper) == [f"1: {f}", f"2: {helper}"], "cells in another order"
    assert needed(f, check, "f = f(1)", helper) == [f"1: {f}", f"4: {helper}"]
    assert needed(helper, f, "f = 3", f, check, "f = [f(1)]")[-1] == f"4: {f}"
    assert needed("f = 3") == ["1: f = 3"]


def test_what_a_call_of_the_notebooks_functions_changes():
    add = "def add(k):\n  made[k] = 1"
    both = "def both(): add(1)"
    f = "def f(): return made"
    assert needed("made = {}", add, both, "both()", "print(add)", f) == [
        "1: made = {}", "2: def add(k):", "3: def both(): add(1)", "4: both()", f"6: {f}"
    ]  # fmt: skip
    assert needed("n = 0", "n += 1", "def f(): return n")[:2] == ["1: n = 0", "2: n += 1"]


def test_redefinitions_decorators_and_chains():
    assert needed("def f(): pass", "f = g(f)", "def g(x): return x") == [
        "1: def f(): pass", "2: f = g(f)", "3: def g(x): return x"
    ]  # fmt: skip
    assert needed("from x import *", "def f(): pass") == ["1: from x import *", "2: def f(): pass"]
    assert needed("if True:\n  def f(): pass") == ["1: if True:"]
    assert needed("y = 1") == []


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("!pip install \\\n  a \\\n  b\nx = 1", "pass\n\n\nx = 1"),
        ("%time x = 1", "x = 1"),
        ("if a:\n    !ls -l\n", "if a:\n    pass\n"),
        ("files = !ls\ny = %pwd", "files = None\ny = None"),
        ("%%time\nx = 1", "\nx = 1"),
        ("%%bash\nrm -rf /", ""),
        ("%%writefile a.py\nimport b", ""),
        ("torch.randn?", "pass"),
        ("?torch", "pass"),
    ],
)
def test_magics(cell, expected):
    assert plain(cell) == expected
    assert not code(cell).errors


def test_percent_in_a_string_is_no_magic():
    source = 'x = """\n%d of\n!\n"""'
    parsed = code(source)
    assert parsed.sources[1] == source


def test_errors_name_cell_and_line():
    parsed = code("x = 1", "y = 2\nz = (", "def f(): pass")
    assert list(parsed.errors) == [2]
    assert "SyntaxError, line 2" in parsed.errors[2]
    assert parsed.defines("f")


def test_other_formats():
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["a = 1\n", "b = 2"]}]}]}
    assert read(json.dumps(old | {"nbformat": 3}).encode()) == [Cell(1, True, "a = 1\nb = 2")]
    odd = {"cells": [None, 3, {"cell_type": "code", "source": 5}, {"cell_type": "raw"}]}
    assert read(json.dumps(odd).encode()) == [Cell(4, False, "")]
    assert read(b"\xef\xbb\xbf" + notebook(["a"]))[0].source == "a"
    surrogate = read(rb'{"cells": [{"cell_type": "code", "source": "a = \"\ud800\""}]}')
    assert surrogate[0].source == 'a = "?"'


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(Unreadable):
        program(read(data))


json_like = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["cells", "source", "cell_type", "worksheets", "input"]), inner
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(json_like | st.fixed_dictionaries({"cells": st.lists(json_like)}))
def test_any_json_is_read_or_refused(value):
    with contextlib.suppress(Unreadable):
        program(read(json.dumps(value).encode()))


def test_prose():
    cells = [
        Cell(1, False, "**Your answer to `vae.why`:**\n\nBecause\n\nof *this*."),
        Cell(2, False, "Your answer to vae.how\n*Write here.*"),
        Cell(3, True, "# Your answer to `vae.code`\nx"),
    ]
    assert prose(cells, "vae.why") == "Because\n\nof *this*."
    assert prose(cells, "vae.how") == ""
    assert prose(cells, "vae.code") is None
    assert prose(cells, "vae.wh") is None


@pytest.mark.parametrize(
    "source",
    [
        "?\n" + " " * 200_000 + "x",
        "?\n" + "a " * 100_000,
        "x\n" * 2_000_000,
        "f = a0\n" + "".join(f"a{i} = a{i + 1}\n" for i in range(8_000)),
        "f = x\n" + "x;" * 8_000,
        "f = 1 #" + "'" * 200_000,
        "f = [" + "lambda: 0," * 8_000 + "]",
        "f = " + "-" * 200_000 + "1",
        "f = x" + ".x" * 100_000,
        "f = (" * 5_000,
        "".join(f"a{i} = " for i in range(50_000)) + "0\nf = a0",
        "".join(f"a{i} = " for i in range(30_000))
        + "0\nf = ["
        + "".join(f"a{i}," for i in range(30_000))
        + "]",
        "".join(f"def f{i}(): global g{i}; g{i} = f{i + 1}()\n" for i in range(8_000))
        + "def f(): global g0; return f0()\n"
        + "f()\n" * 8_000,
        "def f(): pass\n" + "f = g(f)\ncheck(f)\n" * 9_000,
    ],
    ids=[
        "spaces",
        "words",
        "lines",
        "chain",
        "line",
        "quotes",
        "lambdas",
        "minus",
        "dots",
        "open",
        "targets",
        "reads",
        "effects",
        "checks",
    ],
)
def test_reading_takes_no_time_that_grows_without_bound(source):
    """The grader itself reads notebooks, with no limit on time but that of its own care."""
    begin = time.process_time()
    alike.groups({name: alike.answer_code(notebook([source]), ["f"]) for name in "ab"})
    parsed = code(source)
    for name in ("f", "g", "f0", "a0"):
        assert [parsed.cells(found) for found in parsed.slices(name)]
    parsed.spelled(["f"])
    assert time.process_time() - begin < 20


def test_of_much_code_the_beginning_is_read():
    parsed = code("f = 1", "# " + "x" * MAX_CODE, "g = 2")
    assert [cell for cell, _ in parsed.places] == [1]
    assert "characters of code" in parsed.errors[2]
    assert "characters of code" in parsed.errors[3]
    parsed = code("f = 1", "x;" * MAX_STATEMENTS, "g = 2")
    assert [cell for cell, _ in parsed.places] == [1, 3]
    assert "20,000 statements" in parsed.errors[2]


# --- the wire -----------------------------------------------------------------------------------


def across(value, trusted=False):
    blobs = []
    sent = wire.encode(value, blobs, lambda other: wire.given(other, blobs, []))
    return wire.decode(json.loads(json.dumps(sent)), blobs, trusted=trusted)


@pytest.mark.parametrize("dtype", wire.DTYPES.values(), ids=wire.DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)])
def test_tensors_cross_bit_by_bit(dtype, shape):
    value = (torch.randn(shape) * 9).to(dtype)
    there = across(value)
    assert there.dtype == dtype
    assert torch.equal(there, value)


def test_values_cross():
    value = [1, -2.5, True, None, "ä\n", (1, [2.0]), {"a": (), 3: "b"}, math.inf]
    there = across(value)
    assert there == value
    assert [type(x) for x in there] == [type(x) for x in value]
    assert math.isnan(across(math.nan))
    assert torch.equal(across(torch.ones(3, 4).T[1:]), torch.ones(3, 3))
    one = torch.cov(torch.tensor([[1.0, 2.0]])).reshape(1, 1).diagonal()
    assert one.stride() != (1,)
    assert one.is_contiguous()
    assert torch.equal(across(one), one)
    x = torch.tensor([1 + 2j])
    assert torch.equal(across(x.conj()), x.conj())
    assert torch.equal(across(x.conj().imag), torch.tensor([-2.0]))
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(
        torch.rand(3, generator=across(generator)), torch.rand(3, generator=generator)
    )


class Decoder(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.LeakyReLU(0.2))
        self.scale = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z) * self.scale


def energy(x):
    return F.softplus(x).sum(1)


def test_code_crosses_towards_the_worker_only():
    model, x = Decoder(4), torch.randn(5, 3)
    there = across(model, trusted=True)
    assert torch.equal(there(x), model(x))
    assert [p.requires_grad for p in there.parameters()] == [
        p.requires_grad for p in model.parameters()
    ]
    assert (there.width, there.training) == (4, True)
    assert not across(model.eval(), trusted=True).training
    layers = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ConvTranspose2d(2, 1, 2), nn.Flatten())
    image = torch.randn(2, 1, 5, 5)
    assert torch.equal(across(layers, trusted=True)(image), layers(image))
    assert torch.equal(across(energy, trusted=True)(x), nn.functional.softplus(x).sum(1))
    for value in (model, layers, energy):
        with pytest.raises(wire.Malformed):
            across(value)
    for value in (lambda x: x, across, object(), print):
        if value is not across:
            with pytest.raises(TypeError, match="cannot be handed to an answer"):
                across(value)


def test_broken_tensors_are_refused():
    good = {"is": "tensor", "blob": 0, "dtype": "float32", "shape": [2], "grad": False}
    assert wire.decode(good, [bytes(8)]).tolist() == [0, 0]
    for change in (
        {"shape": [3]}, {"shape": [-2]}, {"shape": [2.0]}, {"shape": [True, 2]}, {"shape": None},
        {"shape": [1] * 99}, {"dtype": "object"}, {"dtype": "float64"}, {"blob": 1}, {"blob": "x"},
        {"shape": [2**62, 2**62]}, {"is": "code"}, {"is": None}, {"is": []},
    ):  # fmt: skip
        with pytest.raises(wire.Malformed):
            wire.decode({**good, **change}, [bytes(8)])
    boolean = wire.decode({**good, "dtype": "bool"}, [b"\x07\x00"])
    assert boolean.tolist() == [True, False]


@settings(max_examples=150, deadline=None)
@given(json_like, st.lists(st.binary(max_size=16), max_size=2))
def test_any_reply_is_decoded_or_refused(value, blobs):
    with contextlib.suppress(wire.Malformed):
        wire.decode(value, blobs)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_on_the_socket_end_or_are_refused(data, framed):
    near, far = socket.socketpair()
    with near, far:
        far.sendall((len(data).to_bytes(4, "big") if framed else b"") + data)
        far.shutdown(socket.SHUT_WR)
        with pytest.raises((wire.Malformed, EOFError)):
            wire.receive(near)
