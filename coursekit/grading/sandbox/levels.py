"""The walls around a student's code, best first, each tried by running something inside.

bubblewrap: own PIDs, no network, an empty file system but for Python. namespaces: the same but for
the file system, which can be read (what the grader keeps secret is hidden) and not written. limits:
nothing but limits on time and memory.
"""

import ast
import contextlib
import json
import os
import shutil
import site
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import coursekit
from coursekit.grading.sandbox.errors import AnswerError, NoSandbox, ServerLost
from coursekit.grading.sandbox.server import Limits, Server
from coursekit.grading.sandbox.student import Student

LEVELS = ("bubblewrap", "namespaces", "limits")

REFUSAL = (
    "this is coursekit's own answer to the exercise. It does not run while you are graded: "
    "write the function yourself"
)

UNFILTERED = (
    "No filter for system calls works here (seccomp): submissions can leave messages for each "
    "other in the kernel's keyrings, and hold more memory than they may."
)

PREFIX = "coursekit-grade-"

START_SECONDS = 120


@dataclass(frozen=True)
class Walls:
    """What to build: which levels are good enough, what to hide, what refuses to run."""

    limits: Limits = field(default_factory=Limits)
    levels: tuple[str, ...] = LEVELS
    hidden: tuple[str, ...] = ()
    """Folders and files that the student's code must not see."""
    refuse: tuple[str, ...] = ()
    """coursekit's functions, by dotted name, that answer an exercise."""


def start(walls: Walls) -> Server:
    """Start a server in the best sandbox that works. `NoSandbox` if none does."""
    reasons = []
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    if os.name != "posix":
        raise NoSandbox(
            "grading needs processes that fork, which Windows has not: "
            "run it under WSL 2, in a container or on a Linux machine"
        )
    for level in LEVELS:
        # As root, the student's code becomes the user `nobody` where that user can read Python.
        for nobody in (True, False) if root else (False,):
            try:
                if level not in walls.levels:
                    raise NoSandbox("not good enough for --require-sandbox")
                if nobody and level != "bubblewrap" and not _nobody_reads_python():
                    raise NoSandbox("that user cannot read Python's files")
                server = _start(level, nobody, walls)
            except (NoSandbox, OSError) as error:
                reasons.append(f"{level}{' as nobody' if nobody else ''}: {error}")
            else:
                server.warnings += _warnings(level, root and not nobody, reasons)
                return server
    raise NoSandbox("no sandbox works here. " + "; ".join(reasons))


def _nobody_reads_python() -> bool:
    """bubblewrap shows Python's files to anyone; elsewhere its folder may be root's alone."""
    try:
        nobody = subprocess.run(
            [sys.executable, "-c", ""],
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd="/",
        )
    except OSError:
        return False
    return nobody.returncode == 0


def _warnings(level: str, as_root: bool, reasons: list[str]) -> list[str]:
    found = []
    if level == "limits":
        found.append(
            "NO SANDBOX: submissions run with your rights. They can read and write your files and "
            "use the network; only time and memory are limited. "
            f"Install bubblewrap, or grade in a container. ({'; '.join(reasons)})"
        )
    elif level == "namespaces":
        found.append(
            "Weaker sandbox: submissions cannot write, use the network or see other processes, "
            f"but they can read this machine's files. ({'; '.join(reasons)})"
        )
    if as_root and level != "bubblewrap":
        found.append(
            "Submissions run as root, for whom limits on the number of processes are void."
        )
    elif as_root:
        found.append("Submissions run as root inside the sandbox: grade as an ordinary user.")
    return found


def _start(level: str, nobody: bool, walls: Walls) -> Server:
    _remove_abandoned()
    folder = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")
    try:
        return _start_in(folder, level, nobody, walls)
    except BaseException:
        folder.cleanup()
        raise


