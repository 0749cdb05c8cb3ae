"""What crosses between the grader and a student's worker: JSON and raw tensor bytes, no pickle.

Runs on both sides, so it stands on torch and the standard library alone. Code (functions, modules)
only ever crosses towards the worker: `decode` refuses it unless `trusted`.
"""

import inspect
import itertools
import json
import math
import socket
import struct
import textwrap
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

MAX_JSON = 2**20
MAX_BLOBS = 2**26
"""Bytes of one message: what a worker sends must not fill the grader's memory."""

DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64,
        torch.complex128, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
        torch.bool,
    )
}  # fmt: skip

PLAIN = (bool, int, float, str, type(None))

Message = dict[str, Any]


FORGED = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What reading a message may raise that is not made as ours are."""


class Malformed(Exception):
    """The other side sent what it should not, or more than it may."""


def send(
    link: socket.socket, message: Message, blobs: list[bytes], files: Iterable[int] = ()
) -> None:
    head = json.dumps({**message, "sizes": [len(blob) for blob in blobs]}).encode()
    data = b"".join([struct.pack(">I", len(head)), head, *blobs])
    if files:
        socket.send_fds(link, [data[:1]], list(files))
        data = data[1:]
    link.sendall(data)


def receive(
    link: socket.socket, deadline: float | None = None, files: list[int] | None = None
) -> tuple[Message, list[bytes]]:
    """The next message. TimeoutError at the deadline (time.monotonic), EOFError at the end.

    Each side waits for an answer before it speaks again, so what has arrived is one message.
    `files` takes the files that come with it; without it none are accepted.
    """
    data = bytearray()
    if files is not None:
        first, given, _, _ = socket.recv_fds(link, 1, 1)
        files += given
        data += first
    _until(link, data, 4, deadline)
    start = 4 + int.from_bytes(data[:4], "big")
    if start > MAX_JSON:
        raise Malformed("the message is too long")
    _until(link, data, start, deadline)
    try:
        message = json.loads(data[4:start])
        sizes = message.pop("sizes")
        if not all(type(size) is int and size >= 0 for size in sizes):
            raise ValueError("sizes")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Malformed("the message is not what it should be") from error
    if sum(sizes) > MAX_BLOBS:
        raise Malformed(f"the result is larger than {MAX_BLOBS // 2**20} MB")
    _until(link, data, start + sum(sizes), deadline)
    if len(data) > start + sum(sizes):
        raise Malformed("there is more than one message")
    ends = list(itertools.accumulate(sizes, initial=start))
    return message, [bytes(data[a:b]) for a, b in itertools.pairwise(ends)]


def _until(link: socket.socket, data: bytearray, size: int, deadline: float | None) -> None:
    """Receive until there are `size` bytes, or more if more have come."""
    while len(data) < size:
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            link.settimeout(left)
        part = link.recv(2**18)
        if not part:
            raise EOFError
        data += part


def encode(value: Any, blobs: list[bytes], other: Callable[[Any], Message] | None = None) -> Any:
    """A value as JSON, its tensors appended to `blobs`. `other` encodes what is left."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, Tensor):
        return _tensor(value, blobs)
    if isinstance(value, tuple | list):
        items = [encode(item, blobs, other) for item in value]
        return {"is": "tuple" if isinstance(value, tuple) else "list", "items": items}
    if isinstance(value, dict) and all(type(key) in PLAIN for key in value):
        return {
            "is": "dict",
            "items": [[key, encode(item, blobs, other)] for key, item in value.items()],
        }
    if isinstance(value, Generator):
        blobs.append(_bytes(value.get_state()))
        return {"is": "generator", "blob": len(blobs) - 1}
    if isinstance(value, float):  # numpy's float64 is one
        return float(value)
    if other is not None:
        return other(value)
    raise TypeError(f"a {type(value).__name__} cannot cross")


