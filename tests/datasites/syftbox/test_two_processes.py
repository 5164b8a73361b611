"""The whole exchange between real processes, and kill -9."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import syft_crypto_python

pytestmark = pytest.mark.e2e

SHOP, DS = "shop@example.org", "ds@example.org"
MARKER = b"PLAINTEXT-MARKER-4711"
CODE = {"main.py": b"# " + MARKER, "lib/model.py": b"ITEMS = 3\n"}


def paired(start: Callable[..., Any], *shops: str) -> tuple[Any, list[Any]]:
    scientist = start("scientist", DS)
    merchants = []
    for shop in shops:
        merchant = start("merchant", shop)
        scientist.request_peer(shop)
        merchant.approve_peer(DS, scientist.own_fingerprint)
        merchants.append(merchant)
    scientist.sync()
    return scientist, merchants


def everything_in(share: Path) -> bytes:
    parts = []
    for path in share.rglob("*"):
        parts.append(str(path).encode())
        if path.is_file():
            parts.append(path.read_bytes())
    return b"\n".join(parts)


def assert_only_keys_and_envelopes(share: Path) -> None:
    """Packed plaintext would hide from a search, so every other file must be an envelope."""
    public = {"version.json", "peer_request.json", "_acl.json"}
    for path in share.rglob("*"):
        if path.is_file() and path.name not in public and path.parent.name != "bundles":
            syft_crypto_python.parse_envelope(path.read_bytes())


def test_a_job_goes_there_and_an_answer_comes_back_encrypted(start, tmp_path):
    scientist, (merchant,) = paired(start, SHOP)
    assert [(p.email, p.state, p.fingerprint) for p in scientist.peers()] == [
        (SHOP, "accepted", merchant.own_fingerprint)
    ]
    assert [(p.email, p.state, p.fingerprint) for p in merchant.peers()] == [
        (DS, "accepted", scientist.own_fingerprint)
    ]
    state = {"state.bin": MARKER * 1000 + bytes(range(256))}
    sha256 = scientist.publish_state("toys-round-1", state, [SHOP])
    scientist.submit(SHOP, "toys-1", CODE, {"text": MARKER.decode(), "sha256": sha256})
    assert scientist.reply(SHOP, "toys-1").status == "waiting"

    assert_only_keys_and_envelopes(tmp_path / "share")
    assert merchant.sync().new_jobs == 1
    (job,) = merchant.submissions()
    assert (job.job, job.sender) == ("toys-1", DS)
    assert job.params == {"text": MARKER.decode(), "sha256": sha256}
    found = {p.relative_to(job.code).as_posix() for p in job.code.rglob("*") if p.is_file()}
    assert found == set(CODE)
    into = merchant.download_state(job.sender, "toys-round-1", sha256, tmp_path / "into")
    assert (into / "state.bin").read_bytes() == state["state.bin"]

    release = {"release.safetensors": MARKER + bytes(range(256)) * 5000}
    merchant.reply("toys-1", "done", MARKER.decode(), release)
    merchant.publish_mock("toys", MARKER.decode(), {"mock.csv": MARKER})
    seen = everything_in(tmp_path / "share")
    assert_only_keys_and_envelopes(tmp_path / "share")
    assert merchant.submissions() == []

    scientist.sync()
    reply = scientist.reply(SHOP, "toys-1")
    assert (reply.status, reply.message, reply.files) == ("done", MARKER.decode(), release)
    assert scientist.mocks(SHOP)[0].files == {"mock.csv": MARKER}

    merchant.sync()
    seen += everything_in(tmp_path / "share")
    assert len(seen) > 50_000
    for form in (MARKER, MARKER.hex().encode(), hashlib.sha256(MARKER).hexdigest().encode()):
        assert form not in seen


def test_jobs_and_replies_survive_kill_9_at_random_instants(start):
    scientist, (merchant,) = paired(start, SHOP)
    dice = random.Random(20)
    jobs = 12
    for n in range(jobs):
        scientist.submit(SHOP, f"job-{n}", {"main.py": f"{n}".encode()}, {"n": n})
    waiting = set(range(jobs))
    arrived = 0
    deadline = time.monotonic() + 120
    while waiting and time.monotonic() < deadline:
        merchant.send("answer_everything", 300_000)
        time.sleep(dice.uniform(0.02, 0.4))
        merchant.kill()
        merchant.start()
        arrived += scientist.sync().new_jobs
        for n in sorted(waiting):
            reply = scientist.reply(SHOP, f"job-{n}")
            if reply.status != "waiting":
                assert (reply.status, reply.message) == ("done", str(n))
                assert reply.files == {"a.bin": str(n).encode() + b"\xff" * 300_000}
                waiting.discard(n)
    assert not waiting
    merchant.sync()
    scientist.sync()
    assert arrived == jobs
    assert merchant.submissions() == []


def test_eight_merchants_ten_rounds_of_binary_stay_small(start, tmp_path):
    shops = [f"shop{n}@example.org" for n in range(8)]
    scientist, merchants = paired(start, *shops)
    dice = random.Random(1)
    sizes = []
    for turn in range(10):
        state = {"state.bin": dice.randbytes(1_000_000)}
        sha256 = scientist.publish_state(f"toys-{turn}", state, shops)
        for shop in shops:
            scientist.submit(shop, f"toys-{turn}", CODE, {"n": turn, "sha256": sha256})
        for shop, merchant in zip(shops, merchants, strict=True):
            merchant.sync()
            (job,) = merchant.submissions()
            into = tmp_path / f"{shop}-state"
            merchant.download_state(job.sender, f"toys-{turn}", sha256, into)
            assert (into / "state.bin").read_bytes() == state["state.bin"]
            merchant.reply(job.job, "done", shop, {"a.bin": dice.randbytes(1_000_000)})
        scientist.sync()
        for shop in shops:
            assert scientist.reply(shop, f"toys-{turn}").message == shop
            scientist.forget(shop, f"toys-{turn}")
        scientist.delete_state(f"toys-{turn}")
        for merchant in merchants:
            merchant.sync()
        sizes.append(sum(p.stat().st_size for p in (tmp_path / "share").rglob("*") if p.is_file()))
    assert max(sizes) < 200_000
    assert sizes[-1] <= sizes[0] + 1000
