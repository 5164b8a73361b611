"""The page of memory through which one shopper's history goes in and her row comes out.

    0    u64 purchases, u64 whether a row is wanted     written by the trusted side
    16   int32 history
    out  u32 status, u32 0, u64 bytes of row, u64 bytes of text, row, text
    row  for each declared array, in order: u8 kind, u64 count, then
         kind 0  float64 values of the whole array (count = its size)
         kind 1  int64 indices of its first axis (ascending, each once), float64 values of these

What a program leaves there is a stranger's: it is read once the program's process is gone, and
whatever does not fit is no row.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Answer", "Page", "RowArray"]

_HEAD: Final = struct.Struct("<QQ")
_OUT: Final = struct.Struct("<IIQQ")
_PART: Final = struct.Struct("<BQ")
_MOST_TEXT: Final = 4000
_ROW, _ERROR = 1, 2


@dataclass(frozen=True)
class RowArray:
    """One declared array of a phase: name and shape."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Numbers in the whole array."""
        return math.prod(self.shape)

    @property
    def inner(self) -> int:
        """Numbers for each index of the first axis."""
        return math.prod(self.shape[1:])

    @property
    def most_bytes(self) -> int:
        """Bytes that the array takes in a row at most."""
        return _PART.size + 8 * (self.size + self.shape[0])


@dataclass(frozen=True)
class Answer:
    """What came back for one shopper.

    Privacy: stays at the merchant.

    Args:
        parts: for each array the indices of its first axis (None: all of them) and float64
            values [n, inner]; None if there is no row.
        text: what the program printed, or its error; shown to whoever tries a program on
            invented shoppers, never kept for real ones.
    """

    parts: list[tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float64]]] | None
    text: str = ""
    values: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        parts = [values.ravel() for _, values in self.parts or []]
        joined = np.concatenate(parts) if len(parts) > 1 else np.zeros(0)
        object.__setattr__(self, "values", parts[0] if len(parts) == 1 else joined)


class Page:
    """Memory of its own for one shopper, gone when it is closed; nothing is ever reused."""

    def __init__(
        self, history: npt.NDArray[np.int32], arrays: Sequence[RowArray], *, row: bool = True
    ) -> None:
        self._arrays = arrays
        self._out = _HEAD.size + 4 * len(history)
        self._capacity = _OUT.size + sum(one.most_bytes for one in arrays) + _MOST_TEXT
        # Sealed in its size: reading it can then not fail half-way.
        self.handle = os.memfd_create("shopper", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.handle, self._out + self._capacity)
        _seal(self.handle)
        os.pwrite(self.handle, _HEAD.pack(len(history), int(row)), 0)
        os.pwrite(self.handle, history.astype("<i4").tobytes(), _HEAD.size)

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.handle)

    def answer(self) -> Answer:
        """Read what the program left; only once its process is gone."""
        status, _, row_bytes, text_bytes = _OUT.unpack(os.pread(self.handle, _OUT.size, self._out))
        room = self._capacity - _OUT.size
        if status not in (_ROW, _ERROR) or row_bytes + text_bytes > room:
            return Answer(None, "it ended without an answer")
        place = self._out + _OUT.size
        said = os.pread(self.handle, min(text_bytes, _MOST_TEXT), place + row_bytes)
        text = "".join(
            letter
            for letter in said.decode(errors="replace")
            if letter.isprintable() or letter == "\n"
        )
        if status == _ERROR:
            return Answer(None, text or "it failed without a word")
        row = os.pread(self.handle, row_bytes, place)
        parts = _parse(row, self._arrays) if len(row) == row_bytes else None
        return Answer(parts, text if parts is not None else "its row is not as declared")


def _parse(
    row: bytes, arrays: Sequence[RowArray]
) -> list[tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float64]]] | None:
    parts: list[tuple[npt.NDArray[np.int64] | None, npt.NDArray[np.float64]]] = []
    place = 0
    for array in arrays:
        if place + _PART.size > len(row):
            return None
        kind, count = _PART.unpack_from(row, place)
        place += _PART.size
        indices: npt.NDArray[np.int64] | None = None
        if kind == 0 and count == array.size:
            numbers = array.size
        elif kind == 1 and count <= array.shape[0] and place + 8 * count <= len(row):
            indices = np.frombuffer(row, "<i8", count, place)
            place += 8 * count
            numbers = count * array.inner
            # Compared, not subtracted: differences of a stranger's numbers may overflow.
            inside = (indices >= 0).all() and (indices < array.shape[0]).all()
            if not inside or not (indices[1:] > indices[:-1]).all():
                return None
        else:
            return None
        if place + 8 * numbers > len(row):
            return None
        values = np.frombuffer(row, "<f8", numbers, place)
        place += 8 * numbers
        parts.append((indices, values.reshape(-1, array.inner)))
    return parts if place == len(row) else None


def _seal(handle: int) -> None:
    import fcntl

    fcntl.fcntl(
        handle, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    )
