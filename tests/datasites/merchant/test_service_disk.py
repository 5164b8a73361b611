"""A disk that is full for a while: the service waits, says so once, and goes on by itself."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

import datasites.merchant.loop as module
from datasites.errors import LedgerError, LedgerWriteError, RestoredError
from datasites.merchant import Ledger, MerchantHome, heartbeat
from datasites.merchant.heartbeat import Heartbeat
from datasites.merchant.trouble import in_words

FULL = OSError(errno.ENOSPC, "No space left on device")


def full_ledger() -> LedgerWriteError:
    error = LedgerWriteError("Nothing was booked")
    error.__cause__ = FULL
    return error


class Passes:
    """A service whose passes go as told; the loop around it is the real one."""

    trouble = ""

    def __init__(self, *endings: Exception | None) -> None:
        self.endings = list(endings)
        self.made = 0

    def __call__(self, *_: object) -> Passes:
        self.made += 1
        return self

    def recover(self) -> None:
        return None

    def step(self, _stopping: object) -> int:
        ending = self.endings.pop(0)
        if ending is not None:
            raise ending
        return 0


def serve(home: MerchantHome, monkeypatch: pytest.MonkeyPatch, passes: Passes) -> list[Any]:
    beats: list[Any] = []
    monkeypatch.setattr(module, "Service", passes)
    monkeypatch.setattr(module, "_wait", lambda *_: beats.append(home.heartbeat.read_text()))
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    module.serve(home, stop=lambda: not passes.endings)
    return [json.loads(beat) for beat in beats]


@pytest.mark.parametrize("trouble", [FULL, full_ledger()])
def test_a_full_disk_is_waited_for_and_told(
    home: MerchantHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    passes = Passes(None, trouble, trouble, None, None)
    beats = serve(home, monkeypatch, passes)
    assert [beat["state"] for beat in beats] == ["running", "troubled", "troubled", "running"]
    assert beats[1]["detail"].startswith("disk full: free some space")
    assert passes.made == 1


def test_the_heartbeat_is_told_on_a_full_disk(
    home: MerchantHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulse = Heartbeat(home)
    pulse.beat("troubled", "a detail that is longer than the next one will be")

    def full(*_: object, **__: object) -> None:
        raise FULL

    monkeypatch.setattr(heartbeat, "atomic_write_text", full)
    pulse.beat("troubled", "disk full")
    assert json.loads(home.heartbeat.read_text())["detail"] == "disk full"


@pytest.mark.attack
@pytest.mark.parametrize("broken", [LedgerError("cut"), RestoredError("older")])
def test_a_ledger_that_does_not_verify_stops_the_service(
    home: MerchantHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, broken: LedgerError
) -> None:
    with pytest.raises(type(broken)):
        serve(home, monkeypatch, Passes(None, broken, None))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk full"),
        (errno.EROFS, "read-only"),
        (errno.EFBIG, "may not grow"),
        (errno.EACCES, "permissions"),
        (errno.EIO, "is the share or a disk away"),
    ],
)
def test_troubles_are_told_without_file_names(number: int, words: str) -> None:
    told = in_words(OSError(number, "reason", "/home/castle/private/secret"))
    assert words in told
    assert "secret" not in told
