"""First program inside the sandbox: binds its limits, reports, and becomes the remote code.

Its text is handed to the interpreter with `-c`, so it uses the standard library alone. It runs
before any line of remote code, and sends the caller open folders to watch the run through.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys


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
