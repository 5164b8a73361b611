"""Calls of the C library and of the kernel that Python does not offer, or would count."""

from __future__ import annotations

import ctypes

__all__ = ["copy_process", "libc", "must", "place_code"]

# The interpreter's lock stays held, so that a child made by a bare call wakes up holding it.
libc = ctypes.PyDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.getauxval.restype = ctypes.c_ulong
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)

_READ_WRITE, _READ_RUN, _PRIVATE, _AT_THIS_PLACE = 3, 5, 0x22, 0x10


def must(done: int) -> None:
    """Raise OSError unless a call answered 0."""
    if done != 0:
        raise OSError(ctypes.get_errno(), "a door of the sandbox did not close")


def copy_process(clone: ctypes.c_long, flags: int) -> int:
    """Make a copy of this process: 0 in the copy. Past Python, whose own way to do it counts."""
    found: int = libc.syscall(clone, ctypes.c_long(flags), *(ctypes.c_long(0),) * 4)
    return found


def place_code(code: bytes, place: int | None = None) -> int:
    """The address of new memory that holds `code` and can be run, at `place` if one is named."""
    flags = _PRIVATE | (_AT_THIS_PLACE if place else 0)
    found = libc.mmap(place, len(code), _READ_WRITE, flags, -1, 0)
    if (place and found != place) or not found or found == ctypes.c_void_p(-1).value:
        raise SystemExit("expected to put functions of its own into memory, could not")
    ctypes.memmove(found, code, len(code))
    must(libc.mprotect(found, len(code), _READ_RUN))
    return int(found)
