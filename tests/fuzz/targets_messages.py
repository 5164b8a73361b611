"""Readers of what peers send over the share."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

from datasites.protocol import parse_message, sha256_of
from datasites.syftbox import job_code, keys, messages, parcels, receipts
from datasites.syftbox.transport_base import ShareConnection
from recsys.privacy import event_from_dict
from tests.fuzz.target import Target

__all__ = ["TARGETS"]

SHOP, DS = "shop@example.org", "ds@example.org"
INBOX = f"app_data/job/inbox/{DS}/v1/job-1"
REVIEW = f"app_data/job/review/{DS}/v1/job-1"
HASH = "ab" * 32
GAUSSIAN = {"type": "gaussian", "what": "counts", "sensitivity": 1.0, "sigma": 4.0}
SAMPLED = {
    "type": "subsampled_gaussian",
    "what": "training",
    "noise_multiplier": 1.5,
    "sampling_rate": 0.1,
    "steps": 20,
}
PROPOSAL: dict[str, Any] = {
    "kind": "proposal",
    "study": "toys-2026",
    "recipe": "private-als",
    "settings": {"rounds": 2, "factors": 4},
    "catalogue": HASH,
    "n_items": 20,
    "epsilon": 1.0,
    "delta": 1e-5,
    "unit": "shopper",
    "phases": [
        {
            "name": "counts",
            "outputs": [{"name": "item_counts", "shape": [20], "dtype": "float64"}],
            "events": [GAUSSIAN],
        },
        {
            "name": "train-1",
            "outputs": [{"name": "network", "shape": [3, 4], "dtype": "float32"}],
            "events": [SAMPLED],
        },
    ],
}
ROUND = {
    "kind": "round",
    "study": "toys-2026",
    "phase": "counts",
    "proposal_sha256": HASH,
    "state": {"name": "state-1", "sha256": HASH},
}
RESULT = {**ROUND, "kind": "result"}
del RESULT["phase"]


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


def pack(text: bytes, name: str = "proposed_file_changes.json") -> bytes:
    """As PySyft packs a message: one member in a tar, gzipped."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def _change(path: str, content: str) -> dict[str, object]:
    return {"path_in_datasite": path, "content": content, "datasite_email": SHOP}


JOB = {
    "sender_email": DS,
    "proposed_file_changes": [
        _change(f"{INBOX}/run.sh", "x"),
        _change(f"{INBOX}/code/main.py", "print(1)"),
        _change(f"{INBOX}/code/params.json", '{"n": 1}'),
    ],
}
MANIFEST = {
    "status": "done",
    "message": "all well",
    "files": {"release.json": hashlib.sha256(b"{}").hexdigest()},
}


def _event(path: str, content: str) -> dict[str, object]:
    return {
        **_change(path, content),
        "id": "12345678-1234-5678-1234-567812345678",
        "timestamp": 1.0,
        "submitted_timestamp": 1.0,
        "event_filepath": "x",
        "new_hash": "x",
        "old_hash": None,
    }


REPLY = {
    "events": [
        _event(f"{REVIEW}/reply.json", json.dumps(MANIFEST)),
        _event(f"{REVIEW}/release.json", "{}"),
    ]
}


def _read_job(data: bytes) -> None:
    job = messages.read_job(pack(data), owner=SHOP, sender=DS)
    assert job.digest
    assert all(".." not in path.split("/") for path in job.code)


def _read_reply(data: bytes) -> None:
    messages.read_reply(pack(data), owner=SHOP, reader=DS)


def _check_reply(data: bytes) -> None:
    messages.check_reply("job-1", {"reply.json": data, "release.json": b"{}"})


def _check_code(data: bytes) -> None:
    try:
        files = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(files, dict):
        job_code.check_code(
            {name: str(text).encode(errors="surrogatepass") for name, text in files.items()}
        )


def _parse(data: bytes) -> None:
    """A job's parameters, as the service reads them."""
    parsed = parse_message(messages.decode_params(data))
    if parsed.kind == "proposal":
        assert parsed.sha256 == sha256_of(parsed.model_dump(mode="json"))
        parsed.events()


def _event_from(data: bytes) -> None:
    try:
        row = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(row, dict):
        event_from_dict(row).to_dict()


def _key(data: bytes) -> None:
    bundle = ShareConnection._get_json(_Share(data), "x")
    keys.fingerprint_of(bundle, SHOP)


class _Share:
    """What the reader of small JSON files needs of a connection."""

    def __init__(self, data: bytes) -> None:
        self.store = self
        self._data = data

    def get(self, _key: str, limit: int) -> bytes | None:
        return self._data if len(self._data) <= limit else None


def _receipt(data: bytes) -> None:
    receipts.open_receipt(data, DS, SHOP, lambda sealed: sealed)


def _key_seed() -> bytes:
    import tempfile
    from pathlib import Path

    from syft.sync.peers.peer_store import PeerStore

    with tempfile.TemporaryDirectory() as folder:
        keys.ensure_keys(Path(folder) / "k.json", SHOP)
        store = PeerStore.load_keys(Path(folder) / "k.json")
        return _text(store.get_public_bundle())


TARGETS = (
    Target(
        "unpack", lambda data: messages.unpack(data, 1 << 20), (pack(_text(JOB)), pack(b"{}", "x"))
    ),
    Target("job", _read_job, (_text(JOB),), "json", (b"is_deleted", b"content_type", b"binary")),
    Target("reply", _read_reply, (_text(REPLY),), "json", (b"is_deleted", b"deleted")),
    Target("reply-manifest", _check_reply, (_text(MANIFEST),), "json", (b"refused", b"failed")),
    Target(
        "code-of-job",
        _check_code,
        (_text({"main.py": "import os\n", "lib/a.py": "", "b.json": "{}"}),),
        "json",
    ),
    Target(
        "protocol",
        _parse,
        (_text(PROPOSAL), _text(ROUND), _text(RESULT)),
        "json",
        (b"gaussian", b"subsampled_gaussian", b"int64", b"float64"),
    ),
    Target("event", _event_from, (_text(GAUSSIAN), _text(SAMPLED)), "json"),
    Target(
        "parcel",
        parcels.open_parcel,
        (
            parcels.pack_parcel({"a.bin": b"x" * 30, "b.json": b"{}"}, {"n": 1}),
            parcels.pack_parcel({}),
        ),
    ),
    Target("key", _key, (_key_seed(),), "json"),
    Target(
        "receipt",
        _receipt,
        (receipts.pack_receipt(DS, SHOP, receipts.Receipt(frozenset("ab"), frozenset("c"))),),
        "json",
    ),
)
