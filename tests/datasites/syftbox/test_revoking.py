"""Peers that are heard no more: old keys, replays, strangers."""

from __future__ import annotations

import pytest

from datasites.errors import ReviewError
from datasites.syftbox import (
    ScientistLink,
)
from tests.datasites.syftbox.forged import DS, EVE, SHOP, inbox

pytestmark = pytest.mark.attack


def test_nothing_old_goes_to_a_new_key(pair):
    for n in range(3):
        pair.scientist.submit(SHOP, f"job-{n}", pair.code, {"n": n})
    pair.merchant.sync()
    # One answer lies in the share, one could not be delivered, one job has no answer yet.
    pair.merchant.reply("job-0", "done", "secret", {"a.bin": b"0"})
    pair.merchant.hears = lambda _email: False
    pair.merchant.reply("job-1", "done", "secret", {"a.bin": b"1"})
    pair.merchant.hears = lambda _email: True
    pair.scientist.submit(SHOP, "job-3", pair.code, {"n": 3})
    pair.merchant.revoke_peer(DS)
    assert not list((pair.share / SHOP / "outbox").rglob("syfteventsmessage*"))

    thief = ScientistLink(DS, pair.folder / "thief", str(pair.share))
    thief.request_peer(SHOP)
    pair.merchant.approve_peer(DS, thief.own_fingerprint)
    thief.sync()
    for _ in range(2):
        report = pair.merchant.sync()
        # What the old key had sent before is not signed by the new one.
        assert report.new_jobs == 0
        assert pair.merchant.submissions() == []
        with pytest.raises(ReviewError):
            pair.merchant.reply("unknown", "done", "", {})
        pair.merchant.reply("job-2", "done", "late", {"a.bin": b"2"})
        thief.sync()
        assert not list((pair.share / SHOP / "outbox").rglob("syfteventsmessage*"))
        pair.restart_merchant()
    thief.submit(SHOP, "mine", pair.code, {})
    assert pair.merchant.sync().new_jobs == 1
    assert [job.job for job in pair.merchant.submissions()] == ["mine"]


def test_a_job_of_the_old_key_is_not_answered_to_the_new_one_even_if_a_crash_kept_it(
    pair, monkeypatch
):
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    pair.merchant.sync()
    pair.merchant.hears = lambda _email: False
    pair.merchant.reply("job-1", "done", "secret", {"a.bin": b"1"})
    with monkeypatch.context() as crash:
        crash.setattr(type(pair.merchant._shelf), "drop", lambda *_: None)
        pair.merchant.revoke_peer(DS)
    thief = ScientistLink(DS, pair.folder / "thief", str(pair.share))
    thief.request_peer(SHOP)
    pair.restart_merchant().approve_peer(DS, thief.own_fingerprint)
    pair.merchant.sync()
    assert not list((pair.share / SHOP / "outbox").rglob("syfteventsmessage*"))


def test_a_replay_after_revoking_and_pairing_again_is_recognised(pair):
    pair.scientist.submit(SHOP, "job-1", pair.code, {"n": 1})
    (message,) = inbox(pair).glob("msgv2_*")
    replayed = message.read_bytes()
    pair.merchant.sync()
    pair.merchant.revoke_peer(DS)
    pair.scientist.request_peer(SHOP)
    pair.merchant.approve_peer(DS, pair.scientist.own_fingerprint)
    for _ in range(2):
        message.write_bytes(replayed)
        assert pair.merchant.sync().new_jobs == 0
        assert pair.merchant.submissions() == []
        pair.restart_merchant()


def test_a_peer_that_is_no_longer_heard_gets_and_gives_nothing(pair):
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    pair.merchant.sync()
    pair.merchant.hears = lambda email: email != DS
    pair.merchant.reply("job-1", "done", "secret", {"a.bin": b"1"})
    pair.scientist.submit(SHOP, "job-2", pair.code, {})
    assert pair.merchant.sync().new_jobs == 0
    assert not list((pair.share / SHOP / "outbox").rglob("syfteventsmessage*"))


def test_a_stranger_can_be_turned_away(pair):
    eve = ScientistLink(EVE, pair.folder / "eve", str(pair.share))
    eve.request_peer(SHOP)
    assert "requested_by_peer" in [peer.state for peer in pair.merchant.peers()]
    pair.merchant.revoke_peer(EVE)
    assert [peer.state for peer in pair.merchant.peers() if peer.email == EVE] == ["revoked"]
    pair.merchant.sync()
