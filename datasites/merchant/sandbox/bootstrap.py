"""First program inside the sandbox: binds its limits, reports, and becomes the remote code.

Its text is handed to the interpreter with `-c`, so it uses the standard library alone. It runs
before any line of remote code, and sends the caller open folders to watch the run through.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import stat
import struct
import sys

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
NO_NEW_PRIVILEGES = 38
# Rights that a rule about a single file may have: start, write, read, truncate.
OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14


def confine(rules: dict) -> None:  # type: ignore[type-arg]
    """Hand rules made by `landlock.rules` to the kernel. Raises OSError if it refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long

    def call(number: int, *arguments: object) -> int:
        found: int = libc.syscall(ctypes.c_long(number), *arguments)
        if found < 0:
            raise OSError(ctypes.get_errno(), "Landlock")
        return found

    kinds = struct.pack("=QQQ", rules["files"], rules["tcp"], rules["outside"])
    # Older kernels know fewer of the three.
    size = 24 if rules["outside"] else 16 if rules["tcp"] else 8
    ruleset = call(CREATE_RULESET, kinds, ctypes.c_size_t(size), 0)
    for path, rights in rules["paths"]:
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= OF_FILES
        call(ADD_RULE, ruleset, 1, struct.pack("=Qi", rights, place), 0)
        os.close(place)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no new privileges")
    call(RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def main() -> None:
    """Take the settings from the command line and end by running `main.py` in the code folder."""
    settings = json.loads(sys.argv[1])
    for name, value in settings["rlimits"].items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        # A second between soft and hard, so that the code ends by SIGXCPU, which says why.
        soft = max(1, most - 1) if name == "RLIMIT_CPU" else most
        resource.setrlimit(kind, (soft, most))
    # Lower priority than the watcher, and than the merchant's shop.
    os.nice(10)
    folders = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in settings["folders"]]
    if settings["landlock"] is not None:
        confine(settings["landlock"])
    with socket.socket(fileno=settings["channel"]) as channel:
        socket.send_fds(channel, [b"r"], folders)
        if channel.recv(1) != b"g":
            raise SystemExit(1)
    os.closerange(3, 1 << 20)
    os.chdir(settings["code"])
    python = settings["python"]
    os.execve(python, [python, "-s", "main.py"], settings["environment"])


if __name__ == "__main__":
    main()
