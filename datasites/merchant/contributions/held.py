"""How long the answer to a program's run is held back, so that the time it took tells little.

    runs/JOB/held.json    until when, by the clock, and for how many seconds at the most

The file comes before the release is kept, so a service that is stopped while it waits goes on
waiting when it is started again, and the run, which is paid for, is not lost.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path

from recsys.files import atomic_write_text

__all__ = ["hold_back", "note_hold", "rounded"]

_FILE = "held.json"
_SHORTEST_SECONDS = 2.0
_POLL_SECONDS = 0.1


def rounded(seconds: float) -> float:
    """Up to the next of 2, 4, 8, 16 ... seconds."""
    return float(2.0 ** math.ceil(math.log2(max(seconds, _SHORTEST_SECONDS))))


def note_hold(folder: Path, seconds: float, unwanted: Callable[[], bool]) -> None:
    """Note that a run which took so long is answered when it has taken 2, 4, 8, 16 ... seconds.

    Where a full disk has no room for the note, that is waited for here.
    """
    left = rounded(seconds) - seconds
    note = {"until": time.time() + left, "at_most": left}
    try:
        atomic_write_text(folder / _FILE, json.dumps(note), mode=0o600)
    except OSError:
        _wait(left, unwanted)


def hold_back(folder: Path, unwanted: Callable[[], bool]) -> bool:
    """Wait until a run may be answered; False if it is `unwanted` before that.

    A run without a note is not held back. A clock that was set back holds nobody up for longer than
    was noted.

    Privacy: whoever waits for the answer learns only coarsely how long the shoppers took.
    """
    try:
        noted = json.loads((folder / _FILE).read_bytes())
        left = min(float(noted["until"]) - time.time(), float(noted["at_most"]))
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return _wait(left, unwanted)


def _wait(seconds: float, unwanted: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if unwanted():
            return False
        time.sleep(_POLL_SECONDS)
    return True
