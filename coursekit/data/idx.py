"""The idx format of MNIST and Fashion-MNIST: a header that gives the shape, then the bytes."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import torch
from torch import Tensor

from coursekit.data.files import DataError

_UNSIGNED_BYTE = 8  # the type code in the header; MNIST's files have no other


def read_idx(path: Path, shape: tuple[int, ...]) -> Tensor:
    """The uint8 tensor in an idx file, gzipped if its name ends in .gz.

    shape: what the file has to hold; anything else, or a damaged file, raises DataError. No more
    is ever unpacked than that shape needs.
    """
    header = bytes([0, 0, _UNSIGNED_BYTE, len(shape)])
    header += b"".join(size.to_bytes(4, "big") for size in shape)
    length = math.prod(shape)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            found = file.read(len(header))
            body = bytearray(file.read(length + 1))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is damaged ({error}); delete it and load the set again") from error
    if found != header:
        raise DataError(
            f"{path} is not the idx file of {' x '.join(map(str, shape))} bytes that is expected "
            f"there: its header is {found.hex(' ') or 'empty'}, not {header.hex(' ')}. "
            "Put the right file in its place, or delete it and load the set again"
        )
    if len(body) != length:
        size = "more" if len(body) > length else f"only {len(body)}"
        raise DataError(
            f"{path} announces {length} bytes of data and holds {size}; "
            "delete it and load the set again"
        )
    return torch.frombuffer(body, dtype=torch.uint8).view(shape)
