"""A shop that really serves, behind the API's own routes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from datasites.merchant import MerchantHome, add_data
from recsys.data import read_marketplace, synthesize, write_marketplace
from tests.ui.api.world import World
from tests.ui.web.market import BARE, SHOP, join, make_home, write_purchases


@pytest.fixture(scope="session")
def _joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("api-market")
    write_marketplace(folder, synthesize(None, merchants=2, shoppers=120, toys=60, seed=11))
    home = make_home(folder / "castle", SHOP)
    add_data(home, *write_purchases(folder, read_marketplace(folder)[0]))
    join(home)
    make_home(folder / "harbour", BARE)
    return folder


@pytest.fixture
def homes(tmp_path: Path, _joined: Path) -> dict[str, MerchantHome]:
    """One merchant that serves, one that has nothing yet."""
    found = {}
    for name, folder in ((SHOP, "castle"), (BARE, "harbour")):
        shutil.copytree(_joined / folder, tmp_path / folder)
        found[name] = MerchantHome.open(tmp_path / folder)
    return found


@pytest.fixture
def world(homes: dict[str, MerchantHome]) -> World:
    return World(homes)
