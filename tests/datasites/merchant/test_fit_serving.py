"""A model that arrived is fitted, measured and served; a restart changes nothing."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from safetensors.numpy import save

from datasites.errors import SettingsError
from datasites.merchant import Ledger, MerchantHome, fit
from datasites.merchant.serving import open_shop
from datasites.recipes import recipe_named
from recsys.artifact import SharedModel, save_model
from recsys.data import Marketplace, Shop
from recsys.errors import ArtifactError
from recsys.privacy import Budget, GaussianEvent

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


def test_a_merchant_knows_its_own_part_of_a_sum(home: MerchantHome) -> None:
    assert fit.own_releases(home, "toys") == {}
    code, params = "c" * 64, "d" * 64
    events = [GaussianEvent("pairs", 1.0, 9.0), GaussianEvent("counts", 1.0, 9.0)]
    ledger = Ledger.create(home.ledger_path, Budget(1.0, 1e-5))
    ledger.request("request", "toys", "ds@lab", code, params, {})
    ledger.approve(
        "request",
        study="toys",
        sender="ds@lab",
        code_sha256=code,
        params_sha256=params,
        events=events,
        rounds=2,
        expires=datetime.now(UTC) + timedelta(days=1),
        by="merchant",
    )
    released = save({"pair_sums": np.arange(3, dtype=np.float32)})
    sha256 = hashlib.sha256(released).hexdigest()
    facts = {"arrays": {"pair_sums": [3]}, "sha256": sha256, "bytes": len(released)}
    for event in events:
        job = f"toys-{event.what}"
        ledger.reserve("toys", job, event.what, [event], code_sha256=code, params_sha256=params)
        (home.runs / job).mkdir(parents=True)
        (home.runs / job / "release.safetensors").write_bytes(released)
        (home.runs / job / "release.json").write_text(json.dumps(facts))
    ledger.commit("toys-pairs", facts)
    ledger.fail("toys-counts", "broke off")
    found = fit.own_releases(home, "toys")
    assert set(found) == {"pairs"}
    np.testing.assert_array_equal(found["pairs"]["pair_sums"], [0, 1, 2])
    assert fit.own_releases(home, "another") == {}
