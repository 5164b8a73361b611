"""Rows of a table of figures, written as they come; what is there is not measured again."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["RowFile"]


class RowFile:
    """A CSV file that grows by whole rows, also by those of other processes.

    Args:
        path: the file; made with its heading where it is missing.
        key: columns that name a row.
        columns: the others.
    """

    def __init__(self, path: Path, key: Sequence[str], columns: Sequence[str]) -> None:
        self.path = path
        self._key, self._names = tuple(key), (*key, *columns)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self._append(",".join(self._names) + "\n")

    def has(self, **key: Any) -> bool:
        """Whether a row of this key is there."""
        wanted = {name: _text(key[name]) for name in self._key}
        return any(all(row[name] == wanted[name] for name in self._key) for row in self.rows())

    def add(self, row: Mapping[str, Any]) -> None:
        """Append one row; columns that it lacks stay empty."""
        line = io.StringIO()
        writer = csv.writer(line, lineterminator="\n")
        writer.writerow([_text(row.get(name, "")) for name in self._names])
        self._append(line.getvalue())

    def rows(self) -> list[dict[str, str]]:
        """All rows, as texts."""
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _append(self, text: str) -> None:
        # One write to the end of the file is not torn by another process's.
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)


def _text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
