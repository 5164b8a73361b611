"""The loop around a merchant's service: one at a time, on and on, until it is told to stop."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from datasites.errors import DatasiteError, LedgerError, LedgerWriteError, SandboxError
from datasites.merchant.heartbeat import Heartbeat
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from datasites.merchant.service import Service
from datasites.merchant.trouble import in_words
from datasites.merchant.witness import Witnesses
from datasites.pace import Pace

__all__ = ["serve"]

log = structlog.get_logger()


def serve(
    home: MerchantHome,
    *,
    once: bool = False,
    stop: Callable[[], bool] | None = None,
    begun: Callable[[], None] = lambda: None,
) -> None:
    """Run the service until `stop` says so or SIGTERM comes; with `once`, a single pass.

    `begun` is called once this service is the only one of its home.

    Raises SandboxError at once where remote code could not be isolated, unless the merchant's
    settings say `unsafe_no_sandbox = true`.
    """
    from datasites.merchant import sandbox
    from datasites.syftbox import MerchantLink

    status = sandbox.probe()
    if not status.available and not home.settings.unsafe_no_sandbox:
        raise SandboxError(
            f"no sandbox for remote code: {status.detail}. {status.what_to_do} "
            "(or, knowing the risk, set unsafe_no_sandbox = true in merchant.toml)"
        )
    stopping = False

    def on_signal(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    with _only_one(home):
        begun()
        service: Service | None = None
        said: set[tuple[str, str]] = set()
        pulse, pace, trouble = Heartbeat(home), Pace(home.settings.poll_seconds), ""
        pulse.alive("starting")  # a first pass may take hours: it runs what waited
        while True:
            try:
                if service is None:
                    ledger = Ledger.open(home.ledger_path)
                    # Before our keys are shown in the share: they might push another's aside.
                    witnesses = Witnesses(home, ledger, said=said)
                    witnesses.check()
                    link = MerchantLink(home.settings.email, home.root, home.settings.share)
                    fresh = Service(home, link, ledger, witnesses)
                    fresh.alive = pulse.alive
                    fresh.recover()
                    service = fresh
                if service.step(lambda: stopping or (stop is not None and stop())):
                    pace.moved()
                trouble = service.trouble
                pulse.beat("troubled" if trouble else "running", trouble)
            except (DatasiteError, OSError) as error:
                if isinstance(error, LedgerError) and not isinstance(error, LedgerWriteError):
                    raise  # fail closed: nothing runs on books that do not verify
                if trouble != in_words(error):
                    trouble = in_words(error)
                    log.warning("pass failed; trying again", reason=trouble)
                with contextlib.suppress(OSError):
                    pulse.beat("troubled", trouble)
            except Exception as error:
                # Not foreseen, so begun anew from what is on disk, as after a crash. The text of
                # such an error may quote anything: only its kind is told.
                service, trouble = None, f"unexpected {type(error).__name__}"
                log.warning("pass failed; starting over", reason=trouble)
                with contextlib.suppress(OSError):
                    pulse.beat("troubled", trouble)
            if once or stopping or (stop is not None and stop()):
                break
            _wait(pace.seconds(), lambda: stopping)
        with contextlib.suppress(OSError):
            pulse.beat("stopped")


def _wait(seconds: float, ended: Callable[[], bool]) -> None:
    """Sleep, in short parts: a sleep goes on after a signal that was caught."""
    until = time.monotonic() + seconds
    while not ended() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.5))


class _only_one:
    """Two services on one home would both answer: the second is refused (an advisory file lock)."""

    def __init__(self, home: MerchantHome) -> None:
        self._path: Path = home.private / "service.lock"

    def __enter__(self) -> None:
        import fcntl

        self._file = self._path.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise DatasiteError(
                "expected this datasite to be idle; another service serves "
                f"{self._path.parent.parent}. Stop that one first."
            ) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()
