"""A merchant or a scientist that stops between any two writes goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from datasites.errors import TransportError
from datasites.syftbox import shelf
from datasites.syftbox.store import ObjectStore


class Stopped(BaseException):
    """The process ends here. No handler of the code under test may catch it and tidy up."""


class Writes:
    """Counts everything that changes a disk or the share, and stops before the n-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        self.count = 0
        for owner, name in (
            (Path, "replace"),
            (Path, "unlink"),
            (Path, "write_bytes"),
            (shutil, "rmtree"),
            (ObjectStore, "put"),
            (ObjectStore, "delete"),
        ):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if self.left is not None:
                # A stopped process writes nothing more, so handlers on the way out fail too.
                if self.left <= 0:
                    raise Stopped
                self.left -= 1
                self.count += 1
            return real(*args, **kwargs)

        return counted

    def stops_before(self, n: int, action: Callable[[], Any]) -> bool:
        """Run `action`; tells whether it was stopped before its n-th write."""
        self.left, self.count = n, 0
        try:
            action()
        except Stopped:
            return True
        else:
            return False
        finally:
            self.left = None


@pytest.fixture
def writes(monkeypatch):
    return Writes(monkeypatch)


def answer_all(pair: Any) -> None:
    pair.merchant.sync()
    for job in pair.merchant.submissions():
        pair.merchant.reply(job.job, "done", str(job.params["n"]), {"a.bin": b"\xff" * 1000})


@pytest.mark.slow
def test_the_merchant_stops_before_any_write(pair, writes):
    stops, arrived = 0, 0
    for n in range(200):
        name = f"job-{n}"
        pair.scientist.submit(pair.shop, name, pair.code, {"n": n})
        stopped = writes.stops_before(n, lambda: answer_all(pair))
        pair.restart_merchant()
        answer_all(pair)
        pair.merchant.sync()
        arrived += pair.scientist.sync().new_jobs
        reply = pair.scientist.reply(pair.shop, name)
        assert (reply.status, reply.message) == ("done", str(n)), n
        assert reply.files == {"a.bin": b"\xff" * 1000}
        pair.merchant.sync()
        assert pair.merchant.submissions() == []
        if not stopped:
            break
        stops += 1
    assert stops > 10
    assert arrived == stops + 1
    # Nothing is left behind but the record that each name was used.
    left = [p for p in (pair.folder / "merchant").rglob("*") if p.is_file()]
    assert not [p for p in left if "/v1/" in str(p) or "/replies/" in str(p)]
    assert not [p for p in left if ".incoming" in str(p)]
    assert not list((pair.share / pair.shop / "outbox" / pair.ds).iterdir())


@pytest.mark.slow
def test_the_scientist_stops_before_any_write(pair, writes):
    for n in range(200):
        name = f"job-{n}"

        def send_and_read(name: str = name, n: int = n) -> None:
            pair.scientist.submit(pair.shop, name, pair.code, {"n": n})
            pair.scientist.sync()

        pair.scientist.submit(pair.shop, f"{name}-before", pair.code, {"n": n})
        answer_all(pair)
        stopped = writes.stops_before(n, send_and_read)
        pair.restart_scientist()
        send_and_read()
        answer_all(pair)
        pair.scientist.sync()
        for job in (name, f"{name}-before"):
            reply = pair.scientist.reply(pair.shop, job)
            assert (reply.status, reply.message) == ("done", str(n)), n
            assert reply.files == {"a.bin": b"\xff" * 1000}
        if not stopped:
            break
    assert n > 5


def test_an_unreachable_share_loses_nothing(pair, monkeypatch):
    pair.scientist.submit(pair.shop, "job-1", pair.code, {"n": 1})
    pair.merchant.sync()

    def down(*_: object) -> None:
        raise TransportError("down")

    with monkeypatch.context() as outage:
        outage.setattr(ObjectStore, "put", down)
        pair.merchant.reply("job-1", "done", "first", {"a.bin": b"1"})
        pair.merchant.reply("job-1", "failed", "second", {})
        assert pair.merchant.submissions() == []
        with pytest.raises(TransportError):
            pair.scientist.submit(pair.shop, "job-2", pair.code, {"n": 2})
    pair.restart_merchant()
    pair.merchant.sync()
    pair.scientist.sync()
    reply = pair.scientist.reply(pair.shop, "job-1")
    assert (reply.status, reply.message, reply.files) == ("done", "first", {"a.bin": b"1"})
    pair.scientist.submit(pair.shop, "job-2", pair.code, {"n": 2})
    assert pair.merchant.sync().new_jobs == 1


def test_a_clock_set_back_hides_no_reply(pair, monkeypatch):
    for n in range(2):
        pair.scientist.submit(pair.shop, f"job-{n}", pair.code, {"n": n})
    pair.merchant.sync()
    pair.merchant.reply("job-0", "done", "first", {})
    pair.scientist.sync()
    monkeypatch.setattr(shelf, "time", SimpleNamespace(time=lambda: 1000.0))
    pair.merchant.reply("job-1", "done", "second", {})
    pair.scientist.sync()
    assert pair.scientist.reply(pair.shop, "job-1").message == "second"


def test_jobs_and_replies_survive_a_restart(pair):
    for n in range(3):
        pair.scientist.submit(pair.shop, f"job-{n}", pair.code, {"n": n})
    pair.merchant.sync()
    before = pair.merchant.submissions()
    assert [job.params["n"] for job in before] == [0, 1, 2]
    assert pair.restart_merchant().submissions() == before
    answer_all(pair)
    pair.scientist.sync()
    pair.restart_scientist()
    assert [pair.scientist.reply(pair.shop, f"job-{n}").message for n in range(3)] == [*"012"]
    pair.scientist.forget(pair.shop, "job-0")
    pair.scientist.submit(pair.shop, "job-1", pair.code, {"n": 1})
    assert pair.merchant.sync().new_jobs == 0
