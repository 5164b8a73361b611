"""A long life: does anything grow, slow down or leak when nobody looks for a long time?

Parts, each with real service processes over a local folder and a real coordinator:

    rounds      4 merchants, a study of 200 rounds
    merchants   30 merchants, a study of 5 rounds
    idle        services with nothing to do, after such a study

Prints PASS or FAIL for each promise and ends with status 1 if one is broken. Figures of seconds
are true of a machine that does nothing else; memory, files and ratios hold on a busy one too.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.soak_life import idle, idle_requests, open_market, rounds
from benchmarks.soak_verdict import Finding, draw, judge_idle, judge_rounds, trend
from recsys.files import atomic_write_text

__all__ = ["PARTS", "main", "run_idle", "run_merchants", "run_rounds"]

PARTS = ("rounds", "merchants", "idle")
COLUMNS = (
    "latency",
    "overhead",
    "slowest",
    "service_cpu",
    "coordinator_cpu",
    "rss_mb",
    "peak_mb",
    "coordinator_rss_mb",
    "open_files",
    "share_files",
    "share_bytes",
    "home_files",
    "home_bytes",
    "scientist_files",
    "scientist_bytes",
    "run_folders",
)

Part = dict[str, Any]


def run_rounds(
    workdir: Path, merchants: int, count: int, kept: Path | None = None, light: bool = False
) -> Part:
    """`merchants` and a study of `count` training rounds; what each round cost.

    With `kept` each row is written down at once, for a soak that is cut short.
    """
    found: list[dict[str, Any]] = []
    with open_market(workdir, merchants, count, light=light) as story:
        for row in rounds(story):
            found.append(row)
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                with kept.open("a") as file:
                    file.write(json.dumps(row) + "\n")
    measured = [row for row in found if "overhead" in row]
    part = _part(f"{merchants} merchants, {count} rounds", judge_rounds(measured), found)
    part["trends"] = {name: vars(trend(measured, name)) for name in COLUMNS}
    return part


def run_merchants(workdir: Path, merchants: int, count: int) -> Part:
    """Many merchants, few rounds: it completes, and nobody's service is large."""
    found: list[dict[str, Any]] = []
    with open_market(workdir, merchants, count) as story:
        for row in rounds(story):
            found.append(row)
    trained = [row for row in found if str(row["phase"]).startswith("als-")]
    served = found[-1]["phase"] == "served"
    everybody = all(all(seconds > 0 for seconds in row["computation"]) for row in trained)
    overhead, memory = trend(trained, "overhead"), trend(trained, "rss_mb")
    findings = [
        Finding("the study is finished and served", str(served), served),
        Finding("every merchant computed in every round", str(everybody), everybody),
        Finding(
            "a service when idle",
            f"{memory.most:.0f} MB, at most 150",
            memory.most <= 150,
        ),
        Finding(
            "overhead of a round, per merchant",
            f"{overhead.median:.2f} s in all, {overhead.median / merchants:.3f} s each, "
            "at most 0.25 each",
            overhead.median / merchants <= 0.25,
        ),
    ]
    return _part(f"{merchants} merchants, {count} rounds", findings, found)


def run_idle(workdir: Path, merchants: int, seconds: float) -> Part:
    """A small study, and then nothing to do."""
    with open_market(workdir, merchants, 1) as story:
        for _ in rounds(story):
            pass
        time.sleep(2)
        found = idle(story, seconds)
        home = next(iter(story.merchants.values()))
        story.services.stop()
        requests = idle_requests(home)
    part = _part(f"{merchants} merchants, idle", judge_idle(found, requests), found)
    part["requests_a_pass"] = requests
    return part


def _part(title: str, findings: list[Finding], rows: list[dict[str, Any]]) -> Part:
    print(f"\n{title} (load of the machine {os.getloadavg()[0]:.1f})")
    for finding in findings:
        print(f"  {finding}")
    return {
        "title": title,
        "findings": [vars(finding) for finding in findings],
        "load": os.getloadavg(),
        "rows": rows,
    }


def _take_own_turns(work: Path) -> None:
    """Turns for heavy work lie in the temporary folder; those of other datasites of this user
    would count as overhead here.
    """
    own = work / "tmp"
    own.mkdir()
    os.environ["TMPDIR"] = str(own)
    tempfile.tempdir = str(own)


def main(arguments: Sequence[str]) -> None:
    """`soak [--part rounds|merchants|idle] [--rounds 200] [--merchants 4] [--report FILE]`."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="all if left out")
    parser.add_argument("--rounds", type=int, default=200, help="of the part `rounds`")
    parser.add_argument("--merchants", type=int, default=4, help="of the part `rounds`")
    parser.add_argument(
        "--light", action="store_true", help="part `rounds` with a program that computes nothing"
    )
    parser.add_argument("--many", type=int, default=30, help="merchants of the part `merchants`")
    parser.add_argument("--seconds", type=float, default=120.0, help="of the part `idle`")
    parser.add_argument("--report", type=Path, default=Path("bench/out/soak.json"))
    parser.add_argument("--picture", type=Path, help="beside the report if left out")
    chosen = parser.parse_args(arguments)
    parts = chosen.part or PARTS
    # Services are stopped and folders removed also when this is ended from outside.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    report: Part = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory(prefix="toyfed-soak-") as folder:
        work = Path(folder)
        _take_own_turns(work)
        if "rounds" in parts:
            rows = chosen.report.with_suffix(".rows.jsonl")
            rows.unlink(missing_ok=True)
            part = run_rounds(work / "rounds", chosen.merchants, chosen.rounds, rows, chosen.light)
            report["rounds"] = part
            picture = chosen.picture or chosen.report.with_suffix(".png")
            draw(part["rows"], picture, part["title"])
        if "merchants" in parts:
            report["merchants"] = run_merchants(work / "merchants", chosen.many, 5)
        if "idle" in parts:
            report["idle"] = run_idle(work / "idle", 2, chosen.seconds)
    atomic_write_text(chosen.report, json.dumps(report, indent=1))
    findings = [one for name in parts for one in report[name]["findings"]]
    broken = sum(not one["holds"] for one in findings)
    print(f"\n{len(findings) - broken} of {len(findings)} promises kept; {chosen.report}")
    sys.exit(1 if broken else 0)
