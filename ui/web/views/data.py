"""The merchant's purchases: looked at, checked, put in place; and what peers see instead."""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from datasites.merchant.home import MerchantHome
from recsys.errors import DataError, ToyFedError
from ui.web.doors import Action, demand
from ui.web.plain import plain, plain_error

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from recsys.data import Catalogue, ReadReport

__all__ = ["show_data"]

FIELDS = {
    "shopper_id": "who bought",
    "item_id": "which toy",
    "timestamp": "when",
    "position": "the how-manieth",
    "quantity": "how many",
}
BY_ITSELF = "(found by its name)"
PREVIEWED, PREVIEWED_COLUMNS = 20, 50


def show_data(home: MerchantHome) -> None:
    """What is here, what peers see, and a place to hand over a file."""
    from datasites.merchant.desk import has_data

    if has_data(home):
        _present(home)
        st.markdown("**Hand over other purchases**")
        st.caption("They replace what is here, as long as no study has run on it.")
    else:
        st.info(
            "**No purchases yet.** Hand over a file of your own; it stays on this machine, outside "
            "everything that is shared. Peers see invented purchases of the same shape."
        )
    _hand_over(home)
    if has_data(home):
        st.markdown("**What is in stock**")
        _stock(home)


def _stock(home: MerchantHome) -> None:
    """A list that may change every day; nothing of a shopper is in it."""
    from datasites.merchant.stock import read_stock, set_stock

    catalogue, _ = _toys(home)
    stock = read_stock(home, catalogue)
    st.caption(
        "No list: every toy of the catalogue is offered."
        if stock is None
        else f"{int(stock.sum()):,} of {catalogue.n_items:,} toys are in stock."
    )
    uploaded = st.file_uploader(
        "A CSV with item_id and, if you like, quantity", ["csv"], key="stock-file"
    )
    if uploaded is not None and st.button("Take it over", key="keep-stock"):
        with _handed_over(home) as folder:
            try:
                demand(Action.ADD_DATA, home.root)
                kept, others = set_stock(home, _put(Path(folder), uploaded, "stock"), catalogue)
            except ToyFedError as error:
                st.error(plain_error(error))
                return
        left_out = f"; {others:,} rows name no toy of the catalogue" if others else ""
        st.session_state["told"] = f"{kept:,} toys are in stock{left_out}."
        st.rerun()


def _present(home: MerchantHome) -> None:
    try:
        facts = json.loads((home.private / "data-report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        facts = {}
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**What is here** (only you see this)")
        shoppers, purchases, lengths = _sizes(
            str(home.root), (home.data / "shop.parquet").stat().st_mtime_ns
        )
        with st.container(horizontal=True):
            st.metric("Shoppers", f"{shoppers:,}")
            st.metric("Purchases", f"{purchases:,}")
            if "rows_read" in facts:
                st.metric("Rows left out", f"{facts['rows_read'] - facts['rows_kept']:,}")
        if facts:
            source = plain(facts.get("source", "a file"))
            st.caption(f"From {source}, {plain(facts.get('added_at', ''), 16)}")
        st.bar_chart(lengths, x="purchases", y="shoppers", height=180)
    with right:
        st.markdown("**What peers see instead**")
        try:
            _, rows = _toys(home)
        except ToyFedError as error:
            st.error(plain_error(error))
            return
        st.dataframe(rows, hide_index=True, height=260)
        st.caption(
            "Invented from the public catalogue alone; not one real purchase was looked at for it."
        )


def _toys(home: MerchantHome) -> tuple[Catalogue, pd.DataFrame]:
    """The public catalogue, and the invented purchases that peers see of it."""
    file = home.data / "catalogue.parquet"
    return _read_toys(home.root, file.stat().st_mtime_ns if file.exists() else 0)


@lru_cache(maxsize=4)
def _read_toys(root: Path, stamp: int) -> tuple[Catalogue, pd.DataFrame]:
    # Shared between sessions: nothing of a shopper is in either.
    from datasites.merchant.store import load_catalogue, mock_files

    del stamp  # only there to read again when the file changes
    catalogue = load_catalogue(MerchantHome.open(root))
    invented = io.BytesIO(mock_files(catalogue)["mock.csv"])
    return catalogue, pd.read_csv(invented, dtype=str, keep_default_na=False)


@st.cache_data(max_entries=4, show_spinner=False)
def _sizes(root: str, stamp: int) -> tuple[int, int, pd.DataFrame]:
    """Shoppers, purchases, and how many shoppers have how many purchases."""
    from datasites.merchant.store import load_catalogue, load_shop

    del stamp  # only there to count again when the file changes
    home = MerchantHome.open(Path(root))
    bought = load_shop(home, load_catalogue(home)).all
    counts = pd.Series(bought.lengths).clip(upper=30).value_counts().sort_index()
    table = pd.DataFrame({"purchases": counts.index, "shoppers": counts.to_numpy()})
    return bought.n_shoppers, bought.n_purchases, table


def _hand_over(home: MerchantHome) -> None:
    purchases = st.file_uploader(
        "Purchases, CSV or Parquet", ["csv", "parquet", "tsv", "txt"], key="purchases-file"
    )
    own = (home.data / "catalogue.parquet").exists()
    catalogue = st.file_uploader(
        "The public catalogue, items.csv"
        + (" (leave empty to keep the one that is here)" if own else ""),
        ["csv", "parquet"],
        key="catalogue-file",
    )
    if purchases is None or (catalogue is None and not own):
        st.caption(
            "Larger than the page takes? `toyfed datasite add-data FILE --catalogue items.csv` "
            "does the same."
        )
        return
    with _handed_over(home) as folder:
        try:
            demand(Action.ADD_DATA, home.root)
            ours = _put(Path(folder), purchases, "purchases")
            toys = home.data / "catalogue.parquet"
            if catalogue is not None:
                toys = _put(Path(folder), catalogue, "items")
            _check_and_keep(home, ours, toys)
        except ToyFedError as error:
            st.error(plain_error(error))


def _handed_over(home: MerchantHome) -> tempfile.TemporaryDirectory[str]:
    """A folder for uploaded files, named so that it is swept where this process is killed."""
    from datasites.merchant.stale import HANDED_OVER

    return tempfile.TemporaryDirectory(prefix=HANDED_OVER, suffix=".tmp", dir=home.private)


def _put(folder: Path, uploaded: UploadedFile, name: str) -> Path:
    """The uploaded bytes as a file whose name is ours, in the private folder."""
    target = folder / f"{name}{Path(uploaded.name).suffix.lower()}"
    target.write_bytes(uploaded.getbuffer())
    return target


def _check_and_keep(home: MerchantHome, purchases: Path, catalogue: Path) -> None:
    from recsys.data import read_catalogue, read_purchases
    from recsys.data.purchases import merchants_in
    from recsys.data.tables import Table

    names = Table(purchases).names
    st.markdown("**The first rows**")
    st.dataframe(_preview(purchases), hide_index=True)
    with st.expander("Which column is which", expanded=not _finds_itself(names)):
        columns = {}
        with st.container(horizontal=True):
            for field, words in FIELDS.items():
                chosen = st.selectbox(
                    f"{field} ({words})", [BY_ITSELF, *names], key=f"column-{field}"
                )
                if chosen != BY_ITSELF:
                    columns[field] = chosen
    whose = None
    if len(merchants := merchants_in(purchases)) > 1:
        whose = st.selectbox(
            "Whose purchases? This file holds those of several merchants.",
            merchants,
            index=None,
            placeholder="choose yours",
            key="whose",
        )
        if whose is None:
            return
    public, of_toys = read_catalogue(catalogue)
    bought, report = read_purchases(purchases, public, columns, whose)
    _tell(report.merged(of_toys))
    st.caption(
        f"{bought.interactions.n_shoppers:,} shoppers, {bought.interactions.n_purchases:,} "
        f"purchases, {public.n_items:,} toys in the catalogue."
    )
    if st.button("Keep these purchases", type="primary", key="keep-data"):
        from datasites.merchant import add_data

        demand(Action.ADD_DATA, home.root)
        with st.spinner("Putting them in place …"):
            add_data(home, purchases, catalogue, columns, whose)
        st.session_state["told"] = "Kept. They stay on this machine."
        st.rerun()


def _finds_itself(names: list[str]) -> bool:
    """Whether the columns that purchases need have their usual names."""
    from recsys.data.columns import PURCHASE_FIELDS, PURCHASE_NEEDS, resolve_columns

    fields = [field for field in PURCHASE_FIELDS if field.name != "merchant"]
    try:
        resolve_columns("", names, fields, PURCHASE_NEEDS)
    except DataError:
        return False
    return True


def _preview(file: Path) -> Any:
    """The first rows of the first columns, as the reader of purchases sees them.

    Raises: DataError if it cannot be read.
    """
    from recsys.data.report import ReadReport
    from recsys.data.tables import Table
    from recsys.data.values import as_text

    table = Table(file)
    # A column that is there twice cannot be told apart.
    once = [name for name, times in Counter(table.names).items() if times == 1]
    batch = next(table.batches(once[:PREVIEWED_COLUMNS], ReadReport()), None)
    if batch is None:
        return pd.DataFrame(columns=once)
    return pd.DataFrame(
        {name: as_text(cells[:PREVIEWED]).to_pylist() for name, cells in batch.columns.items()}
    )


def _tell(report: ReadReport) -> None:
    """Counts, columns, and each defect with its line."""
    left_out = report.rows_read - report.rows_kept
    text = f"{report.rows_read:,} rows read, {report.rows_kept:,} kept"
    if left_out:
        st.warning(f"{text}: {left_out:,} cannot be used.", icon=":material/rule:")
    else:
        st.success(text, icon=":material/check:")
    st.caption(
        "Columns: "
        + ", ".join(f"{field} from {plain(name)}" for field, name in report.columns.items())
    )
    if report.problems:
        st.dataframe(
            [
                {"file": one.file, "line": one.line, "column": one.column, "what": one.what}
                for one in report.problems
            ],
            hide_index=True,
            height=220,
        )
        for what, count in report.counts.items():
            st.caption(f"{count:,} × {plain(what)}")
