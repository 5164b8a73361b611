"""What a program returned, as bytes of the page that it shares with the trusted side."""

from __future__ import annotations

import mmap
import struct
from typing import Any

import numpy as np

__all__ = ["ERROR", "ROW", "encode", "leave"]

ROW, ERROR = 1, 2
_OUT, _PART, _MOST_TEXT = struct.Struct("<IIQQ"), struct.Struct("<BQ"), 4000


def encode(found: Any, arrays: list[tuple[str, tuple[int, ...]]]) -> bytes:
    """A row's bytes; arrays that are left out are zeros. Raises ValueError on an odd one."""
    if not isinstance(found, dict) or set(found) - {name for name, _ in arrays}:
        raise ValueError(
            f"expected a dictionary of {', '.join(name for name, _ in arrays)}, found "
            f"{sorted(map(str, found)) if isinstance(found, dict) else type(found).__name__}"
        )
    return b"".join(_part(name, shape, found.get(name, ([], []))) for name, shape in arrays)


def _part(name: str, shape: tuple[int, ...], value: Any) -> bytes:
    inner = int(np.prod(shape[1:], dtype=np.int64))
    if not isinstance(value, tuple):
        dense = np.asarray(value, dtype="<f8")
        if dense.shape != shape:
            raise ValueError(f"expected {name} of shape {shape}, found {dense.shape}")
        return _PART.pack(0, dense.size) + dense.tobytes()
    indices, values = value
    where = np.asarray(indices, dtype="<i8").ravel()
    rows = np.asarray(values, dtype="<f8")
    if rows.size != len(where) * inner:
        raise ValueError(
            f"expected {name} as {len(where)} indices with values of shape "
            f"{(len(where), *shape[1:])}, found {rows.shape}"
        )
    if len(where) and (where.min() < 0 or where.max() >= shape[0]):
        raise ValueError(f"expected indices of {name} from 0 to {shape[0] - 1}, found others")
    once, place = np.unique(where, return_inverse=True)
    summed = np.zeros((len(once), inner))
    np.add.at(summed, place, rows.reshape(len(where), inner))
    return _PART.pack(1, len(once)) + once.astype("<i8").tobytes() + summed.tobytes()


def leave(page: mmap.mmap, out: int, status: int, row: bytes, text: str) -> None:
    """Write one answer into the page, its head last."""
    said = text.encode(errors="replace")[:_MOST_TEXT]
    place = out + _OUT.size
    page[place : place + len(row)] = row
    page[place + len(row) : place + len(row) + len(said)] = said
    page[out:place] = _OUT.pack(status, 0, len(row), len(said))
