"""`python -m benchmarks pages`: what people wait for at the pages, in a real headless Chromium.

A market is invented, one merchant serves a blend with a shared part on it and has a desk full of
requests. Times are what a person sees: from the click to the changed page, medians of a few.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.api import shop_of
from datasites.merchant import Ledger, MerchantHome, desk
from datasites.merchant.store import load_catalogue
from datasites.protocol import Proposal
from datasites.recipes import recipe_named
from recsys.privacy import Budget

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["main"]

BASKET_GOAL_MS = 200.0
REPEATS = 7
NEXT = '[data-testid="stPaginationNext"]'
# Waits inside the page, so that no time of the driver between is counted.
CHANGED = """([click, watched]) => new Promise((done, fail) => {
    const now = () => (document.querySelector(watched) || {}).innerText;
    const before = now(), began = performance.now();
    document.querySelector(click).click();
    const look = () => {
        const text = now();
        if (text && text !== before) return done(performance.now() - began);
        if (performance.now() - began > 60000) return fail(new Error("nothing changed"));
        requestAnimationFrame(look);
    };
    look();
})"""


@dataclass(frozen=True)
class Submission:
    """The part of a submission that a desk reads."""

    job: str
    sender: str
    code: Path


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks pages", description=__doc__)
    parser.add_argument("--toys", type=int, default=12_000)
    parser.add_argument("--shoppers", type=int, default=6_000)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--report", type=Path, help="write figures here, as JSON")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="toyfed-bench-pages-") as folder:
        home = shop_of(Path(folder), chosen.toys, chosen.shoppers)
        _fill_desk(home, chosen.requests)
        figures = _measure(home, Path(folder))
    print(f"{chosen.toys:,} toys, {chosen.requests:,} requests; medians, in ms")
    for what, millis in figures.items():
        print(f"  {what:<44} {millis:>8,.0f}")
    good = figures["basket: click to new cards"] < BASKET_GOAL_MS
    print(f"basket under {BASKET_GOAL_MS:g} ms: {'PASS' if good else 'FAIL'}")
    if chosen.report:
        from recsys.files import atomic_write_text

        atomic_write_text(chosen.report, json.dumps(figures, indent=1))


def _fill_desk(home: MerchantHome, number: int) -> None:
    """Requests of the same recipe under many names, all but the last few rejected."""
    recipe, catalogue = recipe_named("private-als"), load_catalogue(home)
    settings, budget = recipe.complete({}), Budget(0.01, 1e-5)
    first = Proposal(
        study="study-0",
        recipe="private-als",
        settings=settings,
        catalogue=catalogue.digest,
        n_items=catalogue.n_items,
        epsilon=budget.epsilon,
        delta=budget.delta,
        phases=recipe.phases(settings, budget, catalogue.n_items),
    )
    ledger = Ledger.open(home.ledger_path)
    for one in range(number):
        proposal = first.model_copy(update={"study": f"study-{one}"})
        sent = Submission(f"{proposal.study}-proposal", "lab@toyfed.local", recipe.code)
        desk.file_request(home, ledger, sent, proposal)
        if one < number - 5:
            desk.reject(home, ledger, proposal.study, reason="not now", by="benchmark")


def _measure(home: MerchantHome, folder: Path) -> dict[str, float]:
    from playwright.sync_api import sync_playwright

    from ui.web.doors import Role
    from ui.web.launch import (
        doors_beside,
        free_port,
        link_to,
        start_server,
        stop_server,
        wait_ready,
    )
    from ui.web.manifest import Manifest, write_manifest

    manifest = folder / "marketplace.json"
    write_manifest(manifest, Manifest(merchants=(home.root,)))
    port = free_port()
    server = start_server(manifest, port, log=folder / "server.log")
    browser_path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert browser_path, "expected Chromium; `make browser` installs it"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += [f"--disable-{one}" for one in ("background-networking", "component-update", "sync")]
    try:
        wait_ready(port, process=server)
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=browser_path, args=flags)

            def enter(role: Role, ready: str) -> tuple[Page, float]:
                link = link_to(doors_beside(manifest), role, merchant=home.root)
                page = browser.new_context(viewport={"width": 1360, "height": 900}).new_page()
                page.set_default_timeout(120_000)
                began = time.perf_counter()
                page.goto(link)
                page.wait_for_selector(ready)
                return page, (time.perf_counter() - began) * 1000

            figures = _shop(enter)
            figures |= _console(enter)
            browser.close()
        return figures
    finally:
        stop_server(server)


Enter = Callable[..., "tuple[Page, float]"]


def _shop(enter: Enter) -> dict[str, float]:
    from ui.web.doors import Role

    card = '.st-key-cards [class*="st-key-add-"] button'
    _, first = enter(Role.SHOPPER, card)
    figures = {"shop: first visit after a start": first}
    page, figures["shop: next visitor"] = enter(Role.SHOPPER, card)
    page.wait_for_timeout(1000)
    baskets = []
    for _ in range(REPEATS):
        baskets.append(page.evaluate(CHANGED, [card, ".st-key-cards"]))
        page.wait_for_timeout(700)
    figures["basket: click to new cards"] = statistics.median(baskets)
    figures["search: words to hits"] = statistics.median(_searches(page))
    return figures


def _searches(page: Page) -> list[float]:
    field = page.get_by_label("Search toys")
    if not field.count():
        page.get_by_text("More like one toy").click()
        field = page.get_by_label("Search a toy")
    millis = []
    for words in ("train", "doll", "puzzle", "blocks", "car"):
        field.fill(words)
        began = time.perf_counter()
        field.press("Enter")
        page.wait_for_timeout(30)
        page.locator('[data-testid="stStatusWidget"]').wait_for(state="hidden")
        page.wait_for_function("() => !document.querySelector('[data-stale=true]')")
        millis.append((time.perf_counter() - began) * 1000)
    return millis


def _console(enter: Enter) -> dict[str, float]:
    from ui.web.doors import Role

    queue = '[class*="st-key-tabs-study-"]'
    page, opened = enter(Role.MERCHANT, queue)
    page.wait_for_timeout(3000)
    turns = []
    for _ in range(4):
        turns.append(page.evaluate(CHANGED, [NEXT, '[data-testid="stExpander"]']))
        page.wait_for_timeout(1000)
    return {"console: opened": opened, "console: next page of requests": statistics.median(turns)}
