"""Services, coordinator and page killed at random, over several studies, until enough have died."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.invariants import Spending, check_all, check_books, check_study, run_states
from tests.crash.market import Market
from tests.crash.points import targets

__all__ = ["Soak", "Tally", "kill_at_random"]

_PAGE = Path(__file__).with_name("page.py")
_OPENED_IN = 5.0  # seconds on two idle cores
_ENDED = "so this study has ended"


@dataclass
class Tally:
    """What a soak came to."""

    kills: Counter[str] = field(default_factory=Counter)
    studies: Counter[str] = field(default_factory=Counter)
    runs: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        def words(counts: Counter[str]) -> str:
            return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))

        return (
            f"{self.kills.total()} kills ({words(self.kills)}); studies: {words(self.studies)}; "
            f"runs: {words(self.runs)}; {self.seconds:.0f} s"
        )


class Soak:
    """One marketplace under random kills.

    Args:
        market: Open, with its services running.
        seed: Of who is killed when; the machine's timing still varies.
        pace: Mean seconds between two kills; more on a busy machine, where otherwise nobody would
            live long enough to do anything.
    """

    def __init__(self, market: Market, seed: int, pace: float = 2.5) -> None:
        self.market = market
        self.random = random.Random(seed)
        self.pace = pace * max(1.0, market.opened_in / _OPENED_IN)
        self.tally = Tally()
        self._spending = Spending()
        self._next = 0.0
        self._left = 0
        self._down_until: dict[str, float] = {}
        self._page = self._open_page()
        self._ada: subprocess.Popen[bytes] | None = None

    def run(self, kills: int) -> Tally:
        """Go on until so many were killed, end the last study in peace and check everything."""
        begun = time.monotonic()
        self._left = kills
        try:
            while self._left > 0:
                name = f"soak-{len(self.market.studies) + 1}"
                self.market.compose(name)
                self._command("submit", name)
                finished = self._wait_for_approvals(name) and self._command("run", name)
                self._check(name, finished)
        finally:
            self._page.kill()
            self._page.wait()
            if self._ada is not None:
                self._ada.kill()
                self._ada.wait()
        check_all(self.market)
        self.tally.seconds = time.monotonic() - begun
        return self.tally

    def _check(self, name: str, finished: bool) -> None:
        if finished:
            check_study(self.market, name)
        self.tally.studies["finished" if finished else "ended without any update in a phase"] += 1
        for home in self.market.homes.values():
            if not finished:
                self._until(lambda home=home: self._is_settled(home, name))  # type: ignore[misc]
            self.tally.runs.update(run_states(home, name).values())
            check_books(home)

    def _is_settled(self, home: object, name: str) -> bool:
        return "reserved" not in run_states(home, name).values()  # type: ignore[arg-type]

    def _wait_for_approvals(self, name: str) -> bool:
        self._until(lambda: self.market.all_approved(name))
        return True

    def _command(self, verb: str, name: str) -> bool:
        """A scientist's command, again after each kill; False if the study has ended for good."""
        log = self.market.folder / "logs" / "ada.log"
        while True:
            already = log.stat().st_size if log.exists() else 0
            self._ada = self.market.command(verb, name)
            self._until(lambda: self._ada is not None and self._ada.poll() is not None)
            status, self._ada = self._ada.returncode, None
            if status == 0:
                return True
            if status != -signal.SIGKILL:
                said = " ".join(log.read_bytes()[already:].decode(errors="replace").split())
                assert _ENDED in said, f"{verb} {name} ended with {status}: {said[-1500:]}"
                return False

    def _until(self, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 900
        while not happened():
            assert time.monotonic() < deadline, "nothing moves any more"
            self._live()
            time.sleep(0.1)

    def _live(self) -> None:
        """Kill somebody if it is time, start what is down long enough, look at what is spent."""
        now = time.monotonic()
        for name, home in self.market.homes.items():
            if self.market.is_down(home) and now >= self._down_until.get(name, 0.0):
                self.market.revive(home)
            self._spending.look(home)
        if self._page.poll() is not None:
            assert self._page.returncode == -signal.SIGKILL, "the page ended by itself"
            self._page = self._open_page()
        if self._left > 0 and now >= self._next:
            self._next = now + self.random.expovariate(1 / self.pace)
            self._kill_somebody(now)

    def _kill_somebody(self, now: float) -> None:
        victims = [("service", name) for name in self.market.homes]
        who, name = self.random.choice([*victims, ("coordinator", ""), ("page", "")])
        if who == "service":
            home = self.market.homes[name]
            if self.market.is_down(home):
                return
            os.kill(self.market.services.pid(home), signal.SIGKILL)
            self._down_until[name] = now + self.random.uniform(0, 1)
            while not self.market.is_down(home):
                time.sleep(0.01)
        else:
            process = self._page if who == "page" else self._ada
            if process is None or process.poll() is not None:
                return
            process.kill()
        self.tally.kills[who] += 1
        self._left -= 1

    def _open_page(self) -> subprocess.Popen[bytes]:
        homes = [str(home.root) for home in self.market.homes.values()]
        with (self.market.folder / "logs" / "page.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, str(_PAGE), *homes],
                env=os.environ | self.market.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )


def kill_at_random(folder: Path, merchants: int, kills: int, seed: int) -> Tally:
    """Open a marketplace in `folder` and kill so often in it.

    Raises:
        AssertionError: A promise was broken, or too little happened to say that none was.
    """
    print(f"seed {seed}", flush=True)
    with Market(folder / "market", merchants=merchants, targets=targets()) as market:
        tally = Soak(market, seed).run(kills)
    assert tally.kills.total() == kills
    assert tally.studies.total() >= 1
    return tally
