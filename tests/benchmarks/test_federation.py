"""The benchmark of merges judges by shoppers whom nobody learned from."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.federation import (
    ONE_PLACE,
    RULES,
    Situation,
    _divided,
    _Judge,
    _specialists,
    _train,
)

SITUATIONS = {
    "unequal": lambda: _divided("unequal", [300, 40], seed=0, later=50),
    "specialists": lambda: _specialists("specialists", 3, seed=0, shoppers=1_500, later=50),
}


@pytest.fixture(scope="module", params=SITUATIONS)
def situation(request: pytest.FixtureRequest) -> Situation:
    return SITUATIONS[request.param]()


def test_those_who_are_judged_were_not_learned_from(situation: Situation) -> None:
    seen: set[str] = set()
    for part in (*situation.shops.values(), *situation.later.values()):
        ids = set(map(str, part.train.shopper_ids))
        assert len(ids) == part.train.n_shoppers
        assert not ids & seen
        seen |= ids
    assert all((later.valid.lengths > 0).any() for later in situation.later.values())


def test_specialists_sell_toys_that_no_other_sells() -> None:
    sold = [
        set(split.everything().items.tolist())
        for split in SITUATIONS["specialists"]().shops.values()
    ]
    assert all(sold)
    assert sum(map(len, sold)) == len(set().union(*sold))


def test_the_smallest_is_named() -> None:
    situation = SITUATIONS["unequal"]()
    assert situation.shops[situation.smallest].train.n_shoppers == 40


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_trains_and_repeats_itself(rule: str, situation: Situation) -> None:
    histories = situation.later[situation.smallest].train
    first, again = (_train(situation, rule, seed=1)["shared"].score(histories) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert np.isfinite(first).all()
    assert np.ptp(first) > 0


@pytest.mark.slow
def test_rows_hold_what_the_columns_say(capsys: pytest.CaptureFixture[str]) -> None:
    situation = SITUATIONS["unequal"]()
    rows = _Judge(situation).compare(ONE_PLACE, [_train(situation, ONE_PLACE, seed=0)])
    assert [row[:3] for row in rows] == [
        ["unequal", ONE_PLACE, "all"],
        ["unequal", ONE_PLACE, "smallest"],
    ]
    shared, alone, gain, low, high = map(float, rows[0][3:])
    assert 0 <= shared <= 1
    assert 0 <= alone <= 1
    assert low <= gain <= high
    assert "gain" in capsys.readouterr().out
