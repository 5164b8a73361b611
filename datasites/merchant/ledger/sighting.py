"""What is remembered of a ledger outside it, so that an older copy put back can be told.

A sighting says how far the ledger had come and what all of it had cost by then. A ledger that does
not contain an entry that was seen is an older copy, or another one; what was spent in between is
then known from the sighting and is never given back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from datasites.errors import LedgerError
from recsys.errors import PrivacyError
from recsys.privacy.events import PrivacyEvent, SubsampledGaussianEvent
from recsys.privacy.spending import Tally

__all__ = ["Mark", "Sighting", "beyond", "tally_from_dict", "tally_to_dict"]

Mark = tuple[int, str, Tally]
_SLACK = 1e-9  # sums of the same costs in another order


@dataclass(frozen=True)
class Sighting:
    """A ledger as it once was.

    Args:
        seq, hash: number and hash of its last entry.
        period: which period of the budget.
        restores: how many restores had been accepted; entries of before one may be missing.
        ever: all that had been spent by then.
        marks: number and hash of the first and the latest entries that spent something, and what
            had been spent by each: they show where a copy that was put back parted from it.
    """

    seq: int
    hash: str
    period: int
    restores: int
    ever: Tally
    marks: tuple[Mark, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "seq": self.seq,
            "hash": self.hash,
            "period": self.period,
            "restores": self.restores,
            "ever": tally_to_dict(self.ever),
            "marks": [[seq, hash_, tally_to_dict(ever)] for seq, hash_, ever in self.marks],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Sighting:
        """Read back what `to_dict` wrote. Raises LedgerError for anything else."""
        try:
            seq, period, restores = (fields[name] for name in ("seq", "period", "restores"))
            if not all(type(one) is int and one >= 0 for one in (seq, period, restores)):
                raise ValueError("not counts")
            ever = tally_from_dict(fields["ever"])
            marks = tuple(
                (int(at), str(hash_), tally_from_dict(spent))
                for at, hash_, spent in fields.get("marks", [])
            )
            return cls(seq, str(fields["hash"]), period, restores, ever, marks)
        except (KeyError, TypeError, ValueError, PrivacyError) as error:
            raise LedgerError("Expected what a ledger once was, found something else.") from error


def tally_to_dict(tally: Tally) -> dict[str, Any]:
    """A tally as plain JSON."""
    return {"square": tally.square, "steps": [list(step) for step in tally.steps]}


def tally_from_dict(fields: Mapping[str, Any]) -> Tally:
    """Read back what `tally_to_dict` wrote. Raises ValueError or PrivacyError for nonsense."""
    square = float(fields["square"])
    if not (math.isfinite(square) and square >= 0):
        raise ValueError("not a sum of squares")
    steps: list[PrivacyEvent] = [
        SubsampledGaussianEvent("steps", noise, rate, count)
        for noise, rate, count in fields["steps"]
    ]
    return Tally(square) + Tally.of(steps)


def beyond(known: Tally, seen: Iterable[Tally]) -> Tally:
    """The least tally that, with `known`, covers each of those `seen`."""
    square, steps = 0.0, dict[tuple[float, float], int]()
    have = {(noise, rate): count for noise, rate, count in known.steps}
    for tally in seen:
        if tally.square > known.square * (1 + _SLACK):
            square = max(square, tally.square - known.square)
        for noise, rate, count in tally.steps:
            more = count - have.get((noise, rate), 0)
            if more > steps.get((noise, rate), 0):
                steps[noise, rate] = more
    return Tally(square, tuple((*kind, count) for kind, count in sorted(steps.items())))
