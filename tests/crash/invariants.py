"""What must be true of a marketplace after any number of crashes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.ledger import Entry
from datasites.merchant.sandbox import sweep_groups
from recsys.privacy import Tally
from recsys.privacy.events import event_from_dict
from tests.crash.market import Market

__all__ = ["Spending", "check_all", "check_books", "check_study", "leftovers", "run_states"]


class Spending:
    """What each merchant has spent, looked at again and again: it never goes down."""

    def __init__(self) -> None:
        self._most: dict[Path, float] = {}
        self._ledgers: dict[Path, Ledger] = {}
        self._next: dict[Path, float] = {}

    def look(self, home: MerchantHome) -> None:
        """Look again, at most twice a second."""
        if time.monotonic() < self._next.get(home.root, 0.0):
            return
        self._next[home.root] = time.monotonic() + 0.5
        if home.root not in self._ledgers:
            self._ledgers[home.root] = Ledger.open(home.ledger_path)
        spent = self._ledgers[home.root].spent().epsilon
        assert spent >= self._most.get(home.root, 0.0), f"{home.root.name} was given budget back"
        self._most[home.root] = spent


def run_states(home: MerchantHome, study: str) -> dict[str, str]:
    """What became of each run of a study: job -> reserved, committed or failed."""
    found: dict[str, str] = {}
    for entry in Ledger.open(home.ledger_path).entries():
        if entry.kind in ("reserved", "committed", "failed") and entry.study == study:
            found[str(entry.body["job"])] = entry.kind
    return found


def check_books(home: MerchantHome) -> list[Entry]:
    """The ledger verifies, each run is booked once, before its release, and stays spent."""
    ledger = Ledger.open(home.ledger_path)
    ledger.verify()
    entries = ledger.entries()
    assert ledger.open_reservations() == []
    state: dict[str, str] = {}
    events = []
    for entry in entries:
        job = str(entry.body.get("job"))
        if entry.kind == "reserved":
            assert job not in state, f"{job} ran twice"
            state[job] = "reserved"
            events += [event_from_dict(event) for event in entry.body["events"]]
        elif entry.kind in ("committed", "failed"):
            assert state.get(job) == "reserved", f"{job} was {entry.kind} without a reservation"
            state[job] = entry.kind
    everything = Tally.of(events).epsilon(ledger.budget.delta)
    assert ledger.spent().epsilon == pytest.approx(everything), "budget was given back"
    return entries


def check_study(market: Market, study: str) -> dict[str, list[str]]:
    """A finished study: what was delivered was booked, everybody serves the model.

    Returns the phases that were lost, by merchant.
    """
    coordinator = market.coordinator(study)
    done = coordinator.checkpoint()
    phases = [phase.name for phase in coordinator.proposal.phases]
    assert done["finished"] == phases
    assert sorted(done["delivered"]) == sorted(market.homes)
    lost: dict[str, list[str]] = {}
    for email, home in market.homes.items():
        booked: dict[str, Any] = {
            str(entry.body["job"]): entry.body
            for entry in check_books(home)
            if entry.kind == "committed"
        }
        for phase in phases:
            job = f"{study}-{phase}"
            update = coordinator.folder / "updates" / phase
            file = update / f"{email.replace('@', '_at_')}.safetensors"
            if email not in done["contributors"][phase]:
                lost.setdefault(email, []).append(phase)
                assert job not in booked, f"{job} was booked as released and never arrived"
                assert run_states(home, study)[job] == "failed"
                continue
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            released = booked[job].get("released", booked[job])
            assert digest == released["sha256"], f"{job}: other bytes than were booked"
        model = {one.name: one.read_bytes() for one in (home.models / study).iterdir()}
        sent = {one.name: one.read_bytes() for one in (coordinator.folder / "artefact").iterdir()}
        assert model == sent
        assert json.loads((home.serving / "current.json").read_text())["study"] == study
        assert (home.private / "quality" / f"{study}.json").exists()
    return lost


def check_all(market: Market) -> None:
    """After the last study, and a start an hour later: nothing waits, nothing is left behind."""
    for path in _half_made(market):
        os.utime(path, (time.time() - 7200,) * 2, follow_symlinks=False)
    market.restart()
    for home in market.homes.values():
        check_books(home)
        for kind in ("waiting", "replies", "sent"):
            kept = [path.name for path in (home.private / "link" / kind).iterdir()]
            assert not kept, f"still in {kind}: {kept}"
    found = leftovers(market)
    for _ in range(50):
        if not found:
            break
        # The kernel lets go of ended processes a moment after it has reported their end.
        time.sleep(0.2)
        sweep_groups()
        found = leftovers(market)
    assert not found, f"left behind: {found}"


def leftovers(market: Market) -> list[str]:
    """Temporary files, half-made folders and processes that nobody owns any more."""
    found = [str(path.relative_to(market.folder)) for path in _half_made(market)]
    found += [f"cgroup {path.name}" for path in _cgroups(market.dead)]
    return found + [f"process {pid}" for pid in _strangers(market)]


def _half_made(market: Market) -> list[Path]:
    patterns = (".*.tmp", "*.new", ".incoming-*", "toyfed-run-*", ".tmp-*")
    found = [path for pattern in patterns for path in market.folder.rglob(pattern)]
    for home in market.homes.values():
        for run in home.runs.iterdir():
            found += [path for path in (run / "inputs", run / "output") if path.exists()]
    return found


def _cgroups(dead: set[int]) -> list[Path]:
    groups = Path("/sys/fs/cgroup").rglob("toyfed-run-*")
    return [path for path in groups if int(path.name.split("-")[2]) in dead]


def _strangers(market: Market) -> list[int]:
    """Processes that work on this marketplace's files and are not its services."""
    known = market.services.pids()
    known |= _ancestors()
    mark = str(market.folder).encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in known:
            continue
        with contextlib.suppress(OSError):
            told = (entry / "cmdline").read_bytes() + (entry / "mountinfo").read_bytes()
            if mark in told:
                found.append(int(entry.name))
    return found


def _ancestors() -> set[int]:
    found, pid = set(), os.getpid()
    while pid > 1:
        found.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return found
