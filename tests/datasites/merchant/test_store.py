"""Purchases come in checked, lie in private, and peers see an invention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from datasites.errors import ReviewError, SettingsError
from datasites.merchant import Ledger, MerchantHome, add_data, desk, runs
from datasites.merchant.store import load_catalogue, load_shop, mock_files
from datasites.protocol import Proposal
from datasites.syftbox.types import Submission
from recsys.data import Marketplace, Shop, read_purchases, write_catalogue
from recsys.errors import DataError


@pytest.fixture
def items(tmp_path: Path, market: Marketplace) -> Path:
    write_catalogue(tmp_path / "items.csv", market.catalogue)
    return tmp_path / "items.csv"


def purchases(tmp_path: Path, market: Marketplace, header: str = "shopper_id") -> Path:
    ids = market.catalogue.item_ids
    lines = [f"kim,{ids[0]},0", f"kim,{ids[1]},1", f"kim,{ids[2]},2", f"lee,{ids[3]},0"]
    file = tmp_path / "purchases.csv"
    file.write_text("\n".join([f"{header},item_id,position", *lines]) + "\n")
    return file


def test_purchases_are_kept_in_private(
    empty_home: MerchantHome, tmp_path: Path, items: Path, market: Marketplace
) -> None:
    shop, report = add_data(
        empty_home, purchases(tmp_path, market, "customer"), items, {"shopper_id": "customer"}
    )
    assert shop.all.n_purchases == 4
    assert report.rows_kept >= 4
    kept = load_shop(empty_home, load_catalogue(empty_home))
    assert kept.all.n_purchases == 4
    assert (empty_home.data / "shop.parquet").stat().st_mode & 0o077 == 0
    assert empty_home.private.stat().st_mode & 0o077 == 0
    assert "kim" not in (empty_home.private / "data-report.json").read_text()


def test_bad_purchases_replace_nothing(
    empty_home: MerchantHome, tmp_path: Path, items: Path, market: Marketplace
) -> None:
    add_data(empty_home, purchases(tmp_path, market), items)
    before = (empty_home.data / "shop.parquet").read_bytes()
    with pytest.raises(DataError) as caught:
        add_data(empty_home, purchases(tmp_path, market, "who"), items)
    assert "shopper_id" in str(caught.value)
    assert "kim" not in str(caught.value)
    assert (empty_home.data / "shop.parquet").read_bytes() == before


@pytest.mark.attack
def test_purchases_are_not_replaced_once_a_study_ran_on_them(
    home: MerchantHome,
    ledger: Ledger,
    tmp_path: Path,
    items: Path,
    market: Marketplace,
    make_proposal: Callable[..., Proposal],
    make_submission: Callable[..., Submission],
) -> None:
    proposal = make_proposal()
    submission = make_submission("toys-proposal", proposal)
    desk.file_request(home, ledger, submission, proposal)
    add_data(home, purchases(tmp_path, market), items)
    (home.private / "mock-published").write_text("of the catalogue before")
    add_data(home, purchases(tmp_path, market), items)
    assert not (home.private / "mock-published").exists()
    desk.approve(home, ledger, "toys", by="me")
    # Approved for what is here: nothing of it may run on other purchases, or other toys.
    with pytest.raises(ReviewError, match=r"approved and has not ended, found toys"):
        add_data(home, purchases(tmp_path, market), items)
    phase = proposal.phase("counts")
    runs.prepare(home, "toys-counts", proposal, phase)
    ledger.reserve("toys", "toys-counts", "counts", phase.privacy_events())
    before = (home.data / "shop.parquet").read_bytes()
    with pytest.raises(ReviewError, match="new datasite"):
        add_data(home, purchases(tmp_path, market), items)
    assert (home.data / "shop.parquet").read_bytes() == before


def test_the_mock_reads_like_purchases_and_is_always_the_same(
    market: Marketplace, shop: Shop, tmp_path: Path
) -> None:
    (name, data), *rest = mock_files(market.catalogue).items()
    assert not rest
    assert mock_files(market.catalogue) == {name: data}
    (tmp_path / name).write_bytes(data)
    found, report = read_purchases(tmp_path / name, market.catalogue, {})
    assert report.counts == {}
    assert not any(str(one) in data.decode() for one in shop.all.shopper_ids)
    assert found.split_or_leave_one_out().train.n_shoppers > 0


def test_homes_are_made_once_and_tell_what_is_wrong(
    empty_home: MerchantHome, tmp_path: Path
) -> None:
    assert MerchantHome.open(empty_home.root) == empty_home
    with pytest.raises(SettingsError, match="is one already"):
        MerchantHome.create(empty_home.root, empty_home.settings)
    with pytest.raises(SettingsError, match="datasite init"):
        MerchantHome.open(tmp_path / "none")
    file = empty_home.root / "merchant.toml"
    file.write_text(file.read_text() + "colour = 'red'\n")
    with pytest.raises(SettingsError, match="colour"):
        MerchantHome.open(empty_home.root)
    file.write_text("name = \n")
    with pytest.raises(SettingsError, match="TOML"):
        MerchantHome.open(empty_home.root)
