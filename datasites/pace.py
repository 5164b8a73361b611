"""How long to wait before looking at the share again."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pace"]

_SHARE = 20.0
_MOST_TIMES = 10.0


class Pace:
    """A twentieth of the time that nothing has come, from `least` seconds to ten times as many.

    So whoever waits is at most 5 % late, and whoever has nothing to do hardly asks: many parties
    on one machine, or a share that charges for requests, would suffer from steady asking.
    """

    def __init__(self, least: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._least = least
        self._clock = clock
        self._since = clock()

    def moved(self) -> None:
        """Something came: look again soon."""
        self._since = self._clock()

    def seconds(self) -> float:
        """How long to wait now."""
        quiet = self._clock() - self._since
        return min(_MOST_TIMES * self._least, max(self._least, quiet / _SHARE))
