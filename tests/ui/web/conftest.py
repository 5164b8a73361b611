"""Merchants with real homes, ledgers and requests; pages run by Streamlit's own test runner,
or by a server of their own for a real browser."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from streamlit.testing.v1 import AppTest

from datasites.merchant import MerchantHome, add_data
from datasites.merchant.store import load_catalogue, load_shop
from datasites.protocol import Proposal
from recsys.data import Marketplace, read_marketplace, synthesize, write_marketplace
from tests.e2e.browser import chromium
from tests.ui.web.market import (
    BARE,
    SHOP,
    STUDY,
    Filters,
    HandBuiltShop,
    Suggestion,
    file_request,
    make_home,
    write_purchases,
)
from ui.web.doors import DOORS_VARIABLE, DoorStore, Role
from ui.web.launch import address_of, free_port, start_server, stop_server, wait_ready
from ui.web.manifest import MANIFEST_VARIABLE, Manifest, write_manifest

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(autouse=True)
def sign_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Sign somebody in for the pages that a test runs; at first the visitor of a demo."""
    store = DoorStore(tmp_path / "doors.sqlite3")
    monkeypatch.setenv(DOORS_VARIABLE, str(store.path))

    def begin(role: Role, merchant: Path | None = None, shopper: str | None = None) -> str:
        secret = store.begin(role, merchant=merchant, shopper=shopper)
        monkeypatch.setattr("ui.web.doors.guard.session_secret", lambda: secret)
        return secret

    begin(Role.DEMO)
    return begin


@pytest.fixture(scope="session")
def market(tmp_path_factory: pytest.TempPathFactory) -> Marketplace:
    made = synthesize(None, merchants=2, shoppers=120, toys=60, seed=11)
    folder = tmp_path_factory.mktemp("market")
    write_marketplace(folder, made)
    return read_marketplace(folder)[0]


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory, market: Marketplace) -> Path:
    folder = tmp_path_factory.mktemp("homes")
    home = make_home(folder / "castle", SHOP)
    add_data(home, *write_purchases(folder, market))
    make_home(folder / "harbour", BARE)
    return folder


@pytest.fixture
def homes(tmp_path: Path, _built: Path) -> dict[str, MerchantHome]:
    """Two merchants: one with purchases, one fresh."""
    shutil.copytree(_built, tmp_path / "homes")
    return {
        SHOP: MerchantHome.open(tmp_path / "homes" / "castle"),
        BARE: MerchantHome.open(tmp_path / "homes" / "harbour"),
    }


@pytest.fixture
def manifest(
    tmp_path: Path, homes: dict[str, MerchantHome], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The manifest that the pages read; tests may write it anew."""
    file = tmp_path / "marketplace.json"
    roots = tuple(home.root for home in homes.values())
    write_manifest(file, Manifest(merchants=roots, study=STUDY, simulation=True))
    monkeypatch.setenv(MANIFEST_VARIABLE, str(file))
    return file


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Proposal]:
    """Put a request on a merchant's desk as the service would."""

    def make(
        home: MerchantHome, study: str = STUDY, epsilon: float = 0.5, change: str = ""
    ) -> Proposal:
        return file_request(tmp_path, home, study, epsilon, change)

    return make


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """Let every home with purchases be served by a hand-built shop."""

    def start(study: str | None = STUDY) -> None:
        def open_shop(home: MerchantHome) -> HandBuiltShop:
            catalogue = load_catalogue(home)
            return HandBuiltShop(home.settings.name, study, catalogue, load_shop(home, catalogue))

        module = ModuleType("datasites.merchant.serving")
        module.__dict__.update(open_shop=open_shop, Filters=Filters, Suggestion=Suggestion)
        monkeypatch.setitem(sys.modules, "datasites.merchant.serving", module)

    return start


@pytest.fixture
def open_page(manifest: Path) -> Callable[[str], AppTest]:
    """Run one page: "shop", "merchant" or "insights"."""

    def run(name: str) -> AppTest:
        script = f"from ui.web.views import {name}\n{name}.page()\n"
        return AppTest.from_string(script, default_timeout=30).run()

    return run


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A small report in which one merchant gains and one loses."""
    figures = {"alone": (0.08, 0.10, 0.06), "federated": (0.09, 0.13, 0.05)}
    results = {
        model: {
            "overall": {"ndcg@10": overall, "hr@10": 2 * overall, "coverage@10": None, "n": 99},
            "ci": {"ndcg@10": [overall - 0.01, overall + 0.01]},
            "merchants": {
                SHOP: {"ndcg@10": castle, "hr@10": 2 * castle},
                BARE: {"ndcg@10": harbour, "hr@10": 2 * harbour},
            },
        }
        for model, (overall, castle, harbour) in figures.items()
    }
    file = tmp_path / "report.json"
    file.write_text(
        json.dumps(
            {
                "settings": {"seed": 1},
                "results": results,
                "privacy": {SHOP: {"epsilon": 0.9, "delta": 1e-5, "events": 5}},
                "cost": {"als-1": {"seconds": 3.5, "peak_mb": 300}},
                "gain": {"ndcg@10": 0.01, "low": 0.004, "high": 0.016, "n": 99},
                "groups": {
                    "purchases of a shopper": {
                        "1 to 3": _group(0.06, 0.09),
                        "4 or more": _group(0.09, 0.08),
                    },
                    "shoppers of a merchant": {
                        "small": _group(0.05, 0.06),
                        "large": _group(0.09, 0.09),
                    },
                },
            }
        )
    )
    return file


@pytest.fixture
def server(
    manifest: Path, homes: dict[str, MerchantHome], report: Path, tmp_path: Path
) -> Iterator[str]:
    """The address of a server that shows both merchants and a report, as a simulation."""
    roots = tuple(home.root for home in homes.values())
    shown = Manifest(merchants=roots, study=STUDY, report=report, simulation=True)
    write_manifest(manifest, shown)
    port = free_port()
    process = start_server(manifest, port, log=tmp_path / "server.log")
    try:
        wait_ready(port, process=process)
        yield address_of(port)
    finally:
        stop_server(process)


@pytest.fixture
def browser_page() -> Iterator[Page]:
    """A page of a fresh headless Chromium."""
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(30_000)
        yield page


def _group(alone: float, together: float) -> dict[str, float]:
    gain = together - alone
    return {
        "alone": alone,
        "together": together,
        "gain": gain,
        "low": gain - 0.01,
        "high": gain + 0.01,
        "n": 40,
    }
