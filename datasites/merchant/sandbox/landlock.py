"""A second wall behind the mounts: the kernel's Landlock, which names what may be touched at all.

Mounts decide what exists inside; Landlock would hold even if one mount too many slipped in. Rules
are worked out here, outside, and the bootstrap hands them to the kernel. By hand, since the
package `landlock` on PyPI is a pre-release, and the bootstrap has the standard library alone.

Source: Documentation/userspace-api/landlock.rst of the Linux kernel.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any, Final

__all__ = ["abi", "rules"]

_CREATE_RULESET: Final = 444  # the same number on every machine
_VERSION: Final = 1

_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE_FOLDER, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_FOLDER, _MAKE_FILE, _MAKE_PIPE, _MAKE_LINK = 1 << 7, 1 << 8, 1 << 10, 1 << 12
_MOVE, _TRUNCATE = 1 << 13, 1 << 14
# How many rights of files each version of the kernel's interface knows.
_KNOWN_RIGHTS: Final = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP: Final = 0b11  # to bind, to connect
_OUTSIDE: Final = 0b11  # abstract sockets and signals of processes outside

_READABLE = _EXECUTE | _READ | _LIST
# Neither starting what was written, nor devices, nor sockets. Links and pipes are refused later,
# among the outputs, with a reason.
_WRITABLE = (
    _WRITE
    | _READ
    | _LIST
    | _REMOVE_FOLDER
    | _REMOVE_FILE
    | _MAKE_FOLDER
    | _MAKE_FILE
    | _MAKE_PIPE
    | _MAKE_LINK
    | _MOVE
    | _TRUNCATE
)


@functools.cache
def abi() -> int:
    """Version of the interface that this kernel offers; 0 where it offers none."""
    try:
        call = ctypes.CDLL(None, use_errno=True).syscall
    except (OSError, AttributeError):
        return 0
    call.restype = ctypes.c_long
    return max(0, int(call(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), _VERSION)))


def rules(
    readable: Sequence[str], writable: Sequence[str], version: int | None = None
) -> dict[str, Any] | None:
    """What the bootstrap asks of the kernel, as plain JSON; None where there is no Landlock.

    Args:
        readable: Paths, as the run sees them, to read and to start programs from.
        writable: Folders, as the run sees them, to read and write.
        version: Of the kernel's interface; the running kernel's by default.
    """
    version = abi() if version is None else version
    if version < 1:
        return None
    known = (1 << _KNOWN_RIGHTS[min(version, max(_KNOWN_RIGHTS))]) - 1
    return {
        "files": known,
        "tcp": _TCP if version >= 4 else 0,
        "outside": _OUTSIDE if version >= 6 else 0,
        "paths": [
            *([path, _READABLE & known] for path in readable),
            *([path, _WRITABLE & known] for path in writable),
            # The devices there are null, zero, full and random numbers.
            ["/dev", (_READ | _LIST | _WRITE) & known],
        ],
    }
