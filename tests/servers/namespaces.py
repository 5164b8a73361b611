"""Network namespaces joined by one bridge, for tests as root; named by pid, none is left behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

_NAME = re.compile(r"toyfed-(\d+)-[a-z0-9]+")


class CannotError(Exception):
    """Why there can be no namespaces here."""


class Town:
    """A bridge in a namespace of its own, a cable to this machine, and houses with one cable each.

    Raises CannotError where namespaces cannot be made.
    """

    def __init__(self) -> None:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            raise CannotError("network namespaces need root and the program ip (iproute2)")
        self._pid, self._houses = os.getpid(), 0
        # 198.18.0.0/15 is set apart for tests of networks.
        self._net = f"198.18.{self._pid % 256}"
        self.square = f"toyfed-{self._pid}-square"
        self.address = f"{self._net}.1"
        try:
            sweep()
            _ip("netns", "add", self.square)
            _ip("-n", self.square, "link", "set", "lo", "up")
            _ip("-n", self.square, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self.square, "address", "add", f"{self.address}/24", "dev", "bridge")
            _ip("-n", self.square, "link", "set", "bridge", "up")
            own = f"toyfed{self._pid}"
            _ip("link", "add", own, "type", "veth", "peer", "name", "here", "netns", self.square)
            self._plug("here")
            _ip("address", "add", f"{self._net}.2/24", "dev", own)
            _ip("link", "set", own, "up")
        except subprocess.CalledProcessError as error:
            with contextlib.suppress(subprocess.CalledProcessError):
                self.close()
            raise CannotError(f"ip refused: {error.stderr.strip()[:200]}") from error

    def house(self) -> str:
        """A namespace more, with an address of its own."""
        self._houses += 1
        name, cable = f"toyfed-{self._pid}-house{self._houses}", f"cable{self._houses}"
        _ip("netns", "add", name)
        _ip("-n", name, "link", "set", "lo", "up")
        _ip("-n", self.square, "link", "add", cable, "type", "veth", "peer", "name", "door",
            "netns", name)  # fmt: skip
        self._plug(cable)
        _ip("-n", name, "address", "add", f"{self._net}.{self._houses + 9}/24", "dev", "door")
        _ip("-n", name, "link", "set", "door", "up")
        return name

    def inside(self, namespace: str) -> tuple[str, ...]:
        """The start of a command that runs in a namespace."""
        return ("ip", "netns", "exec", namespace)

    def cut(self, house: str) -> None:
        """Take a house's link down."""
        _ip("-n", house, "link", "set", "door", "down")

    def mend(self, house: str) -> None:
        """Bring it up again."""
        _ip("-n", house, "link", "set", "door", "up")

    def close(self) -> None:
        """Remove everything; who is still in there is ended. Cables go with their namespaces."""
        for name, pid in _named():
            if pid == self._pid:
                _remove(name)

    def _plug(self, cable: str) -> None:
        _ip("-n", self.square, "link", "set", cable, "master", "bridge", "up")


def sweep() -> None:
    """Remove what runs that were killed left behind."""
    for name, pid in _named():
        if not Path(f"/proc/{pid}").exists():
            _remove(name)


def _named() -> list[tuple[str, int]]:
    """Our namespaces, and the pid of the run that each belongs to."""
    found = []
    for line in _ip("netns", "list").splitlines():
        if match := _NAME.fullmatch(line.partition(" ")[0]):
            found.append((match[0], int(match[1])))
    return found


def _remove(name: str) -> None:
    deadline = time.monotonic() + 10
    while (inside := _ip("netns", "pids", name).split()) and time.monotonic() < deadline:
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.05)
    _ip("netns", "delete", name)


def _ip(*words: str) -> str:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout
