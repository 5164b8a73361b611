"""When the machine runs out of memory, remote code is ended before anything of the merchant's."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from datasites.merchant import sandbox
from datasites.merchant.contributions import Nest
from datasites.merchant.sandbox import Limits
from datasites.merchant.sandbox.oom import first_to_go

OWN = Path("/proc/self/oom_score_adj")
pytestmark = [
    pytest.mark.attack,
    pytest.mark.skipif(not os.access(OWN, os.W_OK), reason="this kernel does not let one choose"),
]


def family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def marks(pid: int) -> set[str]:
    return {Path(f"/proc/{one}/oom_score_adj").read_text().strip() for one in family(pid)}


def test_this_process_keeps_its_place() -> None:
    before = OWN.read_text()
    with first_to_go():
        assert OWN.read_text().strip() == "1000"
    assert OWN.read_text() == before


def test_two_starts_at_once_do_not_leave_this_process_marked() -> None:
    before = OWN.read_text()

    def starts(seconds: float) -> None:
        with first_to_go():
            time.sleep(seconds)

    several = [threading.Thread(target=starts, args=[0.05 * n]) for n in (3, 1, 2)]
    for one in several:
        one.start()
    for one in several:
        one.join()
    assert OWN.read_text() == before


def test_remote_code_goes_first(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text("import time\ntime.sleep(60)\n")
    before, seen = OWN.read_text(), set[str]()

    def looked() -> bool:
        for child in family(os.getpid())[1:]:
            with contextlib.suppress(OSError):
                if b"bwrap" in Path(f"/proc/{child}/cmdline").read_bytes():
                    seen.update(marks(child))
        return bool(seen)

    outcome = sandbox.run(
        code,
        {},
        tmp_path / "output",
        tmp_path / "log.txt",
        Limits(memory_mb=512, wall_seconds=30),
        cancelled=looked,
    )
    assert outcome.ending is sandbox.Ending.CANCELLED
    assert seen == {"1000"}
    assert OWN.read_text() == before


def test_a_program_goes_first(open_nest: Callable[..., Nest]) -> None:
    before = OWN.read_text()
    nest = open_nest("def contribution(history, state, settings):\n    return {}\n")
    assert nest._process is not None
    assert len(family(nest._process.pid)) > 2
    assert marks(nest._process.pid) == {"1000"}
    assert OWN.read_text() == before
