"""Code that tries to break out, to look around, or to use up the machine."""

from __future__ import annotations

import contextlib
import secrets
import socket
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from datasites.merchant import sandbox
from datasites.merchant.sandbox import Ending, Limits, RunOutcome

pytestmark = pytest.mark.attack
Attack = Callable[..., RunOutcome]


@pytest.fixture
def attack(tmp_path: Path) -> Attack:
    """Run hostile code under small limits; it must not be ok, and must leave no outputs."""

    def run(text: str, inputs: dict[str, Path] | None = None, ok: bool = False, **limits: int):
        code = tmp_path / "code"
        code.mkdir()
        (code / "main.py").write_text(textwrap.dedent(text))
        output = tmp_path / "output"
        small = {"memory_mb": 256, "cpu_seconds": 20, "wall_seconds": 40, "output_mb": 8}
        outcome = sandbox.run(
            code, inputs or {}, output, tmp_path / "log.txt", Limits(**(small | limits))
        )
        assert outcome.ok is ok, outcome.reason
        if not ok:
            assert list(output.iterdir()) == []
        return outcome

    return run


# --- looking around ---------------------------------------------------------------------------


def test_no_connection_reaches_a_server_on_this_machine(attack: Attack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome = attack(
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=5).send(b'x')"
        )
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    assert outcome.reason == (
        "exited with status 1: PermissionError: [Errno 1] Operation not permitted"
    )


def test_keys_and_other_merchants_folders_do_not_exist(attack: Attack, tmp_path: Path) -> None:
    secret = tmp_path / "other-merchant" / "keys.json"
    secret.parent.mkdir()
    secret.write_text("secret")
    outcome = attack(f"open('/output/x', 'w').write(open({str(secret)!r}).read())")
    assert outcome.reason.startswith("exited with status 1: FileNotFoundError: [Errno 2]")
    assert "secret" not in outcome.log.read_text()


