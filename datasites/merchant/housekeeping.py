"""What old runs leave behind, removed once nobody can need it any more.

    runs/JOB/                 of a job that is not answered and delivered: all of it stays
    release.safetensors       goes once delivered, unless the served model takes it out again
    log.txt, outcome.json, held.json
                              of the newest 50 runs stay, for the merchant to look at

A job whose folder is gone still cannot come again: its name is in the ledger, for good.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from datasites.recipes import keeps_releases

__all__ = ["KEPT_RUNS", "tidy_runs"]

KEPT_RUNS = 50


def tidy_runs(home: MerchantHome, ledger: Ledger, is_settled: Callable[[str], bool]) -> int:
    """Prune the folders of old runs; returns how many were removed.

    Args:
        is_settled: Whether a job's answer was delivered, so that nothing of it is sent again.

    Privacy: removes files only; what was released stays spent.
    """
    under_way = set(ledger.open_reservations())
    found = sorted(
        (path for path in home.runs.iterdir() if path.is_dir()),
        key=_ended,
        reverse=True,
    )
    removed = 0
    for number, folder in enumerate(found):
        if folder.name in under_way or not is_settled(folder.name):
            continue
        release = folder / "release.safetensors"
        if release.exists():
            if _is_needed(home, ledger, folder.name):
                continue
            release.unlink()
        if number >= KEPT_RUNS:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _is_needed(home: MerchantHome, ledger: Ledger, job: str) -> bool:
    """Whether a served or coming model is told apart from what this run released."""
    run = ledger.reservation(job)
    if run is None or run.state != "committed":
        return False
    if not keeps_releases(_recipe(home, run.study)):
        return False
    return ledger.approval(run.study) is not None or _may_be_served(home, run.study)


def _recipe(home: MerchantHome, study: str) -> str:
    try:
        return str(json.loads((home.requests / study / "proposal.json").read_text())["recipe"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # unknown: its releases are kept


def _may_be_served(home: MerchantHome, study: str) -> bool:
    try:
        return bool(json.loads((home.serving / "current.json").read_text())["study"] == study)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _ended(folder: Path) -> int:
    """When a run ended; its folder's own time changes with whatever is removed from it."""
    try:
        return (folder / "outcome.json").stat().st_mtime_ns
    except OSError:
        return folder.stat().st_mtime_ns
