"""What the tests of the pages share: a shop built by hand, merchants' files, a page's words."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

from datasites.merchant import Ledger, MerchantHome, MerchantSettings, desk
from datasites.merchant.store import load_catalogue, load_shop
from datasites.protocol import Proposal
from datasites.recipes import recipe_named
from recsys.artifact import SharedModel, save_model
from recsys.data import Catalogue, Interactions, Marketplace, Shop
from recsys.models.content import ContentSimilarity
from recsys.models.popularity import Popularity
from recsys.privacy import Budget

SHOP, BARE = "Castle Toys", "Harbour Toys"
STUDY = "toys-2026"


@dataclass(frozen=True)
class Submission:
    """The part of a PySyft submission that the desk reads."""

    job: str
    sender: str
    code: Path
    params: dict[str, Any]


@dataclass(frozen=True)
class Filters:
    price_max: float | None = None
    age: float | None = None
    categories: tuple[str, ...] = ()
    exclude: tuple[int, ...] = ()
    sold_out_too: bool = False


@dataclass(frozen=True)
class Suggestion:
    item: int
    score: float
    reason: str


OWN: list[bool] = []
"""Of every list that a hand-built shop was asked for: whether as for one's own history."""


class HandBuiltShop:
    """A served shop over real purchases: content alone, popularity when together."""

    knows_stock = False

    def __init__(self, name: str, study: str | None, catalogue: Catalogue, shop: Shop) -> None:
        self.name, self.study, self.catalogue = name, study, catalogue
        self._histories = shop.all
        self.shopper_ids = [*map(str, shop.all.shopper_ids), "nobody-yet"]
        self._content = ContentSimilarity().fit(shop.all, catalogue)
        self._popular = Popularity().fit(shop.all, catalogue)

    def history(self, shopper_id: str) -> list[int]:
        row = self.shopper_ids.index(shopper_id)
        known = row < self._histories.n_shoppers
        return [int(item) for item in self._histories.history(row)] if known else []

    def recommend(
        self,
        history: list[int],
        n: int = 12,
        filters: Filters | None = None,
        together: bool = True,
        *,
        own_history: bool = False,
    ) -> list[Suggestion]:
        OWN.append(own_history)
        filters, frame = filters or Filters(), self.catalogue.frame
        allowed = np.ones(len(frame), dtype=bool)
        if filters.price_max is not None:
            allowed &= ~(frame["price"].to_numpy() > filters.price_max)
        if filters.age is not None:
            allowed &= ~(frame["age_from"].to_numpy() > filters.age)
            allowed &= ~(frame["age_to"].to_numpy() < filters.age)
        if filters.categories:
            paths = frame["category_path"]
            allowed &= np.array([path.startswith(filters.categories) for path in paths])
        allowed[list(filters.exclude)] = False
        model = self._popular if together else self._content
        rows = Interactions.from_lists([history], len(frame))
        found = model.recommend(rows, n, allowed=allowed)
        reason = "Loved in many shops" if together else "Like what was bought here"
        return [
            Suggestion(int(item), float(score), reason)
            for item, score in zip(found.ids[0], found.scores[0], strict=True)
        ]

    def similar(self, item: int, n: int = 8) -> list[Suggestion]:
        ids, scores = self._content.similar_items(item, n)
        return [
            Suggestion(int(one), float(score), "Much alike")
            for one, score in zip(ids, scores, strict=True)
        ]


def write_purchases(folder: Path, market: Marketplace, number: int = 0) -> tuple[Path, Path]:
    """One merchant's own files: purchases.csv and items.csv."""
    shop = list(market.shops.values())[number].all
    lines = ["shopper_id,item_id,position"]
    for row in range(shop.n_shoppers):
        lines += [
            f"{shop.shopper_ids[row]},{market.catalogue.item_ids[item]},{position}"
            for position, item in enumerate(shop.history(row))
        ]
    purchases, items = folder / "purchases.csv", folder / "items.csv"
    purchases.write_text("\n".join(lines) + "\n")
    market.catalogue.frame.to_csv(items, index=False)
    return purchases, items


def make_home(root: Path, name: str) -> MerchantHome:
    email = f"{name.split()[0].lower()}@toyfed.local"
    home = MerchantHome.create(
        root, MerchantSettings(name=name, email=email, share=str(root.parent / "share"))
    )
    Ledger.create(home.ledger_path, Budget(1.0, 1e-5))
    return home


def file_request(
    folder: Path, home: MerchantHome, study: str = STUDY, epsilon: float = 0.5, change: str = ""
) -> Proposal:
    """Put a request on a merchant's desk as the service would; its code is copied to `folder`."""
    recipe = recipe_named("private-als")
    settings, n_items = recipe.complete({}), load_catalogue(home).n_items
    proposal = Proposal(
        study=study,
        recipe="private-als",
        settings=settings,
        catalogue=load_catalogue(home).digest,
        n_items=n_items,
        epsilon=epsilon,
        delta=1e-5,
        phases=recipe.phases(settings, Budget(epsilon, 1e-5), n_items),
    )
    code = folder / f"code-{study}"
    shutil.copytree(recipe.code, code, ignore=shutil.ignore_patterns("__pycache__"))
    with (code / "main.py").open("a") as file:
        file.write(change)
    submission = Submission(f"{study}-proposal", "lab@toyfed.local", code, {})
    desk.file_request(home, Ledger.open(home.ledger_path), submission, proposal)  # type: ignore[arg-type]
    return proposal


def join(home: MerchantHome) -> None:
    """Let a model arrive at a merchant with purchases, and fit its blend as the service does."""
    from datasites.merchant.fit import fit

    catalogue = load_catalogue(home)
    bought = load_shop(home, catalogue).split.train.csr().toarray()
    # Exact factors of its own purchases: a model worth taking up, which no study would release.
    _, strength, items = np.linalg.svd(bought, full_matrices=False)
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
                "item_embeddings": (items[:8].T * strength[:8]).astype(np.float32),
                "item_counts": bought.sum(axis=0).astype(np.float32),
            },
        ),
    )
    fit(home, STUDY)


def texts(page: AppTest) -> str:
    """Everything that a page says, HTML included."""
    assert not page.exception, page.exception
    parts = [element.value for kind in ("title", "subheader", "caption", "markdown", "info",
             "warning", "error", "success") for element in page.get(kind)]  # fmt: skip
    parts += [element.proto.body for element in page.get("html")]
    parts += [f"{one.label} {one.value} {one.delta}" for one in page.metric]
    return shown("\n".join(map(str, parts)))


def shown(text: str) -> str:
    """What people see of text that was escaped for Markdown."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace("\u2060", "")
