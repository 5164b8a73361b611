"""A shop that serves, with keys to ask it."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette

from datasites.merchant import MerchantHome
from datasites.merchant.store import load_catalogue, load_shop
from tests.ui.asgi import TestClient
from tests.ui.web.market import SHOP
from ui.api import Api, KeyRing, api_routes

Homes = dict[str, MerchantHome]


class World:
    def __init__(self, homes: Homes) -> None:
        self.now = 100.0
        self.home = homes[SHOP]
        self.ring = KeyRing(self.home)
        self.api = Api(homes.values, open_metrics=True, clock=lambda: self.now)
        self.client = TestClient(Starlette(routes=api_routes(self.api)))
        self.catalogue = load_catalogue(self.home)
        self.shop = load_shop(self.home, self.catalogue).all
        self.key = self.ring.new("tests", per_second=1000)
        self.full_key = self.ring.new("tests", per_second=1000, shoppers=True)

    def ids(self, *items: int) -> list[str]:
        return [str(self.catalogue.item_ids[item]) for item in items]

    def get(self, path: str, key: str | None = None, **headers: str) -> Any:
        sent = {"authorization": f"Bearer {self.key if key is None else key}"}
        return self.client.get(path, headers=sent | headers)

    def post(self, body: Any, key: str | None = None, path: str = "/api/recommend") -> Any:
        sent = {"authorization": f"Bearer {self.key if key is None else key}"}
        return self.client.post(path, json=body, headers=sent)


def problem(answer: Any) -> str:
    """The refusal's words, after a look at its form."""
    found = answer.json()
    assert found.keys() == {"expected", "found", "what_to_do"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    return " ".join(found.values())
