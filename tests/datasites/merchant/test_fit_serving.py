"""A model that arrived is fitted, measured and served; a restart changes nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from datasites.errors import SettingsError
from datasites.merchant import MerchantHome, fit
from datasites.merchant.serving import open_shop
from datasites.recipes import recipe_named
from recsys.artifact import SharedModel, save_model
from recsys.data import Marketplace, Shop
from recsys.errors import ArtifactError

pytestmark = pytest.mark.slow


def put_model(home: MerchantHome, market: Marketplace, digest: str | None = None) -> None:
    n_items = market.catalogue.n_items
    generator = np.random.default_rng(3)
    save_model(
        home.models / "toys",
        SharedModel(
            arrays={
                "item_embeddings": generator.normal(size=(n_items, 4)).astype(np.float32),
                "item_counts": generator.uniform(1, 9, n_items),
            },
            recipe="private-als",
            settings={
                "study": "toys",
                "model": recipe_named("private-als").complete({"rounds": 1, "factors": 4}),
            },
            catalogue_digest=digest or market.catalogue.digest,
            epsilon={"castle@toys.test": 1.0},
            delta=1e-5,
        ),
    )


def test_a_shop_without_a_model_says_so(home: MerchantHome) -> None:
    with pytest.raises(SettingsError, match="first finished study"):
        open_shop(home)


def test_a_model_of_another_catalogue_is_refused(home: MerchantHome, market: Marketplace) -> None:
    put_model(home, market)
    fit.verify_artefact(home, home.models / "toys")
    put_model(home, market, digest="0" * 64)
    with pytest.raises(ArtifactError):
        fit.verify_artefact(home, home.models / "toys")


def test_fit_measures_and_serves(home: MerchantHome, market: Marketplace, shop: Shop) -> None:
    put_model(home, market)
    fit.fit(home, "toys")
    facts = json.loads((home.private / "quality" / "toys.json").read_text())
    assert facts["n"] == shop.split.test.n_shoppers
    assert {"alone", "federated", "shared", "local"} <= set(facts["test"])
    for figures in facts["test"].values():
        assert all(value is None or value >= 0 for value in figures.values())
    assert set(facts["weights"]["alone"]) == set(fit.own_components())
    assert (home.private / "quality" / "toys.json").stat().st_mode & 0o077 == 0

    served = open_shop(home)
    shopper = served.shopper_ids[0]
    history = served.history(shopper)
    for together in (True, False):
        found = served.recommend(history, 5, together=together)
        assert len(found) == 5
        again = open_shop(home).recommend(history, 5, together=together)
        assert [one.item for one in again] == [one.item for one in found]
    assert shopper not in repr(served)
    with pytest.raises(SettingsError) as caught:
        served.history("nobody-of-that-name")
    assert "nobody-of-that-name" not in str(caught.value)

    fit.run_in_own_process(home, "toys")
    assert len(list(home.serving.glob("*.npz"))) == 1
    assert len(open_shop(home).recommend(history, 5)) == 5
