"""Light and heavy shoppers, small and large merchants."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation import Report, bought_groups, by_group


def test_every_shopper_is_in_one_group_by_purchases() -> None:
    bought = np.array([0, 1, 2, 3, 4, 7, 8, 15, 16, 400])
    groups = bought_groups(bought)
    assert list(groups) == ["0 to 1", "2 to 3", "4 to 7", "8 to 15", "16 or more"]
    assert (np.sum(list(groups.values()), axis=0) == 1).all()
    assert list(bought_groups(np.array([5, 6]))) == ["4 to 7"]
    assert bought_groups(np.array([], dtype=np.int64)) == {}


def test_gains_are_paired_within_the_group() -> None:
    rng = np.random.default_rng(0)
    before, after = np.array([0.0, 0.0, 1.0, 0.5]), np.array([1.0, 0.0, 1.0, 0.0])
    first = np.array([True, True, False, False])
    found = by_group(before, after, {"first": first, "last": ~first}, rng)
    assert found["first"]["gain"] == pytest.approx(0.5)
    assert found["last"]["gain"] == pytest.approx(-0.25)
    assert (found["first"]["alone"], found["first"]["together"]) == (0.0, 0.5)
    assert found["last"]["n"] == 2
    assert found["first"]["low"] <= 0.5 <= found["first"]["high"]


def test_groups_survive_the_file() -> None:
    groups = {"kind": {"few": {"alone": 0.5, "together": float("nan")}}}
    read = Report.from_json(Report(groups=groups).to_json())
    assert read.groups["kind"]["few"]["alone"] == 0.5
    assert np.isnan(read.groups["kind"]["few"]["together"])
