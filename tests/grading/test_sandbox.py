"""What each level of the sandbox stops, found out from inside."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import pytest
import torch

from coursekit.grading.gradebook.bank import notebook
from coursekit.grading.gradebook.notebook import program, read
from coursekit.grading.sandbox import levels
from coursekit.grading.sandbox.errors import AnswerError, NoSandbox, NotAttempted, ServerLost
from coursekit.grading.sandbox.levels import LEVELS, UNFILTERED, Walls, prepare, start
from coursekit.grading.sandbox.server import Limits
from coursekit.grading.sandbox.student import Student

CELL = '''
import os, socket, torch
def look(paths):
    found = {}
    for path in paths:
        try:
            found[path] = os.listdir(path) if os.path.isdir(path) else open(path).read()
        except OSError as error:
            found[path] = None
    return found
def write(path):
    try:
        with open(path, "w") as file:
            file.write("x")
        return True
    except OSError:
        return False
def connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
def fork_and_stay():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            import time
            time.sleep(600)
        os._exit(0)
def me():
    status = open("/proc/self/status").read().split("\\n")
    rights = {line.split(":")[0]: line.split(":")[1].strip() for line in status if ":" in line}
    return os.getpid(), os.getuid(), rights["CapEff"], rights["NoNewPrivs"], os.getcwd()
def parts(x, scale):
    x = x * scale
    return x.sum(), [x.exp(), x.detach()], {"n": len(x)}
def change(x, model):
    x.mul_(2)
    with torch.no_grad():
        model.weight.zero_()
    return torch.rand(3), torch.rand(3)
class Thing:
    size = 3
    def twice(self, x):
        return x * 2
def thing():
    return Thing()
def stub():
    raise NotImplementedError
def numbers():
    return (i for i in range(3))
def path():
    import sys
    return sys.path
def call(name, *numbers):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    result = getattr(libc, name)(*map(ctypes.c_long, numbers))
    return result, ctypes.get_errno()
def key():
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    where = {"x86_64": 248, "aarch64": 217}[os.uname().machine]
    kept = libc.syscall(where, b"user", b"answers", b"x", 1, -4)
    return kept, libc.syscall(where + 2, 0, -3, 0), ctypes.get_errno()
def thread():
    import threading
    found = []
    other = threading.Thread(target=lambda: found.append(1))
    other.start()
    other.join()
    child = os.fork()
    if child == 0:
        os._exit(3)
    return found, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
'''  # fmt: skip


def student(server) -> Student:
    parts = program(read(notebook([CELL]))).everything()
    return Student(server, Limits(cell=20, call=20), parts, ["look"])


@pytest.fixture
def here(server):
    with student(server) as it:
        yield it


def possible(level: str) -> bool:
    """Whether the program that a level stands on works here, found out without our code."""
    commands = {
        "bubblewrap": ["bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--unshare-net", "true"],
        "namespaces": ["unshare", "-r", "-n", "-p", "-m", "-i", "--fork", "true"],
        "limits": ["true"],
    }
    try:
        return subprocess.run(commands[level], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture(params=LEVELS, scope="module")
def level(request, tmp_path_factory):
    """A server of each level that works on this machine."""
    hidden = tmp_path_factory.mktemp("hidden")
    (hidden / "tests.py").write_text("the hidden tests")
    only = tuple(name for name in LEVELS if name == request.param)
    if not possible(request.param):
        pytest.skip(f"{request.param}: the program is missing, or this machine forbids it")
    server = start(Walls(levels=only, hidden=(str(hidden),)))
    yield server, hidden
    server.close()
    assert server.process.returncode is not None
    assert not Path(server.folder.name).exists()


def test_walls(level, tmp_path):
    server, hidden = level
    outside = tmp_path / "outside"
    listener = __import__("socket").create_server(("127.0.0.1", 0))
    with listener, student(server) as it:
        pid, uid, capabilities, no_new_privileges, cwd = it.function("me")()
        seen = it.function("look")([str(hidden), str(Path.home()), cwd])
        wrote = it.function("write")(str(outside))
        reached = it.function("connect")(listener.getsockname()[1])
        assert it.function("write")("mine"), "its own folder can be written"
    assert (int(capabilities, 16), no_new_privileges) == (0, "1")
    if server.level == "limits":
        assert any("NO SANDBOX" in warning for warning in server.warnings)
        assert not list(server.home.iterdir()), "the shared home folder is emptied"
        return
    assert pid == 1
    assert not wrote
    assert not outside.exists()
    assert not reached
    assert not seen[str(hidden)]
    if server.level == "bubblewrap":
        assert seen[str(Path.home())] is None or not set(seen[str(Path.home())]) - {
            Path(p).relative_to(Path.home()).parts[0]
            for p in (sys.prefix, sys.base_prefix)
            if Path(p).is_relative_to(Path.home())
        }, "of the home folder nothing but Python can be seen"
        if os.geteuid() == 0:
            assert uid not in (0, os.getpid()), "a user of the server's own"
        assert not server.warnings
    else:
        assert any("Weaker sandbox" in warning for warning in server.warnings)


@pytest.mark.skipif(
    sys.platform != "linux" or os.uname().machine not in ("x86_64", "aarch64"),
    reason="the filter is for Linux on two kinds of processors",
)
def test_no_keyrings_namespaces_or_hidden_memory(level):
    """Keyrings are shared between submissions; the others give back rights, or hide memory."""
    server, _ = level
    user, mount = 0x10000000, 0x00020000
    with student(server) as it:
        call = it.function("call")
        assert it.function("key")() == (-1, -1, 1)
        assert call("unshare", user | mount) == (-1, 1)
        assert call("syscall", {"x86_64": 56, "aarch64": 220}[os.uname().machine], user | 17, 0, 0,
                    0, 0) == (-1, 1)  # fmt: skip
        assert call("memfd_create", 0, 0) == (-1, 1)
        assert call("shmget", 0, 2**30, 0o1600) == (-1, 1)
        assert it.function("thread")() == ([1], 3), "threads and children are allowed"
    assert UNFILTERED not in server.warnings


def test_a_missing_filter_is_said(monkeypatch, tmp_path):
    """Where kernel or processor does not allow it, grading goes on, and says so."""
    worker = Path(levels.__file__).with_name("worker.py").read_text()
    changed = worker.replace("        seccomp.forbid()\n", "")
    assert changed != worker

    def unfiltered(tools, refuse):
        prepare(tools, refuse)
        (tools / "worker.py").write_text(changed)

    monkeypatch.setattr(levels, "prepare", unfiltered)
    with contextlib.closing(start(Walls())) as server:
        assert UNFILTERED in server.warnings


@pytest.fixture
def python_below_tmp(monkeypatch):
    """Python as it is when the project and its environment were cloned into /tmp."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        prefix = Path(folder).resolve() / "project" / ".venv"
        venv.create(prefix, symlinks=True)
        (packages,) = prefix.glob("lib/python*/site-packages")
        (packages / "lent.pth").write_text(str(Path(torch.__file__).parent.parent))
        monkeypatch.setattr(sys, "prefix", str(prefix))
        monkeypatch.setattr(sys, "executable", str(prefix / "bin" / "python"))
        yield prefix


