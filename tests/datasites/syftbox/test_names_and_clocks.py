"""Names and dates of messages, which whoever has the share may choose."""

from __future__ import annotations

import pytest

from tests.datasites.syftbox.forged import DS, SHOP, inbox

pytestmark = pytest.mark.attack


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
