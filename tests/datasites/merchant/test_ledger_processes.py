"""Several processes, kill -9 and full disks: never overspent, nothing acknowledged is lost."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datasites.errors import BudgetError, LedgerError, ReviewError
from datasites.merchant.ledger import Ledger
from datasites.merchant.ledger.store import Store
from recsys.privacy.accounting import mu_of
from recsys.privacy.events import Budget, GaussianEvent

pytestmark = pytest.mark.attack

BUDGET = Budget(1.0, 1e-5)
LIMIT = mu_of(BUDGET.epsilon, BUDGET.delta)
TENTH = GaussianEvent("sums", 1.0, math.sqrt(10) / LIMIT)

PRELUDE = """
import math, resource, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from datasites.errors import BudgetError, LedgerError, ReviewError
from datasites.merchant.ledger import Ledger
from recsys.privacy.accounting import mu_of
from recsys.privacy.events import Budget, GaussianEvent
TENTH = GaussianEvent("sums", 1.0, math.sqrt(10) / mu_of(1.0, 1e-5))
path, me = Path(sys.argv[1]), sys.argv[2]
def say(*words):
    print(*words, flush=True)
"""


def start(script: str, path: Path, me: str = "0", *before: str) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(
        [*before, sys.executable, "-c", PRELUDE + textwrap.dedent(script), str(path), me],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def results(script: str, path: Path, count: int) -> list[str]:
    """Lines said by `count` processes that start their work together."""
    script = f'say("ready")\nsys.stdin.readline()\n{textwrap.dedent(script)}'
    processes = [start(script, path, str(number)) for number in range(count)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    with ThreadPoolExecutor(count) as pool:
        outputs = list(pool.map(lambda process: process.communicate()[0], processes))
    assert [process.returncode for process in processes] == [0] * count
    return [line for output in outputs for line in output.splitlines()]


def approve(ledger: Ledger, study: str, events: int) -> None:
    ledger.request(f"request-{study}", study, "ds@lab", "a" * 64, "b" * 64, {})
    ledger.approve(
        f"request-{study}",
        study=study,
        sender="ds@lab",
        code_sha256="a" * 64,
        params_sha256="b" * 64,
        events=[TENTH] * events,
        rounds=events,
        expires=datetime.now(UTC) + timedelta(days=1),
        by="merchant",
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.sqlite"
    Ledger.create(path, BUDGET)
    return path


@pytest.mark.slow
def test_processes_that_reserve_at_once_never_overspend(path: Path) -> None:
    approve(Ledger.open(path), "toys", 10)
    lines = results(
        """
        ledger = Ledger.open(path)
        for number in range(10):
            try:
                ledger.reserve("toys", f"job-{me}-{number}", f"round-{me}-{number}", [TENTH])
                say("reserved")
            except ReviewError:
                say("refused")
        """,
        path,
        3,
    )
    assert (lines.count("reserved"), lines.count("refused")) == (10, 20)
    ledger = Ledger.open(path)
    assert ledger.spent().mu == pytest.approx(LIMIT)
    assert len(ledger.open_reservations()) == 10


@pytest.mark.slow
def test_processes_that_approve_at_once_never_promise_too_much(path: Path) -> None:
    lines = results(
        """
        ledger = Ledger.open(path)
        for number in range(4):
            study = f"study-{me}-{number}"
            ledger.request(study, study, "ds@lab", "a" * 64, "b" * 64, {})
            try:
                ledger.approve(study, study=study, sender="ds@lab", code_sha256="a" * 64,
                    params_sha256="b" * 64, events=[TENTH] * 3, rounds=3,
                    expires=datetime.now(UTC) + timedelta(days=1), by="merchant")
                say("approved")
            except BudgetError:
                say("refused")
        """,
        path,
        3,
    )
    assert (lines.count("approved"), lines.count("refused")) == (3, 9)
    assert Ledger.open(path).promised().mu == pytest.approx(LIMIT * math.sqrt(0.9))


@pytest.mark.slow
def test_one_job_name_is_won_by_one_process(path: Path) -> None:
    approve(Ledger.open(path), "toys", 10)
    lines = results(
        """
        ledger = Ledger.open(path)
        for number in range(8):
            try:
                ledger.reserve("toys", f"job-{number}", f"round-{number}", [TENTH])
                say("won", number)
            except ReviewError:
                say("lost", number)
        """,
        path,
        3,
    )
    assert sorted(line for line in lines if line.startswith("won")) == [
        f"won {number}" for number in range(8)
    ]


@pytest.mark.slow
def test_readers_never_mistake_a_write_under_way_for_a_cut_ledger(path: Path) -> None:
    lines = results(
        """
        ledger = Ledger.open(path)
        for number in range(150):
            ledger.note("event", {"by": me})
            ledger.spent()
            ledger.verify()
        say("well")
        """,
        path,
        3,
    )
    assert lines == ["well"] * 3
    store = Store(path)
    assert store.read_head().seq == len(Ledger.open(path).entries()) == 451


def test_threads_share_a_ledger(path: Path) -> None:
    ledger = Ledger.open(path)
    approve(ledger, "toys", 10)

    def reserve(number: int) -> bool:
        try:
            ledger.reserve("toys", f"job-{number}", f"round-{number}", [TENTH])
        except (ReviewError, BudgetError):
            return False
        return ledger.state_of(f"job-{number}") == "reserved"

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(reserve, range(16))) == 10
    ledger.verify()


def test_a_removed_lock_file_still_leaves_one_writer_at_a_time(path: Path) -> None:
    """SQLite's own lock holds where two processes lock two different files."""
    with Store(path).writing() as connection:
        connection.execute("BEGIN IMMEDIATE")
        path.with_suffix(".lock").unlink()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(lambda: Ledger.open(path).note("after", {}))
            time.sleep(0.1)
            assert not waiting.done()
            connection.execute("ROLLBACK")
            waiting.result(timeout=30)
    Ledger.open(path).verify()


