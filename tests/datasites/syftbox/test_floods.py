"""Floods: more messages, names, strangers and bytes than anybody should send."""

from __future__ import annotations

import time
from typing import Any

import pytest

from datasites.syftbox import (
    MerchantLink,
    hardening,
    transport,
)
from tests.datasites.syftbox.forged import DS, EVE, SHOP, inbox, peak_mb

pytestmark = pytest.mark.attack


@pytest.mark.slow
def test_a_full_inbox_keeps_nobody_waiting(pair, monkeypatch):
    monkeypatch.setattr(transport, "MOST_LISTED", 300)
    eve = pair.another_scientist(EVE)
    folder = inbox(pair, EVE)
    for n in range(20_000):
        (folder / f"msgv2_{n}.5_x.tar.gz").touch()
    eve.submit(SHOP, "eve", pair.code, {})
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    reports = []
    begun = time.process_time()
    assert peak_mb(lambda: reports.append(pair.merchant.sync())) < 20
    assert time.process_time() - begun < 20
    (report,) = reports
    assert report.new_jobs == 1
    assert len(report.quarantined) <= 100
    assert len(list(folder.iterdir())) >= 19_000
    kept = pair.merchant._quarantine.entries()
    assert len(kept) <= 250


def test_a_flood_does_not_push_others_out_of_quarantine(pair, monkeypatch):
    from datasites import quarantine

    monkeypatch.setattr(quarantine, "_MOST", 10)
    monkeypatch.setattr(quarantine, "_SLACK", 0)
    kept = pair.merchant._quarantine
    kept.put("quiet@example.org", "once", b"x")
    for n in range(40):
        kept.put(EVE, f"again {n}", b"y" * 100_000)
    entries = kept.entries()
    assert len(entries) == 10
    assert entries[-1].sender == "quiet@example.org"
    assert entries[0].reason == "again 39"
    folder = pair.folder / "merchant/private/link/quarantine"
    assert len(list(folder.iterdir())) == 20
    assert max(file.stat().st_size for file in folder.iterdir()) <= 64 * 1024
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())
    again = pair.restart_merchant()._quarantine.entries()
    assert again == entries
    (folder / f"{entries[0].id}.json").write_text("{")
    assert len(kept.entries()) == 9


def test_strangers_that_ask_to_pair_are_bounded(pair):
    root = pair.share / SHOP / "inbox"
    for n in range(300):
        (root / f"a{n:03}@example.org").mkdir()
        (root / f"a{n:03}@example.org" / "peer_request.json").write_text("{}")
    for name in ("..", "x", "a@b@c", "\n@b.org", "%41@b.org"):
        (root / f"{name}~").mkdir()
    (root / "big@example.org").mkdir()
    (root / "big@example.org" / "peer_request.json").write_bytes(b"x" * 1_000_000)
    found = pair.merchant.peers()
    assert len(found) <= 21
    assert DS in [peer.email for peer in found]
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    assert pair.merchant.sync().new_jobs == 1


def test_a_merchant_that_floods_its_outbox_keeps_nobody_waiting(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(hardening, "_MESSAGES_A_SYNC", 20)
    mill = MerchantLink("mill@example.org", tmp_path / "mill", str(pair.share))
    pair.scientist.request_peer("mill@example.org")
    mill.approve_peer(DS)
    pair.scientist.sync()
    pair.scientist.submit("mill@example.org", "job-1", pair.code, {})
    mill.sync()
    mill.reply("job-1", "done", "from the mill", {})
    folder = pair.share / SHOP / "outbox" / DS
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(100):
        name = f"syfteventsmessagev3_{n}.5_12345678-1234-5678-1234-{n:012}.tar.gz"
        (folder / name).write_bytes(b"noise")
    report = pair.scientist.sync()
    assert len(report.quarantined) == 20
    assert pair.scientist.reply("mill@example.org", "job-1").message == "from the mill"


def test_only_the_signed_parcel_of_a_collection_is_read(pair, tmp_path, monkeypatch):
    sha256 = pair.scientist.publish_state("state-1", {"a.bin": b"1"}, [SHOP])
    pair.merchant.publish_mock("toys", "first", {"mock.csv": b"1"})
    for parcel in list(pair.share.rglob("parcel")):
        for n in range(5):
            (parcel.parent / f"more-{n}").write_bytes(b"x" * 100_000)
    taken: list[str] = []
    store = type(pair.merchant._party.connection.store)
    real = store.get

    def get(self: Any, key: str, limit: int) -> bytes | None:
        taken.append(key)
        return real(self, key, limit)

    monkeypatch.setattr(store, "get", get)
    pair.merchant.download_state(DS, "state-1", sha256, tmp_path / "into")
    assert [file.name for file in (tmp_path / "into").iterdir()] == ["a.bin"]
    assert len(pair.scientist.mocks(SHOP)) == 1
    assert not [key for key in taken if "more-" in key]


def test_a_merchant_with_many_mocks_is_read_in_part(pair, monkeypatch):
    for n in range(20):
        pair.merchant.publish_mock(f"mock-{n}", "", {"mock.csv": b"1"})
    assert len(pair.scientist.mocks(SHOP)) == 16


def test_what_a_merchant_says_cannot_move_a_terminal(pair):
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    pair.merchant.sync()
    said = "\x1b[2J\x1b]8;;http://x\x07 all\nwell\u202e " + "x" * 100_000
    pair.merchant.reply("job-1", "refused", said, {})
    pair.scientist.sync()
    told = pair.scientist.reply(SHOP, "job-1").message
    assert told.isprintable()
    assert "all well" in told
    assert len(told) <= 2001
