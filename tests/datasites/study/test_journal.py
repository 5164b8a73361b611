"""What a watcher sees of a study that runs elsewhere."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

from datasites.study.journal import Progress, read_journal, recorded, running_pid

EVENTS = [Progress("phase", "counts"), Progress("dropped", "counts", "a@b.org", "said\n`no`")]


def test_events_are_passed_on_and_read_back_in_order(tmp_path: Path) -> None:
    assert list(recorded(tmp_path, EVENTS)) == EVENTS
    found = read_journal(tmp_path)
    assert [moment.progress for moment in found] == EVENTS
    assert found[0].at <= found[1].at


def test_a_line_that_was_cut_and_lines_of_others_are_left_out(tmp_path: Path) -> None:
    list(recorded(tmp_path, EVENTS))
    file = tmp_path / "progress.jsonl"
    file.write_bytes(b'{"at": 1}\n[]\n\xff\n' + file.read_bytes() + b'{"at": "2026-')
    assert [moment.progress for moment in read_journal(tmp_path)] == EVENTS


def test_a_folder_that_cannot_be_written_stops_no_study(tmp_path: Path) -> None:
    assert list(recorded(tmp_path / "gone", EVENTS)) == EVENTS
    assert read_journal(tmp_path / "gone") == []


def test_who_runs_it_is_seen_without_touching_the_lock(tmp_path: Path) -> None:
    assert running_pid(tmp_path) is None
    held = (
        "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", held, str(tmp_path / "run.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert running_pid(tmp_path) == holder.pid
        holder.kill()
    assert running_pid(tmp_path) is None
    with (tmp_path / "run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