def result_of(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What a call returns, in the one form in which `check` and the grader judge it.

    The function gets lists and dicts of its own, so that it cannot change the caller's. Generators
    are read; tuples and lists are plain ones; numpy's scalars and arrays without an axis are
    numbers.
    """
    result = function(*map(_own, args), **{name: _own(value) for name, value in kwargs.items()})
    return _simple(result)


def _own(value: Any) -> Any:
    if type(value) in (tuple, list):
        return type(value)(map(_own, value))
    return {key: _own(item) for key, item in value.items()} if type(value) is dict else value


def _simple(value: Any) -> Any:
    if isinstance(value, types.GeneratorType | map | zip):
        value = list(value)
    if isinstance(value, tuple):
        return tuple(map(_simple, value))
    if isinstance(value, list):
        return [_simple(item) for item in value]
    if type(value) is dict:
        return {key: _simple(item) for key, item in value.items()}
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return value.item()
    for kind in (int, float):  # as of an enumeration
        if isinstance(value, kind) and type(value) not in PLAIN:
            return kind(value)
    return value


def given(value: Any, blobs: list[bytes], parameters: list[nn.Parameter]) -> Message:
    """What only crosses towards the worker: modules, functions, optimizers of `parameters`."""
    if isinstance(value, nn.Module):
        return _module(value, blobs)
    if isinstance(value, types.FunctionType):
        return {"is": "function", **_source(value)}
    if isinstance(value, Optimizer):
        return _optimizer(value, blobs, parameters)
    raise TypeError(
        f"a {type(value).__name__} cannot be handed to an answer: tests may pass tensors, numbers, "
        "strings, lists, tuples, dicts, generators, torch modules, their optimizers and top-level "
        "functions"
    )


def _tensor(value: Tensor, blobs: list[bytes]) -> Message:
    name = str(value.dtype).removeprefix("torch.")
    if name not in DTYPES or value.layout != torch.strided or value.is_meta:
        kind = "meta" if value.is_meta else value.layout
        raise TypeError(f"a {kind} tensor of dtype {value.dtype} cannot cross")
    if value.numel() * value.element_size() > MAX_BLOBS:
        raise TypeError(f"a tensor larger than {MAX_BLOBS // 2**20} MB cannot cross")
    blobs.append(_bytes(value))
    if (places := getattr(blobs, "places", None)) is not None:  # as of `Shared`
        places.setdefault(id(value), []).append(len(blobs) - 1)
    return {
        "is": "tensor",
        "blob": len(blobs) - 1,
        "dtype": name,
        "shape": list(value.shape),
        "grad": value.requires_grad,
    }


def _bytes(value: Tensor) -> bytes:
    # A copy: what calls itself contiguous may have a stride, if it holds a single element.
    flat = torch.empty(value.numel(), dtype=value.dtype).copy_(value.detach().reshape(-1))
    data: bytes = flat.view(torch.uint8).numpy().tobytes()
    return data


@cache
def _source(thing: Any) -> Message:
    """The text of a top-level function or class: the worker has no other way to it.

    Kept, because Python reads all of a module to find a class in it.
    """
    if "<" in thing.__qualname__ or getattr(thing, "__closure__", None):
        raise TypeError(
            f"{thing.__qualname__} cannot be handed to an answer: define it with `def` or `class` "
            "at the top of its module, using nothing but torch, nn, F and math"
        )
    return {"name": thing.__name__, "source": textwrap.dedent(inspect.getsource(thing))}


def _module(module: nn.Module, blobs: list[bytes]) -> Message:
    """A module by its structure: class, plain attributes, tensors, children."""
    kind: Any = type(module)
    known = getattr(nn, kind.__name__, None) is kind
    plain = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and _plain(value)
    }
    reversed_padding = vars(module).get("_reversed_padding_repeated_twice")
    if reversed_padding is not None:  # what nn.Conv2d keeps beside its padding
        plain["_reversed_padding_repeated_twice"] = reversed_padding
    return {
        "is": "module",
        "class": {"name": kind.__name__} if known else _source(kind),
        "plain": encode(plain, blobs),
        "parameters": encode(dict(module._parameters), blobs),
        "grads": encode({n: p.grad for n, p in module._parameters.items() if p is not None}, blobs),
        "buffers": encode(dict(module._buffers), blobs),
        "children": [
            [name, _module(child, blobs)]
            for name, child in module._modules.items()
            if child is not None
        ],
    }


def _optimizer(optimizer: Optimizer, blobs: list[bytes], parameters: list[nn.Parameter]) -> Message:
    """An optimizer by its class, its state, and the places of its parameters in the call."""
    kind = type(optimizer)
    if getattr(torch.optim, kind.__name__, None) is not kind:
        raise TypeError(f"only torch's own optimizers can be handed to an answer, not {kind}")
    places = {id(parameter): i for i, parameter in enumerate(parameters)}
    try:
        groups = [[places[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    except KeyError as error:
        raise TypeError(
            "an optimizer is handed over together with the modules that it optimizes"
        ) from error
    state = encode(optimizer.state_dict(), blobs)
    return {"is": "optimizer", "class": kind.__name__, "groups": groups, "state": state}


def parameters(value: Any) -> list[nn.Parameter]:
    """The parameters of all modules in a call's arguments, in a fixed order."""
    return [p for module in _of_kind(value, nn.Module) for p in module.parameters()]


def optimizers(value: Any) -> list[Optimizer]:
    return list(_of_kind(value, Optimizer))


Kind = TypeVar("Kind")


def _of_kind(value: Any, kind: type[Kind]) -> Iterator[Kind]:
    if isinstance(value, kind):
        yield value
    elif isinstance(value, tuple | list | dict):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _of_kind(item, kind)


@dataclass
class _Described:
    """An optimizer that waits for its parameters to be there."""

    message: Message
    state: Any


def with_optimizers(value: Any) -> Any:
    """The decoded arguments, with each optimizer made for the parameters that are there now."""
    there = parameters(value)

    def made(item: Any) -> Any:
        if isinstance(item, _Described):
            kind = getattr(torch.optim, item.message["class"])
            groups = [{"params": [there[i] for i in group]} for group in item.message["groups"]]
            optimizer = kind(groups, lr=0.0)
            optimizer.load_state_dict(item.state)
            return optimizer
        if isinstance(item, tuple | list):
            return type(item)(map(made, item))
        if isinstance(item, dict):
            return {key: made(inner) for key, inner in item.items()}
        return item

    return made(value)


def _plain(value: Any) -> bool:
    return type(value) in PLAIN or (
        isinstance(value, tuple | list) and all(_plain(item) for item in value)
    )


def decode(
    value: Any,
    blobs: list[bytes],
    other: Callable[[Message], Any] | None = None,
    trusted: bool = False,
) -> Any:
    """What `encode` made. `Malformed` if it cannot be. `other` decodes what is left."""
    try:
        return _decode(value, blobs, other, trusted)
    except (*FORGED, RuntimeError) as error:
        raise Malformed(f"the result cannot be read ({type(error).__name__})") from error


def _decode(value: Any, blobs: list[bytes], other: Any, trusted: bool) -> Any:
    if type(value) in PLAIN:
        return value
    match value["is"]:
        case "tensor":
            made = _to_tensor(value, blobs)
            blobs[value["blob"]] = b""  # one blob, one tensor: many of one would fill our memory
            return made.requires_grad_(trusted and value["grad"])
        case "tuple":
            return tuple(_decode(item, blobs, other, trusted) for item in value["items"])
        case "list":
            return [_decode(item, blobs, other, trusted) for item in value["items"]]
        case "dict":
            return {key: _decode(item, blobs, other, trusted) for key, item in value["items"]}
        case "generator":
            generator = Generator()
            generator.set_state(_to_state(blobs[value["blob"]]))
            return generator
        case "function" if trusted:
            return _execute(value)
        case "module" if trusted:
            return _to_module(value, blobs)
        case "optimizer" if trusted:
            return _Described(value, _decode(value["state"], blobs, None, False))
        case _ if other is not None:
            return other(value)
    raise Malformed("the result is of a kind that cannot cross")


def _to_tensor(value: Message, blobs: list[bytes]) -> Tensor:
    dtype, shape, data = DTYPES[value["dtype"]], value["shape"], blobs[value["blob"]]
    if not all(type(n) is int and n >= 0 for n in shape) or len(shape) > 16:
        raise ValueError("shape")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("size")
    if not data:
        return torch.empty(shape, dtype=dtype)
    if isinstance(data, memoryview):  # of memory that the grader sees
        kept = torch.uint8 if dtype is torch.bool else dtype
        return torch.frombuffer(data, dtype=kept).view(dtype).reshape(shape)
    if dtype is torch.bool:  # any other byte than 0 and 1 would be no bool
        return torch.frombuffer(bytearray(data), dtype=torch.uint8).ne(0).reshape(shape)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)


