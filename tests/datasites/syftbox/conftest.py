"""Parties for tests: in this process, or each in its own."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from datasites.syftbox import MerchantLink, ScientistLink

SHOP = "shop@example.org"
SCIENTIST = "ds@example.org"
CODE = {"main.py": b"print('hello')\n", "lib/model.py": b"ITEMS = 3\n"}


@dataclass
class Pair:
    """A merchant and a scientist in this process, paired."""

    folder: Path
    merchant: MerchantLink
    scientist: ScientistLink
    shop: str = SHOP
    ds: str = SCIENTIST
    code: dict[str, bytes] = field(default_factory=lambda: dict(CODE))

    @property
    def share(self) -> Path:
        return self.folder / "share"

    def restart_merchant(self) -> MerchantLink:
        self.merchant = MerchantLink(self.shop, self.folder / "merchant", str(self.share))
        return self.merchant

    def restart_scientist(self) -> ScientistLink:
        self.scientist = ScientistLink(self.ds, self.folder / "scientist", str(self.share))
        return self.scientist

    def another_scientist(self, email: str) -> ScientistLink:
        """A second scientist, paired too."""
        other = ScientistLink(email, self.folder / email, str(self.share))
        other.request_peer(self.shop)
        self.merchant.approve_peer(email)
        other.sync()
        return other


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    merchant = MerchantLink(SHOP, tmp_path / "merchant", str(tmp_path / "share"))
    scientist = ScientistLink(SCIENTIST, tmp_path / "scientist", str(tmp_path / "share"))
    scientist.request_peer(SHOP)
    merchant.approve_peer(SCIENTIST, scientist.own_fingerprint)
    scientist.sync()
    return Pair(tmp_path, merchant, scientist)


class Remote:
    """A link in another process; methods are called as on the link itself."""

    def __init__(self, role: str, email: str, home: Path, share: Path) -> None:
        self._command = [
            sys.executable,
            str(Path(__file__).with_name("party.py")),
            role,
            email,
            str(home),
            str(share),
        ]
        self.start()

    def start(self) -> None:
        root = Path(__file__).parents[3]
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"},
        )
        self.own_fingerprint = self._read()

    def send(self, method: str, *args: Any, **kwargs: Any) -> None:
        """Call without waiting for an answer."""
        assert self._process.stdin is not None
        pickle.dump((method, args, kwargs), self._process.stdin)
        self._process.stdin.flush()

    def kill(self) -> None:
        """kill -9."""
        self._process.kill()
        self.close()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        kind, value = pickle.load(self._process.stdout)
        if kind == "error":
            raise RemoteError(*value)
        return value

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.send(method, *args, **kwargs)
            return self._read()

        return call


class RemoteError(Exception):
    """What a link in another process raised: its class's name and its message."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Remote]]:
    """start(role, email) -> a party in its own process, over one share; all are ended after."""
    running: list[Remote] = []

    def start_one(role: str, email: str) -> Remote:
        remote = Remote(role, email, tmp_path / email, tmp_path / "share")
        running.append(remote)
        return remote

    yield start_one
    for remote in running:
        remote.kill()
