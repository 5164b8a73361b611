"""Pairing words: the same for both, different for anybody in between, forgiving of typing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasites.errors import PeerError
from datasites.pairing import WORDS, check_pairing_code, pairing_code

pytestmark = pytest.mark.attack
ADA, SHOP = ("ada@science.test", "a" * 64), ("castle@toys.test", "b" * 64)
CODE = pairing_code(*ADA, *SHOP)


def test_both_sides_see_the_same_words() -> None:
    assert pairing_code(*SHOP, *ADA) == CODE
    assert len(CODE.split()) == WORDS == 12


def test_another_key_or_address_on_either_side_gives_other_words() -> None:
    others = {
        pairing_code(ADA[0], "c" * 64, *SHOP),
        pairing_code(*ADA, SHOP[0], "c" * 64),
        pairing_code("eve@science.test", ADA[1], *SHOP),
        # The keys swapped between the addresses.
        pairing_code(ADA[0], SHOP[1], SHOP[0], ADA[1]),
    }
    assert len(others | {CODE}) == 5
    for other in others:
        with pytest.raises(PeerError, match="Do not pair"):
            check_pairing_code(other, CODE)


def test_how_it_is_typed_does_not_matter() -> None:
    words = CODE.split()
    for typed in (
        CODE.upper(),
        "\n".join(words),
        ", ".join(words),
        " ".join(f"{n}. {word}" for n, word in enumerate(words, 1)),
        " ".join(word[:4] for word in words),
    ):
        check_pairing_code(typed, CODE)


@pytest.mark.parametrize("at", range(WORDS))
def test_one_wrong_word_is_named_and_never_accepted(at: int) -> None:
    words = CODE.split()
    for wrong in ("zebra" if words[at] != "zebra" else "zoo", "zzzz", words[at][:3]):
        if wrong == words[at]:
            continue
        typed = " ".join([*words[:at], wrong, *words[at + 1 :]])
        with pytest.raises(PeerError, match=f"word {at + 1} ") as told:
            check_pairing_code(typed, CODE)
        # Otherwise people would copy their own screen's word instead of listening.
        assert f"'{words[at]}'" not in str(told.value)


def test_parts_more_and_another_order_are_not_accepted() -> None:
    words = CODE.split()
    for some in ([], words[:-1], words[:8], [*words, words[0]]):
        with pytest.raises(PeerError, match="expected the 12 words"):
            check_pairing_code(" ".join(some), CODE)
    swapped = [words[1], words[0], *words[2:]]
    with pytest.raises(PeerError, match="another order"):
        check_pairing_code(" ".join(swapped), CODE)


@given(st.text(max_size=300))
def test_no_text_but_the_code_passes(text: str) -> None:
    with pytest.raises(PeerError):
        check_pairing_code(text, CODE)
