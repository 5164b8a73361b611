"""Receipts: who signs for an answer, and what becomes of answers that are tampered with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datasites.syftbox import (
    hardening,
    receipts,
)
from tests.datasites.syftbox.forged import DS, EVE, SHOP, inbox, sealed

pytestmark = pytest.mark.attack


@pytest.fixture
def answered(pair):
    """A pair with one answer on its way."""
    pair.scientist.submit(SHOP, "job-1", pair.code, {"n": 1})
    pair.merchant.sync()
    pair.merchant.reply("job-1", "done", "yes", {"a.bin": b"\xff" * 100})
    return pair


def the_answer(pair: Any) -> Path:
    (file,) = (pair.share / SHOP / "outbox" / DS).iterdir()
    return file


def arrives(pair: Any) -> bool:
    pair.merchant.sync()
    pair.scientist.sync()
    pair.merchant.sync()
    pair.scientist.sync()
    return pair.scientist.reply(SHOP, "job-1").files == {"a.bin": b"\xff" * 100}


def test_nobody_else_can_sign_for_an_answer(answered):
    pair = answered
    eve = pair.another_scientist(EVE)
    name = the_answer(pair).name
    named = receipts.Receipt(frozenset([name]), frozenset())
    forged = [
        b'{"read": 1e300}',
        receipts.pack_receipt(DS, SHOP, named),
        sealed(eve, SHOP, receipts.pack_receipt(DS, SHOP, named)),
        sealed(pair.scientist, SHOP, receipts.pack_receipt(DS, "mill@example.org", named)),
        sealed(pair.scientist, SHOP, receipts.pack_receipt(EVE, SHOP, named)),
        sealed(pair.scientist, SHOP, b"[" * 100_000),
        sealed(pair.scientist, SHOP, b'{"kind": "toyfed receipt 1"}'),
        b"x" * 5_000_000,
        (pair.share / DS / "bundles" / f"{SHOP}.json").read_bytes(),
    ]
    for data in forged:
        for place in (inbox(pair) / "receipt", inbox(pair, EVE) / "receipt"):
            place.write_bytes(data)
        (inbox(pair) / "ack.json").write_bytes(b'{"read": 1e300}')
        report = pair.merchant.sync()
        assert report.new_jobs == 0
        assert the_answer(pair).name == name
    assert arrives(pair)
    assert list((pair.share / SHOP / "outbox" / DS).iterdir()) == []


def test_a_receipt_moved_to_another_reader_signs_for_nothing(answered):
    pair = answered
    eve = pair.another_scientist(EVE)
    eve.submit(SHOP, "job-9", pair.code, {})
    pair.merchant.sync()
    pair.merchant.reply("job-9", "done", "for eve", {})
    eve.sync()
    (inbox(pair) / "receipt").write_bytes((inbox(pair, EVE) / "receipt").read_bytes())
    pair.merchant.sync()
    assert the_answer(pair).exists()
    assert arrives(pair)


def test_a_deleted_answer_is_put_back(answered):
    pair = answered
    for _ in range(3):
        the_answer(pair).unlink()
        pair.merchant.sync()
    pair.restart_merchant()
    the_answer(pair).unlink()
    assert arrives(pair)


def test_a_spoiled_answer_is_sent_anew(answered):
    pair = answered
    for n in range(3):
        the_answer(pair).write_bytes(b"noise %d" % n)
        report = pair.scientist.sync()
        assert [sender for sender, _ in report.quarantined] == [SHOP]
        assert pair.scientist.sync().quarantined == []
        pair.merchant.sync()
    pair.restart_merchant()
    pair.restart_scientist()
    assert arrives(pair)


def test_an_old_receipt_or_answer_shown_again_changes_nothing(answered):
    pair = answered
    file = the_answer(pair)
    old = file.read_bytes()
    assert arrives(pair)
    old_receipt = (inbox(pair) / "receipt").read_bytes()
    pair.scientist.submit(SHOP, "job-2", pair.code, {"n": 2})
    pair.merchant.sync()
    pair.merchant.reply("job-2", "done", "two", {})
    (inbox(pair) / "receipt").write_bytes(old_receipt)
    file.write_bytes(old)
    pair.merchant.sync()
    pair.scientist.sync()
    assert pair.scientist.reply(SHOP, "job-2").message == "two"
    assert pair.scientist.reply(SHOP, "job-1").message == "yes"


def test_a_lost_receipt_is_written_again_after_a_restart(answered):
    pair = answered
    pair.scientist.sync()
    (inbox(pair) / "receipt").unlink()
    pair.merchant.sync()
    assert the_answer(pair).exists()
    pair.restart_scientist().sync()
    pair.merchant.sync()
    assert list((pair.share / SHOP / "outbox" / DS).iterdir()) == []
    assert pair.merchant._shelf.sent(DS) == []


def test_a_peer_that_reads_nothing_is_heard_no_more(pair, monkeypatch):
    monkeypatch.setattr(hardening, "MAX_UNREAD_REPLIES", 4)
    eve = pair.another_scientist(EVE)
    for n in range(10):
        eve.submit(SHOP, f"eve-{n}", pair.code, {})
        pair.merchant.sync()
        for job in pair.merchant.submissions():
            pair.merchant.reply(job.job, "refused", "", {})
    assert len(list((pair.share / SHOP / "outbox" / EVE).iterdir())) == 4
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    assert pair.merchant.sync().new_jobs == 1
    eve.sync()
    assert pair.merchant.sync().new_jobs == 0  # takes jobs before it looks at receipts
    assert pair.merchant.sync().new_jobs == 4


def test_a_peer_cannot_fill_the_disk_with_names(pair, monkeypatch):
    monkeypatch.setattr(hardening, "MAX_JOBS_A_DAY", 5)
    for n in range(8):
        pair.scientist.submit(SHOP, f"job-{n}", pair.code, {})
        pair.merchant.sync()
        for job in pair.merchant.submissions():
            pair.merchant.reply(job.job, "refused", "", {})
        pair.scientist.sync()
    assert len(list((pair.folder / "merchant/private/link/answered").iterdir())) == 5
    pair.restart_merchant()
    assert pair.merchant.sync().new_jobs == 0
