"""What a program of a peer's own, or of the share's owner, could write."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

from syft.sync.utils.syftbox_utils import compress_data

from datasites.syftbox import (
    MerchantLink,
    ScientistLink,
    messages,
)

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
