"""Each reader of bytes from outside meets some hundreds of bad inputs; `python -m tests.fuzz` more.

What was found so is in the tests of the readers, as literals.
"""

from __future__ import annotations

import os

import pytest

from tests.fuzz.engine import fuzz
from tests.fuzz.mutations import Mutator
from tests.fuzz.target import Target

pytestmark = pytest.mark.attack
PARTS = {
    "messages": 150,
    "settings": 100,
    "data": 40,
    "models": 60,
}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_bad_input_is_refused_in_words(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import import_module

    monkeypatch.setenv("ARROW_DEFAULT_MEMORY_POOL", "system")
    harm = {}
    for target in import_module(f"tests.fuzz.targets_{part}").TARGETS:
        report = fuzz(target, PARTS[part], seed=5)
        assert report.inputs == PARTS[part]
        assert report.peak_mb < target.memory_mb
        if report.crashes:
            harm[target.name] = [(one.what, one.data[:200]) for one in report.crashes]
    assert harm == {}


def _broken(data: bytes) -> None:
    if b"KILL" in data:
        os.kill(os.getpid(), 9)
    if b"LOOP" in data:
        while True:
            pass
    if b"FULL" in data:
        bytearray(4 << 30)
    if b"ERROR" in data:
        raise KeyError


@pytest.mark.parametrize(
    ("word", "what"),
    [
        (b"KILL", "killed (signal 9)"),
        (b"FULL", "MemoryError"),
        (b"ERROR", "KeyError"),
        (b"LOOP", "processor time"),
    ],
)
def test_the_harness_sees_what_goes_wrong(
    word: bytes, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fuzz.engine.INPUT_SECONDS", 0.2)
    report = fuzz(Target("broken", _broken, (b"fine", word), memory_mb=256), inputs=2, seed=0)
    assert report.inputs == 2
    assert [what in crash.what for crash in report.crashes] == [True]
    assert report.crashes[0].data == word


def test_the_same_seed_gives_the_same_inputs() -> None:
    target = Target("x", lambda _data: None, (b'{"a": [1, 2]}',), "json")
    first, again, other = (
        [mutator.make(number) for number in range(60)]
        for mutator in (Mutator(target, seed) for seed in (1, 1, 2))
    )
    assert first == again
    assert first != other
