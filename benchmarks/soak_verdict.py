"""What a soak showed: first tenth against last tenth, growth a round, and whether that is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recsys.files import atomic_path

__all__ = ["Finding", "Trend", "draw", "judge_idle", "judge_rounds", "trend"]

Row = dict[str, Any]

MOST_OVERHEAD, MOST_RATIO, MOST_IDLE_MB = 1.0, 1.2, 150.0
MOST_RUN_FOLDERS = 64
# A ledger line or two, the name of a job that may not come again: what must never be forgotten.
MOST_BYTES_A_ROUND, MOST_FILES_A_ROUND = 8 * 1024, 2.5
MOST_CPU_A_MINUTE = 3.0


@dataclass(frozen=True)
class Trend:
    """One figure over a soak: medians of the first and the last tenth, and the fitted slope."""

    first: float
    last: float
    median: float
    most: float
    slope: float  # per row

    @property
    def ratio(self) -> float:
        return self.last / self.first if self.first else 1.0


@dataclass(frozen=True)
class Finding:
    """One promise, what was found, and whether it holds."""

    promise: str
    found: str
    holds: bool

    def __str__(self) -> str:
        return f"{'PASS' if self.holds else 'FAIL'}  {self.promise}: {self.found}"


def trend(rows: Sequence[Row], name: str) -> Trend:
    """How one column went. Raises KeyError if it is not in every row."""
    values = np.array([float(row[name]) for row in rows])
    tenth = max(1, len(values) // 10)
    # Theil and Sen's: a few slow rounds of a busy machine do not bend it.
    places = np.linspace(0, len(values) - 1, min(len(values), 200)).astype(int)
    gaps = [
        (values[b] - values[a]) / (b - a)
        for i, a in enumerate(places)
        for b in places[i + 1 :]
        if b > a
    ]
    return Trend(
        float(np.median(values[:tenth])),
        float(np.median(values[-tenth:])),
        float(np.median(values)),
        float(values.max()),
        float(np.median(gaps)) if gaps else 0.0,
    )


def judge_rounds(rows: Sequence[Row]) -> list[Finding]:
    """The promises about rounds. Training rounds alone are compared: other phases differ."""
    trained = [row for row in rows if str(row["phase"]).startswith("als-")]
    latency, overhead = trend(trained, "latency"), trend(trained, "overhead")
    share, home = trend(trained, "share_bytes"), trend(trained, "home_bytes")
    files, scientist = trend(trained, "home_files"), trend(trained, "scientist_bytes")
    memory, cpu = trend(trained, "rss_mb"), trend(trained, "service_cpu")
    coordinator = trend(trained, "coordinator_rss_mb")
    folders, descriptors = trend(trained, "run_folders"), trend(trained, "open_files")
    kb, mb = 1024.0, 1024.0**2
    return [
        _most("overhead of a round beyond the computation", overhead.median, MOST_OVERHEAD, "s"),
        _most("latency, last tenth over first", latency.ratio, MOST_RATIO, "times"),
        _most("a service's processor time, last tenth over first", cpu.ratio, MOST_RATIO, "times"),
        _most("share, last tenth over first", share.ratio, MOST_RATIO, "times"),
        _most("share at most", share.most / mb, 16.0, "MB"),
        _most("a merchant's disk a round", home.slope / kb, MOST_BYTES_A_ROUND / kb, "KB"),
        _most("a merchant's files a round", files.slope, MOST_FILES_A_ROUND, "files"),
        _most("the scientist's disk a round", scientist.slope / kb, MOST_BYTES_A_ROUND / kb, "KB"),
        _most("a merchant's service when idle", memory.last, MOST_IDLE_MB, "MB"),
        _most("a service's growth in memory", memory.last - memory.first, 10.0, "MB"),
        _most("the coordinator's growth", coordinator.last - coordinator.first, 10.0, "MB"),
        _most("open files, last less first", descriptors.last - descriptors.first, 2.0, "files"),
        _most("folders of old runs", folders.most, MOST_RUN_FOLDERS, "folders"),
    ]


def judge_idle(rows: Sequence[Row], requests: dict[str, float]) -> list[Finding]:
    """The promises about a service with nothing to do."""
    memory, cpu = trend(rows, "rss_mb"), trend(rows, "cpu_per_minute")
    descriptors, log = trend(rows, "open_files"), trend(rows, "log_bytes")
    home = trend(rows, "home_bytes")
    total = sum(requests.values())
    return [
        _most("idle: memory", memory.most, MOST_IDLE_MB, "MB"),
        _most("idle: growth in memory", memory.last - memory.first, 2.0, "MB"),
        _most("idle: processor time a minute", cpu.median, MOST_CPU_A_MINUTE, "s"),
        _most("idle: growth of open files", descriptors.last - descriptors.first, 2.0, "files"),
        _most("idle: growth of the log", log.last - log.first, 0.0, "bytes"),
        _most("idle: growth of the home", home.last - home.first, 1024.0, "bytes"),
        _most("idle: requests to the share a pass", total, 30.0, "requests"),
    ]


def draw(rows: Sequence[Row], path: Path, title: str) -> None:
    """Latency, memory and disk over the rounds."""
    # The object interface draws without a display and leaves nothing behind in the process.
    from matplotlib.figure import Figure

    rows = [row for row in rows if "overhead" in row]
    numbers = np.arange(1, len(rows) + 1)
    figure = Figure(figsize=(11.0, 3.8), layout="constrained")
    panels = (
        ("seconds a round", {"latency": ("latency", 1.0), "overhead": ("overhead", 1.0)}),
        (
            "memory, MB",
            {"largest service": ("rss_mb", 1.0), "coordinator": ("coordinator_rss_mb", 1.0)},
        ),
        (
            "disk, MB",
            {
                "share": ("share_bytes", 1024.0**2),
                "largest merchant": ("home_bytes", 1024.0**2),
                "scientist": ("scientist_bytes", 1024.0**2),
            },
        ),
    )
    for axes, (label, lines) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for colour, (name, (column, unit)) in zip(
            ("#1b6ca8", "#c8553d", "#588157"), lines.items(), strict=False
        ):
            axes.plot(
                numbers, [row[column] / unit for row in rows], label=name, color=colour, lw=1.2
            )
        axes.set_xlabel("round")
        axes.set_title(label, fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _most(promise: str, found: float, most: float, unit: str) -> Finding:
    return Finding(promise, f"{found:.3g} {unit}, at most {most:g}", found <= most)
