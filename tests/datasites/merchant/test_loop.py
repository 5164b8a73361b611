"""The loop around a merchant's service: alone, alive, and going on whatever a pass ran into."""

from __future__ import annotations

import errno
import json

import pytest

from datasites.errors import DatasiteError
from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.heartbeat import service_state
from datasites.merchant.loop import _only_one, serve
from datasites.merchant.service import Service


def test_a_second_service_on_one_home_is_refused(home: MerchantHome, ledger: Ledger) -> None:
    with (
        _only_one(home),
        pytest.raises(DatasiteError, match="another service serves"),
        _only_one(home),
    ):
        pass
    with _only_one(home):
        pass


@pytest.mark.slow
def test_what_nobody_foresaw_does_not_end_the_service(
    home: MerchantHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = []

    def step(_service: Service, _stopping: object) -> int:
        passes.append(len(passes))
        if len(passes) < 3:
            raise KeyError("shopper 7 bought 3")
        return 0

    monkeypatch.setattr(Service, "step", step)
    states = []

    def stop() -> bool:
        states.append(json.loads(home.heartbeat.read_text()))
        return len(passes) == 3

    serve(home, stop=stop)
    assert [one["state"] for one in states] == ["troubled", "troubled", "running"]
    assert states[0]["detail"] == "unexpected KeyError"
    assert "shopper 7" not in json.dumps(states)


@pytest.mark.slow
def test_recovery_is_tried_until_it_succeeds(
    home: MerchantHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []

    def recover(_service: Service) -> None:
        tried.append(len(tried))
        if len(tried) < 3:
            raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(Service, "recover", recover)
    monkeypatch.setattr(Service, "step", lambda *_: 0)
    states: list[str] = []

    def stop() -> bool:
        states.append(json.loads(home.heartbeat.read_text())["state"])
        return len(states) == 4

    serve(home, stop=stop, begun=lambda: None)
    assert len(tried) == 3
    assert states == ["troubled", "troubled", "running", "running"]


@pytest.mark.slow
def test_the_heart_beats_before_the_first_pass_has_ended(
    home: MerchantHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []

    def step(*_: object) -> int:
        states.append(service_state(home, busy=False).text)
        return 0

    monkeypatch.setattr(Service, "step", step)
    serve(home, once=True)
    assert states == ["is starting"]
    assert service_state(home, busy=False).text == "stopped"
