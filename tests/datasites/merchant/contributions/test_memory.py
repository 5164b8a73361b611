"""What a child finds in the memory that it was born with: the same, whoever was there before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from datasites.merchant.contributions import Nest, RowLimits
from datasites.merchant.contributions.total import noised_sums
from recsys.data import Interactions
from recsys.privacy import GaussianEvent, SecureNoise
from tests.datasites.merchant.contributions.conftest import ARRAYS, N_TOYS

pytestmark = [pytest.mark.attack, pytest.mark.slow]
OpenNest = Callable[..., Nest]
VICTIM, CARRIER = np.array([5, 6], np.int32), np.array([9, 9], np.int32)

START = """
import ctypes
libc = ctypes.PyDLL(None, use_errno=True)
"""

ENDS = {
    "fast": "pass",
    "slow in computing": "sum(range(8_000_000))",
    "over its time": "while True: pass",
    "over its memory": "[bytearray(1 << 28) for _ in range(64)]",
    "by an odd status": "import os; os._exit(37)",
    "by an error": "raise ValueError('x' * 5000)",
    "killed by itself": "ctypes.string_at(0)",
}


LOOK = f"""
import sys, zlib
libc.pthread_self.restype = ctypes.c_void_p
MIB = 1 << 20
def windows():
    sandbox = sys.modules["__main__"]
    heap = ctypes.addressof(ctypes.create_string_buffer(600)) & ~0xFFF
    yield id(object()) & ~(MIB - 1), MIB  # objects, and what was freed among them
    yield id(sandbox.main.__code__) & ~(MIB - 1), MIB  # what runs before any shopper is met
    yield id(sandbox._serve.__code__) & ~(MIB - 1), MIB
    yield heap - 0x8000, 0x9000  # the C library's heap
    yield (libc.pthread_self() & ~0xFFF) - 0x1000, 0x3000  # the thread's own
def readable(page):
    # The kernel is asked not to make it a part of a huge page: it says when there is none.
    return libc.madvise(ctypes.c_void_p(page), ctypes.c_size_t(0x1000), 15) == 0
def seen():
    pages = [page for place, size in windows() for page in range(place, place + size, 0x1000)]
    text = b"".join(ctypes.string_at(page, 0x1000) for page in pages if readable(page))
    assert len(text) > 2 * MIB, len(text)
    size = len(text) // {N_TOYS} + 1
    parts = [zlib.crc32(text[n * size : n * size + size]) for n in range({N_TOYS})]
    return {{"counts": [float(one) for one in parts]}}
"""


@pytest.mark.parametrize("end", list(ENDS))
def test_memory_is_the_same_whatever_became_of_the_shopper_before(
    open_nest: OpenNest, end: str
) -> None:
    """Objects of Python, what was freed among them, the C library's heap and the thread's own."""
    nest = open_nest(
        START
        + LOOK
        + f"""
def contribution(history, state, settings):
    if 5 in history:
        {ENDS[end]}
        return {{}}
    return seen()
""",
        limits=RowLimits(400, 256),
    )
    first = nest.row(CARRIER)
    assert first.parts is not None, first.text
    for history in (VICTIM, CARRIER, VICTIM, VICTIM, CARRIER, CARRIER):
        found = nest.row(history)
        if history is CARRIER:
            assert found.values.tobytes() == first.values.tobytes()


def test_memory_does_not_tell_how_many_came_before(open_nest: OpenNest) -> None:
    """Interpreters count how often a line was run: one shopper fewer, and all would see it."""
    nest = open_nest(
        START + LOOK + "\ndef contribution(history, state, settings):\n    return seen()\n",
        limits=RowLimits(1000, 256),
    )
    rows = [nest.row(CARRIER).values.tobytes() for _ in range(150)]
    assert len(set(rows)) == 1, [place for place, row in enumerate(rows) if row != rows[-1]]


def test_no_shopper_hands_a_baton_on(open_nest: OpenNest) -> None:
    """One who is slow leaves her time in freed numbers; whoever finds it is slow and adds to it."""
    nest = open_nest(
        START
        + """
import struct
def freed():
    factor = 1.1
    number = 3.5 * factor  # a fresh object, which a constant would not be
    place, found = id(number), []
    del number
    while 0x1000 < place < 0x7FFFFFFFFFF0 and len(found) < 120:
        place, value = struct.unpack("<Qd", ctypes.string_at(place + 8, 16))
        found.append(value)
    return found
def contribution(history, state, settings):
    # What was left of half a second of processor time to somebody who took a little.
    seen = any(0.40 < one < 0.5005 for one in freed())
    if 5 in history or seen:
        sum(range(2_000_000))
    return {"counts": ([0], [1.0 if seen else 0.0])}
""",
        limits=RowLimits(500, 256),
    )
    event = GaussianEvent("p", 1.0, 1e-6)
    world = Interactions.from_lists([[9]] * 8 + [[5]] * 4, N_TOYS)
    sums, facts = noised_sums(nest, world, ARRAYS, event, SecureNoise())
    assert abs(float(np.ravel(sums["counts"])[0])) < 0.01
    assert facts.different == 0


def test_a_sandbox_that_broke_off_is_not_begun_anew_in_the_middle(open_nest: OpenNest) -> None:
    from datasites.errors import SandboxError

    nest = open_nest("def contribution(history, state, settings):\n    return {}\n")
    assert nest.row(CARRIER).parts is not None
    assert nest._process is not None
    nest._process.kill()
    nest._process.wait()

    def rows_until_it_is_gone() -> None:
        # What runs inside dies with it, and may be a moment behind.
        for _ in range(100):
            nest.row(CARRIER)

    with pytest.raises(SandboxError, match="broke off"):
        rows_until_it_is_gone()
    with pytest.raises(SandboxError, match="broke off"):
        nest.row(CARRIER)
