"""What Arrow's reader of CSV leaves to us: bytes that are no UTF-8, and the lines of rows."""

from __future__ import annotations

import codecs
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["Lines", "Utf8File"]


class Utf8File(io.FileIO):
    """A file that raises UnicodeDecodeError at the first byte that is no UTF-8.

    Arrow checks the cells only, and writes a trace to stderr about a row that it cannot quote.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "r")
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size) or b""
        self._decoder.decode(data, final=not data)
        return data


class Lines:
    """Turns the rows of successive batches into physical line numbers of the file.

    Arrow numbers the rows that it could not read, but the rows in a batch carry no number; and a
    quoted cell may span lines.
    """

    def __init__(self, unreadable: list[tuple[int, int]]) -> None:
        self._unreadable = unreadable
        self._next_row = 2
        self._extra = 0

    def take(self, breaks: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], list[int]]:
        """Line numbers of the next rows, and of the unreadable rows among and before them."""
        number = self._next_row
        if not self._unreadable:
            lines = np.arange(number, number + len(breaks)) + np.cumsum(breaks) - breaks
            lines += self._extra
            self._next_row += len(breaks)
            self._extra += int(breaks.sum())
            return lines, []
        rows: list[int] = []
        broken: list[int] = []
        bad = iter(self._unreadable)
        pending, used = next(bad, None), 0
        for extra in breaks.tolist():
            while pending is not None and pending[0] == number:
                broken.append(number + self._extra)
                self._extra += pending[1]
                number, used, pending = number + 1, used + 1, next(bad, None)
            rows.append(number + self._extra)
            self._extra += extra
            number += 1
        del self._unreadable[:used]
        self._next_row = number
        return np.array(rows, dtype=np.int64), broken

    def rest(self) -> list[int]:
        """Line numbers of the unreadable rows after the last batch."""
        lines = []
        for number, extra in self._unreadable:
            lines.append(number + self._extra)
            self._extra += extra
        self._unreadable.clear()
        return lines
