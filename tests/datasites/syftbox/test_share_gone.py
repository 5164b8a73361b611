"""A share that was unmounted is not taken for an empty one, and is not made anew."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from datasites.errors import TransportError
from datasites.syftbox import MerchantLink, ScientistLink

pytestmark = pytest.mark.attack


def go(pair: Any, kind: str) -> Path:
    elsewhere = pair.share.with_name("elsewhere")
    pair.share.rename(elsewhere)
    if kind == "unmounted":
        pair.share.mkdir()
    elif kind == "a file":
        pair.share.write_text("")
    return Path(elsewhere)


def come_back(pair: Any, kind: str, elsewhere: Path) -> None:
    if kind == "unmounted":
        pair.share.rmdir()  # fails if anything was written into it
    elif kind == "a file":
        pair.share.unlink()
    assert not pair.share.exists()
    elsewhere.rename(pair.share)


@pytest.mark.parametrize("kind", ["gone", "unmounted", "a file"])
def test_everybody_says_so_and_goes_on_when_it_is_back(pair: Any, kind: str) -> None:
    pair.scientist.submit(pair.shop, "job-1", pair.code, {"n": 1})
    pair.merchant.sync()
    elsewhere = go(pair, kind)
    said = "the share cannot be reached.*Mount it again"
    for act in (
        pair.merchant.sync,
        pair.scientist.sync,
        pair.restart_merchant,
        pair.restart_scientist,
        lambda: pair.scientist.submit(pair.shop, "job-2", pair.code, {"n": 2}),
        lambda: pair.scientist.publish_state("state", {"a.bin": b"1"}, [pair.shop]),
    ):
        with pytest.raises(TransportError, match=said):
            act()
    pair.merchant.reply("job-1", "done", "kept", {})
    come_back(pair, kind, elsewhere)
    pair.restart_merchant()
    pair.merchant.sync()
    pair.scientist.sync()
    assert pair.scientist.reply(pair.shop, "job-1").message == "kept"
    pair.scientist.submit(pair.shop, "job-2", pair.code, {"n": 2})
    assert pair.merchant.sync().new_jobs == 1


def test_a_new_party_makes_the_share_and_may_move_to_another(tmp_path: Path) -> None:
    for share in ("one", "two"):
        MerchantLink("shop@example.org", tmp_path / "shop", str(tmp_path / share)).sync()
        assert (tmp_path / share / "shop@example.org" / "version.json").exists()


def test_what_a_killed_writer_left_in_the_share_is_swept_after_an_hour(
    pair: Any, tmp_path: Path
) -> None:
    left = [
        pair.share / pair.ds / "bundles" / ".tmp-1",
        pair.share / pair.shop / "inbox" / pair.ds / ".tmp-2",
        pair.share / pair.shop / ".tmp-3",
    ]
    for file in left:
        file.write_bytes(b"half")
    ScientistLink(pair.ds, tmp_path / "scientist", str(pair.share))
    assert all(file.exists() for file in left)
    for file in left:
        os.utime(file, (time.time() - 7200,) * 2)
    ScientistLink(pair.ds, tmp_path / "scientist", str(pair.share))
    assert [file.exists() for file in left] == [False, False, True]


def test_one_unreadable_peer_is_noted_and_an_unreadable_share_is_told(
    pair: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasites.syftbox.hardening import StrictOwnerSyncer

    pair.another_scientist("eve@example.org")
    real = StrictOwnerSyncer._read_inbox

    def unreadable(self: Any, sender: str, *more: Any) -> int:
        if sender == "eve@example.org" or everybody:
            raise TransportError("could not list")
        return real(self, sender, *more)

    monkeypatch.setattr(StrictOwnerSyncer, "_read_inbox", unreadable)
    everybody = False
    pair.scientist.submit(pair.shop, "job-1", pair.code, {"n": 1})
    report = pair.merchant.sync()
    assert report.new_jobs == 1
    assert report.quarantined == [("eve@example.org", "could not list")]
    everybody = True
    with pytest.raises(TransportError, match="could not list"):
        pair.merchant.sync()
