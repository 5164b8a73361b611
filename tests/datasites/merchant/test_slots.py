"""Turns for heavy work, over processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from datasites.merchant.slots import heavy_work

_HOLDS = """
import sys, time
from datasites.merchant.slots import heavy_work
with heavy_work(1):
    print("has it", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def test_so_many_at_once_and_no_more() -> None:
    entered = threading.Event()

    def third() -> None:
        with heavy_work(2):
            entered.set()

    with heavy_work(2):
        with heavy_work(2):
            waiting = threading.Thread(target=third)
            waiting.start()
            assert not entered.wait(0.3)
        assert entered.wait(10)
        waiting.join()


def test_an_error_gives_the_turn_back() -> None:
    with pytest.raises(ValueError, match="heavy"), heavy_work(1):
        raise ValueError("too heavy")
    with heavy_work(1):
        pass


def test_a_killed_process_gives_its_turn_back() -> None:
    holder = subprocess.Popen([sys.executable, "-c", _HOLDS], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"has it\n"
        holder.kill()
        holder.wait()
        with heavy_work(1):
            pass
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout is not None:
            holder.stdout.close()
