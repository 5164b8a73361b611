"""Kills real processes at every named place, lets the study end, and says what became of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from datasites.merchant import Ledger, MerchantHome, desk
from tests.crash.invariants import Spending, check_all, check_books, check_study, run_states
from tests.crash.market import SCIENTIST, Market, until
from tests.crash.points import COORDINATOR, PAGE, PROPOSAL, RESULT, ROUND, SUBMIT, Point

__all__ = ["Outcome", "Study", "Trial", "every_study", "run_studies", "sample_study", "try_pages"]

PHASES = ("counts", "als-1", "quality")
_PAGE = Path(__file__).with_name("page.py")


@dataclass(frozen=True)
class Outcome:
    """One row of the table."""

    part: str
    words: str
    booked: str
    lost: str
    afterwards: str


@dataclass
class Study:
    """Which points are tried in one study: by number of the merchant, and of ada's processes."""

    proposal: dict[int, list[Point]] = field(default_factory=dict)
    rounds: dict[tuple[int, str], Point] = field(default_factory=dict)
    result: dict[int, list[Point]] = field(default_factory=dict)
    submit: list[Point] = field(default_factory=list)
    coordinator: list[Point] = field(default_factory=list)

    def points(self) -> list[Point]:
        found = [point for some in (*self.proposal.values(), *self.result.values())
                 for point in some]  # fmt: skip
        return [*found, *self.rounds.values(), *self.submit, *self.coordinator]


def every_study() -> list[Study]:
    """All points, dealt out over as few studies as will do.

    In one phase at most one of the two merchants is killed where a run may be lost, since a phase
    without any update ends a study.
    """
    proposal, result = list(PROPOSAL), list(RESULT)
    losing = [point for point in ROUND if point.loses]
    others = [point for point in ROUND if not point.loses and not point.only]
    special = [point for point in ROUND if point.only]
    coordinator = list(COORDINATOR)
    studies: list[Study] = []
    while proposal or result or losing or others or special:
        study = Study(submit=[] if studies else list(SUBMIT))
        for merchant in (0, 1):
            study.proposal[merchant], proposal = proposal[:3], proposal[3:]
            study.result[merchant], result = result[:3], result[3:]
        for number, phase in enumerate(PHASES):
            first, second = (0, 1) if (number + len(studies)) % 2 else (1, 0)
            if losing:
                study.rounds[first, phase] = losing.pop(0)
            elif others:
                study.rounds[first, phase] = others.pop(0)
            if special and special[0].only == phase:
                study.rounds[second, phase] = special.pop(0)
            elif others:
                study.rounds[second, phase] = others.pop(0)
        study.coordinator, coordinator = coordinator[:10], coordinator[10:]
        studies.append(study)
    studies[-1].coordinator += coordinator
    return studies


def sample_study() -> Study:
    """A few points of each kind, for every run of the tests."""

    def named(points: Sequence[Point], *words: str) -> list[Point]:
        return [next(point for point in points if point.words == one) for one in words]

    runs = named(ROUND, "after RESERVE", "the release kept whole", "before RESERVE")
    return Study(
        rounds={(0, "als-1"): runs[0], (0, "counts"): runs[1], (1, "als-1"): runs[2]},
        result={1: named(RESULT, "the service killed while the fit measures")},
        coordinator=named(COORDINATOR, "a round in a merchant's inbox, not noted",
                          "the artefact's manifest written"),
    )  # fmt: skip


def run_studies(market: Market, studies: Iterable[Study]) -> list[Outcome]:
    """Run each study to its end through all its kills; all invariants hold after each."""
    spending, found = Spending(), []
    for number, study in enumerate(studies, start=1):
        found += Trial(market, f"crash-{number}", study, spending).run()
    check_all(market)
    return found


