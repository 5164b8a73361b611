"""What remote code may use, and how its run ended."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from datasites.errors import SandboxError

__all__ = ["Ending", "Limits", "RunOutcome"]


@dataclass(frozen=True)
class Limits:
    """The most that one run may use; all processes of the run together, unless said otherwise.

    Args:
        memory_mb: Resident memory.
        cpu_seconds: Processor time of each process.
        wall_seconds: Time by the clock.
        processes: Processes and threads alive at once.
        open_files: Open files of each process.
        output_mb: What lies in the outputs' folder.
        tmp_mb: What lies in /tmp and in /dev/shm, each.
    """

    memory_mb: int = 4096
    cpu_seconds: int = 600
    wall_seconds: int = 900
    processes: int = 32
    open_files: int = 256
    output_mb: int = 64
    tmp_mb: int = 256

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if value < 1:
                raise SandboxError(f"Expected {limit.name} of at least 1, found {value}")


class Ending(StrEnum):
    """How a run ended, in one word that holds nothing private."""

    FINISHED = "finished"
    FAILED = "failed"
    MEMORY = "memory"
    PROCESSOR = "processor"
    TIME = "time"
    PROCESSES = "processes"
    OUTPUT = "output"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class RunOutcome:
    """The end of one run.

    Privacy: where `ending` is FAILED, `reason` quotes the code's last line of errors, and `log`
    holds what it printed, so both stay at the merchant. Other reasons are in our own words alone.

    Args:
        ok: The code finished by itself with status 0 and left only plain files.
        reason: Plain words for the merchant; 'finished' when ok.
        seconds: Time by the clock.
        peak_mb: Highest resident memory seen, all processes together.
        log: What the code printed, cut at 1 MB.
        ending: The same in one word.
    """

    ok: bool
    reason: str
    seconds: float
    peak_mb: float
    log: Path
    ending: Ending
