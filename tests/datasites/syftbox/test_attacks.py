"""Floods, bombs, clocks, receipts: what a paired peer, a merchant or the share's owner can try."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from syft.sync.utils.syftbox_utils import compress_data

from datasites.errors import ReviewError, TransportError
from datasites.syftbox import (
    MerchantLink,
    ScientistLink,
    hardening,
    messages,
    parcels,
    receipts,
    transport,
)

pytestmark = pytest.mark.attack
SHOP, DS, EVE = "shop@example.org", "ds@example.org", "eve@example.org"


def sealed(link: ScientistLink | MerchantLink, to: str, data: bytes) -> bytes:
    """Encrypted to `to` and signed by `link`, as a program of the peer's own could."""
    sealed_bytes: bytes = link._party.engine.peer_manager.peer_store.encrypt(to, data)
    return sealed_bytes


def inbox(pair: Any, sender: str = DS) -> Path:
    return Path(pair.share / SHOP / "inbox" / sender)


def job_message(job: str = "job-1", text: str = "print(1)", params: str = "{}") -> bytes:
    root = f"app_data/job/inbox/{DS}/v1/{job}/code"
    changes = [
        {"path_in_datasite": f"{root}/{name}", "content": content, "datasite_email": SHOP}
        for name, content in (("main.py", text), ("params.json", params))
    ]
    message = {"sender_email": DS, "proposed_file_changes": changes}
    return compress_data(json.dumps(message).encode())


def read(data: bytes) -> messages.IncomingJob:
    return messages.read_job(data, owner=SHOP, sender=DS)


def peak_mb(action: Any) -> float:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


# -- one bad message -------------------------------------------------------------------------------


def test_half_a_character_does_not_end_the_service(pair):
    for n, data in enumerate(
        (job_message(text="\ud800"), job_message(params='{"a": "\\ud800"}'), b"")
    ):
        inbox(pair).mkdir(parents=True, exist_ok=True)
        (inbox(pair) / f"msgv2_{n}.5_x.tar.gz").write_bytes(sealed(pair.scientist, SHOP, data))
    pair.scientist.submit(SHOP, "real", pair.code, {})
    pair.merchant.sync()
    assert "real" in [job.job for job in pair.merchant.submissions()]
    assert pair.merchant._party.connection.inbox_messages(DS) == []


def test_an_error_that_nobody_thought_of_is_quarantined(pair, monkeypatch):
    def breaks(*_: object, **__: object) -> None:
        raise AttributeError("shopper 7 bought a castle")

    monkeypatch.setattr(hardening, "read_job", breaks)
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    ((sender, reason),) = pair.merchant.sync().quarantined
    assert (sender, reason) == (DS, "not understood: AttributeError")
    assert pair.merchant.sync().quarantined == []


