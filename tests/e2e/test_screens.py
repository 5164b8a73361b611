"""Each role's main story on a running marketplace, through the pages, in a real browser."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datasites.merchant import Ledger, desk
from datasites.simulation import Story
from datasites.simulation.report import build_report, write_manifest
from datasites.study import new_study, parse_study
from recsys.evaluation import Report
from recsys.files import atomic_write_text
from tests.e2e.browser import chromium, grave_faults, keep_picture, open_page, settle
from ui.web.doors import Role
from ui.web.launch import doors_beside, free_port, link_to, start_server, stop_server, wait_ready

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.e2e
OpenStory = Callable[..., Story]


@dataclass
class Pages:
    """Pages over a marketplace, and links into them."""

    story: Story
    report: Path
    browser: Browser
    manifest: Path
    port: int
    log: Path
    server: subprocess.Popen[bytes] | None = None

    @property
    def doors(self) -> Path:
        return doors_beside(self.manifest)

    def start(self) -> None:
        self.server = start_server(self.manifest, self.port, log=self.log)
        wait_ready(self.port, process=self.server)

    def kill_and_start(self) -> None:
        """As a crash and whoever watches over the page would."""
        assert self.server is not None
        self.server.kill()
        self.server.wait()
        self.start()

    def enter(self, role: Role, at: str = "", **settings: object) -> Page:
        """Sign somebody in by a fresh link."""
        merchant = self.story.merchants[at].root if at else None
        return open_page(self.browser, link_to(self.doors, role, merchant=merchant), **settings)


@pytest.fixture
def pages(open_story: OpenStory, tmp_path: Path) -> Iterator[Pages]:
    story = open_story(epsilon=8.0)
    report = tmp_path / "report.json"
    manifest = write_manifest(story, report)
    with chromium() as browser:
        found = Pages(story, report, browser, manifest, free_port(), tmp_path / "web.log")
        try:
            found.start()
            yield found
        finally:
            if found.server is not None:
                stop_server(found.server)


def test_a_study_from_the_form_to_a_basket(pages: Pages) -> None:
    first, *others = pages.story.merchants
    desk_page = pages.enter(Role.SCIENTIST)
    _compose(desk_page)
    _others_approve(pages.story, others)
    _approve(pages.enter(Role.MERCHANT, first), first)
    _run(pages, desk_page)
    _compare(pages, desk_page)
    _look_at_the_console(pages, first)
    _shop(pages, first)
    _insights(pages)


def _compose(page: Page) -> None:
    _tab(page, "New study")
    page.get_by_label("Name", exact=True).fill("toys")
    page.get_by_label("Name", exact=True).press("Enter")
    settle(page)
    page.get_by_label("Rounds").fill("1")
    page.get_by_label("Rounds").press("Enter")
    settle(page)
    page.get_by_role("slider").first.press("End")
    settle(page)
    page.get_by_text("What each merchant would release").first.wait_for()
    for _ in range(80):
        page.get_by_role("slider").first.press("ArrowLeft")
    settle(page)
    keep_picture(page, "study-new")
    assert not grave_faults(page)
    page.get_by_role("button", name="Write this study").click()
    settle(page)
    _tab(page, "Studies")
    page.get_by_role("button", name="Try it on mock purchases").click()
    page.get_by_text("On mock purchases it went well").wait_for(timeout=90_000)
    settle(page)
    page.get_by_role("button", name="Submit to the merchants").click()
    page.get_by_role("button", name="Run", exact=True).wait_for()


def _others_approve(story: Story, names: list[str]) -> None:
    for name in names:
        home = story.merchants[name]
        ledger = Ledger.open(home.ledger_path)
        _until(lambda home=home, ledger=ledger: bool(desk.requests(home, ledger)))
        desk.approve(home, ledger, "toys", by="me")


def _approve(page: Page, name: str) -> None:
    assert name in page.inner_text("h1")
    _until(lambda: _looked_again(page, "toys"))
    keep_picture(page, "merchant-request")
    assert not grave_faults(page)
    page.get_by_role("button", name="Approve …").first.click()
    page.get_by_role("button", name="Approve", exact=True).click()
    page.get_by_text("Approved toys until").wait_for()
    settle(page)


def _looked_again(page: Page, text: str) -> bool:
    page.get_by_role("button", name="Look again").click()
    settle(page)
    return page.get_by_role("button", name="Approve …").count() > 0


def _run(pages: Pages, page: Page) -> None:
    _until(lambda: _all_said_yes(page))
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    # The study runs in a process of its own, and the open page comes back by itself.
    pages.kill_and_start()
    page.get_by_text("als-1 merged").or_(page.get_by_text("5 of 5 phases")).first.wait_for(
        timeout=150_000, state="attached"
    )
    keep_picture(page, "study-running")
    _until(lambda: _finished(page), seconds=150)
    keep_picture(page, "study")
    assert not grave_faults(page)


def _compare(pages: Pages, page: Page) -> None:
    """Beside a draft that asks for less privacy budget."""
    people = {
        "name": "toys-again",
        "merchants": [m.settings.email for m in pages.story.merchants.values()],
    }
    settings = {"study": people, "privacy": {"epsilon": 0.5}, "model": {"rounds": 2}}
    new_study(pages.story.scientist, parse_study(settings))
    page.reload()
    page.wait_for_selector("h1")
    _tab(page, "Compare")
    page.get_by_text("How good, as released").first.wait_for()
    page.locator('[data-testid="stVegaLiteChart"]:visible').first.wait_for()
    assert not grave_faults(page)
    keep_picture(page, "study-compare")


def _all_said_yes(page: Page) -> bool:
    page.get_by_role("button", name="Ask what the merchants said").click()
    settle(page)
    page.wait_for_timeout(1000)
    return True


def _finished(page: Page) -> bool:
    page.reload()
    page.wait_for_selector("h1")
    settle(page)
    return page.get_by_role("button", name="Model card").count() > 0


def _look_at_the_console(pages: Pages, name: str) -> None:
    page = pages.enter(Role.MERCHANT, name)
    for tab in ("Runs", "What joining brought", "Ledger", "Peers", "Data"):
        _tab(page, tab)
        assert not page.get_by_text("Traceback").count()
        assert not grave_faults(page), tab
        keep_picture(page, "merchant-" + re.sub("[^a-z]+", "-", tab.lower()))


def _shop(pages: Pages, name: str) -> None:
    _until(lambda: (pages.story.merchants[name].serving / "current.json").exists())
    page = pages.enter(Role.DEMO)
    page.get_by_text("Recommended by").first.wait_for()
    before = page.locator(".tf-card .tf-title").all_inner_texts()
    keep_picture(page, "shop")
    assert not grave_faults(page)
    # By keyboard alone: find the first basket button and press it.
    page.get_by_role("button", name="Basket").first.focus()
    page.keyboard.press("Enter")
    page.get_by_text("Basket: 1 toy").wait_for()
    page.locator(".tf-card .tf-title", has_text=before[0]).wait_for(state="detached")
    settle(page)
    after = page.locator(".tf-card .tf-title").all_inner_texts()
    _come_back(pages, page, after)
    narrow = pages.enter(Role.DEMO, viewport={"width": 390, "height": 844})
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 390
    keep_picture(narrow, "shop-phone")
    dark = pages.enter(Role.DEMO, color_scheme="dark")
    keep_picture(dark, "shop-dark")
    assert not grave_faults(dark)


def _come_back(pages: Pages, page: Page, cards: list[str]) -> None:
    """The page's process is killed: whoever looks at it stays signed in and keeps the basket."""
    pages.kill_and_start()
    page.reload()
    page.wait_for_selector("h1")
    page.get_by_text("Basket: 1 toy").wait_for()
    page.locator(".tf-card").nth(len(cards) - 1).wait_for()
    settle(page)
    assert page.locator(".tf-card .tf-title").all_inner_texts() == cards


def _insights(pages: Pages) -> None:
    measured = Report()
    build_report(pages.story, measured)
    atomic_write_text(pages.report, measured.to_json())
    page = pages.enter(Role.ANALYST)
    for tab in ("Quality", "Who gains", "Breadth", "Map of toys", "Privacy", "Cost", "All figures"):
        _tab(page, tab)
        assert not grave_faults(page), tab
        keep_picture(page, "insights-" + re.sub("[^a-z]+", "-", tab.lower()))
    _tab(page, "Quality")
    with page.expect_download() as download:
        page.get_by_role("button", name="PNG").first.click()
    assert Path(download.value.path()).read_bytes().startswith(b"\x89PNG")


def _tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name).first.click()
    settle(page)


def _until(happened: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.3)
