"""A program's answer is held back; whoever stops a service meanwhile loses nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from datasites.merchant.contributions import held
from datasites.merchant.contributions.held import note_hold, rounded, wait_until_due


def never() -> bool:
    return False


@pytest.fixture(autouse=True)
def without_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held, "_MARGIN_SECONDS", 0.0)


def test_a_run_is_answered_after_a_power_of_two_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [rounded(one) for one in (0.1, 2.0, 2.1, 7.0, 100.0)] == [2, 2, 4, 8, 128]
    # What comes between its end and the answer has room before the step.
    monkeypatch.setattr(held, "_MARGIN_SECONDS", 1.0)
    assert [rounded(one) for one in (0.1, 1.0, 1.1, 2.9, 3.1, 7.5)] == [2, 2, 4, 4, 8, 16]


def test_what_was_noted_is_waited_for_and_goes_on_after_a_stop(tmp_path: Path) -> None:
    begun = time.monotonic()
    note_hold(tmp_path, 1.3, never)
    assert time.monotonic() - begun < 0.5  # only noted
    assert not wait_until_due(tmp_path, lambda: True)
    assert wait_until_due(tmp_path, never)
    assert 0.7 <= time.monotonic() - begun < 2.0
    begun = time.monotonic()
    assert wait_until_due(tmp_path, never)
    assert time.monotonic() - begun < 0.2


def test_a_clock_that_was_set_back_holds_nobody_up_for_days_and_tells_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note_hold(tmp_path, 1.5, never)
    real = time.time
    monkeypatch.setattr(held.time, "time", lambda: real() - 400 * 86_400)
    begun = time.monotonic()
    assert wait_until_due(tmp_path, never)
    assert 2.0 <= time.monotonic() - begun < 3.0  # the whole step, however long the run took


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"until": "x", "at_most": 1}', "\0"])
def test_a_damaged_note_holds_nobody_up(tmp_path: Path, text: str) -> None:
    (tmp_path / "held.json").write_text(text)
    assert wait_until_due(tmp_path, never)


def test_on_a_full_disk_it_is_waited_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(held, "atomic_write_text", full)
    begun = time.monotonic()
    note_hold(tmp_path, 1.4, never)
    assert 0.6 <= time.monotonic() - begun < 2.0


def test_the_note_says_no_more_than_when(tmp_path: Path) -> None:
    note_hold(tmp_path, 5.0, never)
    noted = json.loads((tmp_path / "held.json").read_text())
    assert noted["at_most"] == 8.0
    assert noted["until"] == pytest.approx(time.time() + 3.0, abs=1.0)