class Trial:
    """One study and its kills."""

    def __init__(self, market: Market, name: str, study: Study, spending: Spending) -> None:
        self.market, self.name, self.study, self.spending = market, name, study, spending
        self.homes = list(market.homes.values())
        # Point -> what the victim had booked of the job in question when it died.
        self.booked: dict[str, str] = {}
        self._at: dict[str, tuple[Point, MerchantHome | None, str]] = {}
        self.fired = Path(f"{market.plans}.fired")

    def run(self) -> list[Outcome]:
        market, name = self.market, self.name
        market.compose(name)
        self._plan()
        self._until_done("submit")
        self._provoke()
        for home in self.homes:
            self._while_watching(lambda home=home: market.requested(home, name))  # type: ignore[misc]
            market.approve(home, name)
        self._while_watching(lambda: market.all_approved(name))
        self._until_done("run")
        self._watch()
        missed = [point for point, _, _ in self._at.values() if point.words not in self.booked]
        assert not missed, f"never reached: {[point.words for point in missed]}"
        lost = check_study(market, name)
        return [self._outcome(key, lost) for key in self._at]

    # -- plans -----------------------------------------------------------------------------------

    def _plan(self) -> None:
        self.fired.mkdir(exist_ok=True)
        for merchant, points in self.study.proposal.items():
            for point in points:
                self._add(point, self.homes[merchant], "proposal")
        for (merchant, phase), point in self.study.rounds.items():
            self._add(point, self.homes[merchant], phase)
        for merchant, points in self.study.result.items():
            for point in points:
                self._add(point, self.homes[merchant], "result")
        for point in self.study.submit:
            self._add(point, None, "proposal")
        for point in self.study.coordinator:
            self._add(point, None, "als-1")
        plans = [self._as_plan(key, *found) for key, found in self._at.items()]
        self.market.plans.write_text(json.dumps(plans))

    def _add(self, point: Point, home: MerchantHome | None, phase: str) -> None:
        self._at[f"{self.name} {len(self._at)}"] = (point, home, phase)

    def _provoke(self) -> None:
        """Give the services something to do that a study alone does not bring."""
        for point, home, _ in self._at.values():
            if point.renew and home is not None:
                (home.private / "mock-published").unlink(missing_ok=True)
            if point.garbage and home is not None:
                inbox = self.market.share / home.settings.email / "inbox" / SCIENTIST
                (inbox / f"msgv2_{point.when}").write_bytes(b"not signed by anybody")

    def _as_plan(
        self, key: str, point: Point, home: MerchantHome | None, phase: str
    ) -> dict[str, object]:
        study = self.market.desk.study(self.name)
        words = {"job": f"{self.name}-{phase}", "study": self.name, "phase": phase}
        armed = study / ("proposal.json" if phase == "proposal" else f"sent/{phase}.json")
        process = {
            "service": f"datasites.merchant {home.root if home else ''}",
            "fit": f"datasites.merchant.fit {home.root if home else ''}",
            "ada": "toyfed study",
        }[point.process]
        return {
            "id": key,
            "process": process,
            "target": point.target,
            "when": point.when,
            "match": [word.format(**words) for word in point.match],
            "armed": str(armed) if point.armed else "",
            "parent": point.parent,
        }

    # -- living through it -----------------------------------------------------------------------

    def _until_done(self, verb: str) -> None:
        """Run one of the scientist's commands, again after each kill, until it ends well."""
        process = self.market.command(verb, self.name)
        try:
            deadline = time.monotonic() + 1800
            while True:
                self._watch()
                status = process.poll()
                if status == 0:
                    return
                if status == -signal.SIGKILL:
                    process = self.market.command(verb, self.name)
                elif status is not None:
                    log = self.market.folder / "logs" / "ada.log"
                    raise AssertionError(f"{verb} ended with {status}:\n{log.read_text()[-2000:]}")
                assert time.monotonic() < deadline, f"{verb} did not end"
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()

    def _while_watching(self, happened: object) -> None:
        def look() -> bool:
            self._watch()
            return bool(happened())  # type: ignore[operator]

        until(look)

    def _watch(self) -> None:
        """Note who died where and what was booked then, and start dead services again."""
        for home in self.homes:
            if self.market.is_down(home):
                states = run_states(home, self.name)
                for key, (point, victim, phase) in self._at.items():
                    if victim == home and self._is_new(key):
                        self.booked[point.words] = states.get(f"{self.name}-{phase}", "nothing")
                self.spending.look(home)
                self.market.revive(home)
            self.spending.look(home)
        for key, (point, home, _) in self._at.items():
            if (home is None or point.process == "fit") and self._is_new(key):
                self.booked[point.words] = "nothing"

    def _is_new(self, key: str) -> bool:
        return self._at[key][0].words not in self.booked and (self.fired / key).exists()

    def _outcome(self, key: str, lost: dict[str, list[str]]) -> Outcome:
        point, home, phase = self._at[key]
        booked = self.booked[point.words]
        if home is None:
            part = "study submit" if point in SUBMIT else "coordinator"
            gone = sorted({one for phases in lost.values() for one in phases} - self._losable())
            assert not gone
            return Outcome(part, point.words, "-", "nothing", "started again, it went on")
        if phase not in PHASES:
            after = "answered once" if phase == "proposal" else "taken up and served"
            return Outcome(f"service, {phase}", point.words, "-", "nothing", after)
        is_lost = phase in lost.get(home.settings.email, [])
        other = next(one for one in self.homes if one != home)
        if is_lost:
            assert phase not in lost.get(other.settings.email, []), "another merchant was hurt"
            assert point.loses, f"a run was lost at '{point.words}'"
            after = "said to be lost, never run again, stays spent; the study went on"
        elif booked == "nothing":
            after = "run after the restart, once"
        elif booked == "reserved":
            after = "the kept release booked and delivered"
        else:
            after = "the same bytes delivered"
        booked = {"failed": "RESERVE", "reserved": "RESERVE", "committed": "RESERVE, COMMIT"}.get(
            booked, booked
        )
        gone_words = "this merchant's part in one phase" if is_lost else "nothing"
        return Outcome("service, round", point.words, booked, gone_words, after)

    def _losable(self) -> set[str]:
        return {phase for (_, phase), point in self.study.rounds.items() if point.loses}


