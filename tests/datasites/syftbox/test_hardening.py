"""What a bad peer, a bad merchant or a bad share can try, over real PySyft clients."""

from __future__ import annotations

import gzip
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from syft.sync.messages.proposed_filechange import ProposedFileChange, ProposedFileChangesMessage

from datasites.errors import PeerError, ReviewError, SettingsError, TransportError
from datasites.syftbox import MerchantLink, ScientistLink, hardening

pytestmark = pytest.mark.attack


def push(link: ScientistLink, shop: str, sender: str, paths: dict[str, str], **more: Any) -> None:
    """Send any message through PySyft's own router, properly encrypted and signed by `link`."""
    changes = [
        ProposedFileChange(path_in_datasite=path, content=text, datasite_email=shop, **more)
        for path, text in paths.items()
    ]
    message = ProposedFileChangesMessage(sender_email=sender, proposed_file_changes=changes)
    link._syncer.connection_router.watcher_send_proposed_file_changes_message(shop, message)


def push_raw(link: ScientistLink, shop: str, name: str, data: bytes) -> None:
    link._party.connection.watcher_send_raw_bytes_to_inbox(shop, name, data)


def job_paths(sender: str, job: str, code: str = "print(1)") -> dict[str, str]:
    root = f"app_data/job/inbox/{sender}/v1/{job}/code"
    return {f"{root}/main.py": code, f"{root}/params.json": "{}"}


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_forged_sender_is_quarantined_and_the_others_are_served(pair):
    mallory = pair.another_scientist("mallory@example.org")
    before = files_below(pair.folder / "merchant" / "syftbox")
    push(mallory, pair.shop, pair.ds, job_paths(pair.ds, "forged"))
    push(mallory, pair.shop, pair.shop, job_paths(pair.ds, "forged"))
    push(mallory, pair.shop, "mallory@example.org", job_paths(pair.ds, "forged"))
    pair.scientist.submit(pair.shop, "real", pair.code, {})
    report = pair.merchant.sync()
    assert report.new_jobs == 1
    assert [sender for sender, _ in report.quarantined] == ["mallory@example.org"] * 3
    assert "another sender" in report.quarantined[0][1]
    assert [job.job for job in pair.merchant.submissions()] == ["real"]
    changed = set(files_below(pair.folder / "merchant" / "syftbox")) - set(before)
    assert {name for name in changed if "/v1/" not in name} == set()
    assert not [name for name in changed if "forged" in name]
    assert pair.merchant.sync().quarantined == []


def test_a_peer_cannot_use_another_peers_inbox(pair):
    mallory = pair.another_scientist("mallory@example.org")
    push(mallory, pair.shop, pair.ds, job_paths(pair.ds, "forged"))
    inbox = pair.share / pair.shop / "inbox"
    (message,) = (inbox / "mallory@example.org").glob("msgv2_*")
    message.rename(inbox / pair.ds / message.name)
    ((sender, reason),) = pair.merchant.sync().quarantined
    assert sender == pair.ds
    assert "signed with its sender's pinned key" in reason
    assert pair.merchant.submissions() == []


@pytest.mark.parametrize(
    "path",
    [
        "../private/keys/peers.json",
        "private/evil.json",
        "/tmp/evil.json",  # noqa: S108
        "app_data/job/review/ds@example.org/v1/job-1/reply.json",
        "app_data/job/inbox/ds@example.org/v1/../../../../../evil",
        "syft.pub.yaml",
    ],
)
def test_paths_outside_the_job_folder_are_quarantined(pair, path):
    before = files_below(pair.folder / "merchant")
    push(pair.scientist, pair.shop, pair.ds, {path: "evil", **job_paths(pair.ds, "job-1")})
    report = pair.merchant.sync()
    assert (report.new_jobs, len(report.quarantined)) == (0, 1)
    assert pair.merchant.submissions() == []
    after = files_below(pair.folder / "merchant")
    assert {name for name in after if after[name] != before.get(name)} <= {
        name for name in after if name.startswith("private/link/quarantine/")
    }


def test_deletion_is_quarantined(pair):
    pair.scientist.submit(pair.shop, "job-1", pair.code, {})
    pair.merchant.sync()
    push(pair.scientist, pair.shop, pair.ds, job_paths(pair.ds, "job-1"), is_deleted=True)
    assert "delete" in pair.merchant.sync().quarantined[0][1]
    assert (pair.merchant.submissions()[0].code / "main.py").exists()


