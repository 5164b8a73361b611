"""A marketplace of real processes over a local folder that lives through many rounds."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.soak_light import LightStory
from benchmarks.soak_measure import (
    counted_requests,
    ledger_cost,
    process_state,
    shortest,
    tree_size,
)
from datasites.merchant import Ledger, MerchantHome
from datasites.simulation import Story, StorySettings
from datasites.study import Coordinator
from recsys.data import synthesize

__all__ = ["idle", "idle_requests", "open_market", "rounds"]

Row = dict[str, Any]
_LEDGER_LOOKS = 20
_SHOPPERS, _TOYS, _EPSILON = 150, 60, 8.0


@contextmanager
def open_market(
    workdir: Path,
    merchants: int,
    rounds: int,
    tell: Callable[[str], None] = print,
    *,
    light: bool = False,
) -> Iterator[Story]:
    """A tiny market whose services run and whose study of `rounds` rounds is approved.

    With `light` its program computes nothing.
    """
    market = synthesize(
        None, merchants=merchants, shoppers=_SHOPPERS * merchants, toys=_TOYS, seed=5
    )
    settings = StorySettings(workdir=workdir, rounds=rounds, epsilon=_EPSILON, seed=5)
    story = (LightStory if light else Story)(settings, market)
    try:
        story.prepare_folder()
        started = time.monotonic()
        story.open_datasites()
        story.open_study_desk()
        story.submit_study()
        story.approve_study()
        tell(f"{merchants} datasites opened and paired in {time.monotonic() - started:.0f} s")
        yield story
    finally:
        story.close()


def rounds(story: Story, tell: Callable[[str], None] = print) -> Iterator[Row]:
    """Run the study to its end; one row per phase, and a last one once the model is served."""
    study = story.settings.study
    proposal = Coordinator(story.scientist, story.link, study).proposal
    phases = {phase.name: number for number, phase in enumerate(proposal.phases)}
    every = max(1, len(phases) // _LEDGER_LOOKS)
    watched = next(iter(story.merchants.values()))
    began, slots = time.monotonic(), os.cpu_count() or 1
    before = _cpu(story)
    own = time.process_time()
    for progress in story.run_study():
        if progress.what == "dropped":
            tell(f"dropped {progress.phase} {progress.merchant}: {progress.detail}")
        if progress.what not in ("merged", "model"):
            continue
        latency = time.monotonic() - began
        row = _look(story) | {"phase": progress.phase or "model", "latency": latency}
        row["coordinator_cpu"] = time.process_time() - own
        after = _cpu(story)
        row["service_cpu"] = statistics.median(after) - statistics.median(before)
        if progress.what == "merged":
            seconds = [_seconds(home, study, progress.phase) for home in story.merchants.values()]
            row |= {"computation": seconds, "slowest": max(seconds)}
            row["overhead"] = latency - shortest(seconds, slots)
            number = phases[progress.phase]
            if number % every == 0 and number + 1 < len(proposal.phases):
                ahead = proposal.phases[number + 1]
                row["ledger"] = vars(ledger_cost(watched.ledger_path, study, ahead))
            if number % 10 == 0:
                tell(
                    f"{number:4} {progress.phase:9} {latency:5.2f} s, overhead "
                    f"{row['overhead']:5.2f} s, services {row['rss_mb']:.0f} MB, "
                    f"share {row['share_bytes'] / 1024:.0f} KB"
                )
        yield row
        # Measuring is nobody's round.
        began, before, own = time.monotonic(), _cpu(story), time.process_time()
    tell(f"model served after another {time.monotonic() - began:.1f} s")
    yield _look(story) | {"phase": "served", "latency": time.monotonic() - began}


def idle(story: Story, seconds: float, samples: int = 6) -> list[Row]:
    """Watch services with nothing to do; rows of what each minute of that costs."""
    rows = []
    pids = [story.services.pid(home) for home in story.merchants.values()]
    for _ in range(samples):
        first, began = [process_state(pid) for pid in pids], time.monotonic()
        time.sleep(seconds / samples)
        minutes = (time.monotonic() - began) / 60
        last = [process_state(pid) for pid in pids]
        rows.append(
            _look(story)
            | {
                "cpu_per_minute": max(
                    (after.cpu_seconds - before.cpu_seconds) / minutes
                    for before, after in zip(first, last, strict=True)
                ),
                "written_per_minute": max(
                    (after.written - before.written) / minutes
                    for before, after in zip(first, last, strict=True)
                ),
            }
        )
    return rows


def idle_requests(home: MerchantHome, passes: int = 5) -> dict[str, float]:
    """What one pass of an idle service asks of the share; its own service must be stopped."""
    from datasites.merchant.service import Service
    from datasites.syftbox import MerchantLink

    service = Service(
        home,
        MerchantLink(home.settings.email, home.root, home.settings.share),
        Ledger.open(home.ledger_path),
    )
    service.step()
    with counted_requests() as counts:
        for _ in range(passes):
            service.step()
    return {name: count / passes for name, count in counts.items()}


def _look(story: Story) -> Row:
    """Sizes now; of merchants the largest, so that one that grows is not averaged away."""
    states = [process_state(story.services.pid(home)) for home in story.merchants.values()]
    homes = [tree_size(home.root) for home in story.merchants.values()]
    share, scientist = tree_size(story.share), tree_size(story.scientist.root)
    coordinator = process_state(os.getpid())
    return {
        "rss_mb": max(one.rss_mb for one in states),
        "peak_mb": max(one.peak_mb for one in states),
        "open_files": max(one.open_files for one in states),
        "coordinator_rss_mb": coordinator.rss_mb,
        "coordinator_open_files": coordinator.open_files,
        "share_files": share.files,
        "share_bytes": share.bytes,
        "home_files": max(one.files for one in homes),
        "home_bytes": max(one.bytes for one in homes),
        "scientist_files": scientist.files,
        "scientist_bytes": scientist.bytes,
        "run_folders": max(len(os.listdir(home.runs)) for home in story.merchants.values()),
        "log_bytes": tree_size(story.services.logs).bytes,
    }


def _cpu(story: Story) -> list[float]:
    return [
        process_state(story.services.pid(home)).cpu_seconds for home in story.merchants.values()
    ]


def _seconds(home: MerchantHome, study: str, phase: str) -> float:
    """How long the sandbox took; 0 for a run whose outcome is not there."""
    try:
        facts = json.loads((home.runs / f"{study}-{phase}" / "outcome.json").read_text())
    except FileNotFoundError:
        return 0.0
    return float(facts["seconds"])