def _to_state(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _execute(value: Message) -> Any:
    scope = {"torch": torch, "nn": nn, "F": F, "math": math, "Tensor": Tensor}
    source = "from __future__ import annotations\n" + value["source"]
    exec(compile(source, "<given>", "exec"), scope)
    return scope[value["name"]]


def _to_module(value: Message, blobs: list[bytes]) -> nn.Module:
    described = value["class"]
    kind = _execute(described) if "source" in described else getattr(nn, described["name"])
    module: nn.Module = kind.__new__(kind)
    nn.Module.__init__(module)
    for name, plain in _decode(value["plain"], blobs, None, False).items():
        setattr(module, name, plain)
    for name, parameter in value["parameters"]["items"]:
        tensor = _decode(parameter, blobs, None, False)
        if tensor is not None:
            tensor = nn.Parameter(tensor, requires_grad=parameter["grad"])
        module.register_parameter(name, tensor)
    for name, grad in _decode(value["grads"], blobs, None, False).items():
        getattr(module, name).grad = grad
    for name, buffer in _decode(value["buffers"], blobs, None, False).items():
        module.register_buffer(name, buffer)
    for name, child in value["children"]:
        module.add_module(name, _to_module(child, blobs))
    return module


def leaves(value: Any) -> Iterator[Tensor | Generator]:
    """The tensors and generators that a call could modify, in a fixed order."""
    if isinstance(value, Tensor | Generator):
        yield value
    elif isinstance(value, nn.Module):
        yield from value.parameters()
        yield from value.buffers()
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)


