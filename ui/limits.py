"""How often somebody may ask: one token bucket each, in bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Buckets", "Rate"]

_MOST = 10_000


@dataclass(frozen=True)
class Rate:
    """`per_second` on average, up to `burst` at once."""

    per_second: float
    burst: float


class Buckets:
    """Token buckets by name; the one used longest ago is forgotten first.

        tokens <- min(burst, tokens + seconds x per_second);  a question takes one

    Args:
        rate: of each name that has no rate of its own.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._found: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, name: str, rate: Rate | None = None) -> float:
        """Take a token: 0.0, or the seconds until there is one again."""
        rate, now = rate or self._rate, self._clock()
        tokens, at = self._found.pop(name, (rate.burst, now))
        tokens = min(rate.burst, tokens + max(0.0, now - at) * rate.per_second)
        taken = tokens >= 1.0
        self._found[name] = (tokens - 1.0 if taken else tokens, now)
        if len(self._found) > _MOST:
            self._found.popitem(last=False)
        return 0.0 if taken else (1.0 - tokens) / rate.per_second
