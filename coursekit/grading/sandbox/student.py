"""A student's process as the grader sees it: functions that are called like any other."""

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from coursekit.grading.sandbox import wire
from coursekit.grading.sandbox.errors import AnswerError, NotAttempted, ServerLost
from coursekit.grading.sandbox.server import Limits, Server
from coursekit.grading.sandbox.shared import Shared

Cells = Sequence[tuple[int, str, Sequence[int]]]
"""What to run: a cell's number, its source, and which of its top-level statements."""


class TimedOut(AnswerError):
    """The answer took too long; its process is gone."""


class Died(AnswerError):
    """The answer's process ended by itself."""


class Student:
    """One submission at work. Starts its process when it is needed, and again if it died."""

    def __init__(self, server: Server, limits: Limits, cells: Cells, names: Sequence[str]) -> None:
        self.server = server
        self.limits = limits
        self.cells = list(cells)
        self.names = list(names)
        self.deadline = time.monotonic() + limits.submission
        self.errors: dict[int, str] = {}
        """By cell: what went wrong in it first."""
        self.lost = 0
        """How often its process hung or ended by itself."""
        self.ran = False
        """Whether the cells have run once, so that `errors` and `kinds` are known."""
        self.kinds: dict[str, bool] = {}
        """By name: whether it is callable, for the names that the cells define."""
        self._link: socket.socket | None = None
        self._lifeline: socket.socket | None = None
        self._calls = 0
        self._lent = limits.submission

    def __enter__(self) -> "Student":
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def function(self, name: str) -> Callable[..., Any]:
        """The student's function of that name. Calls raise `AnswerError` where it fails."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.ready()
            return self.call(name, args, kwargs)

        return call

    def ready(self) -> None:
        """Start the process and run the cells, if it is not there already.

        A cell that takes too long or ends the process is left out the next time. The time of cells
        that run again is not the student's, within bounds: it prolongs the deadline.
        """
        while self._link is None:
            self._check_time()
            begin = time.monotonic()
            try:
                self._link, self._lifeline = self.server.fork()
            except OSError as error:
                raise ServerLost(str(error)) from error
            stopped = self._run_cells()
            if self.ran:
                again = min(time.monotonic() - begin, self._lent)
                self._lent -= again
                self.deadline += again
            if stopped is None:
                self.ran = True
            else:
                self.cells = [cell for cell in self.cells if cell[0] != stopped]

    def _run_cells(self) -> int | None:
        """Run the cells in order; returns the number of one that stopped the process, if any."""
        number = 0
        late: list[tuple[int, str, list[int]]] = []
        try:
            for number, source, statements in self.cells:
                failed = self._run_cell(number, source, statements)
                # A NameError may mean that the cells are not in the order they were run in.
                again = [e["statement"] for e in failed if e["type"] == "NameError"]
                late += [(number, source, again)] if again else []
                self._note(number, [e for e in failed if e["statement"] not in again])
            for number, source, statements in late:
                self._note(number, self._run_cell(number, source, statements))
            reply, _ = self._ask({"do": "defined", "names": self.names}, [], self.limits.cell)
            self.kinds = {name: bool(reply["kinds"][name]) for name in reply["kinds"]}
        except AnswerError as error:
            self.errors[number] = str(error)
        except wire.FORGED:
            self.end()
            self.errors[number] = "it interferes with the grader's messages"
        else:
            return None
        if not self.cells:  # nothing of the student's has run, so it was not the student
            raise ServerLost(f"an empty submission fails: {self.errors[number]}")
        return number

    def _run_cell(self, number: int, source: str, statements: Sequence[int]) -> list[wire.Message]:
        request = {
            "do": "run",
            "cell": f"cell {number}",
            "source": source,
            "statements": list(statements),
        }
        reply, _ = self._ask(request, [], self.limits.cell)
        return list(reply["errors"])[:20]

    def _note(self, number: int, failed: list[wire.Message]) -> None:
        if failed:
            self.errors.setdefault(number, _describe(failed[0]))

    def call(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call something in the student's process as if it were here.

        Gradients flow through the call. In-place changes of the arguments come back, and so do the
        gradients and modes of modules and the state of optimizers. torch's random numbers go on
        where the student's code left them, and gradients stay switched off if it does that.
        """
        with Shared() as shared:
            return self._call(target, args, kwargs, shared)

    def _call(
        self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], shared: Shared
    ) -> Any:
        self._calls += 1
        number = self._calls
        parameters = wire.parameters([args, kwargs])

        def described(value: Any) -> wire.Message:
            if isinstance(value, Remote):
                return value.reference()
            return wire.given(value, shared, parameters)

        request = {
            "do": "call",
            "call": number,
            "target": target,
            "args": wire.encode([args, kwargs], shared, described),
            "spans": shared.spans,
            "grad": torch.is_grad_enabled(),
        }
        shared.store()
        state = wire.content(torch.default_generator)
        reply, incoming = self._ask(request, [state], self.limits.call, [shared.file])
        _raise(reply)
        try:
            result = wire.decode(reply["result"], incoming, self._remote)
            given = list(wire.leaves([args, kwargs]))
            changed = {int(i): incoming[blob] for i, blob in dict(reply["changed"]).items()}
            if not set(changed) <= set(range(len(given))):
                raise wire.Malformed("more arguments came back than there are")
            for index, leaf in enumerate(given):
                said = changed.get(index)
                if said is None or said == wire.content(leaf):  # it may say so and be wrong
                    said = shared.changed(leaf)
                if said is not None:
                    wire.restore(leaf, said)
            wire.restore(torch.default_generator, incoming[reply["rng"]])
            grads, states = wire.decode(reply["training"], incoming)
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad
            for optimizer, state in zip(wire.optimizers([args, kwargs]), states, strict=True):
                optimizer.load_state_dict(state)
            inputs = [x for x in given if isinstance(x, Tensor) and x.requires_grad]
            outputs = [x for x in wire.leaves(result) if isinstance(x, Tensor)]
            flags = _flags(reply["result"])
            if torch.is_grad_enabled() and inputs and any(flags):
                linked = _Call.apply(self, number, outputs, flags, *inputs)
                result = _replace(result, iter(linked))
            wire.set_flags([args, kwargs], reply["flags"])
            torch.set_grad_enabled(reply["grad"] is True)
        except (wire.Malformed, *wire.FORGED, RuntimeError) as error:
            raise AnswerError(f"it returns something that cannot be read: {error}") from error
        return result

    def backward(self, number: int, weights: list[Tensor | None]) -> list[Tensor | None]:
        if self._link is None:
            raise AnswerError("its process is gone")
        blobs: list[bytes] = []
        request = {"do": "backward", "call": number, "weights": wire.encode(weights, blobs, None)}
        reply, incoming = self._ask(request, blobs, self.limits.call)
        _raise(reply)
        try:
            return list(wire.decode(reply["slopes"], incoming))
        except (wire.Malformed, *wire.FORGED) as error:
            raise AnswerError("its gradients cannot be read") from error

    def _ask(
        self,
        request: wire.Message,
        blobs: list[bytes],
        seconds: float,
        files: Sequence[int] = (),
    ) -> tuple[wire.Message, list[bytes]]:
        assert self._link is not None
        now = time.monotonic()
        deadline = min(now + seconds, self.deadline)
        request["id"] = self._calls
        try:
            self._link.settimeout(max(deadline - now, 0.001))
            wire.send(self._link, request, blobs, files)
            reply, incoming = wire.receive(self._link, deadline)
        except TimeoutError as error:
            self.lost += 1
            self.end()
            self._check_time()
            raise TimedOut(f"it took longer than {seconds:g} seconds") from error
        except wire.Malformed as error:
            self.end()
            raise AnswerError(str(error)) from error
        except (EOFError, OSError) as error:
            self.lost += 1
            raise Died(self._last_words()) from error
        if reply.get("id") != self._calls:
            self.end()
            raise AnswerError("it answers out of turn")
        return reply, incoming

    def _check_time(self) -> None:
        if time.monotonic() > self.deadline:
            raise TimedOut(
                f"the submission as a whole took longer than {self.limits.submission:g} seconds"
            )

    def _last_words(self) -> str:
        """How the process ended, from its keeper."""
        status = None
        if self._lifeline is not None:
            with contextlib.suppress(OSError, ValueError):
                self._lifeline.settimeout(30)
                status = json.loads(self._lifeline.recv(1000))["status"]
        self.end()
        if status is None:  # the server always reports, unless it is gone
            raise ServerLost("the process that runs submissions ended")
        if status >= 0:
            return "it ends the process (sys.exit, os._exit or the like)"
        return f"it crashes the process (signal {-status})"

    def end(self) -> None:
        """Kill the process and all that it started."""
        for end in (self._link, self._lifeline):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_WR)
        if self._lifeline is not None:
            with contextlib.suppress(OSError):  # until the keeper has reaped it, it is not gone
                self._lifeline.settimeout(5)
                while self._lifeline.recv(1000):
                    pass
        for end in (self._link, self._lifeline):
            if end is not None:
                end.close()
        self._link = self._lifeline = None
        self.server.clean()

    def _remote(self, value: wire.Message) -> "Remote":
        if value.get("is") != "handle":
            raise ValueError("kind")
        return Remote(self, int(value["handle"]), str(value["type"])[:80])


