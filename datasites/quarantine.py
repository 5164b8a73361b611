"""Messages that broke a rule: kept aside for the merchant to look at, with the reason.

    private/link/quarantine/ID.json   when, who, why, size, sha256
    private/link/quarantine/ID.bin    the beginning of the message as it came, mostly encrypted

What is kept is bounded, and each peer has its share of it: who floods it pushes out its own
messages first. The reasons are written by this program and hold nothing of a shopper.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from datasites.errors import ReviewError
from datasites.private import private_folder
from recsys.files import atomic_write_bytes, atomic_write_text

__all__ = ["Quarantine", "Refused"]

_MOST, _SLACK = 200, 50
_MOST_BYTES = 64 * 1024
_REASON_CHARS = 500
_PREVIEW_BYTES = 512
_ID = re.compile(r"\d{20}")


@dataclass(frozen=True)
class Refused:
    """One message in quarantine; `size` is 0 where the trouble was no single message."""

    id: str
    at: str
    sender: str
    reason: str
    size: int
    sha256: str


class Quarantine:
    """A folder of refused messages, and the list of those since it was last asked.

    One process writes (the service); any may read, and clear.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fresh: list[tuple[str, str]] = []
        self._noted: set[tuple[str, str]] = set()
        self._last = 0

    def put(self, sender: str, reason: str, data: bytes | None) -> None:
        """Keep the beginning of a message as it came, and why it was refused."""
        self._fresh.append((sender, reason))
        self._keep(sender, reason, data)

    def note(self, sender: str, reason: str) -> None:
        """Report a lasting trouble with a peer, once, however often it is met."""
        if (sender, reason) not in self._noted:
            self._noted.add((sender, reason))
            self._fresh.append((sender, reason))
            self._keep(sender, reason, None)

    def take(self) -> list[tuple[str, str]]:
        """What was refused since the last call."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def entries(self) -> list[Refused]:
        """What is kept, newest first. Files that cannot be read are left out."""
        return [refused for _, refused in reversed(list(self._read()))]

    def preview(self, which: str) -> str:
        """The first bytes of a message in hexadecimal and plain characters; safe on any terminal.

        Raises ReviewError if there is no such message, or nothing of it was kept.
        """
        file = self._folder / f"{which}.bin"
        if not _ID.fullmatch(which) or not file.exists():
            raise ReviewError(
                f"expected the ID of a message in quarantine, found {which[:40]!r}. "
                "`toyfed datasite quarantine` lists them; troubles without a message have none"
            )
        with file.open("rb") as handle:
            data = handle.read(_PREVIEW_BYTES)
        return "\n".join(_hex_line(data, at) for at in range(0, len(data), 16))

    def clear(self) -> int:
        """Remove everything; returns how many entries there were."""
        entries = self.entries()
        if self._folder.is_dir():
            for file in self._folder.iterdir():
                if file.suffix in (".json", ".bin"):
                    file.unlink(missing_ok=True)
        return len(entries)

    def _keep(self, sender: str, reason: str, data: bytes | None) -> None:
        private_folder(self._folder)
        # Each has an ID of its own, whatever the clock does.
        self._last = max(time.time_ns(), self._last + 1)
        stem = f"{self._last:020d}"
        facts = {
            "sender": sender,
            "reason": reason[:_REASON_CHARS],
            "at": time.time(),
            "bytes": 0 if data is None else len(data),
            "sha256": "" if data is None else hashlib.sha256(data).hexdigest(),
        }
        # The list's entry comes first: what a crash leaves without one would never be removed.
        atomic_write_text(self._folder / f"{stem}.json", json.dumps(facts), mode=0o600)
        if data is not None:
            atomic_write_bytes(self._folder / f"{stem}.bin", data[:_MOST_BYTES], mode=0o600)
        self._prune()

    def _prune(self) -> None:
        files = set(self._folder.glob("*.json"))
        # Looked through now and then: in a flood this is met for every message.
        if len(files) <= _MOST + _SLACK:
            return
        kept = list(self._read())
        for file in files - {file for file, _ in kept}:
            file.unlink(missing_ok=True)
        counts = Counter(refused.sender for _, refused in kept)
        while len(kept) > _MOST:
            loudest = counts.most_common(1)[0][0]
            at = next(n for n, (_, refused) in enumerate(kept) if refused.sender == loudest)
            file, _ = kept.pop(at)
            counts[loudest] -= 1
            file.with_suffix(".bin").unlink(missing_ok=True)
            file.unlink(missing_ok=True)

    def _read(self) -> Iterator[tuple[Path, Refused]]:
        """Oldest first."""
        for file in sorted(self._folder.glob("*.json")):
            if not _ID.fullmatch(file.stem):
                continue
            with contextlib.suppress(
                OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError
            ):
                facts: dict[str, Any] = json.loads(file.read_text())
                yield (
                    file,
                    Refused(
                        file.stem,
                        datetime.fromtimestamp(facts["at"], UTC).isoformat(timespec="seconds"),
                        _shown(str(facts["sender"])),
                        _shown(str(facts["reason"])),
                        int(facts.get("bytes", 0)),
                        str(facts.get("sha256", ""))[:64],
                    ),
                )


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def _hex_line(data: bytes, at: int) -> str:
    part = data[at : at + 16]
    plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
    return f"{at:04x}  {part.hex(' '):47}  {plain}"
