"""How much a peer has made the merchant write today: a paired peer must not fill its disk."""

from __future__ import annotations

import json
import time
from pathlib import Path

from recsys.files import atomic_write_text

__all__ = ["DailyCount"]

_DAY = 86_400


class DailyCount:
    """Counts per peer that begin anew each day, kept over restarts in one small file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def count(self, peer: str) -> int:
        """How many were added for a peer since the day began."""
        return self._today().get(peer, 0)

    def add(self, peer: str, more: int = 1) -> int:
        """Add to a peer's count and return it."""
        counts = self._today()
        counts[peer] = counts.get(peer, 0) + more
        if more:
            facts = {"day": int(time.time() // _DAY), "counts": counts}
            atomic_write_text(self._path, json.dumps(facts), mode=0o600)
        return counts[peer]

    def _today(self) -> dict[str, int]:
        try:
            facts = json.loads(self._path.read_text())
            same_day = facts["day"] == int(time.time() // _DAY)
            return {str(peer): int(n) for peer, n in facts["counts"].items()} if same_day else {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            # Only a brake: damaged, it begins anew.
            return {}