class Remote:
    """Something that a student's function returned and that stays in its process.

    Calling it calls it there; its attributes are fetched from there.
    """

    def __init__(self, student: Student, handle: int, kind: str) -> None:
        self._student, self._handle, self._kind = student, handle, kind

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._student.call([self._handle, None], args, kwargs)

    def reference(self) -> wire.Message:
        """What stands for this in a later call's arguments."""
        return {"is": "handle", "handle": self._handle}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._student.call([self._handle, name], (), {})


class _Call(torch.autograd.Function):
    """A call's outputs, connected to its inputs by vector-Jacobian products asked for there."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Student,
        number: int,
        outputs: list[Tensor],
        flags: list[bool],
        *_: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.student, ctx.number = student, number
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(
            *[o for o, flag in zip(outputs, flags, strict=True) if not flag]
        )
        return tuple(outputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *weights: Tensor | None) -> tuple[Any, ...]:
        return (None, None, None, None, *ctx.student.backward(ctx.number, list(weights)))


def _replace(value: Any, tensors: Iterator[Tensor]) -> Any:
    """The same structure with its tensors replaced, in order."""
    if isinstance(value, Tensor):
        return next(tensors)
    if isinstance(value, tuple | list):
        return type(value)(_replace(item, tensors) for item in value)
    if isinstance(value, dict):
        return {key: _replace(item, tensors) for key, item in value.items()}
    return value


def _flags(value: Any) -> list[bool]:
    """Of an encoded result: which of its tensors can be differentiated."""
    if not isinstance(value, dict):
        return []
    if value["is"] == "tensor":
        return [value["grad"] is True]
    if value["is"] == "dict":
        return [flag for _, item in value["items"] for flag in _flags(item)]
    return [flag for item in value.get("items", []) for flag in _flags(item)]


def _raise(reply: wire.Message) -> None:
    """Raise what the student's code raised, as a message."""
    error = reply.get("error")
    if error is None:
        return
    try:
        message = f"it raises {_describe(error)}"
        attempted = error["type"] != "NotImplementedError"
    except wire.FORGED as trouble:
        raise AnswerError("it raises an exception that cannot be read") from trouble
    if not attempted:
        raise NotAttempted("not attempted yet")
    raise AnswerError(message)


def _describe(error: wire.Message) -> str:
    line, text = int(error["line"]), str(error["text"])[:120]
    where = f" ({str(error['cell'])[:40]}, line {line}: {text})" if line and text else ""
    said = f": {str(error['message'])[:500]}" if error["message"] else ""
    return f"{str(error['type'])[:80]}{said}{where}"
