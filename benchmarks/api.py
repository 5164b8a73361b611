"""`python -m benchmarks api`: the API under a steady load, on this machine alone.

A market of 12,000 toys is invented, one merchant fits a blend with a shared part on it, and the
real server process answers over loopback. Questions arrive at a fixed rate whatever the answers
take (an "open" load), so that a server that falls behind is seen to: latency counts from the
moment at which a question was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np

from datasites.merchant import Ledger, MerchantHome, MerchantSettings, add_data
from datasites.merchant.fit import fit
from datasites.merchant.store import load_catalogue, load_shop
from datasites.recipes import recipe_named
from recsys.artifact import SharedModel, save_model
from recsys.data import Marketplace, synthesize
from recsys.privacy import Budget

__all__ = ["main", "shop_of"]

STUDY = "bench"
GOAL_RATE, GOAL_P99_MS = 200.0, 100.0
MIXES = {
    "baskets": (1.0, 0.0),
    "a web shop (half item pages)": (0.3, 0.5),
    "item pages": (0.0, 1.0),
}
"""Share of baskets (POST) and of item pages (GET similar); the rest asks for popular toys."""


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks api", description=__doc__)
    parser.add_argument("--toys", type=int, default=12_000)
    parser.add_argument("--shoppers", type=int, default=6_000)
    parser.add_argument("--rate", type=float, default=GOAL_RATE, help="questions a second")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each mix")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--report", type=Path, help="write figures here, as JSON")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="toyfed-bench-api-") as folder:
        home = shop_of(Path(folder), chosen.toys, chosen.shoppers)
        figures = _measure(home, Path(folder), chosen)
    if chosen.report:
        from recsys.files import atomic_write_text

        atomic_write_text(chosen.report, json.dumps(figures, indent=1))


def shop_of(folder: Path, toys: int, shoppers: int) -> MerchantHome:
    """A merchant who serves alone and together, without the network between."""
    market = synthesize(None, merchants=1, shoppers=shoppers, toys=toys, seed=1)
    home = MerchantHome.create(
        folder / "shop",
        MerchantSettings(name="Bench Toys", email="bench@toyfed.local", share=str(folder / "s")),
    )
    Ledger.create(home.ledger_path, Budget(1.0, 1e-5))
    add_data(home, *_files(folder, market))
    catalogue = load_catalogue(home)
    bought = load_shop(home, catalogue).split.train.csr()
    # The size of a shared model is what counts here, not what is in it.
    rng = np.random.default_rng(1)
    save_model(
        home.models / STUDY,
        SharedModel(
            recipe="private-als",
            settings={"model": recipe_named("private-als").complete({})},
            catalogue_digest=catalogue.digest,
            epsilon={home.settings.email: 0.5},
            delta=1e-5,
            events={},
            arrays={
                "item_embeddings": rng.normal(size=(catalogue.n_items, 32)).astype(np.float32),
                "item_counts": np.asarray(bought.sum(axis=0)).ravel().astype(np.float32),
            },
        ),
    )
    fit(home, STUDY)
    return home


def _files(folder: Path, market: Marketplace) -> tuple[Path, Path]:
    (shop,) = market.shops.values()
    lines = ["shopper_id,item_id,position"]
    for row in range(shop.all.n_shoppers):
        lines += [
            f"{shop.all.shopper_ids[row]},{market.catalogue.item_ids[item]},{position}"
            for position, item in enumerate(shop.all.history(row))
        ]
    purchases, items = folder / "purchases.csv", folder / "items.csv"
    purchases.write_text("\n".join(lines) + "\n")
    market.catalogue.frame.to_csv(items, index=False)
    return purchases, items


def _measure(
    home: MerchantHome, folder: Path, chosen: argparse.Namespace
) -> dict[str, dict[str, float]]:
    from ui.api import KeyRing
    from ui.web.launch import free_port, start_server, stop_server, wait_ready
    from ui.web.manifest import Manifest, write_manifest

    key = KeyRing(home).new("benchmark", shoppers=True, per_second=100_000)
    write_manifest(folder / "marketplace.json", Manifest(merchants=(home.root,)))
    items = [str(one) for one in load_catalogue(home).item_ids]
    shop = load_shop(home, load_catalogue(home)).all
    baskets = [[items[one] for one in shop.history(row)] for row in range(shop.n_shoppers)]
    port = free_port()
    server = start_server(folder / "marketplace.json", port, log=folder / "server.log")
    figures = {}
    try:
        wait_ready(port, process=server)
        load = _Load(port, key, items, baskets, chosen.connections)
        asyncio.run(load.run(20, 2.0, (0.5, 0.25)))  # opens the shop
        print(f"{len(items):,} toys, {len(baskets):,} shoppers, load {os.getloadavg()[0]:.1f}")
        for name, mix in MIXES.items():
            before = _cpu_seconds(server.pid)
            found = asyncio.run(load.run(chosen.rate, chosen.seconds, mix))
            found["server_cpu"] = (_cpu_seconds(server.pid) - before) / found["seconds"]
            figures[name] = found
            good = found["p99_ms"] < GOAL_P99_MS and found["not_200"] == 0
            print(
                f"{name}: {found['rate']:.0f}/s, p50 {found['p50_ms']:.1f} ms, "
                f"p99 {found['p99_ms']:.1f} ms, worst {found['worst_ms']:.0f} ms, "
                f"{found['not_200']:.0f} not answered, server {found['server_cpu']:.2f} cores: "
                f"{'PASS' if good else 'FAIL'} (p99 < {GOAL_P99_MS:g} ms)",
                flush=True,
            )
        print(f"load {os.getloadavg()[0]:.1f} at the end")
    finally:
        stop_server(server)
    return figures


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Load:
    """Questions at a fixed rate over a few connections that stay open."""

    def __init__(
        self, port: int, key: str, items: list[str], baskets: list[list[str]], connections: int
    ) -> None:
        self._port, self._key = port, key
        self._items, self._baskets = items, baskets
        self._connections = connections
        self._rng = random.Random(1)

    async def run(self, rate: float, seconds: float, mix: tuple[float, float]) -> dict[str, float]:
        """Ask for `seconds`; latencies from when each question was due."""
        due: asyncio.Queue[float | None] = asyncio.Queue()
        latencies: list[float] = []
        statuses: Counter[int] = Counter()
        workers = [
            asyncio.create_task(self._work(due, mix, latencies, statuses))
            for _ in range(self._connections)
        ]
        began = time.perf_counter()
        for number in range(int(rate * seconds)):
            at = began + number / rate
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            due.put_nowait(at)
        for _ in workers:
            due.put_nowait(None)
        await asyncio.gather(*workers)
        took = time.perf_counter() - began
        millis = np.sort(np.array(latencies)) * 1000
        return {
            "rate": len(latencies) / took,
            "seconds": took,
            "p50_ms": float(np.quantile(millis, 0.5)),
            "p99_ms": float(np.quantile(millis, 0.99)),
            "worst_ms": float(millis[-1]),
            "not_200": float(sum(n for status, n in statuses.items() if status != 200)),
        }

    async def _work(
        self,
        due: asyncio.Queue[float | None],
        mix: tuple[float, float],
        latencies: list[float],
        statuses: Counter[int],
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            while (at := await due.get()) is not None:
                writer.write(self._question(mix))
                await writer.drain()
                statuses[await _answer(reader.readline, reader.readexactly)] += 1
                latencies.append(time.perf_counter() - at)
        finally:
            writer.close()

    def _question(self, mix: tuple[float, float]) -> bytes:
        share, rng = self._rng.random(), self._rng
        body = b""
        if share < mix[0]:
            path = "/api/recommend"
            body = json.dumps({"basket": rng.choice(self._baskets)[:200]}).encode()
        elif share < sum(mix):
            # Half of what is looked at is one of a hundred toys, as in shops.
            few = self._items[:100] if rng.random() < 0.5 else self._items
            path = f"/api/similar?item={rng.choice(few)}"
        else:
            path = f"/api/recommend?n={rng.randint(5, 20)}"
        lines = [
            f"{'POST' if body else 'GET'} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            f"Authorization: Bearer {self._key}",
            f"Content-Length: {len(body)}",
            *(["Content-Type: application/json"] if body else []),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def _answer(
    line: Callable[[], Awaitable[bytes]], exactly: Callable[[int], Awaitable[bytes]]
) -> int:
    status, length = int((await line()).split()[1]), 0
    while (header := await line()) not in (b"\r\n", b""):
        name, _, value = header.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    await exactly(length)
    return status
