"""Programs that try to put one shopper's purchases in another's row, one channel at a time.

Every program here is run for a victim, then for a carrier. It may do what it likes for the victim;
the carrier's row must be the one that it has when the victim was never there.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable

import numpy as np
import pytest

from datasites.merchant.contributions import Nest, RowLimits
from datasites.merchant.contributions.page import Answer
from datasites.merchant.contributions.total import noised_sums
from recsys.data import Interactions
from recsys.privacy import GaussianEvent, SecureNoise
from tests.datasites.merchant.contributions.conftest import ARRAYS, N_TOYS

pytestmark = [pytest.mark.attack, pytest.mark.slow]
OpenNest = Callable[..., Nest]
VICTIM, CARRIER = np.array([5, 6], np.int32), np.array([9], np.int32)

# What `leave` does for the victim and what `look` answers for the carrier.
CHANNELS = {
    "globals": """
        import sys, builtins, numpy
        def leave(): sys.seen = builtins.seen = numpy.seen = True
        def look(): return any(hasattr(one, 'seen') for one in (sys, builtins, numpy))
    """,
    "public state": """
        def leave(): state['x'] = 1
        def look(): return 'x' in state
    """,
    "files": """
        import os
        PLACES = ['/tmp/x', '/dev/shm/x', '/output/x', 'x', '/code/x', '/x', '/inputs/x']
        def leave():
            for place in PLACES:
                try: open(place, 'w').write('x')
                except OSError: pass
                try: os.mkdir(place)
                except OSError: pass
                try: os.symlink('/', place)
                except OSError: pass
        def look(): return any(map(os.path.lexists, PLACES))
    """,
    "reading files, and when they were read": """
        import os
        PLACES = ['/code/main.py', '/inputs/job.json', '/', '/code', '/packages', os.__file__]
        def leave():
            look()
            for place in PLACES:
                try: os.utime(place, (1, 1))
                except OSError: pass
        def look():
            for place in PLACES:
                for use in (open, os.stat, os.lstat, os.listdir, os.readlink):
                    try: use(place)
                    except OSError: continue
                    return True
                if os.access(place, os.R_OK): return True
            return False
    """,
    "what lies in the machine's memory": """
        import ctypes, mmap, numpy
        libc = ctypes.CDLL(None)
        page = mmap.mmap(-1, 4096)
        def leave(): look()
        def look():
            here = ctypes.addressof(ctypes.c_char.from_buffer(page))
            code = ctypes.cast(libc.qsort, ctypes.c_void_p).value & ~0xFFF  # of a file
            size = ctypes.c_size_t(4096)
            advised = [
                libc.madvise(ctypes.c_void_p(place), size, advice)
                for place in (here, code)
                # NORMAL to WILLNEED, COLD, PAGEOUT, POPULATE, and what poisons or remembers pages
                for advice in (0, 1, 2, 3, 9, 12, 16, 18, 20, 21, 22, 23, 25, 100, 101)
            ]
            seen = ctypes.create_string_buffer(8)
            known = libc.mincore(ctypes.c_void_p(code), size, seen)
            return any(one == 0 for one in advised) or known == 0
    """,
    "open files": """
        import os
        def leave():
            for handle in range(64):
                try: os.write(handle, b'x')
                except OSError: pass
        def look():
            for handle in range(64):
                try: os.read(handle, 1)
                except OSError: continue
                return True
            return False
    """,
    "shared memory made at import": """
        import mmap
        page = mmap.mmap(-1, 4096)
        def leave(): page[0] = 1
        def look(): return page[0] == 1
    """,
    "a pipe made at import": """
        import os
        try: ends = os.pipe()
        except OSError: ends = None
        def leave():
            if ends: os.write(ends[1], b'x')
        def look():
            if not ends: return False
            os.set_blocking(ends[0], False)
            try: return os.read(ends[0], 1) == b'x'
            except OSError: return False
    """,
    "a process that stays": """
        import os, ctypes
        libc = ctypes.CDLL(None)
        def leave():
            for start in (os.fork, lambda: libc.vfork(), lambda: libc.syscall(56, 17, 0, 0, 0, 0),
                          lambda: libc.syscall(435, 0, 0)):
                try:
                    if start() == 0:
                        while True: pass
                except OSError: pass
        def look():
            try: return os.getpid() not in (-1, 1)
            except OSError: return False
    """,
    "a thread": """
        import threading
        def leave(): threading.Thread(target=lambda: None).start()
        def look(): return False
    """,
    "the number of the process": """
        import ctypes, os
        libc = ctypes.CDLL(None)
        def leave(): pass
        def look():
            numbers = [libc.syscall(39), libc.syscall(186), libc.getppid(), libc.getpid()]
            return any(one not in (-1, 0, 1) for one in numbers) or os.path.exists('/proc/self')
    """,
    "system v and posix memory, queues and semaphores": """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        found = lambda: [libc.shmget(7, 4096, 0o1600), libc.msgget(7, 0o1600),
                         libc.semget(7, 1, 0o1600), libc.syscall(240, b'/q', 0o102, 0o600, 0)]
        def leave(): found()
        def look(): return any(one >= 0 for one in found())
    """,
    "signals": """
        import os, signal
        def leave():
            for number in (0, 9, 15, 19):
                for pid in (-1, 0, 1, 2, 3, 4):
                    try: os.kill(pid, number)
                    except OSError: pass
        def look(): return False
    """,
    "locks and leases": """
        import fcntl
        def leave():
            try: fcntl.flock(open('/code/main.py'), fcntl.LOCK_EX)
            except OSError: pass
        def look():
            try: fcntl.flock(open('/code/main.py'), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError: return False
            return True
    """,
    "sockets": """
        import socket
        def leave(): look()
        def look():
            for make in (socket.socket, socket.socketpair):
                try: make()
                except OSError: continue
                return True
            return False
    """,
    "memory of others": """
        import ctypes, os
        libc = ctypes.CDLL(None)
        def leave(): pass
        def look():
            buffer = ctypes.create_string_buffer(8)
            vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
            tried = [libc.ptrace(16, pid, 0, 0) for pid in range(1, 8)]
            tried += [libc.process_vm_readv(pid, vector, 1, vector, 1, 0) for pid in range(2, 8)]
            return any(one >= 0 for one in tried) or os.path.exists('/proc/1/mem')
    """,
    "clocks": """
        import ctypes, time, resource
        libc = ctypes.CDLL(None)
        def leave(): return sum(range(10_000_000))
        def look():
            pair = (ctypes.c_long * 2)()
            seen = [libc.clock_gettime(which, pair) or pair[0] or pair[1] for which in range(8)]
            raw = [libc.syscall(228, which, pair) for which in range(8)]
            raw += [libc.syscall(96, pair, None), libc.syscall(201, None), libc.syscall(100, pair)]
            return any(seen) or any(one >= 0 for one in raw) or time.time() + time.monotonic() != 0
    """,
    "free space and system load": """
        import ctypes, os
        libc = ctypes.CDLL(None)
        def leave(): pass
        def look():
            room = ctypes.create_string_buffer(512)
            for place in (b'/', b'/code', b'/packages'):
                if libc.statfs(place, room) == 0: return True
            return libc.sysinfo(room) == 0 or libc.getrusage(0, room) == 0
    """,
    "the environment": """
        import os
        def leave(): os.environ['X'] = '1'; os.putenv('X', '1')
        known = {'PYTHONHASHSEED', 'PYTHONPATH', 'PWD', 'LC_CTYPE'}
        def look(): return any(not (n in known or n.endswith('_NUM_THREADS')) for n in os.environ)
    """,
}


def _program(channel: str) -> str:
    return textwrap.dedent(channel) + textwrap.dedent("""
        def contribution(history, given, told):
            global state, settings
            state, settings = given, told
            if 5 in history:
                leave()
                return {}
            return {"counts": ([0], [1.0 if look() else 2.0])}
    """)


@pytest.mark.parametrize("channel", CHANNELS)
def test_nothing_of_a_shopper_reaches_the_next(open_nest: OpenNest, channel: str) -> None:
    text = _program(CHANNELS[channel])
    nest = open_nest(text)
    alone = nest.row(CARRIER)
    nest.row(VICTIM)
    after = nest.row(CARRIER)
    assert alone.parts is not None, alone.text
    assert after.parts is not None, after.text
    np.testing.assert_array_equal(alone.values, after.values)
    assert after.values.tolist() == [2.0]


ENDS = {
    "ends itself": "import os; os._exit(0)",
    "raises": "raise SystemExit('bye')",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "never ends": "\n    while True: pass",
    "waits": "import select; select.select([], [], [])\n    while True: pass",
    "takes all memory": "x = bytearray(1 << 34)",
    "goes too deep": "f = lambda: f(); f()",
    "leaves the wrong shape": "return {'counts': np.ones(3)}",
    "leaves an unknown array": "return {'other': np.ones(3)}",
    "leaves no dictionary": "return b'cos\\nsystem\\n(S\"x\"\\ntR.'",
    "leaves an index outside": "return {'counts': ([40], [1.0])}",
    "writes the page itself": (
        "import gc, mmap\n    page = [o for o in gc.get_objects() if type(o) is mmap.mmap]\n"
        "    import sys\n    f = sys._getframe()\n    while 'page' not in f.f_locals or f.f_code"
        ".co_name != '_child': f = f.f_back\n    p = f.f_locals['page']\n"
        "    p[20:] = b'\\xff' * (len(p) - 20)\n    import os; os._exit(0)"
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_bad_end_is_a_row_of_zeros_and_the_next_shopper_is_served(
    open_nest: OpenNest, end: str
) -> None:
    nest = open_nest(
        f"import numpy as np\ndef contribution(history, state, settings):\n"
        f"    if 5 not in history: return {{'counts': ([1], [3.0])}}\n    {ENDS[end]}\n",
        RowLimits(300, 128),
    )
    assert nest.row(VICTIM).parts is None
    assert nest.row(CARRIER).values.tolist() == [3.0]


def test_nothing_waits_so_that_the_limit_by_the_clock_is_no_clock(open_nest: OpenNest) -> None:
    nest = open_nest(
        """
import ctypes, select, signal, threading, time
libc = ctypes.CDLL(None)
def contribution(history, state, settings):
    word, span = ctypes.c_int(0), (ctypes.c_long * 2)(60, 0)
    for call in (202, 98):  # futex on either kind of machine: WAIT, LOCK_PI, WAIT_BITSET, ...
        for what in (0, 6, 9, 11, 13):
            for flags in (0, 128, 256):
                libc.syscall(ctypes.c_long(call), ctypes.byref(word), ctypes.c_long(what | flags),
                             ctypes.c_long(0), span, ctypes.byref(word), ctypes.c_long(-1))
    for wait in (lambda: time.sleep(60), lambda: select.select([], [], [], 60),
                 lambda: select.poll().poll(60_000), lambda: signal.sigtimedwait([15], 60),
                 libc.pause, lambda: libc.usleep(900_000), lambda: libc.wait4(-1, 0, 0, 0)):
        try: wait()
        except OSError: pass
    return {"counts": ([0], [1.0])}
""",
        RowLimits(2000, 256),
    )
    begun = time.monotonic()
    found = nest.row(CARRIER)
    assert found.parts is not None, found.text
    assert time.monotonic() - begun < 5.0  # it may take 10.5 s


def test_a_row_whose_indices_overflow_is_no_row(open_nest: OpenNest) -> None:
    """Rising, by differences that wrap round; the run must go on."""
    nest = open_nest(
        """
import os, struct, sys
def contribution(history, state, settings):
    if 5 in history:
        frame = sys._getframe()
        while 'page' not in frame.f_locals: frame = frame.f_back
        page, out = frame.f_locals['page'], frame.f_locals['out']
        row = struct.pack('<BQ4q4d', 1, 4, 0, 2**63 - 1, -2, 5, 1, 1, 1, 1)
        row += struct.pack('<BQ', 1, 0)
        page[out + 24:out + 24 + len(row)] = row
        page[out:out + 24] = struct.pack('<IIQQ', 1, 0, len(row), 0)
        os._exit(0)
    return {"counts": ([1], [1.0])}
"""
    )
    assert nest.row(VICTIM).parts is None
    world = Interactions.from_lists([[9], VICTIM.tolist(), [9]], N_TOYS)
    event = GaussianEvent("p", 1.0, 1e-6)
    sums, facts = noised_sums(nest, world, ARRAYS, event, SecureNoise())
    assert facts.rows == 2
    assert abs(sums["counts"][1] - 2.0) < 0.01


def test_what_breaks_off_a_row_does_not_break_off_the_run(
    open_nest: OpenNest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second wall, should a page let something through."""
    nest = open_nest(
        "def contribution(history, state, settings):\n    return {'counts': ([1], [1.0])}\n"
    )
    real = nest.row

    def bad(history: np.ndarray) -> Answer:
        found = real(history)
        if 5 in history and found.parts is not None:
            return Answer([(np.array([10**9]), found.parts[0][1]), *found.parts[1:]])
        return found

    monkeypatch.setattr(nest, "row", bad)
    world = Interactions.from_lists([[9], VICTIM.tolist(), [9]], N_TOYS)
    event = GaussianEvent("p", 1.0, 1e-6)
    sums, facts = noised_sums(nest, world, ARRAYS, event, SecureNoise())
    assert facts.rows == 2
    assert abs(sums["counts"][1] - 2.0) < 0.01


@pytest.mark.parametrize("value", ["float('nan')", "float('inf')", "1e308", "-1e300"])
def test_no_row_is_longer_than_the_bound(open_nest: OpenNest, value: str) -> None:
    nest = open_nest(
        f"import numpy as np\ndef contribution(history, state, settings):\n"
        f"    return {{'sums': np.full((40, 2), {value})}}"
    )
    event = GaussianEvent("p", 0.5, 1e-3)
    sums, _ = noised_sums(
        nest, Interactions.from_lists([[1]], N_TOYS), ARRAYS, event, SecureNoise()
    )
    length = np.linalg.norm(np.concatenate([one.ravel() for one in sums.values()]))
    assert length < 0.5 + 0.05


def test_two_worlds_differ_by_the_bound_at_most(open_nest: OpenNest) -> None:
    """A program that hides a victim in every other shopper's row, by all means at once."""
    parts = "\n".join(
        textwrap.dedent(CHANNELS[name]).replace("def leave", f"def leave{number}")
        .replace("def look", f"def look{number}")
        for number, name in enumerate(("globals", "files", "shared memory made at import"))
    )  # fmt: skip
    nest = open_nest(
        parts
        + textwrap.dedent("""
        def contribution(history, state, settings):
            if 5 in history:
                leave0(); leave1(); leave2()
                return {"counts": ([3], [1000.0])}
            return {"counts": ([1 if look0() or look1() or look2() else 2], [1000.0])}
        """)
    )
    others = [[9], [10, 11], [12], [13]]
    event = GaussianEvent("p", 1.0, 1e-6)
    found = []
    for world in (others, [*others, VICTIM.tolist()]):
        sums, _ = noised_sums(
            nest, Interactions.from_lists(world, N_TOYS), ARRAYS, event, SecureNoise()
        )
        found.append(np.concatenate([one.ravel() for one in sums.values()]))
    assert 0.999 < np.linalg.norm(found[1] - found[0]) < 1.001
