"""Isolation for remote code: it reads its inputs, writes its outputs, and reaches nothing else."""

from datasites.merchant.sandbox.cgroup import sweep_groups
from datasites.merchant.sandbox.doctor import SandboxStatus, probe
from datasites.merchant.sandbox.outcome import Ending, Limits, RunOutcome
from datasites.merchant.sandbox.runner import WORK_PREFIX, run

__all__ = [
    "WORK_PREFIX",
    "Ending",
    "Limits",
    "RunOutcome",
    "SandboxStatus",
    "probe",
    "run",
    "sweep_groups",
]
