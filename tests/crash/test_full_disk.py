"""A real disk that is full, or read-only, from any step of a service on: nothing is lost by it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from datasites.errors import DatasiteError, LedgerError, LedgerWriteError
from datasites.merchant import Ledger, MerchantHome, fit, runs, sandbox, service, serving
from datasites.merchant.heartbeat import Heartbeat
from datasites.syftbox import MerchantLink
from tests.crash.disk import SmallDisk, small_disk
from tests.crash.invariants import check_books
from tests.crash.writes import Theatre

pytestmark = [pytest.mark.attack, pytest.mark.slow]
SHOP = "shop0@toys.test"
STEPS: dict[str, tuple[Any, str]] = {
    "sync": (MerchantLink, "sync"),
    "a request is filed": (service.desk, "file_request"),
    "the request is booked": (Ledger, "request"),
    "prepare": (runs, "prepare"),
    "download of the state": (MerchantLink, "download_state"),
    "before RESERVE": (Ledger, "reserve"),
    "the code runs": (sandbox, "run"),
    "the gate": (runs.gate, "read_release"),
    "the release is booked": (Ledger, "commit"),
    "the reply": (MerchantLink, "reply"),
    "the ledger's note of a model": (Ledger, "note"),
    "the fit": (fit, "run_in_own_process"),
    "the bundle is written": (serving, "write_bundle"),
    "the witness": (service.Witnesses, "keep"),
}
# The disk is read-only in the middle of a run, and there is no room to hold against that.
LOSES = {("read-only", "the code runs"), ("read-only", "the gate")}


class Stage(Theatre):
    """Parties whose passes fail as in the service's loop, one of them on a disk that is stuck."""

    def __init__(self, folder: Path, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(folder, monkeypatch)
        self.disk = disk
        self.troubles: list[str] = []
        self._passes_left: int | None = None
        self._undo: Callable[[], None] = disk.make_room

    def arm(self, step: str, trouble: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the disk be stuck as soon as the shop comes to a step, for a few passes."""
        owner, name = STEPS[step]
        real = getattr(owner, name)
        full = trouble == "full"

        @functools.wraps(real)
        def first(*args: Any, **kwargs: Any) -> Any:
            if self.stops.side == SHOP and self._passes_left is None:
                self._passes_left = 4
                self._undo = self.disk.make_room if full else self.disk.unlock
                (self.disk.fill if full else self.disk.lock)()
            return real(*args, **kwargs)

        monkeypatch.setattr(owner, name, first)

    @property
    def was_stuck(self) -> bool:
        return self._passes_left == 0

    def requested(self, home: MerchantHome, study: str) -> bool:
        try:
            return super().requested(home, study)
        except LedgerWriteError:
            return False  # the merchant is told so, and looks again later

    def pass_time(self) -> None:
        super().pass_time()
        if self._passes_left:
            self._passes_left -= 1
            if not self._passes_left:
                self._undo()

    @contextlib.contextmanager
    def _mortal(self, side: str) -> Iterator[None]:
        with super()._mortal(side):
            try:
                yield
                if side == SHOP and (party := self.parties.get(side)) and party.trouble:
                    self.troubles.append(party.trouble)
            except (DatasiteError, OSError) as error:
                if isinstance(error, LedgerError) and not isinstance(error, LedgerWriteError):
                    raise
                assert side == SHOP, "another merchant was hurt"
                self.troubles.append(service.in_words(error))
                with contextlib.suppress(OSError):
                    Heartbeat(self.homes[side]).beat("troubled", self.troubles[-1])

    def _sandbox(
        self,
        _code: Path,
        inputs: Mapping[str, Path],
        output: Path,
        log: Path,
        before_outputs: Callable[[], None] | None = None,
        **_: object,
    ) -> sandbox.RunOutcome:
        assert before_outputs is not None
        before_outputs()
        return super()._sandbox(_code, inputs, output, log)


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    with contextlib.ExitStack() as stack:
        try:
            disk = stack.enter_context(small_disk(tmp_path / "market" / "shop0", 24))
        except OSError as error:
            pytest.skip(f"a disk for this test cannot be mounted here: {error}")
        made = Stage(tmp_path / "market", disk, monkeypatch)
        made.open()
        yield made


@pytest.mark.parametrize("trouble", ["full", "read-only"])
@pytest.mark.parametrize("step", STEPS)
def test_a_disk_that_is_stuck_for_a_while_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, step: str, trouble: str
) -> None:
    stage.arm(step, trouble, monkeypatch)
    lost = stage.live("toys", SHOP, None)
    assert stage.was_stuck
    assert not lost or (trouble, step) in LOSES
    assert stage.troubles
    stage.restart()
    for home in stage.homes.values():
        check_books(home)
        for kind in ("waiting", "replies", "sent"):
            assert not [*(home.private / "link" / kind).iterdir()]
        assert not [*home.runs.glob("*/room-*")]
