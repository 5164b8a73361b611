"""Every part of every JSON that comes from outside, replaced by something of each other type."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fuzz.engine import protected
from tests.fuzz.test_found import TARGETS

pytestmark = pytest.mark.attack
OTHERS: tuple[Any, ...] = (
    *(None, True, 0, -7, 10**19, 1.5, 1e308, "", "x", "\u0000", "3"),
    *([], {}, [1], ["x"], [[]], [{}], [None], {"": 1}, {"a": {}}, {"a": [1]}),
)


def replaced(value: Any) -> Iterator[Any]:
    """`value` with one part of it, at any depth, replaced or left out."""
    yield from OTHERS
    if isinstance(value, dict):
        for key in value:
            yield {name: one for name, one in value.items() if name != key}
            for other in replaced(value[key]):
                yield {**value, key: other}
    elif isinstance(value, list):
        for place in range(len(value)):
            yield value[:place] + value[place + 1 :]
            for other in replaced(value[place]):
                yield [*value[:place], other, *value[place + 1 :]]


def as_json(seed: bytes) -> Any:
    try:
        value = json.loads(seed)
    except ValueError:
        return None
    return value if isinstance(value, dict | list) else None


JSON = {name: [as_json(one) for one in target.seeds] for name, target in TARGETS.items()}


@pytest.mark.parametrize("name", [name for name, seeds in JSON.items() if any(seeds)])
def test_another_type_is_refused_in_words(name: str) -> None:
    harms = {}
    tried = 0
    for seed in filter(None, JSON[name]):
        for value in replaced(seed):
            data = json.dumps(value).encode()
            harm = protected(TARGETS[name], data)[0]
            tried += 1
            if harm:
                harms[harm] = data[:300]
    assert not harms
    assert tried > len(OTHERS)
