"""The keyboard alone is enough: Tab and arrows reach all that a mouse can press; two stories."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from datasites.merchant import Ledger, MerchantHome
from datasites.protocol import Proposal
from tests.e2e.browser import settle
from tests.ui.web.market import SHOP, join
from ui.web.doors import Role
from ui.web.launch import doors_beside, link_to

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.e2e
MOST_STEPS = 300
NUMBER_THEM = """() => {
  const wanted = 'a[href],button,input,select,textarea,summary,[role=tab],[role=slider]';
  let number = 0;
  for (const one of document.querySelectorAll(wanted)) {
    const box = one.getBoundingClientRect();
    delete one.dataset.mouse;
    if (!one.checkVisibility({visibilityProperty: true}) || !box.width || !box.height) continue;
    if (one.disabled || one.closest('[inert],[aria-hidden=true]')) continue;
    one.dataset.mouse = number++;
  }
  return number;
}"""
"""Gives each thing that a mouse can press a number."""
NOT_REACHED = """seen => {
  const reached = one => seen.includes(one.dataset.mouse);
  const groups = '[role=tablist],[role=radiogroup],[data-testid=stNumberInput],' +
    '[data-testid=stSelectbox],[data-testid=stMultiSelect]';
  // Of a group, Tab reaches one and the arrows the others; a box to type in opens its own list.
  const byArrows = one =>
    [...(one.closest(groups)?.querySelectorAll('[data-mouse]') ?? [])].some(reached);
  const plain = one => !one.matches('[tabindex="-1"],[role=radio],[type=radio]');
  return [...document.querySelectorAll('[data-mouse]')]
    .filter(one => !reached(one) && (plain(one) || !byArrows(one)))
    .map(one => one.outerHTML.slice(0, 300));
}"""
FOCUSED = "document.activeElement.dataset.mouse ?? ''"


@pytest.fixture
def page(
    browser_page: Page,
    server: str,
    homes: dict[str, MerchantHome],
    manifest: Path,
    ask: Callable[..., Proposal],
) -> Page:
    """The visitor of a demo, in a shop that joined and whose merchant has a request to decide."""
    del server
    join(homes[SHOP])
    ask(homes[SHOP], "another-study")
    browser_page.goto(link_to(doors_beside(manifest), Role.DEMO))
    browser_page.locator(".tf-card").nth(11).wait_for()
    settle(browser_page)
    return browser_page


@pytest.mark.parametrize("name", ["Shop", "Merchant", "Insights", "Recipes"])
def test_what_a_mouse_can_press_is_reached(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).first.click()
    page.wait_for_timeout(1500)
    settle(page)
    assert page.evaluate(NUMBER_THEM) >= 8
    seen, rounds = [], 0
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        rounds += page.evaluate("document.activeElement === document.body")
        if rounds == 2:  # the first one began in the middle, where somebody clicked last
            break
    else:
        pytest.fail("Tab never left the page: something holds it")
    assert page.evaluate(NOT_REACHED, seen) == []


def test_a_merchant_decides_by_keyboard(page: Page, homes: dict[str, MerchantHome]) -> None:
    page.get_by_role("link", name="Merchant").first.click()
    page.get_by_text("another-study from").first.wait_for()
    settle(page)
    walk_to(page, "Approve …")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    walk_to(page, "Approve …")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    walk_to(page, "Approve")
    page.keyboard.press("Enter")
    page.get_by_text("Approved another-study until").wait_for()
    assert Ledger.open(homes[SHOP].ledger_path).approval("another-study") is not None


def test_a_shopper_finds_toys_and_puts_one_aside_by_keyboard(page: Page) -> None:
    title = page.locator(".tf-card .tf-title").nth(3).inner_text()
    walk_to(page, "More like one toy")
    page.keyboard.press("Enter")
    page.get_by_label("Search a toy").wait_for()
    walk_to(page, "Search a toy")
    page.keyboard.type(title)
    page.keyboard.press("Enter")
    page.get_by_role("combobox", name="Toy").wait_for()
    settle(page)
    assert page.locator(".tf-card").count() == 12 + 6
    walk_to(page, "Basket")
    page.keyboard.press("Enter")
    page.get_by_text("Basket: 1 toy").wait_for()


def walk_to(page: Page, name: str) -> None:
    """Press Tab until what has the focus is called this."""
    called = """() => {
      const one = document.activeElement, label = one.labels?.[0]?.innerText;
      return (one.getAttribute('aria-label') || label || one.innerText || '').trim();
    }"""
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        if page.evaluate(called).split("\n")[-1].strip() == name:
            return
    pytest.fail(f"expected Tab to reach {name!r}, and it did not")
