"""Right answers in unusual styles. Each passes its public check in a notebook, so grading must
accept it as well. What they have in common: reading a notebook wrongly takes their points away."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Unusual:
    """The cells of a right answer, its check among them."""

    name: str
    exercise: str
    cells: tuple[str, ...]


KL = "def kl_divergence(mu, logvar):\n    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)"
HALF = "def kl_divergence(mu, logvar):\n    return half(mu**2 + logvar.exp() - 1 - logvar).sum(1)"
CHECK = "check('vae.kl', kl_divergence)"
PADDING = "check('vae.padding', transposed_padding)"
EPOCH = "check('vae.train_epoch', train_epoch)"


def kl(name: str, *cells: str) -> Unusual:
    return Unusual(name, "vae.kl", cells)


def padding(name: str, body: str) -> Unusual:
    lines = f"import numpy as np\ndef transposed_padding(size):\n    {body}"
    return Unusual(name, "vae.padding", (lines, PADDING))


def epoch(name: str, result: str, loop: str = "for x in batches:") -> Unusual:
    lines = f"""import numpy as np
def train_epoch(model, batches, loss, optimizer):
    model.train()
    losses, sizes = [], []
    {loop}
        value = loss(model, x)[0]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
        sizes.append(len(x))
    return {result}"""
    return Unusual(name, "vae.train_epoch", (lines, EPOCH))


ONES = "torch.ones(2, 3), torch.zeros(2, 3)"

CASES = [
    # Names mean what they meant where the answer was defined, or last checked.
    kl("its name reused for a result", KL, CHECK, f"kl_divergence = kl_divergence({ONES})"),
    kl("its name reused for a number", KL, CHECK, f"total = 0\nkl_divergence = total + {3}"),
    kl("its name reused as a loop's", KL, CHECK, "for kl_divergence in range(3):\n    pass"),
    kl("its name reused for what a call returns", KL, CHECK,
       "q = torch.distributions.Normal(0.0, 1.0)\nkl_divergence = q.sample((3,))"),
    kl("its name deleted", KL, CHECK, "del kl_divergence"),
    kl("a helper's name reused for a result", "def half(x):\n    return x / 2", HALF, CHECK,
       "half = half(torch.ones(3))"),
    kl("a helper's name reused for another helper", "def half(x):\n    return x / 2", HALF, CHECK,
       "def half(images):\n    return images[: len(images) // 2]"),
    kl("a constant's name reused", "c = 0.5", "def half(x):\n    return c * x", HALF, CHECK,
       "for c in range(3):\n    pass"),
    kl("a builtin's name reused below", KL.replace("return 0.5", "return float(abs(-0.5))"), CHECK,
       "abs = 3\nfloat = None"),
    kl("a helper corrected below, before the last check", "def half(x):\n    return x / 3", HALF,
       CHECK.replace("check", "print"), "def half(x):\n    return x / 2", CHECK),
    kl("the function wrapped below", KL.replace("0.5", "0.25"),
       "def twice(f):\n    return lambda *args: 2 * f(*args)",
       "kl_divergence = twice(kl_divergence)", CHECK),
    kl("an import repeated below", KL, CHECK, "import torch"),
    # What calling a function of the notebook does.
    kl("a counter that is global", "calls = 0",
       KL.replace("return", "global calls\n    calls += 1\n    return"), CHECK),
    kl("a constant set by a function", "def setup():\n    global c\n    c = 0.5", "setup()",
       KL.replace("0.5", "c"), CHECK),
    kl("a constant changed in place", "c = 0.25", "c += 0.25", KL.replace("0.5", "c"), CHECK),
    kl("a registry filled by a decorator",
       "registry = {}\ndef register(f):\n    registry[f.__name__] = f\n    return f",
       "@register\ndef gaussian(mu, logvar):\n"
       "    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)",
       "def kl_divergence(mu, logvar):\n    return registry['gaussian'](mu, logvar)", CHECK),
    kl("a registry whose decorator takes a name",
       "registry = {}\ndef register(name):\n    def add(f):\n        registry[name] = f\n"
       "        return f\n    return add",
       "@register('gaussian')\ndef _(mu, logvar):\n"
       "    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)",
       "def kl_divergence(mu, logvar):\n    return registry['gaussian'](mu, logvar)", CHECK),
    kl("singledispatch", "from functools import singledispatch",
       "@singledispatch\ndef kl_divergence(mu, logvar):\n    raise TypeError",
       "@kl_divergence.register\ndef _(mu: torch.Tensor, logvar):\n"
       "    return 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(1)", CHECK),
    # What is no plain Python.
    kl("a command that goes on in the next line",
       "!echo one \\\n  two three\nc = 0.5", KL.replace("0.5", "c"), CHECK),
    kl("a timed statement", "%time c = 0.5", KL.replace("0.5", "c"), CHECK),
    kl("annotations that are not evaluated",
       "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
       "if TYPE_CHECKING:\n    from nowhere import Vector",
       KL.replace("(mu, logvar)", "(mu: Vector, logvar: Vector) -> Vector"), CHECK),
    kl("a name made by spelling it", KL.replace("kl_divergence", "own"),
       "globals()['kl_divergence'] = own", CHECK),
    # Numbers that are not Python's.
    padding("numpy's integers", "odd = np.int64(size % 2)\n    return 1 + odd, odd"),
    padding("a bool", "odd = size % 2 == 1\n    return 1 + odd, odd"),
    padding("numpy's bool", "odd = np.bool_(size % 2 == 1)\n    return np.int64(1) + odd, odd"),
    epoch("numpy's float32", "np.float32(np.average(losses, weights=sizes))"),
    epoch("numpy's float64", "np.average(losses, weights=sizes)"),
    epoch("an array without an axis", "np.array(np.average(losses, weights=sizes))"),
    epoch("a list that it empties", "float(np.average(losses, weights=sizes))",
          "while batches:\n        x = batches.pop(0)"),
    Unusual("parts from a generator", "vae.elbo", (
        "def negative_elbo(x, logits, mu, logvar, beta=1.0):\n"
        "    bce = torch.nn.functional.binary_cross_entropy_with_logits(\n"
        "        logits, x, reduction='sum')\n"
        "    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()\n"
        "    return (part / len(x) for part in (bce + beta * kl, bce, kl))",
        "check('vae.elbo', negative_elbo)")),
]  # fmt: skip

TOGETHER = (
    "def part(x):\n    return x / 2",
    HALF.replace("half", "part"), CHECK,
    "def part(logvar):\n    return (logvar / 2).exp()",
    "def reparameterize(mu, logvar, generator=None):\n"
    "    return mu + part(logvar) * torch.randn(mu.shape, generator=generator)",
    "check('vae.reparameterize', reparameterize)",
)  # fmt: skip
"""Two answers whose helpers have the same name: in one process, one of them would be wrong."""
