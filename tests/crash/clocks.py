"""Sets real processes' clocks forward and back at every named place, while a study runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from datasites.merchant import MerchantHome
from tests.crash.invariants import Spending, check_all
from tests.crash.kills import PHASES, Outcome, Study, Trial
from tests.crash.market import Market
from tests.crash.points import COORDINATOR, PROPOSAL, RESULT, ROUND, SUBMIT, Point

__all__ = ["Jump", "jump_clocks"]

JUMP = 400 * 24 * 3600  # seconds: past every day, period and year


@dataclass(frozen=True)
class Jump:
    """A point, and to how many seconds from the truth whose clock was set there."""

    words: str
    who: str
    seconds: int


def jump_clocks(market: Market, studies: int = 2) -> list[Jump]:
    """Run studies in which a clock is set at every point; nothing may be lost at all.

    Of two studies each point is met at both merchants, once 400 days ahead and once behind. An
    approval ends after 30 days, on a clock that is wrong too, so these last for longer.
    """
    spending, found = Spending(), []
    market.days = 3000
    for number in range(studies):
        trial = _ClockTrial(market, f"clock-{number}", number, spending)
        trial.run()
        found += trial.jumps
    check_all(market)
    return found


class _ClockTrial(Trial):
    def __init__(self, market: Market, name: str, number: int, spending: Spending) -> None:
        super().__init__(market, name, Study(), spending)
        self.number = number
        self.jumps: list[Jump] = []

    def _plan(self) -> None:
        self._deal(PROPOSAL, "proposal")
        self._deal([point for point in ROUND if not point.only], "als-1")
        for phase in PHASES:
            self._deal([point for point in ROUND if point.only == phase], phase)
        self._deal(RESULT, "result")
        for point in SUBMIT:
            self._add(point, None, "proposal")
        for point in COORDINATOR:
            self._add(point, None, "als-1")
        super()._plan()

    def _deal(self, points: Sequence[Point], phase: str) -> None:
        for place, point in enumerate(points):
            self._add(point, self.homes[(place + self.number) % 2], phase)

    def _as_plan(
        self, key: str, point: Point, home: MerchantHome | None, phase: str
    ) -> dict[str, object]:
        # Every second place of the same process: two neighbours go opposite ways.
        place = len(self.jumps) // 2 + self.number
        jump = Jump(point.words, home.root.name if home else "ada", JUMP * (-1) ** place)
        self.jumps.append(jump)
        return super()._as_plan(key, point, home, phase) | {"jump": jump.seconds}

    def _watch(self) -> None:
        for home in self.homes:
            assert not self.market.is_down(home), f"{home.root.name} ended"
            self.spending.look(home)
        for key, (point, _, _) in self._at.items():
            if self._is_new(key):
                self.booked[point.words] = "-"

    def _outcome(self, key: str, lost: dict[str, list[str]]) -> Outcome:
        point, _, phase = self._at[key]
        assert not lost, f"a clock lost a run: {lost}"
        return Outcome(phase, point.words, "-", "nothing", "it went on")
