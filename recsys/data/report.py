"""What a reader found wrong in a file, told by line and column, never by value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Problem", "ReadReport"]

_KEPT_PROBLEMS = 100
_LINES_SHOWN = 5


@dataclass(frozen=True)
class Problem:
    """One defect: the line of a CSV (the first line is 1) or the row of a Parquet file."""

    line: int
    column: str
    what: str
    file: str = ""


@dataclass
class ReadReport:
    """Rows read and kept, and what was wrong with the others.

    Args:
        rows_read: rows of purchases (of toys when a catalogue alone was read).
        rows_kept: rows that were used.
        problems: the first 100 defects, with line numbers.
        counts: number of defects of each kind.
        columns: where each field was found, field -> column of the file.
        file: name of the file.

    Privacy: counts and line numbers depend on the purchases; the report stays at the merchant.
    """

    rows_read: int = 0
    rows_kept: int = 0
    problems: list[Problem] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    file: str = ""

    def add(self, lines: Iterable[int] | npt.NDArray[np.int64], column: str, what: str) -> None:
        """Book one defect of the kind `what` in `column` at each of `lines`."""
        found = [int(line) for line in lines]
        if not found:
            return
        self.counts[what] = self.counts.get(what, 0) + len(found)
        room = _KEPT_PROBLEMS - len(self.problems)
        self.problems += [Problem(line, column, what, self.file) for line in found[: max(room, 0)]]

    def merged(self, other: ReadReport) -> ReadReport:
        """This report with the defects of another file; row counts and columns stay of this one."""
        counts = dict(self.counts)
        for what, count in other.counts.items():
            counts[what] = counts.get(what, 0) + count
        problems = (self.problems + other.problems)[:_KEPT_PROBLEMS]
        return replace(self, problems=problems, counts=counts)

    def summary(self) -> str:
        """A few lines of text for people: counts, and where the first defects of each kind are."""
        lines = [f"{self.rows_read:,} rows read, {self.rows_kept:,} kept"]
        renamed = {name: where for name, where in self.columns.items() if name != where}
        if renamed:
            lines.append(
                "columns: " + ", ".join(f"{name} from {where!r}" for name, where in renamed.items())
            )
        for what, count in self.counts.items():
            places = [problem for problem in self.problems if problem.what == what]
            text = f"  {count:,} × {what}"
            if places:
                where = ", ".join(str(place.line) for place in places[:_LINES_SHOWN])
                more = ", …" if count > _LINES_SHOWN else ""
                named = f"{places[0].file}, " if places[0].file else ""
                column = f"column {places[0].column}, " if places[0].column else ""
                text += f" ({named}{column}line {where}{more})"
            lines.append(text)
        if not self.counts:
            lines.append("no defects found")
        return "\n".join(lines)
