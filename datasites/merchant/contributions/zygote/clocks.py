"""Makes every clock in a process stand still, and reads them past that for the trusted part."""

from __future__ import annotations

import ctypes
import struct
import time
from typing import Any

from .system import libc, must, place_code

__all__ = ["real_clock", "stop_clocks"]

_TSC, _VDSO = 26, 33
_PAGE = 4096
# What answers instead of the kernel's functions: zeros where the time is wanted, 0 for `time`, and
# "no such function" for all others, upon which the C library makes the system call.
_STUBS = {
    "x86_64": {
        "": bytes.fromhex("b8daffffffc3"),
        "gettimeofday": bytes.fromhex("48c7070000000048c747080000000031c0c3"),
        "clock_gettime": bytes.fromhex("48c7060000000048c746080000000031c0c3"),
        "clock_getres": bytes.fromhex("48c7060000000048c746080000000031c0c3"),
        "time": bytes.fromhex("31c0c3"),
    },
    "aarch64": {
        "": struct.pack("<2I", 0x128004A0, 0xD65F03C0),
        "gettimeofday": struct.pack("<4I", 0xF900001F, 0xF900041F, 0x52800000, 0xD65F03C0),
        "clock_gettime": struct.pack("<4I", 0xF900003F, 0xF900043F, 0x52800000, 0xD65F03C0),
        "clock_getres": struct.pack("<4I", 0xF900003F, 0xF900043F, 0x52800000, 0xD65F03C0),
    },
}


def stop_clocks(kernel: dict[str, Any]) -> None:
    """Make every clock stand at zero, here and in all children.

    The processor's counter is closed, the kernel's pages of time go, and the functions that read
    them jump to others that answer 0. They cannot just go: Python itself asks them for the time.
    """
    if libc.prctl(_TSC, 2, 0, 0, 0) != 0:
        raise SystemExit("expected a kernel that can close the processor's clock, found none")
    base, below = libc.getauxval(_VDSO), kernel["clock_below"]
    size = kernel["clock_size"] - below
    text = bytearray(ctypes.string_at(base, size))
    stubs, places = b"", {}
    for name, code in _STUBS[kernel["machine"]].items():
        places[name] = len(stubs)
        stubs += code.ljust(32, b"\0")
    for name, place in _functions(text).items():
        if "sigreturn" in name:
            continue
        kind = next((one for one in places if one and name.endswith(one)), "")
        offset = places[kind] - _PAGE - place
        if kernel["machine"] == "x86_64":
            text[place : place + 5] = b"\xe9" + struct.pack("<i", offset - 5)
        else:
            jump = 0x14000000 | (offset // 4 & 0x3FFFFFF)
            text[place : place + 4] = struct.pack("<I", jump)
    must(libc.munmap(base - below, below))
    place_code(stubs.ljust(_PAGE, b"\0"), base - _PAGE)
    place_code(bytes(text), base)
    if time.monotonic() != 0 or time.time() != 0:
        raise SystemExit("expected clocks that stand still, found one that does not")


def _functions(text: bytearray) -> dict[str, int]:
    """Name -> offset of what the kernel's shared object offers."""
    start = struct.unpack_from("<Q", text, 32)[0]
    size, count = struct.unpack_from("<HH", text, 54)
    tables: dict[int, int] = {}
    for number in range(count):
        kind, _, _, address = struct.unpack_from("<IIQQ", text, start + number * size)
        while kind == 2:
            tag, value = struct.unpack_from("<QQ", text, address)
            tables[tag] = value
            address += 16
            if tag == 0:
                break
    names, entries = tables[5], tables[6]
    found = {}
    for entry in range(entries, names - 23, 24):
        name, _, _, section, value, _ = struct.unpack_from("<IBBHQQ", text, entry)
        if section and value:
            found[bytes(text[names + name : text.index(0, names + name)]).decode()] = value
    return found


def real_clock(kernel: dict[str, Any], which: int) -> float:
    """Seconds by one of the kernel's clocks, asked past the functions that stand still."""
    found = (ctypes.c_long * 2)()
    call = ctypes.c_long(kernel["clock_gettime"])
    must(libc.syscall(call, ctypes.c_long(which), found))
    return float(found[0] + found[1] / 1e9)
