"""A quiet headless Chromium, and what every walk through the pages needs."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["chromium", "grave_faults", "keep_picture", "open_page", "settle"]

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = "TOYFED_PICTURES"
"""Names the folder that pictures of the pages are kept in; none are kept without it."""
SHOWN = {
    "insights-map-of-toys",
    "insights-who-gains",
    "merchant-ledger",
    "merchant-request",
    "merchant-runs",
    "shop",
    "shop-phone",
    "study",
    "study-compare",
    "study-new",
}
"""Those that docs/screens.md shows."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, closed at the end."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "these tests need Chromium: `make browser` installs it"
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Browser, link: str, **settings: Any) -> Page:
    """A fresh person: a context of its own, signed in by a link."""
    context = browser.new_context(**({"viewport": {"width": 1360, "height": 900}} | settings))
    context.set_default_timeout(45_000)
    page = context.new_page()
    page.goto(link)
    page.wait_for_selector("h1")
    settle(page)
    return page


def settle(page: Page) -> None:
    """Wait until Streamlit has finished a run of the page."""
    page.wait_for_timeout(400)
    page.locator('[data-testid="stStatusWidget"]').wait_for(state="hidden")
    for _ in range(100):
        if not page.locator('[data-stale="true"]:visible').count():
            break
        page.wait_for_timeout(200)
    page.wait_for_timeout(400)


def keep_picture(page: Page, name: str) -> None:
    """Keep a picture of what is seen, where somebody asked for pictures and a page shows it."""
    folder = os.environ.get(PICTURES)
    if folder and name in SHOWN:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.png")


def grave_faults(page: Page) -> list[str]:
    """Serious and critical faults that axe finds: rule, how often, and the first element.

    Looked for twice where there are some: colours that fade in are no fault.
    """
    faults = _faults(page)
    if faults:
        page.wait_for_timeout(1500)
        faults = _faults(page)
    return faults


def _faults(page: Page) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']} x{len(one['nodes'])}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
