"""The process in which a student's code runs. It answers calls and knows nothing else.

Started as a script inside the sandbox, with this folder as its only source of grader code: no
tests, no references, no secret are in its memory or on the disk that it can see. It loads torch
once and waits. For each submission it is handed two sockets and forks. The child is PID 1 of a
PID namespace of its own, so with it ends everything that it started. On one socket the child
answers the grader. The other is its lifeline, kept by this process: when the grader hangs up the
child is killed, and when it has ended the grader is told how.
"""

import __future__

import array
import ast
import builtins
import contextlib
import ctypes
import functools
import gc
import json
import linecache
import mmap
import os
import resource
import selectors
import signal
import socket
import sys
import time
import types
from collections.abc import Callable
from typing import Any

import seccomp  # type: ignore[import-not-found]  # it lies beside this file
import torch
import wire  # type: ignore[import-not-found]

LINUX = sys.platform == "linux"
libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
SYS_MOUNT_SETATTR = 442  # the same number on every architecture
MADV_COLLAPSE = 25
NOBODY = 65534
FUTURES = functools.reduce(
    int.__or__, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
UNCONFINED = 77
"""Exit status of a student's process whose walls could not be put up."""

# --- the server ---------------------------------------------------------------------------------


class Server:
    """Forks a student's process for every pair of sockets, until the grader hangs up."""

    def __init__(self, control: socket.socket, settings: dict[str, Any]) -> None:
        self.control = control
        self.settings = settings
        self.students: dict[int, socket.socket] = {}
        """By process id: the lifelines."""
        self.namespaces: bool = settings["namespaces"]
        self.own = os.open("/proc/self/ns/pid", os.O_RDONLY) if self.namespaces else -1
        self.events = selectors.DefaultSelector()
        self.cpu_seconds = 0.0

    def serve(self) -> None:
        if LINUX:  # what outlives a student's process becomes our child, and is ended here
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        woken, waker = socket.socketpair()
        woken.setblocking(False)
        waker.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(waker.fileno())
        self.events.register(woken, selectors.EVENT_READ)
        self.events.register(self.control, selectors.EVENT_READ)
        self.control.sendall(b"ready\n")
        while True:
            for key, _ in self.events.select():
                if key.fileobj is woken:
                    woken.recv(4096)
                    self.reap()
                elif key.fileobj is self.control:
                    data, ancillary, _, _ = self.control.recvmsg(1, socket.CMSG_SPACE(2 * 4))
                    if not data:
                        return
                    fds = array.array("i", ancillary[0][2])
                    self.start(socket.socket(fileno=fds[0]), socket.socket(fileno=fds[1]))
                elif key.data in self.students:  # the grader has hung up
                    self.events.unregister(key.fileobj)
                    kill(key.data)

    def start(self, link: socket.socket, lifeline: socket.socket) -> None:
        begin = time.process_time()
        if self.namespaces:
            _must(libc.unshare(CLONE_NEWPID), "unshare")
        pid = os.fork()
        if pid == 0:
            run_student(link, self.settings)
        if self.namespaces:  # back to our own, or the next child would be born into this one
            _must(libc.setns(self.own, CLONE_NEWPID), "setns")
        link.close()
        self.students[pid] = lifeline
        self.events.register(lifeline, selectors.EVENT_READ, pid)
        self.cpu_seconds = time.process_time() - begin

    def reap(self) -> None:
        for pid, lifeline in list(self.students.items()):
            found, status, usage = os.wait4(pid, os.WNOHANG)
            if found == 0:
                continue
            del self.students[pid]
            with contextlib.suppress(KeyError):
                self.events.unregister(lifeline)
            self.end_orphans()
            report = {
                "status": os.waitstatus_to_exitcode(status),
                "cpu_seconds": usage.ru_utime + usage.ru_stime + self.cpu_seconds,
            }
            with contextlib.suppress(OSError):
                lifeline.sendall(json.dumps(report).encode())
            lifeline.close()

    def end_orphans(self) -> None:
        """Without a PID namespace, what a student's process leaves behind comes back to us."""
        while not self.namespaces and not self.students:
            with contextlib.suppress(OSError), open(f"/proc/self/task/{os.getpid()}/children") as f:
                for pid in f.read().split():
                    kill(int(pid))
            try:
                os.waitpid(-1, 0 if LINUX else os.WNOHANG)
            except ChildProcessError:
                return


def warm_up() -> None:
    """Load now, once, what torch loads when it is first used, and make forking cheap."""
    x = torch.ones(2, 3, requires_grad=True)
    normal = torch.distributions.Normal(x, 1.0)
    torch.nn.functional.binary_cross_entropy_with_logits(x, torch.ones(2, 3)).backward()
    torch.autograd.grad(normal.rsample(), x, torch.ones(2, 3))
    torch.distributions.kl_divergence(normal, normal)
    torch.optim.SGD([x], lr=0.1)  # loads torch._dynamo, which takes longer than a call may
    gc.collect()
    gc.freeze()  # pages that the collector touches would be copied for every submission
    with contextlib.suppress(OSError, AttributeError, ValueError):
        collapse()


def collapse() -> None:
    """Put this process's memory on huge pages. A fork copies a table of all pages, and with 512
    times fewer of them it takes a third of the time. Where the kernel declines, nothing is lost."""
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    huge = 2**21
    with open("/proc/self/maps") as maps:
        for line in maps.read().splitlines():
            addresses, mode, *_, name = [*line.split(maxsplit=5), ""][:6]
            if "w" in mode and name in ("", "[heap]"):
                start, end = (int(address, 16) for address in addresses.split("-"))
                start, end = -(-start // huge) * huge, end // huge * huge
                if end > start:
                    libc.madvise(start, end - start, MADV_COLLAPSE)


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def run_student(link: socket.socket, settings: dict[str, Any]) -> None:
    """What the child does, from its birth to its end."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        keep = os.dup(link.fileno())
        os.dup2(keep, 3)
        os.closerange(4, 1024)  # the server's sockets are none of the student's business
        link.detach()
        os.setsid()
        confine(settings)
    except BaseException as error:  # without its walls nothing is run
        print(f"cannot confine the worker: {error}", file=sys.stderr, flush=True)
        os._exit(UNCONFINED)
    try:
        answer(socket.socket(fileno=3))
    finally:
        os._exit(0)


# --- the walls ----------------------------------------------------------------------------------


def confine(settings: dict[str, Any]) -> None:
    """Give up everything that the student's code does not need. Runs in the student's process."""
    home = settings["home"]
    if settings["namespaces"]:
        _must(libc.unshare(CLONE_NEWNS | CLONE_NEWIPC), "unshare")
        _must(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount private")
        read_only()
        if libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV, None) != 0:
            _mount_empty("/proc", "64k")
        for folder in settings["empty"]:
            if os.path.isdir(folder):
                _mount_empty(folder, "64m")
            elif os.path.exists(folder):
                _must(libc.mount(b"/dev/null", folder.encode(), None, MS_BIND, None), "hide")
        _mount_empty(home, "256m", mode="0777")
    os.chdir(home)
    os.environ.clear()
    os.environ.update(HOME=home, TMPDIR=home, OMP_NUM_THREADS="1", MPLBACKEND="agg")
    limit(settings)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where memory runs out, the submission ends and not the grader
    for capability in range(64 if LINUX else 0):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    if settings["user"] is not None:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        try:
            os.setresuid(*3 * [settings["user"]])
        except OSError:  # a container may have few users
            os.setresuid(NOBODY, NOBODY, NOBODY)
    if LINUX:
        none = (ctypes.c_uint32 * 6)()
        libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), none)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # no server, no student
        seccomp.forbid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def read_only() -> None:
    """Make every mount read-only; a kernel that cannot leaves it at what the sandbox did."""
    attributes = (ctypes.c_uint64 * 4)(1, 0, 0, 0)  # set MOUNT_ATTR_RDONLY, clear nothing
    recursive, here = 0x8000, -100
    libc.syscall(SYS_MOUNT_SETATTR, here, b"/", recursive, ctypes.byref(attributes), 32)


def _mount_empty(folder: str, size: str, mode: str = "0755") -> None:
    options = f"size={size},nr_inodes=4096,mode={mode}".encode()
    flags = MS_NOSUID | MS_NODEV
    _must(libc.mount(b"tmpfs", folder.encode(), b"tmpfs", flags, options), f"mount {folder}")


def limit(settings: dict[str, Any]) -> None:
    limits = {
        "RLIMIT_CPU": settings["cpu_seconds"],
        "RLIMIT_FSIZE": 2**26,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_CORE": 0,
    }
    with contextlib.suppress(OSError), open("/proc/self/statm") as statm:
        mapped = int(statm.read().split()[0]) * resource.getpagesize()
        limits["RLIMIT_AS"] = mapped + settings["memory"]
    if settings["count_processes"]:
        limits["RLIMIT_NPROC"] = settings["processes"]
    for name, value in limits.items():
        with contextlib.suppress(ValueError, OSError):  # a lower hard limit is already there
            resource.setrlimit(getattr(resource, name), (value, value))


def _must(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


# --- the student's code -------------------------------------------------------------------------


class Worker:
    """Runs cells and answers calls, one after the other."""

    def __init__(self) -> None:
        self.main = types.ModuleType("__main__")
        self.main.__dict__.update(__builtins__=builtins, display=_ignore, get_ipython=_Ignored)
        sys.modules["__main__"] = self.main
        self.flags = 0
        """What `from __future__ import ...` has switched on, for later cells as well."""
        self.handles: list[Any] = []
        self.graphs: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}

    def run(self, cell: str, source: str, statements: list[int]) -> dict[str, Any]:
        """Run some of a cell's top-level statements; an error in one does not stop the others."""
        linecache.cache[cell] = (len(source), None, source.splitlines(keepends=True), cell)
        body = ast.parse(source).body
        errors = []
        for i in statements:
            try:
                code = compile(ast.Module([body[i]], []), cell, "exec", self.flags)
                self.flags |= code.co_flags & FUTURES
                exec(code, self.main.__dict__)
            except BaseException as error:
                errors.append({"statement": i, **_describe(error)})
        return {"errors": errors}

    def defined(self, names: list[str]) -> dict[str, Any]:
        found = vars(self.main)
        return {"kinds": {n: callable(found[n]) for n in names if n in found}}

    def call(
        self, message: dict[str, Any], blobs: list[bytes], files: list[int]
    ) -> tuple[dict[str, Any], list[bytes]]:
        shared = attach(files[0], message["spans"])
        decoded = wire.decode(message["args"], shared, self._mine, trusted=True)
        args, kwargs = wire.with_optimizers(decoded)
        before = [wire.content(leaf) for leaf in wire.leaves([args, kwargs])]
        inputs = [x for x in wire.leaves([args, kwargs]) if getattr(x, "requires_grad", False)]
        torch.set_rng_state(wire._to_state(blobs[0]))
        function = self._target(message["target"])
        with torch.set_grad_enabled(message["grad"]):
            result = wire.result_of(function, args, kwargs)
            outgoing: list[bytes] = []
            reply = {"result": wire.encode(result, outgoing, self._handle)}
            reply["grad"] = torch.is_grad_enabled()
        outputs = [x for x in wire.leaves(result) if isinstance(x, torch.Tensor)]
        if inputs and any(x.requires_grad for x in outputs):
            self.graphs[message["call"]] = (outputs, inputs)
            self.graphs.pop(message["call"] - 64, None)
        changed: dict[int, int] = {}
        for i, leaf in enumerate(wire.leaves([args, kwargs])):
            after = wire.content(leaf)
            if after != before[i]:
                changed[i] = len(outgoing)
                outgoing.append(after)
        outgoing.append(wire.content(torch.default_generator))
        reply |= {"changed": changed, "rng": len(outgoing) - 1, "flags": wire.flags([args, kwargs])}
        grads = [parameter.grad for parameter in wire.parameters([args, kwargs])]
        states = [optimizer.state_dict() for optimizer in wire.optimizers([args, kwargs])]
        return reply | {"training": wire.encode([grads, states], outgoing)}, outgoing

    def backward(
        self, message: dict[str, Any], blobs: list[bytes]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """The vector-Jacobian product of an earlier call."""
        outputs, inputs = self.graphs[message["call"]]
        weights = wire.decode(message["weights"], blobs)
        flowing = [
            (o, w)
            for o, w in zip(outputs, weights, strict=True)
            if w is not None and o.requires_grad
        ]
        slopes = torch.autograd.grad(
            [o for o, _ in flowing],
            inputs,
            [w for _, w in flowing],
            allow_unused=True,
            retain_graph=True,
        )
        outgoing: list[bytes] = []
        return {"slopes": wire.encode(slopes, outgoing)}, outgoing

    def _target(self, target: Any) -> Callable[..., Any]:
        if isinstance(target, str):
            return vars(self.main)[target]
        handle, attribute = target
        if attribute is None:
            return self.handles[handle]
        return lambda: getattr(self.handles[handle], attribute)

    def _handle(self, value: Any) -> dict[str, Any]:
        """What cannot cross stays here; the grader gets a handle to call it by."""
        self.handles.append(value)
        return {"is": "handle", "handle": len(self.handles) - 1, "type": type(value).__name__[:80]}

    def _mine(self, value: dict[str, Any]) -> Any:
        return self.handles[value["handle"]]


def attach(file: int, spans: list[list[int]]) -> list[Any]:
    """The worker's view of what the grader stored."""
    view = memoryview(mmap.mmap(file, 0))
    os.close(file)
    return [view[start:end] for start, end in spans]


def answer(link: socket.socket) -> None:
    worker = Worker()
    while True:
        files: list[int] = []
        message, blobs = wire.receive(link, None, files)
        outgoing: list[bytes] = []
        try:
            match message["do"]:
                case "run":
                    reply = worker.run(message["cell"], message["source"], message["statements"])
                case "defined":
                    reply = worker.defined(message["names"])
                case "call":
                    reply, outgoing = worker.call(message, blobs, files)
                case "backward":
                    reply, outgoing = worker.backward(message, blobs)
        except BaseException as error:  # what the student made can raise wherever it is touched
            reply, outgoing = {"error": _describe(error)}, []
        wire.send(link, {**reply, "id": message["id"]}, outgoing)


def _describe(error: BaseException) -> dict[str, Any]:
    """Type, message and place of an exception. The place is in the student's cell, if any."""
    line, cell, text = 0, "", ""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith("cell "):
            cell, line = name, trace.tb_lineno
            text = linecache.getline(name, line).strip()
        trace = trace.tb_next
    try:
        message = str(error)
    except BaseException:
        message = ""
    return {
        "type": type(error).__name__[:80],
        "message": message[:500],
        "cell": cell,
        "line": line,
        "text": text[:120],
    }


def _ignore(*args: Any, **kwargs: Any) -> None:
    pass


class _Ignored:
    """What get_ipython() returns: anything may be called on it, nothing happens."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return _ignore


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    for name in settings["preload"]:
        with contextlib.suppress(Exception):
            __import__(name)
    warm_up()
    with contextlib.suppress(EOFError, OSError):
        Server(socket.socket(fileno=settings["control"]), settings).serve()
