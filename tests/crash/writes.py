"""One marketplace in this process, whose parties stop before the n-th thing they write.

Real links over a real folder, the real service, ledger, coordinator and fit; only the sandbox is a
stand-in that writes what a phase declares, since the code in it writes nothing of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from datasites.errors import DatasiteError, TransportError
from datasites.merchant import Ledger, MerchantHome, apart, desk, fit, sandbox
from datasites.merchant.ledger.store import Store
from datasites.merchant.service import Service
from datasites.study import coordinator as coordinator_module
from datasites.syftbox import MerchantLink, ScientistLink
from datasites.syftbox.store import ObjectStore
from recsys.errors import ToyFedError
from tests.crash.invariants import check_study
from tests.crash.market import SCIENTIST, Market

__all__ = ["Stopped", "Stops", "Theatre"]


class Stopped(BaseException):
    """The process ends here. No handler of the code under test may catch it and tidy up."""


class Stops:
    """Counts all that changes a disk or the share, for one side, and stops before the n-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.count = 0
        self.side = ""
        self.counted_side = ""
        for owner, name in (
            (Path, "replace"),
            (Path, "unlink"),
            (Path, "write_bytes"),
            (Path, "write_text"),
            (Path, "mkdir"),
            (os, "fsync"),
            (shutil, "rmtree"),
            (shutil, "copytree"),
            (Store, "append"),
            (Store, "_sync_folder"),
            (ObjectStore, "put"),
            (ObjectStore, "delete"),
        ):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.left is not None and self.side == self.counted_side:
                # A stopped process writes nothing more, so handlers on the way out fail too.
                if self.left <= 0:
                    raise Stopped
                self.left -= 1
                self.count += 1
            return real(*args, **kwargs)

        return counted

    @contextlib.contextmanager
    def acting(self, side: str) -> Iterator[None]:
        """What is written within is written by `side`."""
        before, self.side = self.side, side
        try:
            yield
        finally:
            self.side = before


def _fit_here(home: MerchantHome, study: str, *, again: bool = False) -> None:
    """`fit.run_in_own_process` without the process; what it raises is the same."""
    try:
        fit.fit(home, study, again=again)
    except ToyFedError as error:
        raise DatasiteError(f"could not be fitted: {error}") from None


class Theatre(Market):
    """Two merchants and a data scientist, all in this process; any of them may be stopped."""

    patience = 60.0

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder)
        monkeypatch.setattr(sandbox, "run", self._sandbox)
        monkeypatch.setattr(apart, "verify_artefact", fit.verify_artefact)
        monkeypatch.setattr(apart, "make_mock", lambda _: ({"mock.csv": b"mock\n"}, "digest"))
        monkeypatch.setattr(fit, "run_in_own_process", _fit_here)
        still = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: self.pass_time())
        monkeypatch.setattr(coordinator_module, "time", still)
        self.stops = Stops(monkeypatch)
        self.parties: dict[str, Service] = {}
        self.stopped = False

    def start(self, home: MerchantHome) -> None:
        """In this process, a service starts when it first acts."""
        home.heartbeat.write_text('{"state": "running"}')

    def restart(self) -> None:
        """Begin every party anew from what is on disk."""
        self.parties.clear()
        self.link = ScientistLink(SCIENTIST, self.desk.root, str(self.share))
        for _ in range(3):
            self.pass_time()
            self.link.sync()

    def pass_time(self) -> None:
        """Let every merchant make one pass; one that was stopped starts again next time."""
        for email in self.homes:
            with self._mortal(email):
                service = self.parties.get(email) or self._serve(email)
                service.step()

    @contextlib.contextmanager
    def _mortal(self, side: str) -> Iterator[None]:
        try:
            with self.stops.acting(side):
                yield
        except TransportError:
            pass  # as the service's loop does: the next pass tries again
        except Stopped:
            assert side == self.stops.counted_side
            self.stops.left = None
            self.stopped = True
            self.parties.pop(side, None)

    def _serve(self, email: str) -> Service:
        home = self.homes[email]
        link = MerchantLink(email, home.root, str(self.share))
        service = Service(home, link, Ledger.open(home.ledger_path))
        service.recover()
        self.parties[email] = service
        return service

    def _is_asked(self, home: MerchantHome, ledger: Ledger) -> bool:
        self.pass_time()
        return super()._is_asked(home, ledger)

    def _all_paired(self) -> bool:
        self.pass_time()
        return super()._all_paired()

    def live(self, study: str, side: str, n: int | None) -> dict[str, list[str]]:
        """One study from its first word to its end, `side` stopping before its n-th write.

        Returns the phases that were lost, by merchant.
        """
        self.compose(study)
        self.stops.counted_side, self.stopped = side, False
        self.stops.left, self.stops.count = n, 0
        try:
            self._by_ada(lambda: self.submit(study))
            for home in self.homes.values():
                while not self.requested(home, study):
                    self.pass_time()
                desk.approve(home, Ledger.open(home.ledger_path), study, by="me")
            while not self._by_ada(lambda: self.all_approved(study)):
                self.pass_time()
            self._by_ada(lambda: [*self.coordinator(study).run()])
        finally:
            self.stops.left = None
        for _ in range(3):
            self.pass_time()
            # The share may be away in the very end, too.
            self._by_ada(lambda: self.link.sync())
        return check_study(self, study)

    def _by_ada(self, act: Callable[[], Any]) -> Any:
        while True:
            try:
                with self.stops.acting(SCIENTIST):
                    return act()
            except TransportError:
                self.pass_time()  # a person would try again
            except Stopped:
                self.stops.left = None
                self.stopped = True
                self.link = ScientistLink(SCIENTIST, self.desk.root, str(self.share))

    def _sandbox(self, _code: Path, inputs: Mapping[str, Path], output: Path, log: Path,
                 **_: object) -> sandbox.RunOutcome:  # fmt: skip
        job = json.loads((inputs["job"] / "job.json").read_text())
        phase = self.coordinator(job["study"]).proposal.phase(job["phase"])
        rng = np.random.default_rng()  # another run would bring other bytes
        arrays = {one.name: (1 + rng.random(one.shape)).astype(one.dtype) for one in phase.outputs}
        save_file(arrays, output / "release.safetensors")
        facts = {"events": [event.to_dict() for event in phase.privacy_events()]}
        (output / "release.json").write_text(json.dumps(facts))
        log.write_bytes(b"")
        return sandbox.RunOutcome(
            ok=True, reason="finished", seconds=0.0, peak_mb=1.0, log=log,
            ending=sandbox.Ending.FINISHED,
        )  # fmt: skip