def test_a_received_job_never_changes(pair):
    pair.scientist.submit(pair.shop, "job-1", pair.code, {"n": 1})
    pair.merchant.sync()
    before = files_below(pair.merchant.submissions()[0].code)
    push(pair.scientist, pair.shop, pair.ds, job_paths(pair.ds, "job-1", "evil()"))
    report = pair.merchant.sync()
    assert (report.new_jobs, len(report.quarantined)) == (0, 1)
    (job,) = pair.merchant.submissions()
    assert (files_below(job.code), job.params) == (before, {"n": 1})
    pair.merchant.reply("job-1", "done", "", {})
    push(pair.scientist, pair.shop, pair.ds, job_paths(pair.ds, "job-1", "evil()"))
    assert len(pair.merchant.sync().quarantined) == 1
    assert pair.merchant.submissions() == []
    with pytest.raises(ReviewError, match="other contents"):
        pair.scientist.submit(pair.shop, "job-1", {"main.py": b"evil()"}, {"n": 1})


def test_the_same_message_again_is_taken_once(pair):
    pair.scientist.submit(pair.shop, "job-1", pair.code, {"n": 1})
    inbox = pair.share / pair.shop / "inbox" / pair.ds
    (message,) = inbox.glob("msgv2_*")
    replayed = message.read_bytes()
    assert pair.merchant.sync().new_jobs == 1
    message.write_bytes(replayed)
    assert pair.merchant.sync().new_jobs == 0
    pair.merchant.reply("job-1", "done", "", {})
    message.write_bytes(replayed)
    report = pair.merchant.sync()
    assert (report.new_jobs, report.quarantined) == (0, [])
    assert pair.merchant.submissions() == []


def test_two_peers_may_use_the_same_job_name(pair):
    other = pair.another_scientist("other@example.org")
    pair.scientist.submit(pair.shop, "job-1", pair.code, {"n": 1})
    other.submit(pair.shop, "job-1", pair.code, {"n": 2})
    assert pair.merchant.sync().new_jobs == 2
    jobs = pair.merchant.submissions()
    assert len({job.job for job in jobs}) == 2
    for job in jobs:
        pair.merchant.reply(job.job, "done", f"for {job.sender}", {})
    for link, email in ((pair.scientist, pair.ds), (other, "other@example.org")):
        link.sync()
        assert link.reply(pair.shop, "job-1").message == f"for {email}"


def test_bombs_plaintext_and_noise_are_quarantined(pair):
    connection = pair.scientist._party.connection
    store = pair.scientist._syncer.connection_router.peer_store
    bomb = store.encrypt(pair.shop, gzip.compress(b"\0" * 60_000_000))
    push_raw(pair.scientist, pair.shop, "msgv2_1.0_a.tar.gz", bomb)
    push_raw(pair.scientist, pair.shop, "msgv2_2.0_b.tar.gz", b"noise")
    push_raw(pair.scientist, pair.shop, "msgv2_nonsense", b"\0" * (5 * 2**20))
    unsigned = ProposedFileChangesMessage(
        sender_email=pair.ds,
        proposed_file_changes=[
            ProposedFileChange(path_in_datasite=path, content=text, datasite_email=pair.shop)
            for path, text in job_paths(pair.ds, "plain").items()
        ],
    ).as_compressed_data()
    push_raw(pair.scientist, pair.shop, "msgv2_3.0_c.tar.gz", unsigned)
    inbox = pair.share / pair.shop / "inbox" / pair.ds
    os.mkfifo(inbox / "msgv2_4.0_d.tar.gz")
    (inbox / "msgv2_5.0_e.tar.gz").symlink_to("/dev/zero")
    pair.scientist.submit(pair.shop, "job-1", pair.code, {})
    report = pair.merchant.sync()
    assert [job.job for job in pair.merchant.submissions()] == ["job-1"]
    reasons = [reason for _, reason in report.quarantined]
    assert len(reasons) == 4
    assert "found more" in reasons[0]
    assert "signed" in reasons[1]
    assert "signed" in reasons[2]
    assert "at most" in reasons[3]
    assert connection.inbox_messages(pair.shop) == []


def test_a_flood_waits_in_the_share(pair, monkeypatch):
    monkeypatch.setattr(hardening, "MAX_WAITING_JOBS", 4)
    for n in range(6):
        pair.scientist.submit(pair.shop, f"job-{n}", pair.code, {})
    assert pair.merchant.sync().new_jobs == 4
    for job in pair.merchant.submissions():
        pair.merchant.reply(job.job, "refused", "", {})
    assert pair.merchant.sync().new_jobs == 2


def rekey(pair: Any) -> ScientistLink:
    """Somebody else with the scientist's e-mail and access to the share."""
    thief = ScientistLink(pair.ds, pair.folder / "thief", str(pair.share))
    thief.request_peer(pair.shop)
    return thief


