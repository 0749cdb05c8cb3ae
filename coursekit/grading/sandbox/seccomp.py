"""A filter for system calls, in the kernel's own language (classic BPF).

Runs in the student's process, once no_new_privs is set. A library for this, libseccomp, has no
well-kept binding on the package index, and the filter is short.
"""

import ctypes
import os
from typing import Any

PR_SET_SECCOMP = 22


class _Instruction(ctypes.Structure):
    """One line of a filter program: struct sock_filter of the kernel."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("yes", ctypes.c_uint8),
        ("no", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("first", ctypes.POINTER(_Instruction)))


FORBIDDEN: dict[str, Any] = {
    "x86_64": {
        "architecture": 0xC000003E,
        # add_key, request_key, keyctl; unshare, setns; memfd_create, memfd_secret; shmget
        "calls": [248, 249, 250, 272, 308, 319, 447, 29],
        "clone": 56,
        "clone3": 435,
    },
    "aarch64": {
        "architecture": 0xC00000B7,
        "calls": [217, 218, 219, 97, 268, 279, 447, 194],
        "clone": 220,
        "clone3": 435,
    },
}
NEW_NAMESPACES = 0x7E020080
"""All CLONE_NEW... flags, of which a thread needs none."""


def forbid() -> None:
    """Forbid what would leave things behind for others, or memory that no limit counts.

    Kernel keyrings outlive a process and are shared by all that a user runs; a nested user
    namespace gives capabilities back; files in memory and System V segments escape the limit on
    memory. Where kernel or architecture lacks the filter, `_try` in levels.py finds that out.
    """
    known = FORBIDDEN.get(os.uname().machine)
    if known is None:
        return
    load, equal, at_least, any_bit, result = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000
    no_permission, no_such_call = refuse | 1, refuse | 38
    number, architecture, first_argument = 0, 4, 16
    lines = [
        (load, 0, 0, architecture),
        (equal, 1, 0, known["architecture"]),
        (result, 0, 0, kill),
        (load, 0, 0, number),
        (at_least, 0, 1, 0x40000000),  # the same calls under other numbers, for 32-bit pointers
        (result, 0, 0, no_permission),
    ]
    for call in known["calls"]:
        lines += [(equal, 0, 1, call), (result, 0, 0, no_permission)]
    lines += [
        (equal, 0, 1, known["clone3"]),  # its flags cannot be seen; libc then uses clone
        (result, 0, 0, no_such_call),
        (equal, 0, 3, known["clone"]),
        (load, 0, 0, first_argument),
        (any_bit, 0, 1, NEW_NAMESPACES),
        (result, 0, 0, no_permission),
        (result, 0, 0, allow),
    ]
    program = (_Instruction * len(lines))(*[_Instruction(*line) for line in lines])
    ctypes.CDLL(None).prctl(PR_SET_SECCOMP, 2, ctypes.byref(_Program(len(lines), program)), 0, 0)
