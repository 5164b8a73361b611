"""What a message may say; everything else is refused in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from datasites.errors import ReviewError
from datasites.protocol import (
    MOST_RELEASE_BYTES,
    Proposal,
    Result,
    Round,
    parse_message,
    safe_name,
    sha256_of,
)
from recsys.privacy import SubsampledGaussianEvent

SHA = "a" * 64
STEPS: dict[str, Any] = {
    "type": "subsampled_gaussian",
    "what": "towers",
    "noise_multiplier": 1.5,
    "sampling_rate": 0.02,
    "steps": 100,
}
ROUND = {"kind": "round", "study": "toys", "phase": "counts", "proposal_sha256": SHA}


def params_of(proposal: Proposal) -> dict[str, Any]:
    return proposal.model_dump(mode="json")


def test_every_kind_of_message_survives_its_journey(make_proposal: Callable[..., Proposal]) -> None:
    state = {"name": "toys-als-1", "sha256": SHA}
    result = {"kind": "result", "study": "toys", "proposal_sha256": SHA, "state": state}
    proposal = make_proposal()
    arrived = parse_message(params_of(proposal))
    assert arrived == proposal
    assert isinstance(arrived, Proposal)
    assert arrived.sha256 == proposal.sha256
    assert isinstance(parse_message(ROUND | {"state": state}), Round)
    assert isinstance(parse_message(result), Result)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kind": "command"}, "kind|tag"),
        ({"extra": 1}, "extra"),
        ({"study": "../toys"}, "study"),
        ({"study": "/etc"}, "study"),
        ({"study": ""}, "study"),
        ({"proposal_sha256": "b" * 63}, "proposal_sha256"),
        ({"state": {"name": "../x", "sha256": SHA}}, "state.name"),
    ],
)
def test_a_bad_round_is_refused_and_the_place_named(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ReviewError, match=told):
        parse_message(ROUND | changed)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "laplace", "what": "x", "sensitivity": 1.0, "sigma": 1.0},
        {"type": "gaussian", "what": "x", "sensitivity": 1.0},
        {"type": "gaussian", "what": "x", "sensitivity": 1.0, "sigma": 0.0},
        {"type": "gaussian", "what": "x", "sensitivity": 1.0, "sigma": "much"},
        {"type": "gaussian", "what": "x", "sensitivity": 1.0, "sigma": 1e300},
        {},
        STEPS | {"noise_multiplier": 0.0},
        STEPS | {"noise_multiplier": 1e-4},
        STEPS | {"noise_multiplier": 10**400},
        STEPS | {"sampling_rate": 1.5},
        STEPS | {"sampling_rate": 1e-7},
        STEPS | {"steps": 10**7},
        STEPS | {"steps": 10**400},
        STEPS | {"steps": "10"},
        STEPS | {"type": "gaussian"},
        STEPS | {"extra": 1},
    ],
    ids=lambda event: str(event)[:60],
)
def test_an_event_of_unknown_cost_is_refused(
    make_proposal: Callable[..., Proposal], event: dict[str, Any]
) -> None:
    params = params_of(make_proposal())
    params["phases"][0]["events"] = [event]
    with pytest.raises(ReviewError, match=r"phases\.0\.events"):
        parse_message(params)


def test_steps_travel_beside_gaussian_releases(make_proposal: Callable[..., Proposal]) -> None:
    params = params_of(make_proposal())
    params["phases"][0]["events"].append(STEPS)
    arrived = parse_message(params)
    assert isinstance(arrived, Proposal)
    assert arrived.phases[0].privacy_events()[-1] == SubsampledGaussianEvent(
        "towers", 1.5, 0.02, 100
    )
    assert arrived.events()[0] == make_proposal().events()[0]


def test_more_kinds_of_steps_than_can_be_accounted_for_are_refused(
    make_proposal: Callable[..., Proposal],
) -> None:
    params = params_of(make_proposal())
    params["phases"][0]["events"] = [STEPS | {"steps": 1 + n} for n in range(16)]
    parse_message(params)
    for place in (0, 1):
        params["phases"][place]["events"] = [
            STEPS | {"noise_multiplier": 1.0 + place + n / 100} for n in range(9)
        ]
    with pytest.raises(ReviewError, match="16 different kinds"):
        parse_message(params)


@pytest.mark.parametrize(
    "changed",
    [
        {"unit": "purchase"},
        {"epsilon": 0},
        {"epsilon": 101},
        {"delta": 0.5},
        {"phases": []},
        {"recipe": "[bold]mine"},
        {"catalogue": "none"},
        {"n_items": 0},
    ],
)
def test_a_proposal_out_of_bounds_is_refused(
    make_proposal: Callable[..., Proposal], changed: dict[str, Any]
) -> None:
    with pytest.raises(ReviewError, match=next(iter(changed))):
        parse_message(params_of(make_proposal()) | changed)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1}, b"x"])
def test_what_is_not_plain_json_is_refused(
    make_proposal: Callable[..., Proposal], value: object
) -> None:
    with pytest.raises(ReviewError, match="plain JSON"):
        parse_message(params_of(make_proposal()) | {"settings": {"alpha": value}})


def test_a_message_of_megabytes_is_refused(make_proposal: Callable[..., Proposal]) -> None:
    with pytest.raises(ReviewError, match="bytes"):
        parse_message(params_of(make_proposal()) | {"settings": {"x": "y" * 2**20}})


def test_a_phase_releases_no_more_than_an_answer_carries(
    make_proposal: Callable[..., Proposal],
) -> None:
    params = params_of(make_proposal())
    (output, *_) = params["phases"][0]["outputs"]
    fits = output | {"dtype": "float64", "shape": [MOST_RELEASE_BYTES // 8]}
    params["phases"][0]["outputs"] = [fits]
    parse_message(params)
    params["phases"][0]["outputs"] = [fits, output | {"name": "more", "shape": [1]}]
    with pytest.raises(ReviewError, match="at most 120 MB of arrays in one phase"):
        parse_message(params)
    # Before anything is multiplied out.
    params["phases"][0]["outputs"] = [fits | {"shape": [10**8] * 1000}]
    with pytest.raises(ReviewError, match="at most 4 items"):
        parse_message(params)


def test_two_phases_or_two_arrays_of_one_name_are_refused(
    make_proposal: Callable[..., Proposal],
) -> None:
    twice = params_of(make_proposal())
    twice["phases"].append(twice["phases"][0])
    with pytest.raises(ReviewError, match="phases of different names"):
        parse_message(twice)
    params = params_of(make_proposal())
    params["phases"][0]["outputs"] *= 2
    with pytest.raises(ReviewError, match="arrays of different names"):
        parse_message(params)


def test_the_sha256_changes_with_every_word(make_proposal: Callable[..., Proposal]) -> None:
    base = make_proposal()
    others = [
        make_proposal(**{"study": "other"}),
        make_proposal(epsilon=0.9),
        base.model_copy(update={"delta": 2e-5}),
        base.model_copy(update={"catalogue": SHA}),
        base.model_copy(update={"n_items": base.n_items + 1}),
        base.model_copy(update={"phases": base.phases[:-1]}),
        *(
            base.model_copy(update={"settings": base.settings | {name: [value]}})
            for name, value in base.settings.items()
        ),
    ]
    assert len({base.sha256, *(other.sha256 for other in others)}) == len(others) + 1


def test_a_hash_does_not_depend_on_the_order_of_keys() -> None:
    assert sha256_of({"a": 1, "b": [2]}) == sha256_of({"b": [2], "a": 1})
    with pytest.raises(ValueError, match="JSON"):
        sha256_of({"a": float("nan")})


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "a.b", "..", "a" * 49, "a\n", "ä"])
def test_unsafe_names(name: str) -> None:
    with pytest.raises(ValueError, match="lower-case"):
        safe_name(name)


def test_a_phase_that_was_not_approved_is_named(make_proposal: Callable[..., Proposal]) -> None:
    with pytest.raises(ReviewError, match=r"'als-9'.*counts, als-1, quality"):
        make_proposal().phase("als-9")
