"""What a killed service leaves goes; what it finished stays; its helpers end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasites.merchant import MerchantHome
from datasites.merchant.leftovers import sweep
from recsys.files import sweep_leftovers


def test_half_made_files_go_and_finished_ones_stay(home: MerchantHome) -> None:
    run = home.runs / "toys-counts"
    half = [
        run / "inputs" / "job" / "job.json",
        run / "output" / "release.json",
        run / "toyfed-run-x" / "code" / "main.py",
        run / ".release.safetensors.abc.tmp",
        home.models / "toys.new" / "manifest.json",
        home.models / ".toys.new.abc.tmp" / "manifest.json",
        home.requests / ".toys.new" / "code" / "main.py",
        home.serving / ".current.json.abc.tmp",
    ]
    whole = [
        run / "release.safetensors",
        run / "log.txt",
        home.models / "toys" / "manifest.json",
        home.requests / "toys" / "request.json",
        home.serving / "current.json",
    ]
    for file in half + whole:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("{}")
    sweep(home)
    assert [file for file in half if file.exists()] == []
    assert [file for file in whole if not file.exists()] == []


def test_what_somebody_else_may_be_writing_is_left_for_an_hour(home: MerchantHome) -> None:
    young = home.private / ".data-report.json.abc.tmp"
    old = home.data / ".shop.parquet.abc.tmp"
    for file in (young, old):
        file.write_text("{}")
    os.utime(old, (time.time() - 7200,) * 2)
    sweep(home)
    assert young.exists()
    assert not old.exists()


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    (tmp_path / "swept").mkdir()
    (tmp_path / "swept" / ".x.tmp").symlink_to(tmp_path / "kept")
    sweep_leftovers(tmp_path / "swept")
    assert list((tmp_path / "swept").iterdir()) == []
    assert (tmp_path / "kept" / "file").exists()


_SERVICE = """
import subprocess, sys, time
helper = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(helper.pid, flush=True)
time.sleep(600)
"""
_HELPER = """
import time
from datasites.merchant.lifeline import end_with_parent
end_with_parent()
print("watched", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own way of doing it")
def test_a_helper_ends_with_a_killed_service() -> None:
    service = subprocess.Popen([sys.executable, "-c", _SERVICE, _HELPER], stdout=subprocess.PIPE)
    assert service.stdout is not None
    told = {service.stdout.readline().strip(), service.stdout.readline().strip()}
    helper = int(next(word for word in told if word.isdigit()))
    assert b"watched" in told
    service.send_signal(signal.SIGKILL)
    service.wait()
    service.stdout.close()
    deadline = time.monotonic() + 20
    while _runs(helper):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"