def test_a_full_disk_loses_no_message(pair, monkeypatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    with monkeypatch.context() as disk:
        disk.setattr(type(pair.merchant._shelf), "accept", full)
        with pytest.raises(OSError, match="No space"):
            pair.merchant.sync()
    assert pair.merchant.sync().new_jobs == 1


@pytest.mark.parametrize("part", [b"{},", b"[],", b'"",', b"0,"])
def test_values_without_end_take_no_memory(part):
    text = b'{"proposed_file_changes": [' + part * (7_000_000 // len(part)) + b"0]}"
    data = compress_data(text)
    assert len(data) < 200_000

    def refuse() -> None:
        with pytest.raises(ReviewError, match="too many parts"):
            read(data)

    # Parsed, it would take 100 to 400 MB.
    assert peak_mb(refuse) < 40


def test_parameters_without_end_take_no_memory():
    data = job_message(params='{"a": [' + "{}," * 2_000_000 + "0]}")

    def refuse() -> None:
        with pytest.raises(ReviewError, match="at most 1 MB"):
            read(data)

    assert peak_mb(refuse) < 60


@pytest.mark.parametrize("number", ["9" * 100_000, "1e999", "-1e999", "NaN"])
def test_huge_numbers_are_refused_in_no_time(number):
    begun = time.process_time()
    with pytest.raises(ReviewError):
        messages.encode_params(read(job_message(params=f'{{"a": {number}}}')).params)
    assert time.process_time() - begun < 2


def test_quotes_without_end_take_linear_time():
    for text in (b'"' * 4_000_000, b'"' + b'\\"' * 2_000_000, b'"\\' * 2_000_000):
        begun = time.process_time()
        with pytest.raises(ReviewError):
            read(compress_data(text))
        assert time.process_time() - begun < 5


def test_a_parcels_head_takes_no_memory():
    head = b'{"facts": {}, "files": [' + b"[]," * 5_000_000 + b"[]]}"
    parcel = b"toyfed parcel 1\n" + len(head).to_bytes(8, "big") + head

    def refuse() -> None:
        with pytest.raises(TransportError, match="damaged"):
            parcels.open_parcel(parcel)

    assert peak_mb(refuse) < 10


@pytest.mark.parametrize(
    "hidden", ["\x1b[2K", "\x1b]0;x\x07", "\u202e", "\u2066", "\u200b", "x\ry", "\x00", "\x9b1A"]
)
def test_code_that_would_read_otherwise_than_it_runs_is_refused(pair, hidden):
    code = f"print(1)  # {hidden} harmless\n"
    with pytest.raises(ReviewError, match="read differently"):
        pair.scientist.submit(SHOP, "job-1", {"main.py": code.encode()}, {})
    with pytest.raises(ReviewError, match="read differently"):
        read(job_message(text=code))
    # Written as an escape it is only text; line ends of any system are fine.
    assert read(job_message(text="print('\\x1b')\r\n\tpass\n")).code


# -- names and clocks ------------------------------------------------------------------------------


def test_names_and_clocks_in_an_inbox_stop_nobody(pair):
    folder = inbox(pair)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (
        "msgv2_0.0_\n.tar.gz",
        "msgv2_-1_\x1b[2J",
        "msgv2_nan_a.tar.gz",
        "msgv2_inf_b.tar.gz",
        "msgv2_-inf_c.tar.gz",
        "msgv2_-1e308_d.tar.gz",
        "msgv2_1e308_e.tar.gz",
        "msgv2_" + "9" * 200,
        "msgv2_1.0_Ä.tar.gz",
        "msgv2_1.0_..",
    ):
        (folder / name).write_bytes(b"noise")
    deep = folder.joinpath("msgv2_0.0_deep", *["d"] * 50)
    deep.mkdir(parents=True)
    (folder / "msgv2_0.0_link").symlink_to(pair.folder / "merchant" / "private" / "keys")
    pair.scientist.submit(SHOP, "job-1", pair.code, {})
    other = pair.another_scientist("other@example.org")
    other.submit(SHOP, "job-2", pair.code, {})
    report = pair.merchant.sync()
    assert report.new_jobs == 2
    assert {sender for sender, _ in report.quarantined} == {DS}
    assert pair.merchant.sync().quarantined == []
    assert (pair.folder / "merchant" / "private" / "keys" / "peers.json").exists()


def test_two_peers_with_the_same_long_name_keep_nobody_waiting(pair):
    """The second one's job is told apart by a mark, which makes its name longer."""
    longest = "a" * 128
    other = pair.another_scientist("other@example.org")
    for peer in (pair.scientist, other):
        peer.submit(SHOP, longest, pair.code, {})
        pair.merchant.sync()
    waiting = [one.job for one in pair.merchant.submissions()]
    assert len(waiting) == len(set(waiting)) == 2
    for number, job in enumerate(waiting):
        pair.merchant.reply(job, "refused", str(number), {})
    assert pair.merchant.submissions() == []
    for number, peer in enumerate((pair.scientist, other)):
        peer.sync()
        assert peer.reply(SHOP, longest).message == str(number)


@pytest.mark.parametrize(
    "when", ["99999999999.5", "nan", "inf", "-inf", "1e308", "-5.0", " 1.0", "0x10", "1_0"]
)
def test_clocks_in_an_outbox_hide_no_answer(pair, when):
    for n in range(2):
        pair.scientist.submit(SHOP, f"job-{n}", pair.code, {"n": n})
    pair.merchant.sync()
    folder = pair.share / SHOP / "outbox" / DS
    folder.mkdir(parents=True)
    fake = f"syfteventsmessagev3_{when}_12345678-1234-5678-1234-567812345678.tar.gz"
    (folder / fake).write_bytes(b"noise")
    (folder / "syfteventsmessagev3_1.0_\n.tar.gz").write_bytes(b"noise")
    pair.scientist.sync()
    for n in range(2):
        pair.merchant.reply(f"job-{n}", "done", str(n), {})
        pair.scientist.sync()
        assert pair.scientist.reply(SHOP, f"job-{n}").message == str(n)
    pair.merchant.sync()
    assert not [
        file for file in folder.iterdir() if "-5678-" not in file.name and "\n" not in file.name
    ]


def test_messages_come_in_any_order(pair):
    for n in range(3):
        pair.scientist.submit(SHOP, f"job-{n}", pair.code, {"n": n})
    names = sorted(inbox(pair).glob("msgv2_*"))
    first, last = names[0].read_bytes(), names[2].read_bytes()
    names[0].write_bytes(last)
    names[2].write_bytes(first)
    assert pair.merchant.sync().new_jobs == 3
    for job in reversed(pair.merchant.submissions()):
        pair.merchant.reply(job.job, "done", job.job, {})
    pair.scientist.sync()
    assert [pair.scientist.reply(SHOP, f"job-{n}").message for n in range(3)] == [
        f"job-{n}" for n in range(3)
    ]


# -- receipts --------------------------------------------------------------------------------------


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


# -- floods ----------------------------------------------------------------------------------------


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


# -- revoking --------------------------------------------------------------------------------------


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


# -- the share shows something else ----------------------------------------------------------------


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