def test_a_changed_key_is_refused_until_paired_again(pair):
    thief = rekey(pair)
    assert thief.own_fingerprint != pair.scientist.own_fingerprint
    thief.submit(pair.shop, "evil", pair.code, {})
    report = pair.merchant.sync()
    assert report.new_jobs == 0
    assert "not the one pinned" in report.quarantined[0][1]
    assert pair.merchant.submissions() == []
    assert [p.state for p in pair.merchant.peers()] == ["key_changed"]
    assert [p.fingerprint for p in pair.merchant.peers()] == [pair.scientist.own_fingerprint]
    with pytest.raises(PeerError, match="not the one pinned"):
        pair.merchant.approve_peer(pair.ds)
    assert pair.merchant.sync().quarantined == []

    pair.merchant.revoke_peer(pair.ds)
    with pytest.raises(PeerError, match="another key"):
        pair.merchant.approve_peer(pair.ds, pair.scientist.own_fingerprint)
    assert [p.state for p in pair.merchant.peers()] == ["revoked"]
    pair.merchant.approve_peer(pair.ds, thief.own_fingerprint)
    assert [p.fingerprint for p in pair.merchant.peers()] == [thief.own_fingerprint]


def test_a_merchants_changed_key_is_refused(pair):
    thief = MerchantLink(pair.shop, pair.folder / "thief", str(pair.share))
    thief.approve_peer(pair.ds)
    with pytest.raises(PeerError, match="not the one pinned"):
        pair.scientist.submit(pair.shop, "job-1", pair.code, {})
    with pytest.raises(PeerError, match="not the one pinned"):
        pair.scientist.publish_state("state", {"a": b"1"}, [pair.shop])
    assert "not the one pinned" in pair.scientist.sync().quarantined[0][1]
    assert [p.state for p in pair.scientist.peers()] == ["key_changed"]
    with pytest.raises(PeerError, match="not the one pinned"):
        pair.scientist.request_peer(pair.shop)

    pair.scientist.revoke_peer(pair.shop)
    assert [p.state for p in pair.scientist.peers()] == ["revoked"]
    pair.scientist.request_peer(pair.shop, thief.own_fingerprint)
    pair.scientist.sync()
    pair.scientist.submit(pair.shop, "job-1", pair.code, {})
    assert thief.sync().new_jobs == 1


def test_a_compared_fingerprint_decides_before_the_first_key(tmp_path):
    share = str(tmp_path / "share")
    merchant = MerchantLink("shop@example.org", tmp_path / "m", share)
    thief = MerchantLink("shop@example.org", tmp_path / "thief", share)
    scientist = ScientistLink("ds@example.org", tmp_path / "s", share)
    scientist.request_peer("shop@example.org", merchant.own_fingerprint)
    thief.approve_peer("ds@example.org")
    scientist.sync()
    with pytest.raises(PeerError):
        scientist.submit("shop@example.org", "job-1", {"main.py": b""}, {})
    merchant.approve_peer("ds@example.org", scientist.own_fingerprint)
    scientist.sync()
    scientist.submit("shop@example.org", "job-1", {"main.py": b""}, {})
    assert merchant.sync().new_jobs == 1


def test_strangers_and_revoked_peers_are_not_heard(pair):
    with pytest.raises(PeerError, match="found none"):
        pair.merchant.approve_peer("nobody@example.org")
    with pytest.raises(PeerError, match="e-mail"):
        pair.merchant.approve_peer("../../x")
    pair.scientist.submit(pair.shop, "job-1", pair.code, {})
    pair.merchant.revoke_peer(pair.ds)
    assert pair.merchant.sync().new_jobs == 0
    assert [p.state for p in pair.merchant.peers()] == ["revoked"]
    pair.merchant.approve_peer(pair.ds, pair.scientist.own_fingerprint)
    assert pair.merchant.sync().new_jobs == 1


def test_keys_and_peers_are_private_and_not_in_the_share(pair):
    for party in ("merchant", "scientist"):
        keys = pair.folder / party / "private" / "keys"
        assert stat.S_IMODE((pair.folder / party / "private").stat().st_mode) == 0o700
        assert stat.S_IMODE(keys.stat().st_mode) == 0o700
        for name in ("crypto_keys.json", "peers.json"):
            assert stat.S_IMODE((keys / name).stat().st_mode) == 0o600
        secret = json.loads((keys / "crypto_keys.json").read_text())["keys_jwk"]
        shared = b"".join(files_below(pair.share).values())
        values = [value for value in _strings(secret) if len(value) > 30]
        assert values
        assert not [v for v in values if v.encode() in shared and not _is_public(v, shared)]


def _strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        # "x" is the public half of a key.
        return [s for key, inner in value.items() if key != "x" for s in _strings(inner)]
    if isinstance(value, list):
        return [s for inner in value for s in _strings(inner)]
    return [value] if isinstance(value, str) else []


