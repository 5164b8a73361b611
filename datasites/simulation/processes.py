"""Merchants' services as real separate processes, started and stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from datasites.errors import DatasiteError
from datasites.merchant.home import MerchantHome
from datasites.private import open_private_log

__all__ = ["Services"]


class Services:
    """One `toyfed datasite serve` per home; a context manager that leaves none behind."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self._running: dict[Path, subprocess.Popen[bytes]] = {}

    def command(self, home: MerchantHome) -> list[str]:
        """What starts a merchant's service."""
        return [sys.executable, "-m", "datasites.merchant", str(home.root)]

    def start(self, home: MerchantHome) -> None:
        """Start a merchant's service; its output goes to a log file of its own."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with open_private_log(self.logs / f"{home.root.name}.log") as log:
            self._running[home.root] = subprocess.Popen(
                self.command(home),
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
                start_new_session=True,
            )

    def kill(self, home: MerchantHome) -> None:
        """kill -9, as a power cut would."""
        process = self._running.pop(home.root)
        process.kill()
        process.wait()

    def pid(self, home: MerchantHome) -> int:
        """Process id of a merchant's service."""
        return self._running[home.root].pid

    def check(self) -> None:
        """Raise DatasiteError if a service has ended, with the end of its log."""
        for root, process in self._running.items():
            if process.poll() is not None:
                log = self.logs / f"{root.name}.log"
                end = log.read_text(errors="replace").strip().splitlines()[-5:]
                raise DatasiteError(
                    f"expected the datasite {root.name} to be running, it ended with status "
                    f"{process.returncode}. The end of {log}:\n" + "\n".join(end)
                )

    def stop(self) -> None:
        """Ask every service to end, and make sure that it does."""
        for process in self._running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        for process in self._running.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def __enter__(self) -> Services:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
