"""Keeps what the code printed, up to a limit, and its last line of errors."""

from __future__ import annotations

import contextlib
from typing import BinaryIO

__all__ = ["RunLog"]

MAX_LOG_BYTES = 1024 * 1024
_TAIL = 4096


class RunLog:
    """Writes printed text to an unbuffered file until it is full, then only counts.

    A full disk costs the log, never the run.

    Privacy: stays at the merchant.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_LOG_BYTES
        self._errors = b""

    def add(self, data: bytes, errors: bool) -> None:
        """Take some bytes from the code's output or, with `errors`, from its errors."""
        if errors:
            self._errors = (self._errors + data)[-_TAIL:]
        if self._left > 0:
            with contextlib.suppress(OSError):
                self._file.write(data[: self._left])
            self._left -= len(data)
            if self._left <= 0:
                with contextlib.suppress(OSError):
                    self._file.write(b"\n[more was printed; the log ends at 1 MB]\n")

    def last_error(self) -> str:
        """Return the last line of errors that is not blank, without control characters."""
        for line in reversed(self._errors.decode(errors="replace").splitlines()):
            plain = "".join(char for char in line if char.isprintable()).strip()
            if plain:
                return plain[:300]
        return ""