def _is_public(value: str, shared: bytes) -> bool:
    return b'"signature": "' + value.encode() in shared


def test_keys_of_another_or_damaged_keys_are_refused(pair):
    with pytest.raises(SettingsError, match="keys of other@"):
        MerchantLink("other@example.org", pair.folder / "merchant", str(pair.share))
    keys = pair.folder / "merchant" / "private" / "keys" / "crypto_keys.json"
    keys.write_text("{")
    with pytest.raises(SettingsError, match="damaged"):
        pair.restart_merchant()


def test_a_state_that_is_not_the_named_one_is_refused(pair, tmp_path):
    sha256 = pair.scientist.publish_state("state-1", {"a.bin": b"1"}, [pair.shop])
    into = tmp_path / "into"
    with pytest.raises(TransportError, match="found none"):
        pair.merchant.download_state(pair.ds, "state-1", "0" * 64, into)
    with pytest.raises(PeerError):
        pair.merchant.download_state("other@example.org", "state-1", sha256, into)
    (parcel,) = pair.share.rglob("parcel")
    parcel.write_bytes(b"plaintext put there by whoever runs the share")
    with pytest.raises(TransportError, match="not signed by it"):
        pair.merchant.download_state(pair.ds, "state-1", sha256, into)
    assert not into.exists()
    pair.scientist.delete_state("state-1")
    assert not list(pair.share.rglob("parcel"))
    assert not list(pair.share.rglob("*toyfedstate*"))


def test_a_merchant_can_only_answer_what_it_was_asked(pair):
    other = pair.another_scientist("other@example.org")
    other.submit(pair.shop, "job-2", pair.code, {})
    pair.scientist.submit(pair.shop, "job-1", pair.code, {})
    pair.merchant.sync()
    pair.merchant.reply("job-1", "done", "first", {"a.bin": b"1"})
    outbox = pair.share / pair.shop / "outbox"
    (mine,) = (outbox / pair.ds).iterdir()
    first = mine.read_bytes()
    pair.scientist.sync()
    # The share shows the old reply as a new one, and as another's.
    later = mine.name.replace(mine.name.split("_")[1], "9999999999.5")
    mine.with_name(later).write_bytes(first)
    (outbox / "other@example.org").mkdir(exist_ok=True)
    (outbox / "other@example.org" / later).write_bytes(first)
    assert pair.scientist.sync() == type(pair.scientist.sync())(0, [])
    assert "signed" in other.sync().quarantined[0][1]
    assert pair.scientist.reply(pair.shop, "job-1").message == "first"
    assert other.reply(pair.shop, "job-2").status == "waiting"


def test_links_check_what_they_are_given(pair):
    for job in ("../x", "v1", "", "a/b", ".x", "x" * 200):
        with pytest.raises(ReviewError):
            pair.scientist.submit(pair.shop, job, pair.code, {})
    for code in ({}, {"../x.py": b""}, {"params.json": b"{}"}, {"x.py": b"\xff"}, {"/x": b""}):
        with pytest.raises(ReviewError):
            pair.scientist.submit(pair.shop, "job-1", code, {})
    with pytest.raises(ReviewError):
        pair.scientist.submit(pair.shop, "job-1", pair.code, {"n": float("nan")})
    with pytest.raises(PeerError):
        pair.scientist.submit("other@example.org", "job-1", pair.code, {})
    for job in ("unknown", "../../keys/peers", "a~/../b"):
        with pytest.raises(ReviewError):
            pair.merchant.reply(job, "done", "", {})
    pair.scientist.submit(pair.shop, "job-1", pair.code, {})
    pair.merchant.sync()
    for status, files in (("perhaps", {}), ("done", {"../x": b""}), ("done", {"reply.json": b""})):
        with pytest.raises(ReviewError):
            pair.merchant.reply("job-1", status, "", files)
    assert len(pair.merchant.submissions()) == 1


def test_a_mock_reaches_peers_that_pair_later_and_is_replaced(pair):
    pair.merchant.publish_mock("toys", "first", {"mock.csv": b"1"})
    pair.merchant.publish_mock("toys", "second", {"mock.csv": b"2"})
    late = pair.another_scientist("late@example.org")
    for link in (pair.scientist, late):
        (mock,) = link.mocks(pair.shop)
        assert (mock.name, mock.summary, mock.files) == ("toys", "second", {"mock.csv": b"2"})
    for parcel in pair.share.rglob("parcel"):
        parcel.write_bytes(b"unsigned")
    with pytest.raises(ReviewError, match="signed"):
        pair.scientist.mocks(pair.shop)
