"""Tells whether programs that are not shipped recipes can be confined on this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from datasites.errors import ReviewError, SandboxError
from datasites.merchant.contributions.nest import Nest, RowLimits
from datasites.merchant.contributions.page import RowArray
from datasites.merchant.sandbox import SandboxStatus

__all__ = ["probe_programs"]

_PROGRAM = """def contribution(history, state, settings):
    return {"sum": [float(len(history))]}
"""
_ADVICE = (
    "Shipped recipes need less, and work where `sandbox` above says ok. Programs also need a PID "
    "namespace inside a user namespace: in a container, start it with `--security-opt "
    "seccomp=unconfined --security-opt systempaths=unconfined`."
)


def probe_programs() -> SandboxStatus:
    """Run a small program for one invented shopper, as a merchant's run would."""
    arrays = [RowArray("sum", (1,))]
    # Generous: a slow machine is no fault of its sandbox.
    limits = RowLimits(milliseconds=5000)
    job = {"phase": "probe", "n_items": 3, "program": {}}
    with tempfile.TemporaryDirectory(prefix="toyfed-probe-") as folder:
        code = Path(folder) / "code"
        code.mkdir()
        (code / "main.py").write_text(_PROGRAM)
        try:
            with Nest(code, None, job, arrays, limits) as nest:
                answer = nest.row(np.array([0, 1], dtype=np.int32))
        except (SandboxError, ReviewError, OSError) as error:
            return SandboxStatus(False, str(error), _ADVICE)
    if answer.parts is None or answer.values.tolist() != [2.0]:
        found = answer.text or f"{answer.values.tolist()} where 2 was due"
        return SandboxStatus(False, f"a program gave no row: {found}", _ADVICE)
    return SandboxStatus(True, "one process for each shopper, walled off, works", "")
