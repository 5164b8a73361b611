"""Messages that broke a rule: kept aside, newest first to go in, bounded, with the reason."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from datasites.syftbox.keys import private_folder
from recsys.files import atomic_write_bytes, atomic_write_text

__all__ = ["Quarantine"]

_KEPT = 100
_KEPT_BYTES = 1024 * 1024


class Quarantine:
    """A folder of refused messages, and the list of those since it was last asked."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_folder(folder)
        self._fresh: list[tuple[str, str]] = []
        self._noted: set[tuple[str, str]] = set()

    def put(self, sender: str, reason: str, data: bytes | None) -> None:
        """Keep a message (still encrypted, at most 1 MB of it) and why it was refused."""
        self._fresh.append((sender, reason))
        stem = f"{time.time_ns():020d}"
        facts = {"sender": sender, "reason": reason, "at": time.time()}
        if data is not None:
            facts |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            atomic_write_bytes(self._folder / f"{stem}.bin", data[:_KEPT_BYTES], mode=0o600)
        atomic_write_text(self._folder / f"{stem}.json", json.dumps(facts), mode=0o600)
        for old in sorted(self._folder.glob("*.json"))[:-_KEPT]:
            old.with_suffix(".bin").unlink(missing_ok=True)
            old.unlink(missing_ok=True)

    def note(self, sender: str, reason: str) -> None:
        """Report a lasting trouble with a peer, once, however often it is met."""
        if (sender, reason) not in self._noted:
            self._noted.add((sender, reason))
            self._fresh.append((sender, reason))

    def take(self) -> list[tuple[str, str]]:
        """What was refused since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh
