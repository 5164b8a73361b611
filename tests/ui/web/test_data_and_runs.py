"""The merchant's own data and runs: handed over with a look at them first, logs that stay."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from datasites.merchant import Ledger, MerchantHome, desk
from datasites.merchant.desk import has_data
from datasites.merchant.stock import read_stock
from datasites.merchant.store import load_catalogue
from datasites.protocol import Proposal
from recsys.data import Marketplace
from tests.ui.web.market import BARE, SHOP, STUDY, texts, write_purchases
from ui.web.manifest import Manifest, write_manifest
from ui.web.views.runs import run_rows

OpenPage = Callable[[str], AppTest]


@pytest.fixture
def files(tmp_path: Path, market: Marketplace) -> tuple[Path, Path]:
    (tmp_path / "mine").mkdir()
    return write_purchases(tmp_path / "mine", market, 1)


@pytest.fixture
def bare(manifest: Path, homes: dict[str, MerchantHome]) -> MerchantHome:
    write_manifest(manifest, Manifest(merchants=(homes[BARE].root,), simulation=True))
    return homes[BARE]


def hand_over(page: AppTest, purchases: bytes, items: bytes) -> None:
    page.file_uploader(key="purchases-file").set_value(("mine.csv", purchases, "text/csv"))
    page.file_uploader(key="catalogue-file").set_value(("items.csv", items, "text/csv"))
    page.run()


def test_a_file_is_looked_at_before_it_is_kept(
    bare: MerchantHome, files: tuple[Path, Path], open_page: OpenPage
) -> None:
    purchases, items = files
    renamed = purchases.read_text().replace("shopper_id,", "kunde,", 1)
    rows = renamed.splitlines()
    rows.insert(3, "x,no-such-toy,0")
    page = open_page("merchant")
    hand_over(page, "\n".join(rows).encode(), items.read_bytes())
    assert "kunde" in page.selectbox(key="column-shopper_id").options
    if page.error:  # its usual names do not hold 'kunde': the merchant says which it is
        page.selectbox(key="column-shopper_id").set_value("kunde").run()
    told = texts(page)
    assert "1 cannot be used" in told
    assert not has_data(bare)
    (problems,) = [one.value for one in page.dataframe if "line" in one.value.columns]
    assert list(problems["line"]) == [4]
    assert "no-such-toy" not in told
    page.button(key="keep-data").click().run()
    assert not page.exception
    assert has_data(bare)
    assert not list(bare.private.glob(".handed-over-*"))
    facts = json.loads((bare.private / "data-report.json").read_text())
    assert facts["rows_read"] - facts["rows_kept"] == 1
    assert "What peers see instead" in texts(page)


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"a,b\n1,2\n", b"shopper_id\n"])
def test_a_file_that_is_none_is_explained_and_nothing_is_kept(
    content: bytes, bare: MerchantHome, files: tuple[Path, Path], open_page: OpenPage
) -> None:
    page = open_page("merchant")
    hand_over(page, content, files[1].read_bytes())
    assert not page.exception
    assert page.error[-1].value
    assert not has_data(bare)
    assert not list(bare.private.glob(".handed-over-*"))


def nasty_files(good: str) -> dict[str, bytes]:
    """What comes instead of a CSV: other formats, other encodings, and rows to trip over."""
    first, *rows = good.splitlines()
    other_cells = rows[0].split(",", 1)[1]
    return {
        "utf-16": good.encode("utf-16"),
        "latin-1": f"{good}M\xfcller,{other_cells}\n".encode("latin-1"),
        "spreadsheet": b"PK\x03\x04" + bytes(400),
        "gzip": gzip.compress(good.encode()),
        "pdf": b"%PDF-1.7\n\x00\xff",
        "web page": b"<html><body>Please sign in</body></html>",
        "json": b'{"a":1}\n{"a":2}\n',
        "names only": first.encode(),
        "rows only": "\n".join(rows).encode(),
        "spaces": b"   \n \n",
        "sep": f"sep=,\n{good}".encode(),
        "empty first": f"\n\n{good}".encode(),
        "same name": f"{first},item_id\n{rows[0]},x\n".encode(),
        "parquet": b"PAR1" + bytes(100) + b"PAR1",
        "byte order mark": b"\xef\xbb\xbf" + good.encode(),
        "semicolons": good.replace(",", ";").encode(),
        "old mac": good.replace("\n", "\r").encode(),
        "open quote": f'{good}"abc,def\n'.encode(),
        "ragged": f"{good}a,b\na,b,c,d,e,f,g,h,i,j\n".encode(),
        "huge cell": f"{good}{'x' * 3_000_000},{other_cells}\n".encode(),
        "many columns": f"{first}{''.join(f',c{n}' for n in range(3000))}\n"
        f"{rows[0]}{',' * 3000}\n".encode(),
        "markup in names": f"**b** [x](http://e.example) <script>,{first}\n1,{rows[0]}\n".encode(),
        "one row often": f"{first}\n{(rows[0] + chr(10)) * 3000}".encode(),
    }


READ = {
    *("byte order mark", "semicolons", "old mac", "open quote", "ragged", "huge cell"),
    *("many columns", "markup in names", "one row often"),
}


@pytest.mark.parametrize("kind", nasty_files("a\nb,c\n"))
@pytest.mark.parametrize("which", ["purchases", "catalogue"])
def test_nasty_files_are_read_or_explained(
    which: str,
    kind: str,
    bare: MerchantHome,
    files: tuple[Path, Path],
    open_page: OpenPage,
) -> None:
    purchases, items = (file.read_bytes() for file in files)
    if which == "purchases":
        purchases = nasty_files(purchases.decode())[kind]
    else:
        items = nasty_files(items.decode())[kind]
    page = open_page("merchant")
    hand_over(page, purchases, items)
    assert not page.exception
    told = texts(page)
    assert "Traceback" not in told
    # A catalogue of which little is left leaves no purchase that counts: told, too.
    if kind in READ and (which == "purchases" or not page.error):
        assert "rows read" in told
        assert page.button(key="keep-data").label == "Keep these purchases"
    else:
        assert "Expected" in page.error[-1].value
        assert "keep-data" not in [button.key for button in page.button]
    assert not has_data(bare)
    assert not list(bare.private.glob(".handed-over-*"))


def test_columns_that_need_naming_are_asked_for_at_once(
    bare: MerchantHome, files: tuple[Path, Path], open_page: OpenPage
) -> None:
    page = open_page("merchant")
    hand_over(page, files[0].read_bytes(), files[1].read_bytes())
    assert not which_is_which(page).proto.expanded
    strange = files[0].read_bytes().replace(b"shopper_id", b"wer", 1)
    hand_over(page, strange, files[1].read_bytes())
    assert which_is_which(page).proto.expanded
    page.selectbox(key="column-shopper_id").set_value("wer").run()
    assert not page.error


def test_of_a_file_with_several_merchants_one_is_chosen(
    bare: MerchantHome, files: tuple[Path, Path], open_page: OpenPage
) -> None:
    first, *rows = files[0].read_text().splitlines()
    several = [f"merchant,{first}"]
    several += [f"{('castle', 'harbour')[n % 2]},{row}" for n, row in enumerate(rows)]
    page = open_page("merchant")
    hand_over(page, "\n".join(several).encode(), files[1].read_bytes())
    assert not page.exception
    assert "keep-data" not in [button.key for button in page.button]
    page.selectbox(key="whose").set_value("harbour").run()
    assert not page.error
    assert f"{len(rows) // 2:,} rows read" in texts(page)
    page.button(key="keep-data").click().run()
    assert has_data(bare)


def which_is_which(page: AppTest) -> Any:
    (found,) = [one for one in page.expander if one.label == "Which column is which"]
    return found


def test_data_that_studies_ran_on_is_not_replaced(
    homes: dict[str, MerchantHome],
    files: tuple[Path, Path],
    ask: Callable[..., Proposal],
    open_page: OpenPage,
) -> None:
    run_one(homes[SHOP], ask)
    before = (homes[SHOP].data / "shop.parquet").read_bytes()
    page = open_page("merchant")
    hand_over(page, files[0].read_bytes(), files[1].read_bytes())
    page.button(key="keep-data").click().run()
    assert "have already run on the data" in page.error[-1].value
    assert (homes[SHOP].data / "shop.parquet").read_bytes() == before


def run_one(home: MerchantHome, ask: Callable[..., Proposal]) -> Ledger:
    ledger = Ledger.open(home.ledger_path)
    proposal = ask(home)
    desk.approve(home, ledger, STUDY, by="me")
    for phase in proposal.phases[:2]:
        ledger.reserve(STUDY, f"{STUDY}-{phase.name}", phase.name, phase.privacy_events())
    first, second = (f"{STUDY}-{phase.name}" for phase in proposal.phases[:2])
    facts = {"arrays": {"item_counts": [60]}, "sha256": "0" * 64, "bytes": 240}
    ledger.commit(first, facts)
    folder = home.runs / first
    folder.mkdir(parents=True)
    (folder / "outcome.json").write_text(json.dumps({"seconds": 1.5, "peak_mb": 200.0}))
    (folder / "log.txt").write_text("counted <b>everything</b>")
    ledger.fail(second, "used [too](http://x) much memory")
    return ledger


def test_runs_with_their_logs(
    homes: dict[str, MerchantHome], ask: Callable[..., Proposal], open_page: OpenPage
) -> None:
    ledger = run_one(homes[SHOP], ask)
    second, first = run_rows(homes[SHOP], ledger)
    assert (first["ended"], first["released_bytes"], first["seconds"]) == ("released", 240, 1.5)
    assert (second["ended"], second["seconds"]) == ("failed", None)
    assert 0 < first["epsilon"] < 0.5
    page = open_page("merchant")
    assert "ended with: used [too](http://x) much memory" in texts(page)
    assert r"used \[too\](http\:" in page.warning[0].value
    page.selectbox(key="run-log").set_value(first["run"]).run()
    assert "counted <b>everything</b>" in [one.value for one in page.code]


def test_without_runs_the_page_says_what_will_come(open_page: OpenPage) -> None:
    assert "Nothing has run yet" in texts(open_page("merchant"))


def test_stock_is_taken_over_from_a_list(
    homes: dict[str, MerchantHome], open_page: OpenPage
) -> None:
    catalogue = load_catalogue(homes[SHOP])
    page = open_page("merchant")
    assert "every toy of the catalogue is offered" in texts(page)
    rows = f"item_id\n{catalogue.item_ids[0]}\nelsewhere\n".encode()
    page.file_uploader(key="stock-file").set_value(("stock.csv", rows, "text/csv")).run()
    page.button(key="keep-stock").click().run()
    assert not page.exception
    assert "1 of 60 toys are in stock" in texts(page)
    page.file_uploader(key="stock-file").set_value(("stock.csv", b"x\n1\n", "text/csv")).run()
    page.button(key="keep-stock").click().run()
    assert "Expected a column item_id" in texts(page)
    assert read_stock(homes[SHOP], catalogue).sum() == 1  # type: ignore[union-attr]
