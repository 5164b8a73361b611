"""Sandbox and programs work for an ordinary user: one without any capability."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

# A namespace in which this user is number 1000 and, after exec, has given up every capability.
ORDINARY = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")

ONE_ROW = """
import os, sys
from pathlib import Path
import numpy as np
from datasites.merchant.contributions import Nest, RowArray, RowLimits
assert os.getuid() == 1000
assert "CapEff:\\t0000000000000000" in Path("/proc/self/status").read_text()
job = {"phase": "p", "n_items": 3, "program": {}}
with Nest(Path(sys.argv[1]), None, job, [RowArray("counts", (3,))], RowLimits(1000, 256)) as nest:
    print(nest.row(np.array([1, 2], np.int32)).values.tolist())
"""


@pytest.fixture
def ordinary() -> tuple[str, ...]:
    if not shutil.which("unshare"):
        pytest.skip("there is no `unshare` here")
    if os.getuid() == 1000:
        return ()
    tried = subprocess.run([*ORDINARY, "true"], capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("this machine gives no user namespaces")
    return ORDINARY


def test_a_program_runs_for_an_ordinary_user(ordinary: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "def contribution(history, state, settings):\n"
        "    return {'counts': (history, [1.0, 2.0])}\n"
    )
    done = subprocess.run(
        [*ordinary, sys.executable, "-c", ONE_ROW, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1.0, 2.0]


def test_the_sandbox_works_for_an_ordinary_user(ordinary: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*ordinary, sys.executable, "-c", "from ui.cli.app import app; app()", "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    checks = {one["check"]: one for one in json.loads(done.stdout)}
    assert "bubblewrap works" in checks["sandbox"]["found"]


KEEPS_ITS_PLACE = """
from datasites.merchant.sandbox.oom import _FILE, first_to_go
before = _FILE.read_text()
with first_to_go():
    assert _FILE.read_text().strip() == "1000"
assert _FILE.read_text() == before
"""


def test_an_ordinary_user_keeps_its_own_place_when_memory_runs_out(
    ordinary: tuple[str, ...],
) -> None:
    subprocess.run([*ordinary, sys.executable, "-c", KEEPS_ITS_PLACE], check=True)