def _remove_abandoned() -> None:
    """Remove the folders of graders of this user that were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = path.name.removeprefix(PREFIX).split("-")[0]
        with contextlib.suppress(OSError):
            if owner.isdigit() and path.stat().st_uid == os.geteuid() and not _alive(int(owner)):
                shutil.rmtree(path, ignore_errors=True)


def remove_own() -> None:
    """Remove the folders of this process, even that of a sandbox which is only being started."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}{os.getpid()}-*"):
        shutil.rmtree(path, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _start_in(
    folder: tempfile.TemporaryDirectory[str], level: str, nobody: bool, walls: Walls
) -> Server:
    tools = Path(folder.name)
    tools.chmod(0o755)
    prepare(tools, walls.refuse)
    home = tools / "home"
    home.mkdir()
    home.chmod(0o777)
    inside = Path("/grader") if level == "bubblewrap" else tools
    near, far = socket.socketpair()
    settings = {
        "control": far.fileno(),
        "namespaces": level != "limits",
        "home": str(inside / "home"),
        "empty": _empty(level, walls.hidden, tools),
        # A number of its own for each server: limits on processes count per user, and a fork bomb
        # must not use up those of the submission beside it.
        "user": 100_000 + os.getpid() if nobody else None,
        "memory": walls.limits.memory,
        "cpu_seconds": int(walls.limits.submission) + 10,
        # For an ordinary user without namespaces the count includes all that user's processes.
        "count_processes": nobody or level != "limits",
        "processes": 256,
        "preload": [
            "coursekit.objectives",
            "coursekit.data",
            "coursekit.models",
            "torch._dynamo",  # the first optimizer imports it, which takes seconds
        ],
    }
    python = [sys.executable, "-s", "-B", str(inside / "worker.py"), json.dumps(settings)]
    prefix = {"bubblewrap": _bubblewrap, "namespaces": _unshare, "limits": _bare}[level]
    # What stands in PYTHONPATH comes before Python's own modules and may hide them.
    elsewhere = set(_libraries()) - {os.path.abspath(path) for path in site.getsitepackages()}
    environment = {
        "LANG": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(sorted(elsewhere)),
    }
    process = subprocess.Popen(
        [*prefix(tools, nobody), *python],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        pass_fds=[far.fileno()],
        start_new_session=True,  # Ctrl-C is for the grader, which ends its servers itself
    )
    far.close()
    server = Server(level, [], process, near, folder, home if level == "limits" else None)
    try:
        near.settimeout(START_SECONDS)
        if near.recv(6) != b"ready\n":
            raise NoSandbox("it does not start")
        near.settimeout(None)
        for _ in range(2):  # the second is born after the server came back from the first
            _try(server)
    except (NoSandbox, ServerLost, OSError) as error:
        server.control.close()
        process.kill()
        said = process.communicate()[1].decode(errors="replace").strip().splitlines()
        raise NoSandbox(f"{said[-1] if said else error or 'it does not start'}") from error
    return server


def _try(server: Server) -> None:
    """One cell and one call: what cannot do that is no sandbox to grade in."""
    # What a submission may still import must be there, and readable for the user it runs as.
    cell = "import os, torch\nopen(os.__file__).close()\nopen(torch.__file__).close()\n"
    cell += "def increment(x): return x + 1\n"
    cell += "def filtered():\n try: os.close(os.memfd_create('x'))\n except OSError: return True\n"
    with Student(server, Limits(), [(1, cell, [0, 1, 2, 3, 4])], ["increment"]) as student:
        try:
            right = student.function("increment")(1) == 2 and not student.errors
            if sys.platform == "linux" and not student.function("filtered")():
                server.warnings[:] = [UNFILTERED]
        except AnswerError as error:
            raise NoSandbox(f"it starts, but does not answer: {error}") from error
        if not right:
            raise NoSandbox(f"Python does not work in it: {student.errors}")


def _empty(level: str, hidden: Iterable[str], tools: Path) -> list[str]:
    """Folders that appear empty, files that appear gone."""
    installed = [str(Path(path) / "coursekit") for path in _site_packages()]
    chosen = [*hidden, *installed, _source(), *_repository()]
    kept = [os.path.realpath(path) for path in _python()]
    own = []
    if level == "bubblewrap":  # has these for itself; what Python lies below stays read-only
        own = [p for p in ("/tmp", "/dev/shm") if not any(_within(k, p) for k in kept)]
    else:
        kept.append(os.path.realpath(tools))
    found = [p for path in chosen for p in _cover(os.path.realpath(path), kept)]
    return [*own, *(path for path in dict.fromkeys(found) if os.path.exists(path))]


def _cover(path: str, kept: list[str]) -> Iterator[str]:
    """`path`; or, where Python lives in it, its contents without Python."""
    if not any(_within(k, path) for k in kept):
        yield path
    elif path not in kept and os.path.isdir(path):
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            # What is mounted on a link covers its target: `lib64` would hide Python's `lib`.
            if not entry.is_symlink():
                yield from _cover(entry.path, kept)


def _within(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _source() -> str:
    return str(Path(coursekit.__file__).resolve().parent)


def _repository() -> list[str]:
    """The course's repository, with all solutions in it, where coursekit runs from a checkout."""
    root = Path(coursekit.__file__).resolve().parent.parent
    return [str(root)] if (root / "solutions").is_dir() else []


def _site_packages() -> list[str]:
    return [
        *site.getsitepackages(),
        *([site.getusersitepackages()] if site.ENABLE_USER_SITE else []),
    ]


def _python() -> list[str]:
    """The folders that Python, torch and numpy live in."""
    found = [sys.prefix, sys.base_prefix, *filter(os.path.isdir, _site_packages()), *_libraries()]
    return sorted({os.path.abspath(path) for path in found})


def _libraries() -> list[str]:
    """Where torch and numpy were found, be it through PYTHONPATH."""
    specs = [find_spec(name) for name in ("torch", "numpy")]
    return [str(Path(spec.origin).parent.parent) for spec in specs if spec and spec.origin]


def _bubblewrap(tools: Path, nobody: bool) -> list[str]:
    program = shutil.which("bwrap")
    if program is None:
        raise NoSandbox("bwrap is not installed")
    capabilities = ["CAP_SYS_ADMIN", "CAP_SETPCAP"]
    if nobody:
        capabilities += ["CAP_SETUID", "CAP_SETGID", "CAP_KILL"]
    command = [program, "--die-with-parent", "--new-session", "--unshare-pid", "--unshare-net"]
    command += ["--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    if not nobody:
        # Root of the new user namespace alone. With another number bubblewrap would nest a second
        # one, to which the PID namespace does not belong, and the server could not return to it.
        command += ["--unshare-user", "--uid", "0", "--gid", "0"]
    for capability in capabilities:
        command += ["--cap-add", capability]
    for path in ("/usr/lib", "/usr/lib64", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime"):
        if os.path.islink(path) and not path.startswith("/etc"):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            command += ["--ro-bind", path, path]
    command += ["--tmpfs", "/tmp"]  # before Python's folders, which may lie in it
    there: list[str] = []
    real = sorted(os.path.realpath(path) for path in _python())
    # An alias is a link and no second mount, by which what is hidden in the first could be read.
    for path in [*real, *_python()]:
        if not any(_within(path, t) for t in there):
            there.append(path)
            for parent in reversed(Path(path).parents[:-1]):  # else only root may enter them
                command += ["--dir", str(parent)]
            target = os.path.realpath(path)
            command += ["--ro-bind" if path == target else "--symlink", target, path]
    command += ["--ro-bind", str(tools), "/grader", "--proc", "/proc", "--dev", "/dev"]
    return [*command, "--remount-ro", "/", "--chdir", "/grader", "--"]


def _unshare(tools: Path, nobody: bool) -> list[str]:
    program = shutil.which("unshare")
    if program is None:
        raise NoSandbox("unshare is not installed")
    user = [] if nobody else ["-r"]
    return [program, *user, "-n", "-p", "-m", "-i", "--fork", "--kill-child", "--"]


def _bare(tools: Path, nobody: bool) -> list[str]:
    return []


# --- coursekit without the answers ---------------------------------------------------------------


def prepare(tools: Path, refuse: Iterable[str]) -> None:
    """Fill `tools` with the worker and a copy of coursekit in which the answers refuse to run.

    Neither tests nor references are copied, so they are not on the disk that a student's code sees.
    """
    here = Path(__file__).parent
    for name in ("worker.py", "wire.py", "seccomp.py"):
        shutil.copyfile(here / name, tools / name)
    source, copy = Path(coursekit.__file__).parent, tools / "coursekit"
    apart = shutil.ignore_patterns("__pycache__", "exercises", "grading", "cli.py")
    shutil.copytree(source, copy, ignore=apart)
    for path in copy.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    (copy / "__init__.py").write_text(_STANDIN)
    for name in refuse:
        _refuse(copy, name)


_STANDIN = '''
def check(*args, **kwargs):
    """Nothing is checked here: what `check` would say is decided outside."""
    return False

hint = solution = check
'''


def _refuse(package: Path, name: str) -> None:
    """Replace the body of a function, or of a method `Class.method`, wherever it is defined."""
    head, *parts = name.split(".")
    if head != "coursekit":
        raise ValueError(f"{name!r} is not a part of coursekit, so it cannot be made to refuse")
    folder = package
    while parts and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    files: list[Path] = sorted(folder.glob("*.py"))
    if parts and (folder / f"{parts[0]}.py").is_file():
        files = [folder / f"{parts.pop(0)}.py"]
    found = False
    for path in files:
        tree = ast.parse(path.read_text())
        for definition in _definitions(tree, parts):
            found = True
            definition.body = ast.parse(f"raise RuntimeError({REFUSAL!r})").body
            path.write_text(ast.unparse(tree))
    if not found:
        raise ValueError(f"an exercise forbids {name!r}, but coursekit has no such function")


def _definitions(tree: ast.AST, parts: list[str]) -> Iterator[ast.FunctionDef]:
    """The functions called `parts` inside `tree`; for a class, its constructor and methods."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef) and parts == [node.name]:
            yield node
        elif isinstance(node, ast.ClassDef) and parts[:1] == [node.name]:
            if parts[1:]:
                yield from _definitions(node, parts[1:])
            else:
                yield from (n for n in node.body if isinstance(n, ast.FunctionDef))