@pytest.mark.slow
def test_killed_between_reserve_and_commit_stays_spent(path: Path) -> None:
    approve(Ledger.open(path), "toys", 2)
    process = start(
        """
        Ledger.open(path).reserve("toys", "job-1", "round-1", [TENTH])
        say("reserved")
        time.sleep(600)
        """,
        path,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "reserved\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()

    ledger = Ledger.open(path)
    assert ledger.open_reservations() == ["job-1"]
    ledger.fail("job-1", "interrupted")
    assert ledger.spent().mu == pytest.approx(TENTH.mu)
    with pytest.raises(ReviewError):
        ledger.reserve("toys", "job-1", "round-2", [TENTH])
    with pytest.raises(ReviewError):
        ledger.reserve("toys", "job-2", "round-1", [TENTH])


@pytest.mark.slow
def test_killed_at_any_moment_loses_nothing_it_acknowledged(path: Path) -> None:
    acknowledged: list[str] = []
    for turn in range(6):
        process = start(
            """
            ledger = Ledger.open(path)
            for number in range(100_000):
                ledger.note("event", {"name": f"{me}-{number}"})
                say(f"{me}-{number}")
            """,
            path,
            str(turn),
        )
        assert process.stdout is not None
        acknowledged += [process.stdout.readline().strip() for _ in range(10 + turn)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.communicate()[0].split()
        ledger = Ledger.open(path)
        booked = {entry.body["name"] for entry in ledger.entries() if entry.kind == "event"}
        # The last line may have been cut in the middle of being said.
        assert set(acknowledged[:-1]) <= booked
    assert not list(path.parent.glob(".*.tmp*"))


FILL = """
ledger = Ledger.open(path)
booked = 0
try:
    while booked < 100_000:
        ledger.note("event", {"name": str(booked), "filling": "x" * 1500})
        booked += 1
except LedgerError as error:
    say(booked)
    say(error)
"""


@pytest.mark.slow
def test_a_file_that_may_not_grow_gives_a_clear_error_and_loses_nothing(path: Path) -> None:
    script = (
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))\n"
        + FILL
        + textwrap.dedent(
            """
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            ledger.note("event", {"name": str(booked)})
            """
        )
    )
    process = start(script, path)
    booked, message = process.communicate()[0].splitlines()
    assert process.returncode == 0
    assert message.startswith("Nothing was booked")
    names = [entry.body["name"] for entry in Ledger.open(path).entries() if entry.kind == "event"]
    assert names == [str(number) for number in range(int(booked) + 1)]


@pytest.mark.slow
def test_a_full_disk_gives_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = (
        "unshare",
        "-rm",
        "sh",
        "-c",
        f'mount -t tmpfs -o size=400k none "{disk}" && exec "$@"',
    )
    if subprocess.run([*mount, "sh", "true"], capture_output=True).returncode:
        pytest.skip("needs user namespaces to mount a small disk")
    script = (
        "Ledger.create(path, Budget(1.0, 1e-5))\n"
        "ballast = path.with_name('ballast')\n"
        "ballast.write_bytes(bytes(100_000))\n" + FILL + "ballast.unlink()\n"
        "ledger.note('event', {'name': str(booked)})\n"
        "say(*(e.body['name'] for e in Ledger.open(path).entries() if e.kind == 'event'))\n"
    )
    process = start(script, disk / "ledger.sqlite", "0", *mount, "sh")
    booked, message, names = process.communicate()[0].splitlines()
    assert process.returncode == 0
    assert "Nothing was booked" in message
    assert "free space" in message
    assert names.split() == [str(number) for number in range(int(booked) + 1)]


def test_a_folder_without_write_permission_is_named(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the administrator may write everywhere")
    path.parent.chmod(0o500)
    try:
        with pytest.raises(LedgerError, match=r"Nothing was booked|could not be used"):
            Ledger.open(path).note("event", {})
    finally:
        path.parent.chmod(0o700)
