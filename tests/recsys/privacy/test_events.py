"""Events and budgets: what is accepted, refused, and read back."""

from __future__ import annotations

import json
import math

import pytest

from recsys.errors import PrivacyError
from recsys.privacy import (
    Budget,
    GaussianEvent,
    PrivacyUnit,
    SubsampledGaussianEvent,
    event_from_dict,
    mu_of,
    split_budget,
)


def test_an_event_survives_json() -> None:
    event = GaussianEvent("counts", math.sqrt(11), 40.25)
    assert event_from_dict(json.loads(json.dumps(event.to_dict()))) == event


def test_a_subsampled_event_survives_json_and_has_exactly_these_keys() -> None:
    event = SubsampledGaussianEvent("towers", 1.25, 0.01, 800)
    row = json.loads(json.dumps(event.to_dict()))
    assert set(row) == {"type", "what", "noise_multiplier", "sampling_rate", "steps"}
    assert row["type"] == "subsampled_gaussian"
    assert event_from_dict(row) == event


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"what": ""},
        {"what": 3},
        {"noise_multiplier": 0},
        {"noise_multiplier": -1.0},
        {"noise_multiplier": math.inf},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": True},
        {"noise_multiplier": "1"},
        {"sampling_rate": 0.0},
        {"sampling_rate": 1.0 + 1e-9},
        {"sampling_rate": math.nan},
        {"sampling_rate": None},
        {"steps": 0},
        {"steps": 10.0},
        {"steps": True},
        {"steps": 1_000_001},
        {"steps": "10"},
    ],
)
def test_a_changed_subsampled_event_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PrivacyError):
        event_from_dict(SubsampledGaussianEvent("x", 1.0, 0.1, 10).to_dict() | change)


@pytest.mark.parametrize("missing", ["what", "noise_multiplier", "sampling_rate", "steps", "type"])
def test_an_event_without_one_of_its_keys_is_refused(missing: str) -> None:
    row = SubsampledGaussianEvent("x", 1.0, 0.1, 10).to_dict()
    del row[missing]
    with pytest.raises(PrivacyError):
        event_from_dict(row)


def test_one_kind_is_not_read_as_the_other() -> None:
    row = SubsampledGaussianEvent("x", 1.0, 0.1, 10).to_dict()
    with pytest.raises(PrivacyError):
        event_from_dict(row | {"type": "gaussian"})
    with pytest.raises(PrivacyError):
        GaussianEvent.from_dict(row)
    with pytest.raises(PrivacyError):
        SubsampledGaussianEvent.from_dict(GaussianEvent("x", 1.0, 1.0).to_dict())


def test_every_shopper_in_every_step_is_allowed() -> None:
    assert SubsampledGaussianEvent("x", 1, 1, 1).sampling_rate == 1


def test_a_budget_survives_json() -> None:
    budget = Budget(1.5, 1e-6)
    assert Budget.from_dict(json.loads(json.dumps(budget.to_dict()))) == budget
    assert budget.unit is PrivacyUnit.SHOPPER


@pytest.mark.parametrize("kind", ["laplace", "", None, "Gaussian", "subsampled"])
def test_an_unknown_event_is_refused(kind: str | None) -> None:
    row = GaussianEvent("x", 1.0, 1.0).to_dict() | {"type": kind}
    with pytest.raises(PrivacyError, match="its cost is unknown"):
        event_from_dict(row)


@pytest.mark.parametrize("change", [{"extra": 1}, {"sigma": None}, {"sigma": True}, {"sigma": "2"}])
def test_a_changed_event_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PrivacyError):
        event_from_dict(GaussianEvent("x", 1.0, 1.0).to_dict() | change)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_noise_must_be_real(value: float) -> None:
    with pytest.raises(PrivacyError, match="Expected sigma"):
        GaussianEvent("x", 1.0, value)
    with pytest.raises(PrivacyError, match="Expected sensitivity"):
        GaussianEvent("x", value, 1.0)


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 1e-5), (math.inf, 1e-5), (1, 0), (1, 1)])
def test_impossible_budgets_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(PrivacyError):
        Budget(epsilon, delta)


def test_a_budget_for_an_unknown_unit_is_refused() -> None:
    with pytest.raises(PrivacyError, match="known unit"):
        Budget.from_dict({"epsilon": 1.0, "delta": 1e-5, "unit": "purchase"})


def test_phases_add_up_to_the_budget_and_never_above() -> None:
    parts = split_budget(Budget(1.0, 1e-5), {"a": 1, "b": 3, "none": 0})
    total = math.sqrt(sum(mu**2 for mu in parts.values()))
    assert set(parts) == {"a", "b"}
    assert parts["b"] / parts["a"] == pytest.approx(math.sqrt(3))
    assert mu_of(1.0, 1e-5) * (1 - 1e-11) < total <= mu_of(1.0, 1e-5)


@pytest.mark.parametrize("shares", [{}, {"a": 0}, {"a": -1, "b": 2}, {"a": math.nan}])
def test_shares_that_cannot_be_split_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(PrivacyError):
        split_budget(Budget(1.0, 1e-5), shares)
