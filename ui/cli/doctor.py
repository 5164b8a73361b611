"""`toyfed doctor`: what is wrong with this installation, and what to do."""

from __future__ import annotations

import importlib.metadata
import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import typer
from rich.table import Table

from ui.cli.console import JsonOption, console, emit, guarded

__all__ = ["doctor"]

PINNED = {
    "torch": "2.13.0",
    "syft": "0.10.0",
    "syft-rds": "0.6.1",
    "syft-job": "0.1.40",
    "opacus": "1.6.0",
    "implicit": "0.7.3",
    "streamlit": "1.67.0",
    "dp-accounting": "0.6.0",
}
FREE_MB = 500
LOCKED_MB = 512  # what Python, numpy and what they load take, with room to spare


@guarded
def doctor(json_output: JsonOption = False) -> None:
    """Check Python, versions, sandbox, noise, disk and memory; exit code 1 if one is wrong."""
    found = [
        {"check": name, "ok": ok, "found": detail, "what_to_do": "" if ok else advice}
        for check in CHECKS
        for name, ok, detail, advice in check()
    ]
    if json_output:
        emit(found)
    else:
        table = Table("", "check", "found", "what to do")
        for row in found:
            mark = "[green]ok[/]" if row["ok"] else "[red]wrong[/]"
            table.add_row(mark, str(row["check"]), str(row["found"]), str(row["what_to_do"]))
        console.print(table)
    if not all(row["ok"] for row in found):
        raise typer.Exit(1)


Finding = tuple[str, bool, str, str]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield (
        "Python",
        sys.version_info[:2] == (3, 11),
        version,
        "install Python 3.11, run `make setup`",
    )


def _versions() -> Iterator[Finding]:
    for package, wanted in PINNED.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed"
        ok = version.split("+")[0] == wanted
        yield package, ok, version, f"expected {wanted}: run `make setup`"


def _sandbox() -> Iterator[Finding]:
    from datasites.merchant import sandbox
    from datasites.merchant.contributions import probe_programs

    status = sandbox.probe()
    yield "sandbox", status.available, status.detail, status.what_to_do
    if status.available:
        status = probe_programs()
        yield "programs of others", status.available, status.detail, status.what_to_do
        yield "memory they may lock", True, _lockable(), ""  # without it they run all the same


def _lockable() -> str:
    """Whether libraries of programs stay in memory, where one shopper's child evicts nothing."""
    _, most = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if os.geteuid() == 0 or most == resource.RLIM_INFINITY:
        return "as much as they need"
    if most >= LOCKED_MB * 2**20:
        return f"{most // 2**20:,} MB"
    return (
        f"{most // 2**20:,} MB: a side channel stays open where memory is short; allow this user "
        f"{LOCKED_MB} MB (`memlock` in /etc/security/limits.conf) before you approve programs"
    )


def _noise() -> Iterator[Finding]:
    from recsys.privacy import SecureNoise

    # Two draws that agree, or a spread far from 1, mean that noise would not hide anybody.
    noised, _ = SecureNoise().release_sum(np.zeros(4096), 1.0, 1.0, "self-test")
    spread = float(noised.std())
    yield "noise source", 0.9 < spread < 1.1, f"spread {spread:.3f} of 1", "report this to us"


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(".").free // 2**20
    yield "disk here", free > FREE_MB, f"{free:,} MB free", f"free at least {FREE_MB} MB"


def _memory() -> Iterator[Finding]:
    import psutil

    free = psutil.virtual_memory().available // 2**20
    yield "memory", free > FREE_MB, f"{free:,} MB available", f"free at least {FREE_MB} MB"


def _browser() -> Iterator[Finding]:
    path = shutil.which("chromium") or shutil.which("chromium-browser") or ""
    # Only `make e2e` needs it, so its absence is no fault.
    yield "browser for `make e2e`", True, path or "none (install the package chromium)", ""


def _keys() -> Iterator[Finding]:
    from datasites import private

    for variable, usual in (
        ("TOYFED_DATASITE", "toyfed-datasite"),
        ("TOYFED_STUDY", "toyfed-study"),
    ):
        keys = Path(os.environ.get(variable, usual)) / "private" / "keys"
        if not keys.is_dir():
            continue
        found = list(private.problems(keys))
        yield (
            f"keys in {keys.parents[1].name}",
            not found,
            "; ".join(found) or "only you can read them",
            "run its service or any `study` command once to close them; put real files for links",
        )


def _share() -> Iterator[Finding]:
    from datasites.merchant import MerchantHome
    from datasites.study import ScientistHome

    homes: list[tuple[str, str, Callable[[Path], MerchantHome | ScientistHome]]] = [
        ("TOYFED_DATASITE", "toyfed-datasite/merchant.toml", MerchantHome.open),
        ("TOYFED_STUDY", "toyfed-study/scientist.toml", ScientistHome.open),
    ]
    for variable, usual, opened in homes:
        settings = Path(os.environ.get(variable, Path(usual).parent)) / Path(usual).name
        if settings.exists():
            home = opened(settings.parent)
            yield _round_trip(home.root, home.settings.email, home.settings.share)


def _round_trip(home: Path, email: str, share: str) -> Finding:
    """Put, get, list and delete one small object below the own folder of the share."""
    import time
    import uuid

    from datasites.errors import DatasiteError
    from datasites.syftbox.exchange import open_store
    from datasites.syftbox.names import quoted

    name = f"share of {home.name}"
    folder = f"{quoted(email)}/doctor"
    mark = uuid.uuid4().hex
    begun = time.monotonic()
    try:
        store = open_store(home, share)
        store.put(f"{folder}/{mark}", mark.encode())
        same = store.get(f"{folder}/{mark}", 100) == mark.encode()
        same &= any(found == mark for found, _ in store.files(folder))
        store.delete(folder)
    except DatasiteError as error:
        return name, False, "not usable", str(error)
    taken = f"put, get, list, delete in {1000 * (time.monotonic() - begun):.0f} ms"
    return name, same, taken, "the share does not show what was just written; see docs/distance.md"


CHECKS: list[Callable[[], Iterator[Finding]]] = [
    _python,
    _versions,
    _sandbox,
    _noise,
    _disk,
    _memory,
    _keys,
    _share,
    _browser,
]
