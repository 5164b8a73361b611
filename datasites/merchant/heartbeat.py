"""The file by which the merchant's page and command line see whether the service runs."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from datasites.merchant.home import MerchantHome
from recsys.files import atomic_write_text

__all__ = ["Heartbeat", "ServiceState", "has_come_up", "read_beat", "service_state"]

# Each is a write that waits for the disk; a page calls a service silent after half a minute.
_EVERY_SECONDS = 10.0
SILENT_SECONDS = 30.0
_HOW = "Start it: toyfed datasite serve"


def read_beat(home: MerchantHome) -> dict[str, Any]:
    """What the service said last; nothing if it never did, or if its file is damaged."""
    try:
        beat: dict[str, Any] = json.loads(home.heartbeat.read_bytes())
        return {str(name): value for name, value in beat.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError):
        return {"state": "not known", "detail": "service.json is damaged; a service renews it"}


@dataclass(frozen=True)
class ServiceState:
    """What to tell the merchant about the service.

    Args:
        state: a word for programs.
        text: what to say of the service.
        how: it stands.
        detail: what to do, or what is wrong.
    """

    state: str
    text: str
    how: Literal["well", "odd", "bad", "off"]
    detail: str = ""


def service_state(home: MerchantHome, busy: bool) -> ServiceState:
    """Read the heartbeat, and see whether its process still lives.

    Args:
        busy: whether a run is under way; the service does not beat while it waits for one.
    """
    try:
        beat = json.loads(home.heartbeat.read_text(encoding="utf-8"))
        state, pid, at = beat["state"], int(beat["pid"]), datetime.fromisoformat(beat["at"])
        silent = (datetime.now(UTC) - at).total_seconds()
        detail = str(beat.get("detail", ""))
    except FileNotFoundError:
        return ServiceState("never started", "never started", "off", _HOW)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return ServiceState("not known", "state not readable", "odd", _HOW)
    if state == "stopped":
        return ServiceState("stopped", "stopped", "off", _HOW)
    if not _alive(pid):
        return ServiceState("ended", "ended unexpectedly", "bad", _HOW)
    if busy:
        return ServiceState("busy", "running approved code", "well")
    if state == "troubled":
        return ServiceState("troubled", "has trouble", "odd", detail)
    if silent > SILENT_SECONDS + 10 * home.settings.poll_seconds:
        return ServiceState("silent", "is silent", "odd", f"Last sign {silent / 60:.0f} min ago.")
    if state == "starting":
        return ServiceState("starting", "is starting", "well")
    return ServiceState("running", "is running", "well")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OverflowError:
        return False  # no process has such a number
    return True


def has_come_up(home: MerchantHome) -> bool:
    """Whether a service has ended a pass since its file was made."""
    return bool(read_beat(home).get("state", "starting") != "starting")


class Heartbeat:
    """Says how the service is: at once when that changes, else every few seconds."""

    def __init__(self, home: MerchantHome, clock: Callable[[], float] = time.monotonic) -> None:
        self._home = home
        self._clock = clock
        self._last: tuple[str, str] | None = None
        self._at = 0.0

    def beat(self, state: str, detail: str = "") -> None:
        """Tell after a pass that the service is 'running', 'troubled' or 'stopped'.

        Raises OSError if it cannot be written.
        """
        self._tell(state, detail)

    def alive(self, state: str = "running") -> None:
        """Tell within a pass, which may take hours, that the service lives, as far as it can."""
        with contextlib.suppress(OSError):
            self._tell(state, "")

    def _tell(self, state: str, detail: str) -> None:
        now = self._clock()
        if self._last != (state, detail) or now - self._at >= _EVERY_SECONDS:
            beat = {
                "state": state,
                "detail": detail,
                "pid": os.getpid(),
                "at": datetime.now(UTC).isoformat(),
            }
            text = json.dumps(beat)
            try:
                atomic_write_text(self._home.heartbeat, text, mode=0o600)
            except OSError:
                self._write_over(text.encode())
            self._last, self._at = (state, detail), now

    def _write_over(self, text: bytes) -> None:
        """Tell it in the file that is there: a full disk has no room for a new one."""
        with self._home.heartbeat.open("rb+", buffering=0) as file:
            file.write(text.ljust(os.fstat(file.fileno()).st_size))
            file.truncate(len(text))
