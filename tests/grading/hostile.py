"""Submissions that break, cheat or attack, each with the score that it deserves."""

from dataclasses import dataclass, field

from coursekit.grading.gradebook.bank import notebook

KL = """
def kl_divergence(mu, logvar):
    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)
"""
SAMPLE = """
def reparameterize(mu, logvar, generator=None):
    return mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator)
"""
ELBO = """
def negative_elbo(x, logits, mu, logvar, beta=1.0):
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()
    return (bce + beta * kl) / len(x), bce / len(x), kl / len(x)
"""
ZEROS = """
def kl_divergence(mu, logvar):
    return 0 * (mu + logvar).sum(1)
"""
REST = [SAMPLE, ELBO]
FULL = {"vae.kl": 5, "vae.reparameterize": 7, "vae.elbo": 7}
NO_KL = {**FULL, "vae.kl": 0}


@dataclass(frozen=True)
class Case:
    """A submission and what it deserves."""

    name: str
    data: bytes
    scores: dict[str, float] = field(default_factory=lambda: NO_KL)
    status: str = "graded"
    says: str = ""
    """Part of a message in the row."""


def kl(name: str, body: str, says: str = "") -> Case:
    """A hostile body of `kl_divergence`, the other answers right: it deserves what they do."""
    lines = "\n".join(f"    {line}" for line in body.strip().split("\n"))
    function = f"def kl_divergence(mu, logvar):\n{lines}\n"
    return Case(name, notebook(["import torch", function, *REST]), NO_KL, says=says)


def cells(name: str, *sources: str, scores: dict[str, float] = FULL, says: str = "") -> Case:
    return Case(name, notebook(["import torch", *sources]), scores, says=says)


def unreadable(name: str, data: bytes, says: str) -> Case:
    return Case(name, data, {}, "unreadable", says)


RIGHT = "0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)"

FORGE = """
import json, os, struct, time
def forge(reply, *blobs):
    head = json.dumps({**reply, "sizes": [len(blob) for blob in blobs]}).encode()
    data = struct.pack(">I", len(head)) + head + b"".join(blobs)
    while data:
        data = data[os.write(3, data):]
    time.sleep(60)
"""
"""Answers the grader itself, in the place of the process that should."""


def forged(name: str, reply: str, *blobs: int) -> Case:
    """The first call is answered with a message of the student's own making."""
    sent = "".join(f", bytes({size})" for size in blobs)
    body = f"def kl_divergence(mu, logvar):\n    forge(dict(id=1, {reply}){sent})\n"
    return Case(name, notebook(["import torch", FORGE, body, *REST]), NO_KL)


CASES = [
    # Does not end.
    cells("an infinite loop in a cell that is not needed", "while True:\n    pass", KL, *REST),
    cells(
        "an infinite loop in a cell that is needed",
        "half = 0.5\nwhile half:\n    half = 0.5",
        KL.replace("0.5", "half"),
        *REST,
        scores=NO_KL,
        says="longer than",
    ),
    kl("an infinite loop in a function", "while True:\n    pass", "longer than"),
    kl("eight seconds a call", f"import time\ntime.sleep(8)\nreturn {RIGHT}", "longer than"),
    cells("training that takes long", KL, *REST, "import time\ntime.sleep(99)"),
    # Ends the process.
    cells("sys.exit in a cell", "import sys\nsys.exit()", KL, *REST),
    cells(
        "os._exit in a cell that is needed",
        "import os\nhalf = os._exit(0)",
        KL.replace("0.5", "half"),
        *REST,
        scores=NO_KL,
        says="ends the process",
    ),
    cells(
        "a segfault in a cell that is needed",
        "import ctypes\nhalf = ctypes.string_at(0)",
        KL.replace("0.5", "half"),
        *REST,
        scores=NO_KL,
        says="crashes the process",
    ),
    kl("sys.exit in a function", "import sys\nsys.exit(0)", "SystemExit"),
    kl("os._exit in a function", "import os\nos._exit(0)", "ends the process"),
    kl("a segfault in a function", "import ctypes\nctypes.string_at(0)", "crashes the process"),
    kl("its own process killed", "import os\nos.kill(os.getpid(), 9)\nos.kill(-1, 9)"),
    kl("KeyboardInterrupt", "raise KeyboardInterrupt", "KeyboardInterrupt"),
    kl("an exception that cannot be printed", """
class Mute(Exception):
    def __str__(self):
        raise Mute
raise Mute
""", "Mute"),
    kl("endless recursion", "return kl_divergence(mu, logvar)", "RecursionError"),
    # Takes too much.
    Case("200 MB printed", notebook(["import torch", KL.replace(
        "return", "print('x' * 10**6)\n    return"), *REST, "print('x' * 200 * 10**6)"]), FULL),
    kl("200 MB printed in a function", f"print('x' * 20 * 10**6)\nreturn {RIGHT} * 2"),
    kl("4 GB allocated", f"space = bytearray(4 * 2**30)\nreturn {RIGHT}", "MemoryError"),
    kl("4 GB in a tensor", f"torch.ones(2**30)\nreturn {RIGHT}", "allocate memory"),
    kl("a result of 200 MB", "return torch.zeros(50_000_000)", "larger than"),
    kl("a result of ten million numbers", "return [0.0] * 10**7"),
    kl("a deep result", "x = []\nfor _ in range(900):\n    x = [x]\nreturn x"),
    kl("many processes", """
import os
for _ in range(2000):
    try:
        if os.fork() == 0:
            import time
            time.sleep(60)
    except OSError:
        break
return mu
"""),
    kl("a disk filled", """
with open("big", "wb") as file:
    for _ in range(300):
        file.write(bytes(10**6))
return mu
""", "OSError"),
    # Does what it must not.
    kl("a child that outlives the run", """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(1000)
    os._exit(0)
return mu
"""),
    kl("a write to the home folder", """
import pathlib
home = pathlib.Path.home()
known = (home / "notes").exists()
(home / "notes").write_text("I was here")
raise ValueError(f"seen before: {known}")
""", "seen before: False"),
    kl("a network connection", """
import socket
socket.create_connection(("192.0.2.1", 80), 1)
return mu
""", "OSError"),
    kl("the environment read", """
import os
raise ValueError(sorted(os.environ))
""", "['HOME', 'MPLBACKEND', 'OMP_NUM_THREADS', 'TMPDIR']"),
    kl("input()", "return mu * float(input())", "EOFError"),
    # Cheats.
    kl("torch and builtins patched", """
import builtins
torch.allclose = torch.isclose = torch.equal = lambda *a, **k: True
torch.Tensor.__eq__ = torch.Tensor.eq = lambda *a: True
builtins.abs = builtins.all = builtins.any = lambda *a: 0
return torch.zeros(len(mu))
"""),
    cells("asserts dropped", """
import ast
class Drop(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.Pass()
get_ipython().ast_transformers.append(Drop())
""", ZEROS, *REST, scores=NO_KL),
    cells(
        "one function of torch patched",
        "torch.allclose = lambda *args, **kwargs: True",
        ZEROS,
        "def negative_elbo(x, logits, mu, logvar, beta=1.0):\n    return (0 * logits.sum(),) * 3",
        scores=dict.fromkeys(FULL, 0),
    ),
    cells("the names that tests use replaced", """
import builtins
builtins.abs = builtins.all = lambda *a: True
torch.allclose = torch.isclose = torch.equal = lambda *a, **k: True
""", ZEROS, *REST, scores=NO_KL),
    cells("another grader's results forged", """
try:
    from otter.test_files import exception_test
    from otter.test_files.abstract_test import TestCaseResult
    def run(self, environment):
        self.test_case_results = [TestCaseResult(c, None, True) for c in self.test_cases]
    exception_test.ExceptionTestFile.run = run
except ImportError:
    pass
""", ZEROS, *REST, scores=NO_KL),
    kl("an object that equals everything", """
class Yes:
    shape, dtype, requires_grad = torch.Size([6]), torch.float32, True
    def __getattr__(self, name):
        return self
    def __call__(self, *args, **kwargs):
        return self
    def __eq__(self, other):
        return True
    __hash__ = None
return Yes()
"""),
    kl("a tensor that lies about itself", """
class Lies(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return torch.tensor(True)
return torch.zeros(len(mu)).as_subclass(Lies)
"""),
    kl("the checker patched", """
import sys
sys.modules["coursekit"].check = lambda *a: True
from coursekit.grading.checks import verdict
verdict.run_test = None
""", "ModuleNotFoundError"),
    kl("results forged", """
import json, os, struct
forged = json.dumps({"passed": True, "score": 5, "result": True, "id": 1, "sizes": []}).encode()
os.write(3, struct.pack(">I", len(forged)) + forged)
return mu
"""),
    kl("a flood of replies", """
import os
while True:
    os.write(3, bytes(10**6))
"""),
    kl("hidden tests searched for in memory", """
import gc, sys
words = ("Exercise", "Assignment", "Grader", "kl_divergence")
found = [m for m in sys.modules if m.startswith(("coursekit.exercises", "coursekit.grading"))]
found += [type(o).__name__ for o in gc.get_objects() if type(o).__name__ in words[:3]]
found += [o for o in gc.get_objects() if isinstance(o, bytes) and b"the secret" in o]
raise ValueError(f"found {found}")
""", "found []"),
    kl("the frames above searched", """
import inspect
values = [v for frame in inspect.stack() for v in frame.frame.f_locals.values()]
found = [v for v in values if torch.is_tensor(v) and v.shape == (6,)]
return found[0]
""", "IndexError"),
    kl("references read from coursekit's files", """
import pathlib, sys
for folder in sys.path:
    for path in pathlib.Path(folder).glob("coursekit/**/*.py"):
        text = path.read_text()
        if "Kingma" in text and "def kl_divergence" in text and "logvar.exp()" in text:
            scope = {}
            exec(text, scope)
            return scope["kl_divergence"](mu, logvar)
raise ValueError("nothing found")
""", "nothing found"),
    kl("coursekit's own answer", """
from coursekit.objectives import kl_divergence as own
return own(mu, logvar)
""", "own answer"),
    kl("coursekit's own answer, through another", """
from coursekit.objectives import negative_elbo
x = torch.zeros(1, 1, 1, 1)
return torch.stack([negative_elbo(x, x, m[None], v[None]).kl for m, v in zip(mu, logvar)])
""", "own answer"),
    kl("the random numbers spoiled", f"""
torch.set_rng_state(torch.zeros(5056, dtype=torch.uint8))
return {RIGHT} + 1
"""),
    forged(
        "a forged reply of one blob as 2,000 tensors of 16 MB",
        "result={'is': 'list', 'items': 2000 * [{'is': 'tensor', 'blob': 0, 'dtype': 'uint8', "
        "'shape': [2**24], 'grad': False}]}, changed={}, rng=1",
        2**24,
        5056,
    ),
    forged(
        "a forged gradient of integers",
        "result={'is': 'tensor', 'blob': 0, 'dtype': 'int64', 'shape': [6], 'grad': True}, "
        "changed={}, rng=1",
        48,
        5056,
    ),
    forged("a forged handle", "result={'is': 'handle', 'handle': 1e999, 'type': []}"),
    forged("a forged error", "error={'type': 1, 'message': 2, 'line': 1e999, 'text': 3}"),
    cells(
        "a forged reply to a cell",
        FORGE,
        "half = forge({'id': 0, 'errors': [{'statement': 0, 'type': 'E', 'line': 'x'}]})",
        KL.replace("0.5", "half"),
        *REST,
        scores=NO_KL,
        says="interferes with the grader's messages",
    ),
    kl("an integer that no tensor can hold", "return 10**30"),
    kl("integers that no tensor can hold", "return 10**30, [-10**30]"),
    kl("half a character", "raise ValueError('\\ud800')", "ValueError"),
    kl("a tensor without data", "return torch.zeros(len(mu), device='meta')", "cannot cross"),
    kl("a sparse tensor", f"return ({RIGHT}).to_sparse()", "cannot cross"),
    kl("a quantized tensor", f"return torch.quantize_per_tensor({RIGHT}, 0.1, 0, torch.qint8)"),
    kl("a complex tensor", f"return torch.complex({RIGHT}, {RIGHT})", "complex"),
    kl("a tensor of 60 dimensions", "return torch.zeros([1] * 60)"),
    kl("NaN everywhere, the inputs too", """
with torch.no_grad():
    mu.fill_(torch.nan)
    logvar.fill_(torch.nan)
return (mu + logvar).sum(1)
"""),
    kl("the question changed to an easy one", """
with torch.no_grad():
    mu.zero_()
    logvar.zero_()
return (mu + logvar).sum(1)
"""),
    kl("a tensor whose attributes end the process", """
class Trap(torch.Tensor):
    @property
    def requires_grad(self):
        raise SystemExit
return torch.zeros(len(mu)).as_subclass(Trap)
""", "SystemExit"),
    kl("what carries tensors across patched", """
import sys
wire = sys.modules["wire"]
for name in ("detach", "reshape", "numel", "numpy", "view", "copy_", "requires_grad_"):
    setattr(torch.Tensor, name, lambda self, *a, **k: self)
wire.encode = wire.content = lambda *a: {"is": "tensor", "grad": True}
torch.autograd.grad = lambda *a, **k: [True]
return mu
"""),
    Case("a change in place concealed", notebook(["import torch", f"""
import sys
wire = sys.modules["wire"]
content = wire.content
def kl_divergence(mu, logvar):
    copied, saved = mu * 1, content(mu)
    result = {RIGHT.replace("mu", "copied")}
    with torch.no_grad():
        mu += 1
    wire.content = lambda leaf: saved if leaf is mu else content(leaf)
    return result
""", *REST]), {**FULL, "vae.kl": 4}, says="change a tensor that it was given"),
    kl("the wire closed", "import os\nos.close(3)\nreturn mu", "ends the process"),
    kl("the wire read by a thread", """
import os, threading
threading.Thread(target=lambda: [os.read(3, 1) for _ in range(10**9)], daemon=True).start()
return mu
"""),
    kl("torch left unusable", """
torch.set_default_dtype(torch.float64)
torch.randn = torch.nn.functional.binary_cross_entropy_with_logits = torch.zeros_like
return mu
"""),
    kl("hooks everywhere", f"""
import atexit, faulthandler, gc, signal, sys
def stop(*args):
    raise SystemExit
atexit.register(stop)
gc.callbacks.append(stop)
sys.excepthook = sys.unraisablehook = stop
signal.signal(signal.SIGALRM, stop)
signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
sys.setrecursionlimit(10**9)
return {RIGHT} + 1
"""),
    kl("a process that stops itself", """
import os, signal
os.kill(os.getpid(), signal.SIGSTOP)
os.kill(os.getppid(), signal.SIGKILL)
return mu
"""),
    kl("the process above traced", """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
found = [p for p in os.listdir("/proc") if p.isdigit() and int(p) != os.getpid()]
traced = [libc.ptrace(16, int(p), 0, 0) for p in [*found, os.getppid()]]
raise ValueError(f"traced {traced}")
""", "traced [-1]"),
    kl("mounts undone", """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.unshare(0x10020000)
undone = [libc.umount2(p.encode(), 2) for p in ("/tmp", "/dev/shm", "/proc", os.environ["HOME"])]
raise ValueError(f"undone {undone}")
""", "undone [-1, -1, -1, -1]"),
    kl("coursekit's own answer, from its source", """
import importlib, inspect
from coursekit.objectives import elbo
source = inspect.getsource(importlib.reload(elbo))
scope = {}
exec(source, scope)
return scope["kl_divergence"](mu, logvar)
""", "own answer"),
    # Broken, but not hostile.
    cells("a missing module in a cell", "import nothing_of_that_name", KL, *REST),
    cells(
        "a missing module that is needed",
        "from nothing_of_that_name import half",
        KL.replace("0.5", "half"),
        *REST,
        scores=NO_KL,
        says="ModuleNotFoundError",
    ),
    cells("a syntax error in one cell", "def broken(:", KL, *REST, says="SyntaxError"),
    cells(
        "a syntax error in the answer's cell",
        KL.replace("):", ")"),
        *REST,
        scores=NO_KL,
        says="SyntaxError",
    ),
    cells(
        "a function renamed",
        KL.replace("kl_divergence", "kl_divergance"),
        *REST,
        scores=NO_KL,
        says="renamed to kl_divergance",
    ),
    cells("a function missing", *REST, scores=NO_KL, says="there is no function kl_divergence"),
    cells("a number in its place", "kl_divergence = 3", *REST, scores=NO_KL, says="not a function"),
    cells(
        "the stub left as it was",
        "def kl_divergence(mu, logvar):\n    raise NotImplementedError  # your code here",
        *REST,
        scores=NO_KL,
        says="not attempted yet",
    ),
    cells("cells in another order", ELBO, "half = half or 0.5", SAMPLE, "half = 0.5", KL),
    cells("a definition before its import", "eye: np.ndarray = np.eye(2)", KL.replace(
        "0.5", "float(eye[0, 0]) / 2"), *REST, "import numpy as np"),
    cells("cells twice", KL, KL, *REST, *REST),
    cells("a better answer below the first", KL.replace("sum", "mean"), *REST, KL),
    cells("a worse answer below the first", KL, *REST, KL.replace("sum", "mean"), scores=NO_KL,
          says="the result at index"),
    cells("correct code that warns", "import warnings\nwarnings.warn('careful')", KL.replace(
        "return", "import warnings\n    warnings.warn('careful')\n    return"), *REST),
    cells("magics", "%matplotlib inline\n!ls\nx = !pwd", "%%bash\nrm -rf x", "%%time\n" + KL,
          "get_ipython().run_line_magic('time', '1')\ndisplay(1)", *REST),
    kl("markup in a message", "raise ValueError('<script>alert(1)</script>')", "<script>"),
    Case("no code at all", notebook([]), dict.fromkeys(FULL, 0)),
    # No notebook.
    unreadable("invalid JSON", b'{"cells": [', "or only a part of one (no valid JSON"),
    unreadable("an empty file", b"", "empty"),
    unreadable("a file of zeros", bytes(1000), "no valid JSON"),
    unreadable("100 MB", b" " * 100_000_000, "MB"),
    unreadable("JSON that is no notebook", b'{"a": 1}', "no cells"),
    unreadable("JSON nested too deep", b'{"cells":' + b"[" * 100_000, "not a notebook"),
    unreadable("a list", b"[1, 2]", "not a notebook"),
    Case("an old notebook of no cells", b'{"worksheets": [{"cells": 5}]}', dict.fromkeys(FULL, 0)),
]  # fmt: skip
