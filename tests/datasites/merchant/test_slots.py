"""Turns for heavy work, over processes."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from datasites.errors import SandboxError
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
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
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


@pytest.mark.attack
@pytest.mark.parametrize("in_the_way", ["file", "link"])
def test_what_others_put_in_the_way_stops_no_run(
    in_the_way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "own"))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    place = tmp_path / f"toyfed-slots-{os.getuid()}"
    if in_the_way == "file":
        place.touch()
    else:
        place.symlink_to(tmp_path / "elsewhere")
    with heavy_work(1):
        assert list((tmp_path / "own" / ".cache").rglob("0"))


def test_what_is_not_wanted_any_more_waits_no_longer() -> None:
    wanted = heavy_work(1, cancelled=lambda: True)
    with heavy_work(1), pytest.raises(SandboxError, match="no longer wanted"), wanted:
        pass


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
