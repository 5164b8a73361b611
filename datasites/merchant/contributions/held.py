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

__all__ = ["note_hold", "rounded", "wait_until_due"]

_FILE = "held.json"
_SHORTEST_SECONDS = 2.0
# What comes between the end of a run and its answer, such as keeping and booking the release: it
# must not move the answer of a run that ends just below a step.
_MARGIN_SECONDS = 1.0
_POLL_SECONDS = 0.1


def rounded(seconds: float) -> float:
    """When a run that took so long is answered: after 2, 4, 8, 16 ... seconds."""
    least = max(seconds + _MARGIN_SECONDS, _SHORTEST_SECONDS)
    return float(2.0 ** math.ceil(math.log2(least)))


def note_hold(folder: Path, seconds: float, given_up: Callable[[], bool]) -> None:
    """Note when a run that took so long, and has just ended, is answered.

    Where a full disk has no room for the note, that is waited for here.
    """
    whole = rounded(seconds)
    # At most the whole, not what is left of it: after a clock was set back, what is waited would
    # else tell how long the run took.
    note = {"until": time.time() + whole - seconds, "at_most": whole}
    try:
        atomic_write_text(folder / _FILE, json.dumps(note), mode=0o600)
    except OSError:
        _wait(whole - seconds, given_up)


def wait_until_due(folder: Path, given_up: Callable[[], bool]) -> bool:
    """Wait until a run may be answered; False if it is `given_up` before that.

    A run without a note is due at once. A clock that was set back holds nobody up for longer than
    the note says.

    Privacy: whoever waits for the answer learns only coarsely how long the shoppers took.
    """
    try:
        noted = json.loads((folder / _FILE).read_bytes())
        left = min(float(noted["until"]) - time.time(), float(noted["at_most"]))
    except (OSError, ValueError, KeyError, TypeError):
        return True
    return _wait(left, given_up)


def _wait(seconds: float, given_up: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if given_up():
            return False
        time.sleep(min(left, _POLL_SECONDS))
    return True
