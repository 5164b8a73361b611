"""The second wall, what the machine tells about itself, and runs by an ordinary user."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from datasites.merchant import sandbox
from datasites.merchant.sandbox import Ending, Limits, RunOutcome, doctor, landlock

pytestmark = pytest.mark.attack
SMALL = Limits(memory_mb=512, cpu_seconds=30, wall_seconds=60)
needs_landlock = pytest.mark.skipif(landlock.abi() < 4, reason="this kernel has no such Landlock")
ROOT = Path(__file__).parents[3]


def run(tmp_path: Path, text: str, *, unsafe: bool = False, **inputs: Path) -> RunOutcome:
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(textwrap.dedent(text))
    return sandbox.run(
        code,
        inputs,
        tmp_path / "output",
        tmp_path / "log.txt",
        SMALL,
        unsafe_no_sandbox=unsafe,
    )


def told(tmp_path: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((tmp_path / "output" / "told.json").read_text())
    return found


LOOK = """
import json, os, sys
def look(path):
    try:
        return sorted(os.listdir(path)) if os.path.isdir(path) else open(path, "rb").read(200).hex()
    except OSError as error:
        return type(error).__name__
"""


@needs_landlock
def test_a_file_outside_is_closed_even_without_mounts(tmp_path: Path) -> None:
    secret = tmp_path / "keys.json"
    secret.write_text("private")
    text = LOOK + (
        f"found = look({str(secret)!r})\n"
        "try:\n    open('/tmp/escape', 'w')\n    wrote = 'wrote'\n"
        "except OSError as error:\n    wrote = type(error).__name__\n"
        "out = os.environ['TOYFED_OUTPUT']\n"
        "json.dump([found, wrote, look('/proc/1/environ'), look('/etc/hostname')],\n"
        "          open(out + '/told.json', 'w'))\n"
    )
    outcome = run(tmp_path, text, unsafe=True)
    assert outcome.ok, outcome.reason
    assert set(told(tmp_path)) == {"PermissionError"}  # type: ignore[call-overload]


@needs_landlock
def test_no_connection_even_without_a_network_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        outcome = run(
            tmp_path,
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)",
            unsafe=True,
        )
    assert outcome.ending is Ending.FAILED
    assert "PermissionError" in outcome.reason


@needs_landlock
def test_no_signal_reaches_the_service(tmp_path: Path) -> None:
    outcome = run(tmp_path, f"import os\nos.kill({os.getpid()}, 0)", unsafe=True)
    assert "PermissionError" in outcome.reason


@needs_landlock
def test_what_was_written_cannot_be_started(tmp_path: Path) -> None:
    outcome = run(
        tmp_path,
        """
        import os, shutil, sys
        shutil.copyfile(os.path.realpath(sys.executable), "/tmp/python")
        os.chmod("/tmp/python", 0o700)
        os.execv("/tmp/python", ["/tmp/python", "-c", "print(1)"])
        """,
    )
    assert "PermissionError" in outcome.reason


@needs_landlock
def test_mounts_do_not_tell_where_the_merchant_keeps_its_files(tmp_path: Path) -> None:
    data = tmp_path / "castle-toys-private"
    data.mkdir()
    names = "['/proc/self/mountinfo', '/proc/self/mounts', '/proc/1/mountinfo', '/proc/mounts']"
    text = LOOK + f"json.dump([look(p) for p in {names}], open('/output/told.json', 'w'))"
    outcome = run(tmp_path, text, data=data)
    assert outcome.ok, outcome.reason
    assert set(told(tmp_path)) == {"PermissionError"}  # type: ignore[call-overload]


def test_the_machine_does_not_tell_which_one_it_is(tmp_path: Path) -> None:
    text = LOOK + (
        "names = ['/proc/sys/kernel/random/boot_id', '/proc/cmdline', '/proc/version',\n"
        "         '/etc/machine-id', '/var/lib/dbus/machine-id', '/sys/class/dmi/id',\n"
        "         '/sys/class/net/eth0/address', '/proc/loadavg', '/proc/stat', '/proc/keys']\n"
        "json.dump([[look(p) for p in names], os.uname().nodename],\n"
        "          open('/output/told.json', 'w'))\n"
    )
    outcome = run(tmp_path, text)
    assert outcome.ok, outcome.reason
    found, name = told(tmp_path)
    assert set(found) <= {"PermissionError", "FileNotFoundError"}  # type: ignore[arg-type]
    assert name == "sandbox"


def test_the_disk_does_not_tell_its_name(tmp_path: Path) -> None:
    # FS_IOC_GETFSUUID, on a file of the host that is shown inside.
    outcome = run(
        tmp_path,
        """
        import fcntl, os, sys
        handle = os.open(os.__file__, os.O_RDONLY)
        fcntl.ioctl(handle, 0x80111500, bytes(17))
        """,
    )
    assert "Inappropriate ioctl" in outcome.reason


@pytest.mark.parametrize(
    "family", ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_VSOCK", "AF_PACKET", "AF_ALG"]
)
def test_there_are_no_sockets_of_any_family(tmp_path: Path, family: str) -> None:
    outcome = run(tmp_path, f"import socket\nsocket.socket(socket.{family}, socket.SOCK_DGRAM)")
    assert "PermissionError: [Errno 1]" in outcome.reason


def test_nothing_of_the_caller_is_left_open(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("private")
    handle = os.open(secret, os.O_RDONLY)
    os.set_inheritable(handle, True)
    try:
        outcome = run(
            tmp_path,
            """
            import json, os
            kept = {fd: os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                    if os.path.islink(f"/proc/self/fd/{fd}")}
            json.dump(kept, open("/output/told.json", "w"))
            """,
        )
    finally:
        os.close(handle)
    assert outcome.ok, outcome.reason
    kept = told(tmp_path)
    assert set(kept) == {"0", "1", "2"}
    assert all(str(place).startswith(("pipe:", "/dev/null")) for place in kept.values())


def test_memory_that_is_files_is_bounded(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(
        "import mmap, os\n"
        "handle = os.open('/dev/shm/x', os.O_RDWR | os.O_CREAT)\n"
        "os.ftruncate(handle, 200 << 20)\n"
        "with mmap.mmap(handle, 200 << 20) as m:\n"
        "    for at in range(0, 200 << 20, 4096):\n        m[at] = 1\n"
    )
    outcome = sandbox.run(
        code, {}, tmp_path / "output", tmp_path / "log", Limits(memory_mb=256, tmp_mb=16)
    )
    assert not outcome.ok
    assert list((tmp_path / "output").iterdir()) == []


def test_each_version_of_landlock_is_asked_for_what_it_knows() -> None:
    assert landlock.rules(["/usr"], ["/tmp"], 0) is None  # noqa: S108
    first, fourth, newest = (landlock.rules(["/usr"], ["/tmp"], v) for v in (1, 4, 99))  # noqa: S108
    assert first is not None
    assert fourth is not None
    assert newest is not None
    assert (first["tcp"], first["outside"]) == (0, 0)
    assert (fourth["tcp"], fourth["outside"]) == (3, 0)
    assert newest["outside"] == 3
    assert all(rights & ~first["files"] == 0 for _, rights in first["paths"])
    assert f"Landlock {landlock.abi()}" in doctor.probe().detail or not landlock.abi()


AS_USER = """
set -e
mount --make-rprivate /
# The folders above this Python may be closed to others, such as root's home: shown anew, open.
python="$1"; work="$2"; base="$3"; root="$4"
mkdir "$work/base" "$work/root"
mount --bind "$base" "$work/base"
mount --bind "$root" "$work/root"
for place in "$base" "$root"; do
  top="/$(echo "$place" | cut -d/ -f2)"
  case "$top" in /usr|/lib|/opt|/var) ;; *) mount -t tmpfs -o mode=755 tmpfs "$top";; esac