@pytest.mark.parametrize("name", ["bubblewrap", "namespaces"])
def test_python_below_tmp(name, python_below_tmp):
    if not possible(name):
        pytest.skip(f"{name}: the program is missing, or this machine forbids it")
    project = python_below_tmp.parent
    inside, beside = python_below_tmp / "secret", project / "secret"
    for path in (inside, beside):
        path.write_text("what seeds the tests")
    server = start(Walls(levels=(name,), hidden=(str(project), str(inside))))
    with contextlib.closing(server), student(server) as it:
        kept = it.function("look")([str(python_below_tmp), str(inside), str(beside)])
        assert not it.function("write")(str(python_below_tmp / "mine"))
        assert not it.function("write")("/tmp/mine")
    assert "pyvenv.cfg" in kept[str(python_below_tmp)]
    assert not kept[str(inside)]
    assert not kept[str(beside)]


def test_the_repository_is_out_of_sight(level):
    """It holds every solution. Where it can be read, a warning says that files can."""
    server, _ = level
    root = Path(levels.__file__).parents[3]
    with student(server) as it:
        seen = it.function("look")([str(root / "solutions"), str(root / "tests")])
    if server.level == "limits":
        assert any("can read and write your files" in warning for warning in server.warnings)
    else:
        assert not any(seen.values()), "as if the folders were not there, or empty"


def test_nothing_outlives_a_submission(level):
    server, _ = level
    with student(server) as it:
        it.function("fork_and_stay")()
        it.function("me")()
        assert count(server.process.pid) > resting(server)
    assert count(server.process.pid) == resting(server)