def flags(value: Any) -> list[bool]:
    """What a call may change beside numbers: which tensors require a gradient, which mode modules
    are in. In a fixed order."""
    modes = [part.training for module in _of_kind(value, nn.Module) for part in module.modules()]
    return [bool(getattr(leaf, "requires_grad", False)) for leaf in leaves(value)] + modes


def set_flags(value: Any, found: list[bool]) -> None:
    """Make them so. `Malformed` if they do not fit."""
    there = list(leaves(value))
    parts = [part for module in _of_kind(value, nn.Module) for part in module.modules()]
    if len(found) != len(there) + len(parts) or not all(type(flag) is bool for flag in found):
        raise Malformed("the arguments came back in another form")
    for leaf, flag in zip(there, found, strict=False):
        if isinstance(leaf, Tensor) and leaf.is_leaf and leaf.requires_grad != flag:
            leaf.requires_grad_(flag)
    for part, flag in zip(parts, found[len(there) :], strict=True):
        part.training = flag


def content(leaf: Tensor | Generator) -> bytes:
    """The bytes of a tensor, or of a generator's state."""
    return _bytes(leaf.get_state() if isinstance(leaf, Generator) else leaf)


def restore(leaf: Tensor | Generator, data: bytes) -> None:
    """Write such bytes back. `Malformed` if they do not fit."""
    try:
        if isinstance(leaf, Generator):
            leaf.set_state(_to_state(data))
        elif data:
            with torch.no_grad():
                flat = _to_tensor(
                    {
                        "dtype": str(leaf.dtype).removeprefix("torch."),
                        "shape": list(leaf.shape),
                        "blob": 0,
                    },
                    [data],
                )
                leaf.copy_(flat)
    except (RuntimeError, ValueError, TypeError) as error:
        raise Malformed("an argument came back in a form that it cannot have") from error