def test_a_link_inside_an_input_leads_nowhere(attack: Attack, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    data = tmp_path / "data"
    data.mkdir()
    (data / "link").symlink_to(secret)
    outcome = attack("print(open('/inputs/data/link').read())", {"data": data})
    assert "FileNotFoundError" in outcome.reason


def test_users_of_this_machine_are_not_to_be_seen(attack: Attack) -> None:
    host = Path("/etc/passwd").read_text().splitlines()
    outcome = attack("raise SystemExit(open('/etc/passwd').read())")
    assert outcome.reason == "exited with status 1: nobody:x:65534:65534:nobody:/tmp:/"
    assert not set(host) & set(outcome.log.read_text().splitlines())


def test_the_callers_environment_is_not_to_be_seen(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cr3t-of-the-shop")
    outcome = attack(
        """
        import glob, os
        seen = repr(os.environ)
        for name in glob.glob("/proc/[0-9]*/environ") + glob.glob("/proc/[0-9]*/cmdline"):
            try:
                seen += open(name).read()
            except OSError:
                pass
        raise SystemExit("found it" if "s3cr3t" in seen else "it is not there")
        """
    )
    assert outcome.reason == "exited with status 1: it is not there"


def test_host_folders_are_not_named_on_any_command_line(attack: Attack, tmp_path: Path) -> None:
    data = tmp_path / "purchases-of-anna"
    data.mkdir()
    outcome = attack("raise SystemExit(open('/proc/1/cmdline').read()[:9])", {"data": data})
    assert str(tmp_path) not in outcome.log.read_text()


@pytest.mark.parametrize("place", ["/inputs/data/file", "/code/main.py", "/packages/recsys/x.py"])
def test_inputs_and_code_cannot_be_changed(attack: Attack, tmp_path: Path, place: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("as it was")
    outcome = attack(f"open({place!r}, 'w').write('changed')", {"data": data})
    assert "Read-only file system" in outcome.reason
    assert (data / "file").read_text() == "as it was"


@pytest.mark.parametrize("place", ["/x", "/etc/passwd", "/dev/x", "/proc/sys/kernel/core_pattern"])
def test_the_system_cannot_be_changed(attack: Attack, place: str) -> None:
    outcome = attack(f"open({place!r}, 'w').write('x')")
    assert "Read-only file system" in outcome.reason or "Permission denied" in outcome.reason


def test_no_program_can_be_started(attack: Attack) -> None:
    outcome = attack("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'id'])")
    assert "FileNotFoundError: [Errno 2] No such file or directory: '/bin/sh'" in outcome.reason


@pytest.mark.parametrize(
    ("call", "what"),
    [
        ("unshare(0x10000000)", "a new user namespace"),
        ("socket(40, 1, 0)", "a socket to the hypervisor"),
        ("memfd_create(b'x', 0)", "memory that no process is charged for"),
        ("mount(b'x', b'/tmp', b'tmpfs', 0, 0)", "mounting"),
        ("ptrace(16, 1, 0, 0)", "tracing"),
        ("shmget(0, 4096, 0o1600)", "shared memory that no process is charged for"),
        ("syscall(250 if machine == 'x86_64' else 219, 0, -3, 0)", "kernel keyrings"),
        ("syscall(425, 1, 0)", "a queue of system calls past the filter"),
        ("syscall(27 if machine == 'x86_64' else 232, 0, 0, 0)", "what lies in the page cache"),
        ("syscall(451, 0, 0, 0, 0)", "what lies in the page cache, newly"),
        ("inotify_init1(0)", "watching files that the merchant's programs use"),
        ("flock(0, 2)", "locking files that the merchant's programs use"),
        ("fcntl(0, 1024, 0)", "leases on such files"),
        ("fcntl(0, 1026, 1)", "notes about folders"),
        ("semget(0, 1, 0o1600)", "semaphores"),
        ("vmsplice(1, 0, 0, 0)", "pages moved into pipes"),
        ("syscall(458, 0, 0, 0, 0)", "the list of mounts"),
        ("syscall(440, 0, 0, 0, 0, 0)", "memory advice for others"),
    ],
)
def test_doors_of_the_kernel_are_closed(attack: Attack, call: str, what: str) -> None:
    outcome = attack(
        f"""
        import ctypes, errno, platform
        machine = platform.machine()
        library = ctypes.CDLL(None, use_errno=True)
        result = library.{call}
        raise SystemExit(f"{{result}} {{errno.errorcode.get(ctypes.get_errno())}}")
        """
    )
    assert outcome.reason == "exited with status 1: -1 EPERM", what


# --- using up the machine ---------------------------------------------------------------------


def test_forking_without_end_is_stopped(attack: Attack) -> None:
    outcome = attack(
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n", processes=16
    )
    assert (outcome.ending, outcome.reason) == (
        Ending.PROCESSES,
        "started more than 16 processes",
    )


def test_threads_count_as_processes(attack: Attack) -> None:
    outcome = attack(
        """
        import threading, time
        for _ in range(1000):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        time.sleep(60)
        """,
        processes=8,
    )
    assert outcome.reason == "started more than 8 processes"


def test_asking_for_ten_gigabytes_is_stopped(attack: Attack) -> None:
    outcome = attack("bytearray(10 * 2**30)")
    assert (outcome.ending, outcome.reason) == (Ending.MEMORY, "used more than 256 MB of memory")


def test_memory_in_small_steps_is_stopped(attack: Attack) -> None:
    outcome = attack("x = []\nwhile True: x.append(b'x' * 1_000_000)\n", memory_mb=100)
    assert outcome.reason == "used more than 100 MB of memory"
    assert outcome.peak_mb < 1000


def test_memory_of_all_processes_is_summed(attack: Attack) -> None:
    outcome = attack(
        """
        import os, time
        for _ in range(4):
            if os.fork() == 0:
                x = b"x" * 60_000_000
                time.sleep(60)
        time.sleep(60)
        """,
        memory_mb=150,
    )
    assert outcome.reason == "used more than 150 MB of memory"


@pytest.mark.slow
@pytest.mark.parametrize("prelude", ["", "signal.signal(signal.SIGXCPU, signal.SIG_IGN)"])
def test_an_endless_loop_is_stopped(attack: Attack, prelude: str) -> None:
    outcome = attack(f"import signal\n{prelude}\nwhile True: pass\n", cpu_seconds=2)
    assert (outcome.ending, outcome.reason) == (
        Ending.PROCESSOR,
        "used more than 2 seconds of processor time",
    )


def test_waiting_without_end_is_stopped(attack: Attack) -> None:
    outcome = attack("import time\ntime.sleep(600)", wall_seconds=1)
    assert (outcome.ending, outcome.reason) == (Ending.TIME, "ran longer than 1 seconds")


def test_a_huge_output_is_stopped(attack: Attack) -> None:
    outcome = attack("f = open('/output/x', 'wb')\nwhile True: f.write(b'x' * 1_000_000)\n")
    assert (outcome.ending, outcome.reason) == (Ending.OUTPUT, "wrote more than 8 MB of outputs")


def test_a_huge_output_is_no_output_even_if_the_code_says_all_is_well(attack: Attack) -> None:
    outcome = attack(
        """
        import os
        f = open("/output/x", "wb", buffering=0)
        try:
            while True: f.write(b"x" * 1_000_000)
        except OSError:
            os._exit(0)
        """
    )
    assert outcome.reason == "wrote more than 8 MB of outputs"


@pytest.mark.parametrize("place", ["/tmp/x", "/dev/shm/x"])  # noqa: S108
def test_scratch_space_is_bounded(attack: Attack, place: str) -> None:
    outcome = attack(
        f"f = open({place!r}, 'wb')\nwhile True: f.write(b'x' * 1_000_000)\n", tmp_mb=8
    )
    assert outcome.reason.endswith("OSError: [Errno 28] No space left on device")


def test_a_file_that_claims_to_be_huge_is_refused(attack: Attack) -> None:
    outcome = attack("open('/output/x', 'wb').truncate(50 * 2**30)")
    assert outcome.reason.endswith("OSError: [Errno 27] File too large")


@pytest.mark.parametrize("place", ["/output", "/tmp"])  # noqa: S108
def test_files_without_number_are_stopped(attack: Attack, place: str) -> None:
    outcome = attack(f"import os\nfor i in range(200_000): os.mknod(f'{place}/{{i}}')\n")
    assert "more than 10000 files" in outcome.reason


def test_a_flood_of_text_does_not_fill_the_disk(attack: Attack) -> None:
    outcome = attack("for _ in range(3000): print('x' * 1000)", ok=True)
    assert outcome.log.stat().st_size < 1.1 * 2**20
    assert "the log ends at 1 MB" in outcome.log.read_text()


# --- what is left behind ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("os.symlink('/etc/passwd', '/output/release.safetensors')", "left a link among"),
        ("open('/output/a', 'w'); os.link('/output/a', '/output/b')", "a second name of a file"),
        ("os.mkdir('/output/release.json')", "left a folder among its outputs"),
        ("os.mkfifo('/output/pipe')", "left a special file among its outputs"),
        (r"open('/output/\x1b[2J', 'w')", "left an output with an odd name"),
        ("[open(f'/output/{i}', 'w') for i in range(65)]", "left more than 64 outputs"),
    ],
)
def test_only_plain_files_come_out(attack: Attack, text: str, reason: str) -> None:
    outcome = attack(f"import os\n{text}")
    assert reason in outcome.reason
    assert outcome.ending is Ending.OUTPUT


@pytest.mark.parametrize("make", ["open({!r}, 'w')", "os.mkdir({!r})", "os.symlink('x', {!r})"])
def test_names_of_outputs_carry_nothing_into_the_reason(attack: Attack, make: str) -> None:
    outcome = attack(f"import os\n{make.format('/output/anna bought a train')}")
    assert "anna" not in outcome.reason


def test_a_process_that_wants_to_stay_ends_with_the_run(attack: Attack, tmp_path: Path) -> None:
    name = f"stay-{secrets.token_hex(4)}"
    attack(
        f"""
        import ctypes, os, signal, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
                open("/output/alive", "w").close()
                os.close(1); os.close(2)
                time.sleep(600)
            os._exit(0)
        while not os.path.exists("/output/alive"):
            time.sleep(0.02)
        """,
        ok=True,
    )
    assert (tmp_path / "output" / "alive").exists()
    assert name not in _names_of_processes()


def _names_of_processes() -> set[str]:
    found = set()
    for file in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            found.add(file.read_text().strip())
    return found


def test_process_one_cannot_be_killed_to_escape_the_watch(attack: Attack) -> None:
    outcome = attack(
        """
        import os
        try:
            os.kill(1, 9)
        except PermissionError:  # Landlock: it lies outside
            pass
        open("/output/x", "w")
        raise SystemExit("alive")
        """
    )
    assert outcome.reason == "exited with status 1: alive"
