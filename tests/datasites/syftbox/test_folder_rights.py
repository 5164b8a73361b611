"""docs/deploy/folders.sh: one account per party, and each writes only where it may."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

from datasites.errors import TransportError
from datasites.syftbox.store import ObjectStore

pytestmark = [
    pytest.mark.slow,
    pytest.mark.attack,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as several accounts"),
]
SCRIPT = Path(__file__).parents[3] / "docs" / "deploy" / "folders.sh"
DS, SHOP, OTHER = ("ds@example.org", 60001), ("a@shop.org", 60002), ("b@shop.org", 60003)


@pytest.fixture
def market(tmp_path):
    # pytest closes its folders to others.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    root = tmp_path / "market"
    for email, user in (SHOP, OTHER):
        command = [SCRIPT, root, str(DS[1]), DS[0], str(user), email]
        subprocess.run(["/bin/sh", *command], check=True)
    return root


def _as(user: int, share: Path, act: str, key: str) -> str:
    """What an account's attempt ends with: what it read, 'done' or 'denied'."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def attempt() -> None:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
        store = ObjectStore(str(share))
        try:
            found = store.put(key, b"x") if act == "put" else getattr(store, act)(key, *_MORE[act])
            there.send("done" if found is None else found.decode())
        except TransportError:
            there.send("denied")

    child = context.Process(target=attempt)
    child.start()
    child.join(60)
    return here.recv() if here.poll() else "nothing"


_MORE: dict[str, tuple[int, ...]] = {"get": (9,), "delete": ()}


def test_each_party_does_its_own_work(market):
    job, reply = f"{SHOP[0]}/inbox/{DS[0]}/job", f"{SHOP[0]}/outbox/{DS[0]}/reply"
    assert _as(DS[1], market, "put", job) == "done"
    assert _as(SHOP[1], market, "get", job) == "x"
    assert _as(SHOP[1], market, "delete", job) == "done"
    assert _as(SHOP[1], market, "put", reply) == "done"
    assert _as(DS[1], market, "get", reply) == "x"
    assert _as(DS[1], market, "put", f"{DS[0]}/version.json") == "done"


@pytest.mark.parametrize(
    ("who", "act", "key"),
    [
        (SHOP, "put", f"{OTHER[0]}/version.json"),
        (SHOP, "put", f"{OTHER[0]}/inbox/{DS[0]}/job"),
        (SHOP, "put", f"{DS[0]}/version.json"),
        (SHOP, "put", "c@shop.org/version.json"),
        (DS, "put", f"{SHOP[0]}/version.json"),
        (DS, "put", f"{SHOP[0]}/inbox/{OTHER[0]}/job"),
        (DS, "delete", f"{SHOP[0]}/inbox/{DS[0]}"),
    ],
)
def test_nobody_writes_where_another_alone_may(market, who, act, key):
    assert _as(who[1], market, act, key) == "denied"
