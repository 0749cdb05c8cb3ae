"""A call's arguments in memory that the grader and the student's process share."""

import itertools
import os
import tempfile
from typing import Any


class Shared(list[bytes]):
    """The blobs of a call's arguments, in memory that the worker's tensors lie in.

    So the grader sees for itself what the call did to them, whatever the worker says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, list[int]] = {}
        """By the id of a tensor: the blobs that hold it."""
        self.file = -1

    def __enter__(self) -> "Shared":
        return self

    def __exit__(self, *error: object) -> None:
        if self.file >= 0:
            os.close(self.file)

    @property
    def spans(self) -> list[list[int]]:
        """Start and end of each blob."""
        sizes = [-(-len(blob) // 64) * 64 for blob in self]
        starts = itertools.accumulate(sizes, initial=0)
        return [[start, start + len(blob)] for start, blob in zip(starts, self, strict=False)]

    def store(self) -> None:
        """Write them into a file in memory, whose size the worker cannot change."""
        if hasattr(os, "memfd_create"):
            self.file = os.memfd_create("arguments", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        else:
            with tempfile.TemporaryFile() as file:
                self.file = os.dup(file.fileno())
        spans = self.spans
        os.ftruncate(self.file, max((end for _, end in spans), default=0) or 1)
        for (start, _), blob in zip(spans, self, strict=True):
            os.pwrite(self.file, blob, start)
        if hasattr(os, "memfd_create"):
            import fcntl  # which Windows lacks

            seals = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, seals)

    def changed(self, value: Any) -> bytes | None:
        """What is there now for a tensor, or None if nothing has changed."""
        spans = self.spans
        for place in self.places.get(id(value), []):
            start, end = spans[place]
            now = os.pread(self.file, end - start, start)
            if now != self[place]:
                return now
        return None
