"""When a job that could not be handled is tried again: at once a few times, then less and less."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Retries"]

_AT_ONCE = 5
_MOST_SECONDS = 10.0


@dataclass
class _Job:
    first: float
    due: float
    tries: int = 0


class Retries:
    """Remembers, in memory, which jobs failed and when each is due again.

    Without this a job that cannot succeed, such as a round that ended while the merchant was away,
    would cost its download and its writes twice a second for a month.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: dict[str, _Job] = {}

    def is_due(self, job: str) -> bool:
        """Whether a job should be tried now."""
        return job not in self._jobs or self._clock() >= self._jobs[job].due

    def failed(self, job: str) -> float:
        """Note that a try failed; returns for how many seconds the job has been failing."""
        now = self._clock()
        found = self._jobs.setdefault(job, _Job(now, now))
        found.tries += 1
        late = max(0, found.tries - _AT_ONCE)
        found.due = now + (min(_MOST_SECONDS, 2.0 ** min(late - 1, 10)) if late else 0.0)
        return now - found.first

    def keep_only(self, jobs: set[str]) -> None:
        """Forget all jobs but these."""
        for job in self._jobs.keys() - jobs:
            del self._jobs[job]
