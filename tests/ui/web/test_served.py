"""Open shops: who waits for a new version, and who may go on with the old one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from datasites.errors import SettingsError
from datasites.merchant import MerchantHome
from tests.ui.web.market import SHOP
from ui.web import served as module
from ui.web.served import served_shop

pytestmark = pytest.mark.attack


class Opening:
    """Stands in for opening a shop: slow, and counted."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()
        self.may_end.set()
        self.opened = 0

    def __call__(self, _home: MerchantHome) -> object:
        self.opened += 1
        made = f"shop {self.opened}"
        self.begun.set()
        assert self.may_end.wait(20)
        return made


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Opening:
    found = Opening()
    monkeypatch.setattr("datasites.merchant.serving.open_shop", found)
    module._shops.clear()
    return found


def change(file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" " if file.exists() else b" ")


def ask_twice(home: MerchantHome, opening: Opening) -> list[object]:
    """One asks, and while the shop opens for that one, another does."""
    answers: list[object] = []
    opening.begun.clear()
    opening.may_end.clear()
    first = threading.Thread(target=lambda: answers.append(served_shop(home)))
    first.start()
    assert opening.begun.wait(20)
    second = threading.Thread(target=lambda: answers.append(served_shop(home)))
    second.start()
    second.join(0.5)
    opening.may_end.set()
    first.join(20)
    second.join(20)
    return answers


def test_a_new_model_keeps_nobody_waiting(homes: dict[str, MerchantHome], opening: Opening) -> None:
    home = homes[SHOP]
    assert served_shop(home) == "shop 1"
    change(home.serving / "current.json")
    assert ask_twice(home, opening) == ["shop 1", "shop 2"]


@pytest.mark.parametrize("what", ["data/shop.parquet", "serving/stale"])
def test_with_other_purchases_nobody_gets_the_old_shop(
    homes: dict[str, MerchantHome], opening: Opening, what: str
) -> None:
    home = homes[SHOP]
    assert served_shop(home) == "shop 1"
    change(home.private / what)
    assert ask_twice(home, opening) == ["shop 2", "shop 2"]


def test_a_shop_that_opened_while_somebody_was_forgotten_is_not_kept(
    homes: dict[str, MerchantHome], opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = homes[SHOP]

    def open_shop(_home: MerchantHome) -> object:
        opening.opened += 1
        if opening.opened == 1:
            change(home.data / "shop.parquet")
        return f"shop {opening.opened}"

    monkeypatch.setattr("datasites.merchant.serving.open_shop", open_shop)
    assert served_shop(home) == "shop 2"


def test_a_shop_that_cannot_be_opened_any_more_is_let_go(
    homes: dict[str, MerchantHome], opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = homes[SHOP]
    assert served_shop(home) == "shop 1"

    def closed(_home: MerchantHome) -> object:
        raise SettingsError("closed")

    monkeypatch.setattr("datasites.merchant.serving.open_shop", closed)
    change(home.serving / "stale")
    with pytest.raises(SettingsError):
        served_shop(home)
    assert home.root not in module._shops