done
mkdir -p "$base" "$root"
mount --move "$work/base" "$base"
mount --move "$work/root" "$root"
cd /
exec setpriv --reuid 54321 --regid 54321 --clear-groups --no-new-privs \
  env -i PYTHONPATH="$root" PYTHONDONTWRITEBYTECODE=1 "$python" "$work/try.py" "$work"
"""
TRY = """
import os, sys
from pathlib import Path
from datasites.merchant import sandbox
work = Path(sys.argv[1])
assert os.getuid() == 54321
outcome = sandbox.run(work / "code", {"data": work / "data"}, work / "home" / "output",
                      work / "home" / "log", sandbox.Limits(memory_mb=512))
print(outcome.ok, outcome.reason, (work / "home" / "output" / "a").read_text())
"""


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="not root: the other tests ran as an ordinary user")
def test_an_ordinary_user_can_run_code(tmp_path: Path) -> None:
    """As somebody without any rights, in a mount namespace where this Python can be read."""
    if shutil.which("setpriv") is None or shutil.which("unshare") is None:
        pytest.skip("setpriv and unshare are not installed")
    base = Path("/var/tmp")  # noqa: S108
    work = Path(subprocess.check_output(["mktemp", "-d", f"{base}/toyfed.XXXXXX"], text=True)[:-1])
    try:
        for name in ("code", "data", "home"):
            (work / name).mkdir()
        (work / "code" / "main.py").write_text(
            "import numpy, os\n"
            "open('/output/a', 'w').write(open('/inputs/data/x').read() + str(os.getuid()))\n"
        )
        (work / "data" / "x").write_text("read ")
        (work / "try.py").write_text(TRY)
        subprocess.run(["chown", "-R", "54321:54321", work], check=True)
        done = subprocess.run(
            [
                *("unshare", "--mount", "sh", "-c", AS_USER, "sh", sys.executable, str(work)),
                *(sys.base_prefix, str(ROOT)),
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.strip() == "True finished read 65534"
    finally:
        shutil.rmtree(work, ignore_errors=True)
