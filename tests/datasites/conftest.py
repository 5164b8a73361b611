"""A tiny market, merchants' homes and proposals of the shipped recipe."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datasites.merchant import Ledger, MerchantHome, MerchantSettings
from datasites.protocol import Proposal
from datasites.recipes import recipe_named
from datasites.syftbox.types import Submission
from recsys.data import Marketplace, Shop, synthesize, write_catalogue, write_shop
from recsys.privacy import Budget

SCIENTIST = "ada@science.test"


@pytest.fixture(scope="session")
def market() -> Marketplace:
    return synthesize(None, merchants=2, shoppers=120, toys=30)


@pytest.fixture
def shop(market: Marketplace) -> Shop:
    return max(market.shops.values(), key=lambda one: one.all.n_shoppers)


@pytest.fixture
def empty_home(tmp_path: Path) -> MerchantHome:
    settings = MerchantSettings(
        name="Castle", email="castle@toys.test", share=str(tmp_path / "share"), memory_mb=1024
    )
    return MerchantHome.create(tmp_path / "castle", settings)


@pytest.fixture
def home(empty_home: MerchantHome, market: Marketplace, shop: Shop) -> MerchantHome:
    write_catalogue(empty_home.data / "catalogue.parquet", market.catalogue)
    write_shop(empty_home.data / "shop.parquet", shop, market.catalogue)
    return empty_home


@pytest.fixture
def ledger(empty_home: MerchantHome) -> Iterator[Ledger]:
    with Ledger.create(empty_home.ledger_path, Budget(1.0, 1e-5)) as book:
        yield book


@pytest.fixture
def make_proposal(market: Marketplace) -> Callable[..., Proposal]:
    """A proposal of the shipped recipe, honest unless `changes` say otherwise."""

    def make(study: str = "toys", epsilon: float = 1.0, **changes: Any) -> Proposal:
        recipe = recipe_named("private-als")
        settings = recipe.complete({"rounds": 1, "factors": 4})
        values: dict[str, Any] = {
            "study": study,
            "recipe": "private-als",
            "settings": settings,
            "catalogue": market.catalogue.digest,
            "n_items": market.catalogue.n_items,
            "epsilon": epsilon,
            "delta": 1e-5,
            "phases": recipe.phases(settings, Budget(epsilon, 1e-5), market.catalogue.n_items),
        }
        return Proposal(**(values | changes))

    return make


@pytest.fixture
def make_submission(tmp_path: Path) -> Callable[..., Submission]:
    """A job as the link hands it out; `main` replaces the recipe's main.py."""

    def make(job: str, message: Any, *, main: str | None = None, sender: str = SCIENTIST) -> Any:
        code = tmp_path / "arrived" / job / "code"
        shutil.copytree(
            recipe_named("private-als").code, code, ignore=shutil.ignore_patterns("__pycache__")
        )
        if main is not None:
            (code / "main.py").write_text(main)
        params = message if isinstance(message, dict) else message.model_dump(mode="json")
        return Submission(job=job, sender=sender, code=code, params=params)

    return make
