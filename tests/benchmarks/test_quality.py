"""The benchmarks measure what a merchant would: small markets, all steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from benchmarks import quality, size
from benchmarks.baselines import baselines
from benchmarks.merchants import Merchant, figures_of, merchants_of
from benchmarks.partition import partitioned
from benchmarks.private_als import SimulatedPrivateALS
from benchmarks.rows import RowFile
from benchmarks.simulated import Components, Noise, Setting, joined, recipe_names, simulated_noise
from datasites.merchant.fit import own_components
from recsys.data import Catalogue, Interactions, Marketplace, synthesize
from recsys.evaluation import evaluate
from recsys.models import Blend, ItemNeighbours, Popularity, Recommender


@pytest.fixture(scope="module")
def market() -> Marketplace:
    return synthesize(None, merchants=4, shoppers=900, toys=60, seed=1)


class Telltale:
    """Shares exact co-purchases of all merchants: a shared component that surely helps."""

    name = "telltale"

    def train(
        self, shops: Mapping[str, Interactions], catalogue: Catalogue, setting: Setting
    ) -> Components:
        pooled = joined(shops)

        class Everybody(ItemNeighbours):
            def fit(self, interactions: Interactions, catalogue: Catalogue) -> Everybody:
                return super().fit(pooled, catalogue)

        def components(merchant: str) -> dict[str, Recommender]:
            return {"shared": Everybody()}

        return components


@pytest.mark.parametrize("number", [1, 2, 4, 8])
def test_partitions_keep_every_shopper_and_purchase(market: Marketplace, number: int) -> None:
    parts = partitioned(market, number)
    assert len(parts.shops) == number
    for part in ("train", "valid", "test"):
        before = joined({n: getattr(s.split, part) for n, s in market.shops.items()})
        after = joined({n: getattr(s.split, part) for n, s in parts.shops.items()})
        assert after.n_shoppers == before.n_shoppers
        # The same histories, whoever has them.
        histories = sorted(before.history(row).tolist() for row in range(before.n_shoppers))
        assert histories == sorted(after.history(row).tolist() for row in range(after.n_shoppers))
    again = partitioned(market, number)
    assert [s.all.n_shoppers for s in again.shops.values()] == [
        s.all.n_shoppers for s in parts.shops.values()
    ]


def test_a_partition_that_does_not_come_out_even_is_refused(market: Marketplace) -> None:
    with pytest.raises(ValueError, match="divisor or a multiple of 4"):
        partitioned(market, 3)


def test_a_merchant_measures_what_the_product_measures(market: Marketplace) -> None:
    shop = max(market.shops.values(), key=lambda shop: shop.all.n_shoppers)
    # Even the purchases to be predicted are shared here, lest the component be left out.
    everything = {n: s.all for n, s in market.shops.items()}
    shared = Telltale().train(everything, market.catalogue, Setting(None))
    merchant = Merchant(shop, market.catalogue)
    together, weights = merchant.federated(shared(shop.name))

    train, valid, before = shop.split.train, shop.split.valid, shop.split.before_test()
    blend = Blend(own_components()).fit(train, market.catalogue).fit_weights(train, valid)
    wide = blend.extend({n: c.fit(train, market.catalogue) for n, c in shared("").items()})
    wide.fit_weights(train, valid)
    assert merchant.weights == blend.weights
    assert weights == wide.weights
    assert weights["shared"] > 0
    own = {n: c.fit(before, market.catalogue) for n, c in own_components().items()}
    alone = evaluate(Blend(own, blend.weights, blend.units), before, shop.split.test)
    both = {**own, **{n: c.fit(before, market.catalogue) for n, c in shared("").items()}}
    federated = evaluate(Blend(both, wide.weights, wide.units), before, shop.split.test)
    for metric in ("hr@10", "ndcg@10"):
        np.testing.assert_allclose(merchant.alone[metric], alone.per_shopper[metric])
        np.testing.assert_allclose(together[metric], federated.per_shopper[metric])


def test_only_judged_shoppers_are_judged(market: Marketplace) -> None:
    shop = next(iter(market.shops.values()))
    rows = np.arange(0, shop.all.n_shoppers, 3)
    some = Merchant(shop, market.catalogue, rows)
    assert len(some.alone["ndcg@10"]) == np.count_nonzero(shop.split.test.lengths[rows])
    # Their neighbours are still learned from.
    whole = Merchant(shop, market.catalogue)
    judged = np.isin(np.flatnonzero(shop.split.test.lengths), rows)
    expected = whole.own("neighbours")["ndcg@10"][judged]
    np.testing.assert_allclose(some.own("neighbours")["ndcg@10"], expected)


def test_sharing_exact_purchases_helps_and_sharing_nothing_changes_nothing(
    market: Marketplace,
) -> None:
    merchants = merchants_of(market)
    train = {name: shop.split.train for name, shop in market.shops.items()}
    helped = quality.compare(merchants, Telltale().train(train, market.catalogue, Setting(None)))
    assert helped.gain > 0
    assert helped.low <= helped.gain <= helped.high
    assert helped.worst_gain <= helped.gain
    assert helped.n == sum(shop.split.test.n_purchases for shop in market.shops.values())
    assert helped.ndcg_federated - helped.ndcg_alone == pytest.approx(helped.gain)

    nothing = Interactions.from_lists([], market.catalogue.n_items)
    zeros = Popularity(np.zeros(market.catalogue.n_items)).fit(nothing, market.catalogue)
    idle = quality.compare(merchants, lambda _: {"shared": zeros})
    assert (idle.gain, idle.joined) == (0.0, 0)


def test_private_als_learns_without_privacy_and_is_noised_with_it(market: Marketplace) -> None:
    train = {name: shop.split.train for name, shop in market.shops.items()}
    (pooled,) = merchants_of(partitioned(market, 1))

    def shared(setting: Setting) -> Recommender:
        component = SimulatedPrivateALS().train(train, market.catalogue, setting)("")["shared"]
        return component.fit(pooled.train, market.catalogue)

    def quality_of(setting: Setting) -> float:
        return float(pooled.baseline(shared(setting))["ndcg@10"].mean())

    popular = float(pooled.baseline(Popularity())["ndcg@10"].mean())
    assert quality_of(Setting(None, noise="secure_sum")) > popular
    assert quality_of(Setting(0.01)) < quality_of(Setting(None))
    histories = pooled.train
    first, again = (shared(Setting(1.0, noise="secure_sum")).score(histories) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = shared(Setting(1.0, noise="secure_sum", seed=1)).score(histories)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("noise", ["own", "secure_sum"])
def test_without_privacy_private_als_is_its_own_limit_of_vanishing_noise(
    market: Marketplace, noise: Noise
) -> None:
    # Of five toys at most, so that the bound on a shopper's counts, which goes with the noise,
    # changes nothing.
    train = {name: shop.split.train.last(5) for name, shop in market.shops.items()}
    histories = next(iter(train.values()))

    def scores(epsilon: float | None) -> np.ndarray:
        setting = Setting(epsilon, noise=noise)
        shared = SimulatedPrivateALS("fedavg").train(train, market.catalogue, setting)("")["shared"]
        return shared.fit(histories, market.catalogue).score(histories)

    exact = scores(None)
    distances = [np.linalg.norm(scores(epsilon) - exact) for epsilon in (1e2, 1e4, 1e6)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.02 * np.linalg.norm(exact)


def test_simulated_noise_depends_on_every_part_of_the_setting() -> None:
    settings = [Setting(1.0), Setting(2.0), Setting(1.0, noise="secure_sum"), Setting(1.0, seed=1)]
    draws = [tuple(simulated_noise(setting, "als").uniform(4)) for setting in settings]
    assert len({*draws, tuple(simulated_noise(Setting(1.0), "other").uniform(4))}) == 5
    assert tuple(simulated_noise(Setting(1.0), "als").uniform(4)) == draws[0]


def test_every_baseline_ranks(market: Marketplace) -> None:
    shop = next(iter(market.shops.values()))
    before = shop.split.before_test()
    for name, model in baselines().items():
        model.fit(before, market.catalogue)
        found = figures_of(model, before, shop.split.test)
        assert 0 < found["hr@10"].mean() < 1, name


def test_rows_are_kept_and_found_again(tmp_path: Path) -> None:
    table = RowFile(tmp_path / "new" / "rows.csv", ("name", "size"), ("value",))
    assert not table.has(name="a, b", size=3)
    table.add({"name": "a, b", "size": 3, "value": 1 / 3})
    again = RowFile(table.path, ("name", "size"), ("value",))
    assert again.has(name="a, b", size=3)
    assert not again.has(name="a, b", size=4)
    assert again.rows() == [{"name": "a, b", "size": "3", "value": "0.333333"}]


@pytest.mark.slow
def test_the_whole_table_goes_on_where_it_was_stopped(
    market: Marketplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthesize(tmp_path / "data", merchants=2, shoppers=300, toys=40, seed=1)
    out = tmp_path / "out"
    options = ["--data", str(tmp_path / "data"), "--out", str(out), "--recipes", "private-als"]
    quality.main([*options, "--epsilons", "1", "--merchants", "2,1"])
    first = (out / "quality.csv").read_text()
    assert len(first.splitlines()) == 1 + 2 + 1
    quality.main([*options, "--epsilons", "1,inf", "--merchants", "2", "--jobs", "2"])
    whole = (out / "quality.csv").read_text()
    assert whole.startswith(first)
    assert len(whole.splitlines()) == 1 + 2 + 1 + 2
    assert (out / "quality.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "implicit BPR" in printed
    assert "private-als" in printed
    usual = RowFile(out / "baselines.csv", ("model", "merchants"), ())
    assert {row["model"] for row in usual.rows()} == {*quality.BASELINES, *baselines()}

    alone = tmp_path / "alone"
    options[3] = str(alone)
    quality.main([*options, "--epsilons", "1,inf", "--merchants", "2,1", "--jobs", "1"])
    one_by_one = {line.rpartition(",")[0] for line in (alone / "quality.csv").open()}
    assert {line.rpartition(",")[0] for line in whole.splitlines()} < one_by_one


@pytest.mark.slow
def test_the_size_curve(tmp_path: Path) -> None:
    size.run(tmp_path, (400, 800), ["private-als"], judged=400, toys=1_000)
    rows = RowFile(tmp_path / "size.csv", size.KEY, ()).rows()
    assert [(row["shoppers"], row["noise"]) for row in rows] == [
        ("400", "own"),
        ("400", "secure_sum"),
        ("800", "own"),
        ("800", "secure_sum"),
    ]
    # The same shoppers are judged at each size.
    assert {row["n"] for row in rows} == {"400"}
    assert all(float(row["share_alone"]) > 0 for row in rows)
    assert (tmp_path / "size.png").read_bytes().startswith(b"\x89PNG")


def test_recipes_of_the_product_can_be_simulated() -> None:
    from datasites.recipes import recipe_names as product

    assert set(recipe_names()) <= set(product())
