"""Start, kill and bring back a storage server; it keeps its port and, on disk, its objects."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.servers.gdrive import SHARED, write_token


class Server:
    """One server: `share` is its address, `options` what share-options.toml must say."""

    def __init__(self, kind: str, folder: Path, prefix: tuple[str, ...] = ()) -> None:
        self.kind, self.folder, self._prefix = kind, folder, prefix
        self.port = _free_port()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "share").mkdir(exist_ok=True)
        self.share = {
            "s3": "s3://toys/market",
            "sftp": f"sftp://toys@127.0.0.1:{self.port}{folder}/share",
            "webdav": f"webdav://127.0.0.1:{self.port}",
            "gdrive": f"gdrive://{SHARED}",
        }[kind]
        self.options: dict[str, str] = {
            "s3": {
                "endpoint_url": f"http://127.0.0.1:{self.port}",
                "key": "testing",
                "secret": "testing",
                "region": "us-east-1",
            },
            "sftp": {
                "password": "of-toys",
                "known_hosts": str(folder / "known_hosts"),
            },
            "webdav": {"username": "toys", "password": "of-toys"},
            "gdrive": {
                "api_endpoint": f"http://127.0.0.1:{self.port}",
                "token_file": str(write_token(folder, "toys")),
            },
        }[kind]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it answers."""
        root = Path(__file__).parents[2]
        command = [*self._prefix, sys.executable, "-m", f"tests.servers.{self.kind}"]
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, str(self.port), str(self.folder)],
                cwd=root,
                env=os.environ | {"PYTHONPATH": str(root)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while not (self.folder / f"ready-{self._process.pid}").exists():
            ended = self._process.poll() is not None or time.monotonic() > deadline
            assert not ended, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Stop it for a while, or let it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def start_server(kind: str, folder: Path) -> Server:
    """A running server."""
    server = Server(kind, folder)
    server.start()
    return server


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
