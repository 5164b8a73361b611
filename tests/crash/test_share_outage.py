"""The share goes away in the middle of anything and comes back: nobody is left out for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datasites.study.journal import read_journal
from datasites.syftbox.store import ObjectStore
from tests.crash.invariants import check_all
from tests.crash.writes import Theatre

pytestmark = [pytest.mark.attack, pytest.mark.slow]
TOUCHES = ("put", "get", "files", "folders", "delete")
PASSES = 4


class Share:
    """Counts what is done with the share; from the n-th on it fails, for a few passes."""

    def __init__(self, theatre: Theatre, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.kind, self.theatre = theatre.share, kind, theatre
        self.n: int | None = None
        self.count = self.passes = 0
        self.away = False
        self._seen: dict[str, Any] = {}
        for name in TOUCHES:
            monkeypatch.setattr(ObjectStore, name, self._touched(name, getattr(ObjectStore, name)))
        monkeypatch.setattr(theatre, "pass_time", self._passing(theatre.pass_time))

    def _touched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def touched(store: ObjectStore, *args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.n:
                self._go()
            if self.away and self.kind == "read-only" and name in ("put", "delete"):
                with store._errors(name):
                    raise PermissionError(13, "read-only")
            if name in ("files", "folders"):
                if self.away and self.kind == "stale":
                    return self._seen.get(f"{name} {args}", [])
                found = self._seen[f"{name} {args}"] = real(store, *args, **kwargs)
                return found
            return real(store, *args, **kwargs)

        return touched

    def _passing(self, real: Callable[[], None]) -> Callable[[], None]:
        def passing() -> None:
            if self.away:
                self.passes += 1
                if self.passes > PASSES:
                    self._come_back()
            real()

        return passing

    def _go(self) -> None:
        self.away, self.passes = True, 0
        if self.kind in ("renamed", "a file", "unmounted"):
            self.folder.rename(self.folder.with_name("elsewhere"))
        if self.kind == "a file":
            self.folder.write_text("not a folder")
        elif self.kind == "unmounted":
            self.folder.mkdir()

    def _come_back(self) -> None:
        self.away = False
        if self.kind == "a file":
            self.folder.unlink()
        elif self.kind == "unmounted":
            assert list(self.folder.iterdir()) == [], "something was written beside the share"
            self.folder.rmdir()
        if self.kind in ("renamed", "a file", "unmounted"):
            assert not self.folder.exists(), "the share was made anew"
            shutil.move(self.folder.with_name("elsewhere"), self.folder)

    def live(self, study: str, n: int | None) -> None:
        """A whole study, with the share away from its n-th use on."""
        self.n, self.count = n, 0
        try:
            assert self.theatre.live(study, "nobody", None) == {}
        finally:
            self.n = None
            if self.away:
                # It went in the very end, when nobody waited for it any more.
                self._come_back()


def outages(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch, parts: int) -> None:
    theatre = Theatre(folder / "market", monkeypatch)
    theatre.open()
    share = Share(theatre, kind, monkeypatch)
    share.live("whole", None)
    count = share.count
    assert count > 100
    told = 0
    for n in range(count // (2 * parts), count, max(1, count // parts)):
        share.live(f"out-{n}", n)
        happened = [one.progress.what for one in read_journal(theatre.desk.study(f"out-{n}"))]
        assert happened.count("away") == happened.count("back")
        told += "away" in happened
    if kind not in ("stale", "read-only"):
        assert told, "nobody was told"
    check_all(theatre)


KINDS = ("renamed", "a file", "unmounted", "read-only", "stale")


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_outlives_a_share_that_is(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outages(tmp_path, kind, monkeypatch, parts=2)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_study_outlives_it_at_every_tenth_use(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outages(tmp_path, kind, monkeypatch, parts=60)
