from __future__ import annotations

import re

import pytest

from tests.ui.web.market import shown
from ui.web.plain import plain, plain_error

HOSTILE = "![x](https://tracker.test/p.png) **b** :red[x] $x$"


@pytest.mark.attack
@pytest.mark.parametrize(
    "text",
    [
        HOSTILE,
        "a `b` <img src=x> # ~~c~~ | d",
        "- a list",
        "1. a list",
        "# head",
        "== line",
        ":material/verified: checked",
        "see www.tracker.test or http://tracker.test",
        "a\\*b*",
        "&#33;[x](y)",
    ],
)
def test_nothing_of_it_stays_markup(text: str) -> None:
    made = plain(text)
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]!:$<>#~|&]", made)
    assert not re.search(r":[\w/]|www\.", made.replace("\\", ""))
    assert not re.match(r"[-+=#]|\d+[.)]", made)
    assert shown(made) == text


def test_it_is_one_short_line() -> None:
    assert plain("a\r\n# b\u2028c\x00") == "a  \\# b c"
    assert plain("x" * 400) == "x" * 299 + "…"
    assert plain_error(ValueError("y" * 400)) == "y" * 400
    assert plain("*" * 400).count("*") == 299


def test_direction_cannot_be_turned() -> None:
    assert plain("a\u202egnp.exe") == "agnp.exe"


def test_plain_words_stay_as_they_are() -> None:
    assert plain("Wooden train, 3+ (blue) - 12.50") == "Wooden train, 3+ (blue) - 12.50"
