"""Words that two people read to each other, so that each knows the other's true key.

The share is not trusted, and whoever runs it could show each side a key of its own. So both
programs make the same words out of both keys, and the words agree only if both see the true ones.
One reading settles both directions.

Why twelve words: whoever stands in between may try keys for both sides at once and look for two
that give the same words, which takes the square root of all possible codes (a birthday search).
Eight words (88 bits) would leave 2**44 tries, which can be bought. Twelve (128 bits, and 4 that
check them) leave 2**64, and each try costs a scrypt of 16 MB besides.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import re
from typing import TYPE_CHECKING

from datasites.errors import PeerError

if TYPE_CHECKING:
    from mnemonic import Mnemonic

__all__ = ["WORDS", "check_pairing_code", "pairing_code"]

WORDS = 12
_PREFIX = 4  # of the English list, no two words share their first four letters
_TYPO = 2  # words that may differ before it is called another code


@functools.lru_cache(maxsize=256)
def pairing_code(email: str, fingerprint: str, other: str, other_fingerprint: str) -> str:
    """The twelve words of two parties, the same for both of them.

    code = BIP-39 words of scrypt(sorted (e-mail, fingerprint) pairs)[:16 bytes]

    Args:
        email, fingerprint: One party, with the 64 hexadecimal digits of its identity key.
        other, other_fingerprint: The other party.

    Source: Percival and Josefsson (2016), RFC 7914; BIP-39's English list for its clear words.
    """
    first, second = sorted([(email, fingerprint), (other, other_fingerprint)])
    # Lengths keep two different pairs from giving one text.
    text = "".join(f"{len(part)}:{part}" for part in (*first, *second))
    key = hashlib.scrypt(
        text.encode(), salt=b"toyfed pairing code 1", n=2**14, r=8, p=1, maxmem=2**26, dklen=16
    )
    return " ".join(_list().to_mnemonic(key).split())


def check_pairing_code(given: str, expected: str) -> None:
    """Raise PeerError, saying which word differs, unless `given` is the code `expected`.

    Case, commas, numbering and line breaks do not matter, and a word may be cut after its fourth
    letter or later. Order matters, and all twelve words must agree.
    """
    words = re.sub(r"[^a-z]+", " ", given.lower()).split()
    wanted = expected.split()
    if len(words) != len(wanted):
        raise PeerError(
            f"expected the {len(wanted)} words of the pairing code, found {len(words)}. Ask for "
            "all of them, in order, and type them between quotes"
        )
    wrong = [
        at
        for at, (said, word) in enumerate(zip(words, wanted, strict=True), 1)
        if not _same(said, word)
    ]
    if not wrong:
        return
    if sorted(words) == sorted(wanted):
        raise PeerError("these are the words of the code in another order. Ask for them in order")
    if len(wrong) > _TYPO:
        raise PeerError(
            f"{len(wrong)} of the {len(wanted)} words differ: this is another code, no slip of the "
            "tongue. Do not pair: somebody may stand between you. Check that both of you look at "
            "the code for each other's e-mail address, then ask them in person"
        )
    places = "; ".join(_told(at, words[at - 1]) for at in wrong)
    raise PeerError(f"{places}. Ask them to read that again; nothing was approved")


def _same(said: str, word: str) -> bool:
    return said == word or (len(said) >= _PREFIX and word.startswith(said))


def _told(place: int, said: str) -> str:
    # The word that would be right is not told: typing what the own screen shows compares nothing.
    known = _list().wordlist
    if any(_same(said, word) for word in known):
        return f"word {place} differs (you typed '{said[:20]}')"
    near = difflib.get_close_matches(said[:20], known, n=3, cutoff=0.7)
    hint = f" (did they say {', or '.join(near)}?)" if near else ""
    return f"word {place} ('{said[:20]}') is no word of the list{hint}"


@functools.cache
def _list() -> Mnemonic:
    from mnemonic import Mnemonic

    return Mnemonic("english")
