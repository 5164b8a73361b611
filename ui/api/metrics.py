"""Counters for Prometheus: requests by path, method and status, and how long answers took.

Labels come from fixed lists; nothing depends on a shopper, a toy or a key.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable

__all__ = ["Metrics"]

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
OTHER = "other"
METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"})


class Metrics:
    """What this process has answered since it started.

    Args:
        paths: that are counted by name; all others are counted together.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = frozenset(paths)
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._under: Counter[tuple[str, float]] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._started = time.time()

    def count(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count one answer."""
        path = path if path in self._paths else OTHER
        method = method if method in METHODS else OTHER
        self._requests[path, method, status] += 1
        self._seconds[path] += seconds
        for bound in BUCKETS:
            if seconds <= bound:
                self._under[path, bound] += 1

    def text(self) -> str:
        """The exposition format, version 0.0.4."""
        lines = [
            "# HELP toyfed_requests_total Requests to the API that were answered.",
            "# TYPE toyfed_requests_total counter",
        ]
        for (path, method, status), number in sorted(self._requests.items()):
            lines.append(
                f'toyfed_requests_total{{path="{path}",method="{method}",status="{status}"}} '
                f"{number}"
            )
        lines += [
            "# HELP toyfed_request_seconds How long answers took.",
            "# TYPE toyfed_request_seconds histogram",
        ]
        for path in sorted({path for path, _, _ in self._requests}):
            total = sum(n for (one, _, _), n in self._requests.items() if one == path)
            lines += [
                f'toyfed_request_seconds_bucket{{path="{path}",le="{bound}"}} '
                f"{self._under[path, bound]}"
                for bound in BUCKETS
            ]
            lines += [
                f'toyfed_request_seconds_bucket{{path="{path}",le="+Inf"}} {total}',
                f'toyfed_request_seconds_sum{{path="{path}"}} {self._seconds[path]:.6f}',
                f'toyfed_request_seconds_count{{path="{path}"}} {total}',
            ]
        lines += [
            "# HELP toyfed_start_time_seconds When this process started.",
            "# TYPE toyfed_start_time_seconds gauge",
            f"toyfed_start_time_seconds {self._started:.3f}",
        ]
        return "\n".join(lines) + "\n"
