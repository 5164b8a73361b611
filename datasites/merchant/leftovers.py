"""What a killed service leaves half made, removed when the next one starts.

Only the service writes in these folders, and only one serves a home at a time, so that nothing in
them is still being made then.
"""

from __future__ import annotations

import shutil

from datasites.merchant.home import MerchantHome
from datasites.merchant.room import free_room
from datasites.merchant.sandbox import WORK_PREFIX, sweep_groups
from recsys.files import sweep_leftovers

__all__ = ["sweep"]

_STALE_SECONDS = 3600.0


def sweep(home: MerchantHome) -> None:
    """Remove half-made files and folders, and of runs that were cut off what only they needed.

    What passed the gate, a run's log and its outcome stay.
    """
    for folder in (home.runs, home.requests, home.models, home.serving, home.private / "quality"):
        sweep_leftovers(folder)
    for half_made in [*home.requests.glob(".*.new"), *home.models.glob("*.new")]:
        shutil.rmtree(half_made, ignore_errors=True)
    for run in home.runs.iterdir():
        for part in (run / "inputs", run / "output", *run.glob(f"{WORK_PREFIX}*")):
            shutil.rmtree(part, ignore_errors=True)
        free_room(run)
    sweep_groups()
    # Pages and command line write in the other folders too.
    sweep_leftovers(home.private, older_than_seconds=_STALE_SECONDS)
