"""What the pages serve knows nothing of purchases that were taken away, nor tells one shopper's."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from datasites.errors import DatasiteError, SettingsError
from datasites.merchant import Ledger, MerchantHome, add_data, fit
from datasites.merchant import service as service_module
from datasites.merchant.forget import forget
from datasites.merchant.service import Service
from datasites.merchant.serving import open_shop
from datasites.merchant.stale import BUNDLE_FORMAT, is_stale, stale_study
from datasites.merchant.store import load_catalogue, load_shop
from recsys.data import Interactions, Marketplace, write_catalogue
from tests.datasites.merchant.test_fit_serving import put_model
from tests.datasites.merchant.test_service import Link

pytestmark = [pytest.mark.attack, pytest.mark.slow]


@pytest.fixture
def home(empty_home: MerchantHome, market: Marketplace, tmp_path: Path) -> MerchantHome:
    """A shop that serves, in which `alice` is the only one who bought the first toy."""
    rare, ids = 0, market.catalogue.item_ids
    shop = next(iter(market.shops.values()))
    lines = ["shopper_id,item_id,position"]
    for row, shopper in enumerate(shop.all.shopper_ids):
        kept = [toy for toy in shop.all.history(row) if toy != rare]
        lines += [f"{shopper},{ids[toy]},{place}" for place, toy in enumerate(kept)]
    lines += [f"alice,{ids[toy]},{place}" for place, toy in enumerate([5, rare, 7, 11])]
    (tmp_path / "bought.csv").write_text("\n".join(lines) + "\n")
    write_catalogue(tmp_path / "items.csv", market.catalogue)
    add_data(empty_home, tmp_path / "bought.csv", tmp_path / "items.csv")
    put_model(empty_home, market)
    fit.fit(empty_home, "toys")
    return empty_home


def scores(home: MerchantHome, component: str, *, own_history: bool) -> np.ndarray:
    """What one of the merchant's own components says of the rare toy's buyer."""
    shop = open_shop(home)
    blend = shop._shelves[False, own_history]._blend
    basket = Interactions.from_lists([[0]], shop.catalogue.n_items)
    return np.asarray(blend.components[component].score(basket)[0])


def lone_pairs(home: MerchantHome) -> np.ndarray:
    """Bool [n_items, n_items], pairs of toys that fewer than three shoppers bought both of."""
    shop = load_shop(home, load_catalogue(home)).all
    bought = (shop.csr() > 0).astype(int)
    return np.asarray((bought.T @ bought).toarray() < fit.LEAST_SHOPPERS)


def test_no_free_answer_rests_on_a_pair_that_few_bought(home: MerchantHome) -> None:
    """Vectors of toys that many bought hold lone pairs as well."""
    shop = open_shop(home)
    lone = lone_pairs(home)
    own, free = (shop._shelves[False, kind]._blend.components for kind in (True, False))
    for name in ("neighbours", "local"):
        told = 0
        for toy in range(shop.catalogue.n_items):
            basket = Interactions.from_lists([[toy]], shop.catalogue.n_items)
            assert not free[name].score(basket)[0][lone[toy]].any(), (name, toy)
            told += int((own[name].score(basket)[0][lone[toy]] != 0).sum())
        assert told > 0  # so much would be known
    # Of several toys only what each says of its own pairs adds up, and as the reasons tell it.
    several = [1, 2, 3, 4]
    basket = Interactions.from_lists([several], shop.catalogue.n_items)
    everything = np.arange(shop.catalogue.n_items, dtype=np.int32)
    parts = free["local"].contributions(basket, everything)
    assert parts is not None
    assert not parts[lone[several]].any()
    # A toy that few bought, put beside others, changes nothing of what those say.
    seldom = [toy for toy in range(shop.catalogue.n_items) if lone[toy].all()]
    assert seldom
    with_it = Interactions.from_lists([[seldom[0], *several]], shop.catalogue.n_items)
    np.testing.assert_array_equal(free["local"].score(with_it), free["local"].score(basket))
    np.testing.assert_allclose(
        free["local"].score(basket)[0], parts.sum(axis=0), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("component", ["neighbours", "local"])
def test_out_of_a_toy_that_one_shopper_bought_nobody_reads_the_rest(
    home: MerchantHome, component: str
) -> None:
    hers = [5, 7, 11]
    told = scores(home, component, own_history=True)
    assert (told[hers] > 0).any()  # so much would be known
    assert not scores(home, component, own_history=False).any()
    popular = scores(home, "popularity", own_history=False)
    assert popular[0] == 0 < scores(home, "popularity", own_history=True)[0]
    assert popular.min(where=popular > 0, initial=np.inf) >= fit.LEAST_SHOPPERS


def test_baskets_and_similar_toys_are_for_anybody(home: MerchantHome) -> None:
    shop = open_shop(home)
    shelves = shop._shelves
    assert shop.similar(0) == shelves[True, False].similar(0)
    assert shop.recommend([0, 5]) == shelves[True, False].recommend([0, 5])
    own = shop.history("alice")
    assert shop.recommend(own, own_history=True) == shelves[True, True].recommend(own)


def test_who_is_forgotten_is_in_nothing_that_is_served(home: MerchantHome) -> None:
    before = scores(home, "neighbours", own_history=True)
    bundle = next(home.serving.glob("*.npz"))
    assert forget(home, "alice")
    assert is_stale(home)
    assert not bundle.exists()
    assert not list((home.private / "quality").glob("*.npz"))
    with pytest.raises(SettingsError, match="older ones, which are not shown"):
        open_shop(home)

    assert fit.refit(home)
    assert not is_stale(home)
    after = scores(home, "neighbours", own_history=True)
    assert before.any()
    assert not after.any()
    assert "alice" not in open_shop(home).shopper_ids
    judged = np.load(home.private / "quality" / "toys.npz")["purchases"]
    assert len(judged) == load_shop(home, load_catalogue(home)).split.test.n_purchases
    assert not fit.refit(home)


def test_a_fit_that_read_her_before_she_went_begins_again(
    home: MerchantHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = fit._measure, []

    def meanwhile(*args: object) -> object:
        if not seen:
            assert forget(home, "alice")
        seen.append(1)
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, "_measure", meanwhile)
    fit.fit(home, "toys")
    assert len(seen) == 2
    assert not is_stale(home)
    assert not scores(home, "neighbours", own_history=True).any()

    def for_ever(*args: object) -> object:
        file = home.data / "shop.parquet"
        file.write_bytes(file.read_bytes())
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(fit, "_measure", for_ever)
    with pytest.raises(DatasiteError, match="found them changed"):
        fit.fit(home, "toys")


def test_a_crash_in_the_middle_of_forgetting_is_finished(
    home: MerchantHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashes(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("recsys.data.write_shop", crashes)
        with pytest.raises(KeyboardInterrupt):
            forget(home, "alice")
    assert "alice" in load_shop(home, load_catalogue(home)).all.shopper_ids
    (home.private / "mock-published").touch()
    service = Service(home, Link(), ledger)  # type: ignore[arg-type]
    service.recover()
    assert is_stale(home)
    service.step()
    assert not is_stale(home)
    assert "alice" not in load_shop(home, load_catalogue(home)).all.shopper_ids
    assert "alice" not in open_shop(home).shopper_ids


def test_nothing_is_served_any_more_when_her_id_is_noted(
    home: MerchantHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever comes next: also where it ends just then."""
    seen = []
    monkeypatch.setattr(
        "datasites.merchant.forget._note", lambda *_: seen.append(is_stale(home)) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        forget(home, "alice")
    assert seen == [True]


def test_an_older_copy_that_is_put_back_is_not_served(home: MerchantHome, tmp_path: Path) -> None:
    shutil.copytree(home.serving, tmp_path / "backup")
    forget(home, "alice")
    fit.refit(home)
    shutil.rmtree(home.serving)
    shutil.copytree(tmp_path / "backup", home.serving)
    assert is_stale(home)
    with pytest.raises(SettingsError, match="older ones"):
        open_shop(home)
    assert fit.refit(home)
    assert not scores(home, "neighbours", own_history=True).any()


def test_no_run_sees_who_asked_before_an_older_file_was_put_back(
    home: MerchantHome, ledger: Ledger
) -> None:
    before = (home.data / "shop.parquet").read_bytes()
    forget(home, "alice")
    service = Service(home, Link(), ledger)  # type: ignore[arg-type]
    service._finish_forgetting()
    (home.data / "shop.parquet").write_bytes(before)
    service._finish_forgetting()
    assert "alice" not in load_shop(home, load_catalogue(home)).all.shopper_ids


def test_no_run_sees_who_asked_while_the_service_was_up(
    home: MerchantHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command or the page that forgets may be killed, and the service goes on."""
    service = Service(home, Link(), ledger)  # type: ignore[arg-type]
    service._finish_forgetting()
    with monkeypatch.context() as killed:
        killed.setattr("recsys.data.write_shop", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forget(home, "alice")
    assert "alice" in load_shop(home, load_catalogue(home)).all.shopper_ids
    service._finish_forgetting()
    assert "alice" not in load_shop(home, load_catalogue(home)).all.shopper_ids


def test_who_asks_while_the_service_looks_for_others_is_looked_for_next_time(
    home: MerchantHome, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = service_module.finish_in_own_process

    def meanwhile(where: MerchantHome) -> None:
        looks(where)
        with monkeypatch.context() as killed:
            killed.setattr("recsys.data.write_shop", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                forget(home, "alice")

    service = Service(home, Link(), ledger)  # type: ignore[arg-type]
    with monkeypatch.context() as busy:
        busy.setattr(service_module, "finish_in_own_process", meanwhile)
        service._finish_forgetting()
    assert "alice" in load_shop(home, load_catalogue(home)).all.shopper_ids
    service._finish_forgetting()
    assert "alice" not in load_shop(home, load_catalogue(home)).all.shopper_ids


def test_a_fit_finishes_forgetting_first(
    home: MerchantHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr("recsys.data.write_shop", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            forget(home, "alice")
    assert fit.refit(home)
    assert "alice" not in open_shop(home).shopper_ids


def test_a_refit_does_not_put_an_older_study_back(home: MerchantHome, market: Marketplace) -> None:
    forget(home, "alice")
    facts = json.loads((home.serving / "current.json").read_text())
    (home.serving / "current.json").write_text(json.dumps(facts | {"study": "newer"}))
    fit.fit(home, "toys", again=True)
    assert is_stale(home)
    assert json.loads((home.serving / "current.json").read_text())["study"] == "newer"
    assert not list(home.serving.glob("*.npz"))


def test_another_file_of_purchases_closes_the_shop(home: MerchantHome, tmp_path: Path) -> None:
    add_data(home, tmp_path / "bought.csv", tmp_path / "items.csv")
    assert is_stale(home)
    assert fit.refit(home)


def test_the_service_makes_the_lists_anew(home: MerchantHome, ledger: Ledger) -> None:
    (home.private / "mock-published").touch()
    forget(home, "alice")
    Service(home, Link(), ledger).step()  # type: ignore[arg-type]
    assert not is_stale(home)
    assert open_shop(home).recommend([], 3)


def test_two_who_find_it_stale_fit_once(
    home: MerchantHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = []
    real = fit.run_in_own_process
    monkeypatch.setattr(
        fit, "run_in_own_process", lambda *args, **more: (fitted.append(1), real(*args, **more))
    )
    forget(home, "alice")
    both = [threading.Thread(target=fit.refit, args=[home]) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert fitted == [1]
    assert not is_stale(home)


def test_a_bundle_of_before_is_made_anew(home: MerchantHome) -> None:
    current = home.serving / "current.json"
    facts = json.loads(current.read_text())
    del facts["format"]
    current.write_text(json.dumps(facts))
    assert stale_study(home) == "toys"
    with pytest.raises(SettingsError, match="older ones"):
        open_shop(home)
    assert fit.refit(home)
    assert open_shop(home).similar(0)


def test_without_anything_served_nothing_is_stale(empty_home: MerchantHome) -> None:
    assert stale_study(empty_home) is None
    (empty_home.serving / "current.json").write_text("[]")
    assert stale_study(empty_home) is None


ARRAYS_OF_FORMAT_3 = [
    *("local|vectors", "many-local|pair_indices", "many-local|pair_indptr", "many-local|vectors"),
    *("many-neighbours|data", "many-neighbours|indices", "many-neighbours|indptr"),
    *("many-popularity|counts",),
    *("neighbours|data", "neighbours|indices", "neighbours|indptr", "popularity|counts"),
]
"""Whoever changes what these mean, or which there are, raises `BUNDLE_FORMAT`: a bundle of before
would else be served as if it were of now, and tell what few shoppers bought."""


def test_the_arrays_of_a_bundle_belong_to_its_format(home: MerchantHome) -> None:
    facts = json.loads((home.serving / "current.json").read_text())
    assert facts["format"] == BUNDLE_FORMAT == 3
    assert facts["arrays"] == ARRAYS_OF_FORMAT_3


def test_a_bundle_without_what_anybody_may_see_is_not_opened(home: MerchantHome) -> None:
    (bundle,) = home.serving.glob("*.npz")
    kept = {name: one for name, one in np.load(bundle).items() if not name.startswith("many-")}
    np.savez(bundle, **kept)
    with pytest.raises(SettingsError, match="arrays are missing"):
        open_shop(home)


def test_a_bundle_that_is_gone_is_made_anew(home: MerchantHome) -> None:
    for bundle in home.serving.glob("*.npz"):
        bundle.unlink()
    assert fit.refit(home)
    assert open_shop(home).recommend([], 3)


def test_why_a_closed_shop_stays_closed_is_told_in_words(home: MerchantHome) -> None:
    (home.data / "shop.parquet").write_bytes(b"nothing of the kind")
    assert is_stale(home)
    with pytest.raises(DatasiteError, match=r"could not be fitted: Expected whole Parquet in shop"):
        fit.refit(home)
