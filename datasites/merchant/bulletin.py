"""What the merchant is told of its peers' messages: booked in the ledger, logged, and bounded.

The ledger never forgets a line, and a peer decides how often it sends something wrong. So each
peer has an allowance of lines that fills up again slowly; what goes beyond is counted, and the
next line says how much was left out.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from datasites.merchant.ledger import Ledger

__all__ = ["Bulletin"]

log = structlog.get_logger()

_LINES = 20  # at once
_REFILL_SECONDS = 3 * 3600.0  # for one line more
_REMEMBERED = 1000


@dataclass
class _Allowance:
    lines: float
    at: float
    left_out: int = 0


class Bulletin:
    """Notes about peers, each told once.

    Args:
        ledger: Where they are booked.
        clock: Seconds that only grow.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._allowances: OrderedDict[str, _Allowance] = OrderedDict()

    def tell(self, kind: str, sender: str, reason: str, job: str = "") -> None:
        """Book and log one thing about a peer's message; about a job's, however often it is met,
        once.

        Args:
            kind: Such as 'refused' or 'quarantine'.
            reason: In our own words; nothing of a shopper's.
        """
        if job:
            if (kind, job, reason) in self._told:
                return
            self._told[(kind, job, reason)] = None
            while len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
        allowance = self._allowance(sender)
        if allowance.lines < 1:
            allowance.left_out += 1
            return
        facts: dict[str, str | int] = {"sender": sender, "reason": reason}
        if job:
            facts["job"] = job
        if allowance.left_out:
            facts["left_out_before"] = allowance.left_out
        self._ledger.note(kind, facts)
        allowance.lines -= 1
        allowance.left_out = 0
        log.warning(kind, **facts)

    def _allowance(self, sender: str) -> _Allowance:
        now = self._clock()
        found = self._allowances.setdefault(sender, _Allowance(_LINES, now))
        found.lines = min(_LINES, found.lines + (now - found.at) / _REFILL_SECONDS)
        found.at = now
        while len(self._allowances) > _REMEMBERED:
            self._allowances.popitem(last=False)
        return found
