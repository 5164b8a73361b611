"""Turns valid inputs into damaged, hostile and merely odd ones; the same seed gives the same."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.target import Target

__all__ = ["Mutator"]

_MOST_BYTES = 256 * 1024

ODD_NUMBERS = (
    b"0", b"-1", b"1e999", b"-1e999", b"NaN", b"Infinity", b"9" * 400, b"-" + b"9" * 5000,
    b"1e-320", b"0.1", b"2147483648", b"-9223372036854775809", b"18446744073709551616", b"1_0",
    b"0x10", b"1e5", b"007", b"+3", b"1.", b".5", b"true", b"null",
)  # fmt: skip
ODD_BYTES = (
    b"\0", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\xaf", b"\r", b"\r\n",
    b"\n", b'"', b"'", b"\\", b"\\ud800", b"\\u0000", b",", b";", b"\t", b"[", b"{", b"}", b"]",
    b"=", b"#", b"%00", b"%ff", b"&", b"+", b"../", b"/etc/passwd", b"\x1b[2J", "\u202e".encode(),
    b"PAR1", b"\x1f\x8b", b"__proto__", b"99999-01-01", b"0000-00-00", b"2024-13-45T99:99:99Z",
    b"1970-01-01T00:00:00+99:99", "\u0660\u0661".encode(), "\U0001f9f8".encode(),
)  # fmt: skip
_ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, 5e-324, -0.0,
    float("nan"), float("inf"), "", "x" * 5000, "\ud800", "\0", "\u202e", "../../x", "a@b.c",
    [], {}, [[]], [None], {"": {}}, [1] * 300, "1e999", "NaN", "v1", "main.py", ["x"] * 3,
)  # fmt: skip


class Mutator:
    """An endless stream of inputs for one target."""

    def __init__(self, target: Target, seed: int) -> None:
        self._random = random.Random(f"{target.name} {seed}")
        self._target = target
        self._pool = list(target.seeds)
        self._words = (*ODD_BYTES, *ODD_NUMBERS, *target.words)
        structured: dict[str, Callable[[bytes], bytes]] = {"json": self._json, "text": self._text}
        self._structured = structured.get(target.kind, self._bytes)

    def make(self, number: int) -> bytes:
        """Input of that number; the seeds come first."""
        if number < len(self._target.seeds):
            return self._target.seeds[number]
        draw = self._random.random()
        data = self._random.choice(self._pool)
        if draw < 0.45:
            data = self._structured(data)
        elif draw < 0.90:
            data = self._bytes(data)
        elif draw < 0.97:
            data = self._bytes(self._structured(data))
        else:
            data = self._bomb(data)
        return data[:_MOST_BYTES]

    def _bytes(self, data: bytes) -> bytes:
        found = bytearray(data)
        chance = self._random
        for _ in range(1 << chance.randrange(5)):
            at = chance.randrange(len(found) + 1)
            end = min(len(found), at + chance.choice((1, 1, 2, 4, 8, 64, 1024)))
            kind = chance.randrange(10)
            if kind == 0 and found:
                found[at % len(found)] ^= 1 << chance.randrange(8)
            elif kind == 1 and found:
                found[at % len(found)] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
            elif kind == 2:
                del found[at:end]
            elif kind == 3:
                found[at:at] = found[at:end]
            elif kind == 4:
                found[at:at] = chance.choice(self._words)
            elif kind == 5:
                found[at:end] = chance.choice(self._words)
            elif kind == 6:
                other = chance.choice(self._pool)
                cut = chance.randrange(len(other) + 1)
                found[at:] = other[cut:]
            elif kind == 7 and chance.random() < 0.3:
                del found[at:]
            elif kind == 8:
                size = chance.choice((1, 2, 4, 8))
                order = chance.choice(("little", "big"))
                number = chance.choice((0, 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1))
                found[at : at + size] = number.to_bytes(size, order)
            elif kind == 9:
                found[at:at] = found[at:end] * chance.randrange(1, 40)
            if len(found) > _MOST_BYTES:
                del found[_MOST_BYTES:]
        return bytes(found)

    def _text(self, data: bytes) -> bytes:
        """Cells, words and lines swapped, repeated and replaced."""
        chance = self._random
        lines = data.split(b"\n")
        for _ in range(chance.randrange(1, 5)):
            at = chance.randrange(len(lines))
            kind = chance.randrange(6)
            if kind == 0:
                lines.insert(at, chance.choice(lines))
            elif kind == 1 and len(lines) > 1:
                del lines[at]
            elif kind == 2:
                lines[at] = lines[chance.randrange(len(lines))]
            else:
                mark = chance.choice([m for m in (b",", b"=", b" ", b";", b'"') if m in lines[at]]
                                     or [b","])  # fmt: skip
                cells = lines[at].split(mark)
                cells[chance.randrange(len(cells))] = chance.choice(self._words)
                lines[at] = mark.join(cells)
        return b"\n".join(lines)

    def _json(self, data: bytes) -> bytes:
        """One or more values somewhere in the tree replaced, dropped, renamed or doubled."""
        try:
            tree = json.loads(data)
        except (ValueError, RecursionError):
            return self._bytes(data)
        for _ in range(self._random.randrange(1, 4)):
            tree = self._changed(tree, depth=0)
        text = json.dumps(tree)
        if self._random.random() < 0.1 and "{" in text:
            # A key twice, as only text can have it.
            inner = text.rindex("{") + 1
            text = text[:inner] + f'"kind": 1, "kind": {text}, ' + text[inner:]
        return text.encode()

    def _changed(self, tree: Any, depth: int) -> Any:
        chance = self._random
        if depth and (chance.random() < 0.25 or not isinstance(tree, dict | list) or not tree):
            odd = chance.choice(_ODD_VALUES)
            if isinstance(tree, str) and chance.random() < 0.4:
                return tree + str(chance.choice(("", " ", "\n", "\0", "/..", "x" * 300, tree)))
            if isinstance(tree, int | float) and chance.random() < 0.4:
                return tree * chance.choice((-1, 0, 2, 10**6))
            return odd
        if isinstance(tree, dict) and tree:
            key = chance.choice(sorted(tree))
            kind = chance.randrange(8)
            if kind == 0:
                return {name: value for name, value in tree.items() if name != key}
            if kind == 1:
                return {**tree, str(chance.choice(("", "extra", "\ud800", key + "x"))): tree[key]}
            return {**tree, key: self._changed(tree[key], depth + 1)}
        if isinstance(tree, list) and tree:
            at = chance.randrange(len(tree))
            kind = chance.randrange(8)
            if kind == 0:
                return tree[:at] + tree[at + 1 :]
            if kind == 1:
                return [*tree, tree[at]]
            return [*tree[:at], self._changed(tree[at], depth + 1), *tree[at + 1 :]]
        return chance.choice(_ODD_VALUES)

    def _bomb(self, data: bytes) -> bytes:
        """What is small to send and large, deep or long to read."""
        chance = self._random
        size = chance.choice((900, 5_000, 100_000))
        kind = chance.randrange(10)
        if kind == 0:
            return b"[" * size + b"]" * chance.choice((0, size))
        if kind == 1:
            return b'{"a":' * size
        if kind == 2:
            return b"x = " + b"[" * size
        if kind == 3:
            return b"x = " + b"9" * size
        if kind == 4:
            return data + b'"' + b"a" * size
        if kind == 5:
            return gzip.compress(b"\0" * size * 100, 9)
        if kind == 6:
            return gzip.compress(data)
        if kind == 7:
            line = data.split(b"\n")[0]
            return line + (b"," + line) * min(size, 20_000)
        if kind == 8:
            return data.decode(errors="replace").encode(
                chance.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7"))
            )
        return data.replace(b"\n", chance.choice((b"\r", b"\r\n", b"\x0b", b"\x0c")))