def try_pages(market: Market, points: Sequence[Point] = PAGE) -> list[Outcome]:
    """Kill the console in the middle of a click; what was clicked holds wholly or not at all."""
    home = next(iter(market.homes.values()))
    fired = Path(f"{market.plans}.fired")
    fired.mkdir(exist_ok=True)
    found = []
    for number, point in enumerate(points):
        study = f"page-{number}"
        market.compose(study)
        market.submit(study)
        until(lambda study=study: market.requested(home, study))  # type: ignore[misc]
        ledger = Ledger.open(home.ledger_path)
        verb = next((word for word in ("reject", "revoke") if word in point.target), "approve")
        if "_insert" in point.target:
            verb = {"'rejected'": "reject", "'revoked'": "revoke"}.get(point.match[0], "approve")
        if verb == "revoke":
            desk.approve(home, ledger, study, by="me")
        before = _decision(home, study)
        plan = asdict(point) | {"id": study, "process": "page.py", "armed": ""}
        market.plans.write_text(json.dumps([plan]))
        assert _click(market, home, study, verb) == -signal.SIGKILL, point.words
        ledger.verify()
        between = _decision(home, study)
        wanted = {"approve": "approved", "reject": "rejected", "revoke": "revoked"}[verb]
        assert between in (before, wanted)
        if between != wanted:
            assert _click(market, home, study, verb) == 0
        assert _decision(home, study) == wanted
        kinds = [entry.kind for entry in check_books(home) if entry.study == study]
        assert kinds.count(wanted) == 1
        after = "asked again, decided once" if between == before else "stands; nothing to do again"
        held = "nothing" if between == before else "the decision"
        found.append(Outcome("page", point.words, held, "nothing", after))
    return found


def _decision(home: MerchantHome, study: str) -> str:
    requests = desk.requests(home, Ledger.open(home.ledger_path))
    return next(one.status for one in requests if one.study == study)


def _click(market: Market, home: MerchantHome, study: str, verb: str) -> int:
    import os

    done = subprocess.run(
        [sys.executable, str(_PAGE), str(home.root), study, verb],
        env=os.environ | market.environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()[-2000:]
    return done.returncode