def test_a_server_that_is_gone_is_said_to_be(level):
    """Last of the tests of a level, since it ends its server."""
    server, _ = level
    with student(server) as it:
        it.ready()
        inside = tree(server.process.pid)[1:]
        server.process.kill()  # unshare's or bwrap's own process, where there is one
        server.process.wait()
        deadline = time.monotonic() + 10
        while any(map(running, inside)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(map(running, inside)), "with the server, the submission ends"
        with pytest.raises(ServerLost):
            it.function("me")()
    with student(server) as it, pytest.raises(ServerLost):
        it.ready()


def resting(server) -> int:
    """Processes of a server without a submission: bwrap keeps one outside and one inside."""
    return {"bubblewrap": 3, "namespaces": 2, "limits": 1}[server.level]


def count(pid: int) -> int:
    return len(tree(pid))


def tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(p for child in children for p in tree(int(child)))]


def running(pid: int) -> bool:
    """Whether there is such a process, and not only its unread exit status."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_call_is_like_a_call_here(here):
    """Gradients, in-place changes and random numbers are those of a call in this process."""
    scope = {}
    exec(CELL, scope)
    results = []
    for function in (here.function("parts"), scope["parts"]):
        x = torch.arange(4.0, requires_grad=True)
        total, (grown, detached), info = function(x, 0.5)
        assert not detached.requires_grad
        (total + (grown * torch.arange(4.0)).sum()).backward()
        results.append((total.item(), grown.detach(), x.grad, info))
    for there, local in zip(*results, strict=True):
        assert torch.equal(there, local) if torch.is_tensor(local) else there == local
    for function in (here.function("change"), scope["change"]):
        torch.manual_seed(3)
        x, model = torch.ones(2), torch.nn.Linear(2, 2)
        drawn = function(x, model)
        assert x.tolist() == [2, 2]
        assert not model.weight.any()
        results.append((*drawn, torch.rand(2)))
    for there, local in zip(*results[-2:], strict=True):
        assert torch.equal(there, local)


def test_gradients_are_those_of_finite_differences(here):
    x = torch.randn(3, dtype=torch.float64, requires_grad=True)
    function = here.function("parts")
    assert torch.autograd.gradcheck(lambda x: function(x, 1.5)[1][0], x)


def test_things_that_cannot_cross_stay_and_are_called(here):
    it = here.function("thing")()
    assert it.size == 3
    assert it.twice(torch.ones(2)).tolist() == [2, 2]
    with pytest.raises(AnswerError, match="AttributeError"):
        it.nothing  # noqa: B018
    assert here.function("numbers")() == [0, 1, 2]
    with pytest.raises(NotAttempted):
        here.function("stub")()


def test_pythons_own_modules_come_first(here):
    """Some packages bring a `dataclasses` or a `typing` of their own, made for old Pythons."""
    path = here.function("path")()
    assert path.index(str(Path(os.__file__).parent)) < path.index(
        str(Path(torch.__file__).parent.parent)
    )


def test_require_sandbox():
    with pytest.raises(NoSandbox, match="not good enough for --require-sandbox"):
        start(Walls(levels=()))


def test_no_level_below_the_required_one(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(NoSandbox, match=r"bwrap is not installed.*unshare is not installed"):
        start(Walls(levels=("bubblewrap", "namespaces")))


def test_answers_refuse_by_whatever_name(tmp_path):
    """The copy that the worker sees has the function's name and none of its body."""
    prepare(
        tmp_path, ["coursekit.objectives.kl_divergence", "coursekit.objectives.elbo.negative_elbo"]
    )
    text = "".join(path.read_text() for path in tmp_path.rglob("*.py"))
    assert "def kl_divergence" in text
    assert not (tmp_path / "coursekit" / "exercises").exists()
    assert not (tmp_path / "coursekit" / "grading").exists()
    script = """
import torch
from coursekit import check, objectives
assert not check("vae.kl", None)
assert objectives.reparameterize(torch.zeros(2, 1), torch.zeros(2, 1)).shape == (2, 1)
for refusing, n in ((objectives.kl_divergence, 2), (objectives.negative_elbo, 4)):
    try:
        refusing(*range(n))
    except RuntimeError as error:
        assert "coursekit's own answer" in str(error)
    else:
        raise SystemExit("it answered")
"""
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("coursekit.objectives.no_such_function", "has no such function"),
        ("torch.nn.functional.softmax", "not a part of coursekit"),
    ],
)
def test_forbidden_names_must_exist(tmp_path, name, message):
    with pytest.raises(ValueError, match=message):
        prepare(tmp_path, [name])
