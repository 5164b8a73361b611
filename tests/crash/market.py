"""A small marketplace of real processes that may be killed at any moment and started again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from datasites.merchant import Ledger, MerchantHome, MerchantSettings, add_data, desk, peers
from datasites.merchant.desk import APPROVAL_DAYS
from datasites.merchant.heartbeat import has_come_up
from datasites.simulation.processes import Services
from datasites.study import (
    Coordinator,
    ScientistHome,
    ScientistSettings,
    new_study,
    parse_study,
    submit,
)
from datasites.syftbox import ScientistLink
from recsys.data import Marketplace, synthesize, write_catalogue, write_marketplace
from recsys.privacy import Budget

__all__ = ["SCIENTIST", "Market", "until"]

SCIENTIST = "ada@science.test"
EPSILON = 0.25  # of one study; the budget holds hundreds of them
_KILLER = Path(__file__).with_name("killer")
_ROOT = Path(__file__).parents[2]


class Killable(Services):
    """Services that may be found dead."""

    def status(self, home: MerchantHome) -> int | None:
        """How a service ended; None while it runs."""
        return self._running[home.root].poll()

    def pids(self) -> set[int]:
        """Process ids of all services that were started last."""
        return {process.pid for process in self._running.values()}


class Market:
    """Merchants and a data scientist in one folder, paired, with their services running."""

    patience = 1800.0  # a machine that is busy with other things must leave nobody out
    days = APPROVAL_DAYS

    def __init__(
        self,
        folder: Path,
        merchants: int = 2,
        targets: Sequence[str] = (),
        loose_clocks: bool = False,
    ) -> None:
        self.folder = folder
        self.share = folder / "share"
        self.plans = folder / "kill-plans.json"
        self.services = Killable(folder / "logs")
        self.homes: dict[str, MerchantHome] = {}
        self.studies: list[str] = []
        self.dead: set[int] = set()
        self.opened_in = 0.0  # seconds, by which to tell a busy machine
        self._targets = list(targets)
        self._loose_clocks = loose_clocks
        self._made = synthesize(None, merchants=merchants, shoppers=60 * merchants, toys=30, seed=3)

    @property
    def environment(self) -> dict[str, str]:
        """What processes that may be killed by a plan are started with."""
        return {
            "PYTHONPATH": os.pathsep.join([str(_KILLER), str(_ROOT)]),
            "TOYFED_KILL_PLANS": str(self.plans),
            "TOYFED_KILL_TARGETS": json.dumps(self._targets),
            "TOYFED_CLOCK_LOOSE": "yes" if self._loose_clocks else "",
            "OPENBLAS_NUM_THREADS": "1",
            "TMPDIR": str(self.folder / "tmp"),
        }

    # -- merchants --------------------------------------------------------------------------------

    def open(self) -> None:
        """Every merchant: init, add-data, serve; the data scientist: init, pair with each."""
        begun = time.monotonic()
        self.share.mkdir(parents=True)
        (self.folder / "tmp").mkdir()
        for number, (name, shop) in enumerate(self._made.shops.items()):
            email = f"shop{number}@toys.test"
            root = self.folder / f"shop{number}"
            home = MerchantHome.create(
                root,
                MerchantSettings(
                    name=name,
                    email=email,
                    share=str(self.share),
                    epsilon=90.0,
                    poll_seconds=0.2,
                    memory_mb=1024,
                ),
            )
            Ledger.create(home.ledger_path, Budget(90.0, 1e-5))
            given = root / "given"
            write_marketplace(given, Marketplace(self._made.catalogue, {name: shop}))
            add_data(home, given / "interactions.csv", given / "items.csv")
            shutil.rmtree(given)
            self.homes[email] = home
            self.start(home)
        self.desk = ScientistHome.create(
            self.folder / "ada",
            ScientistSettings(email=SCIENTIST, share=str(self.share), poll_seconds=0.2),
        )
        write_catalogue(self.desk.catalogue, self._made.catalogue)
        self.link = ScientistLink(SCIENTIST, self.desk.root, str(self.share))
        for home in self.homes.values():
            until(partial(has_come_up, home))
            self.link.request_peer(home.settings.email)
        for home in self.homes.values():
            ledger = Ledger.open(home.ledger_path)
            until(lambda home=home, ledger=ledger: self._is_asked(home, ledger))  # type: ignore[misc]
            peers.approve(home, ledger, SCIENTIST, self.link.own_fingerprint, by="me")
        until(self._all_paired)
        self.opened_in = time.monotonic() - begun

    def _is_asked(self, home: MerchantHome, ledger: Ledger) -> bool:
        # With the key: the request and it are two objects in the share.
        return any(peer["fingerprint"] for peer in peers.seen(home, ledger)["peers"])

    def _all_paired(self) -> bool:
        self.link.sync()
        return {one.email for one in self.link.peers() if one.state == "accepted"} >= {*self.homes}

    def start(self, home: MerchantHome) -> None:
        """Start a merchant's service as its machine would."""
        with _environment(self.environment):
            self.services.start(home)

    def is_down(self, home: MerchantHome) -> bool:
        """Whether a service has ended."""
        return self.services.status(home) is not None

    def revive(self, home: MerchantHome) -> None:
        """Start a service that was killed. Nothing else is done by hand."""
        status = self.services.status(home)
        assert status == -signal.SIGKILL, f"{home.root.name} ended by itself: {status}"
        self.dead.add(self.services.pid(home))
        self.start(home)

    def restart(self) -> None:
        """End every service and start it again; the data scientist's link too."""
        self.services.stop()
        for home in self.homes.values():
            home.heartbeat.unlink()
            self.start(home)
        self.link = ScientistLink(SCIENTIST, self.desk.root, str(self.share))
        until(lambda: all(has_come_up(home) for home in self.homes.values()))
        # Answers are kept until their reader has signed for them.
        until(self._all_read)

    def _all_read(self) -> bool:
        self.link.sync()
        return not any(
            any((home.private / "link" / kind).iterdir())
            for home in self.homes.values()
            for kind in ("replies", "sent")
        )

    # -- studies ----------------------------------------------------------------------------------

    def compose(self, study: str, **model: object) -> None:
        """`study new`: one round of private ALS, three phases."""
        settings = parse_study(
            {
                "study": {"name": study, "merchants": [*self.homes]},
                "privacy": {"epsilon": EPSILON, "delta": 1e-5},
                "model": {"rounds": 1, "factors": 4, **model},
                "federation": {"patience_seconds": self.patience},
            }
        )
        new_study(self.desk, settings)
        self.studies.append(study)

    def submit(self, study: str) -> None:
        """`study submit`."""
        submit(self.desk, self.link, study)

    def command(self, *words: str) -> subprocess.Popen[bytes]:
        """Start `toyfed study …` as a process of its own."""
        with (self.folder / "logs" / "ada.log").open("ab") as log:
            return subprocess.Popen(
                [
                    sys.executable,
                    str(Path(sys.executable).with_name("toyfed")),
                    *("study", *words, "--home", str(self.desk.root)),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=os.environ | self.environment,
                cwd=self.folder,
                start_new_session=True,
            )

    def requested(self, home: MerchantHome, study: str) -> bool:
        """Whether a study's request lies on a merchant's desk."""
        ledger = Ledger.open(home.ledger_path)
        return any(one.study == study for one in desk.requests(home, ledger))

    def approve(self, home: MerchantHome, study: str) -> None:
        """The merchant says yes."""
        until(lambda: self.requested(home, study))
        desk.approve(home, Ledger.open(home.ledger_path), study, by="me", days=self.days)

    def coordinator(self, study: str) -> Coordinator:
        """The study as its data scientist sees it."""
        return Coordinator(self.desk, self.link, study)

    def all_approved(self, study: str) -> bool:
        """Whether every merchant's yes has come back."""
        answers = self.coordinator(study).answers()
        return all(status == "done" for status, _ in answers.values())

    def close(self) -> None:
        """Stop every service."""
        self.services.stop()

    def __enter__(self) -> Market:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def until(happened: Callable[[], object], seconds: float = 300) -> None:
    """Wait for something that must happen."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen in {seconds:.0f} s"
        time.sleep(0.05)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
