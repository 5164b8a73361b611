"""A share that shows something else than what its parties put there."""

from __future__ import annotations

import json

import pytest

from datasites.errors import TransportError
from datasites.syftbox import (
    MerchantLink,
    ScientistLink,
)
from tests.datasites.syftbox.forged import DS, SHOP, inbox

pytestmark = pytest.mark.attack


def test_a_key_that_the_share_spoiled_is_put_back_by_its_owner(pair):
    for owner, reader, restart in (
        (DS, SHOP, pair.restart_scientist),
        (SHOP, DS, pair.restart_merchant),
    ):
        bundle = pair.share / owner / "bundles" / f"{reader}.json"
        good = json.loads(bundle.read_text())
        thief = ScientistLink(owner, pair.folder / f"thief-{owner}", str(pair.share))
        thief.request_peer(reader)
        assert json.loads(bundle.read_text()) != good
        restart().sync()
        assert json.loads(bundle.read_text()) == good
        bundle.unlink()
        restart().sync()
        assert json.loads(bundle.read_text()) == good
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    assert pair.merchant.sync().new_jobs == 1


def test_an_older_state_shown_as_the_newer_one_is_refused(pair, tmp_path):
    pair.scientist.publish_state("state-1", {"a.bin": b"old"}, [SHOP])
    (older,) = pair.share.rglob("parcel")
    old = older.read_bytes()
    pair.scientist.delete_state("state-1")
    sha256 = pair.scientist.publish_state("state-1", {"a.bin": b"new"}, [SHOP])
    (newer,) = pair.share.rglob("parcel")
    newer.write_bytes(old)
    with pytest.raises(TransportError, match="sha256 differs"):
        pair.merchant.download_state(DS, "state-1", sha256, tmp_path / "into")


def test_a_job_for_another_merchant_is_not_taken(pair, tmp_path):
    mill = MerchantLink("mill@example.org", tmp_path / "mill", str(pair.share))
    pair.scientist.request_peer("mill@example.org")
    mill.approve_peer(DS)
    pair.scientist.sync()
    pair.scientist.submit("mill@example.org", "job-1", pair.code, {})
    (message,) = (pair.share / "mill@example.org" / "inbox" / DS).glob("msgv2_*")
    inbox(pair).mkdir(parents=True, exist_ok=True)
    (inbox(pair) / message.name).write_bytes(message.read_bytes())
    # Nor can the other merchant, who may read it, pass it on as its own.
    assert "signed" in pair.merchant.sync().quarantined[0][1]
    assert pair.merchant.submissions() == []


def test_what_an_answer_holds_cannot_become_another_kind_of_message(pair):
    """Each kind of message is told apart by its contents, not by the name of its file alone."""
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    (message,) = inbox(pair).glob("msgv2_*")
    job = message.read_bytes()
    pair.merchant.sync()
    pair.merchant.reply("job-1", "done", "yes", {"a.bin": b"\xff" * 100})
    pair.scientist.sync()
    receipt = (inbox(pair) / "receipt").read_bytes()
    sha256 = pair.scientist.publish_state("state-1", {"a.bin": b"1"}, [SHOP])
    (parcel,) = pair.share.rglob("parcel")
    (inbox(pair) / "msgv2_1.5_a.tar.gz").write_bytes(receipt)
    (inbox(pair) / "msgv2_2.5_b.tar.gz").write_bytes(parcel.read_bytes())
    (inbox(pair) / "receipt").write_bytes(job)
    report = pair.merchant.sync()
    assert report.new_jobs == 0
    assert len(report.quarantined) == 3
    parcel.write_bytes(job)
    with pytest.raises(TransportError):
        pair.merchant.download_state(DS, "state-1", sha256, pair.folder / "into")
