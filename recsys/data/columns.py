"""Finds the columns of a file by their names, the usual other names included."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recsys.errors import DataError

__all__ = ["ITEM_FIELDS", "PURCHASE_FIELDS", "PURCHASE_NEEDS", "Field", "resolve_columns"]


class Field(NamedTuple):
    """One fact that a reader wants, and the names that shops and exports give it."""

    name: str
    aliases: tuple[str, ...] = ()


PURCHASE_FIELDS = (
    Field("merchant", ("shop", "store", "seller", "merchant_id", "store_id", "shop_id")),
    Field(
        "shopper_id",
        (
            "shopper",
            "customer_id",
            "customer",
            "customerid",
            "customer_number",
            "client_id",
            "client",
            "user_id",
            "userid",
            "user",
            "buyer_id",
            "buyer",
            "account_id",
            "member_id",
            "household_id",
            "reviewerid",
        ),
    ),
    Field(
        "item_id",
        (
            "item",
            "itemid",
            "product_id",
            "productid",
            "product",
            "sku",
            "article_id",
            "article",
            "asin",
            "parent_asin",
            "ean",
            "gtin",
            "toy_id",
            "toy",
            "stockcode",
        ),
    ),
    Field(
        "timestamp",
        (
            "time",
            "date",
            "datetime",
            "purchase_date",
            "purchased_at",
            "order_date",
            "ordered_at",
            "order_time",
            "invoice_date",
            "invoicedate",
            "transaction_date",
            "created_at",
            "sold_at",
            "bought_at",
            "day",
            "unixreviewtime",
        ),
    ),
    Field("position", ("pos", "sequence", "seq", "rank_in_time")),
    Field("split", ("part", "fold")),
    Field("quantity", ("qty", "units", "count", "number_of_items")),
)

PURCHASE_NEEDS: tuple[str | tuple[str, ...], ...] = (
    "shopper_id",
    "item_id",
    ("timestamp", "position"),
)
"""Without these there are no purchases; of a tuple, any one will do."""

ITEM_FIELDS = (
    Field("item_id", PURCHASE_FIELDS[2].aliases),
    Field("title", ("name", "item_name", "product_name", "product_title", "item_title")),
    Field("category_path", ("category", "categories", "department", "product_type")),
    Field("brand", ("manufacturer", "maker", "brand_name")),
    Field("price", ("unit_price", "list_price", "sale_price")),
    Field("age_from", ("min_age", "age_min", "from_age")),
    Field("age_to", ("max_age", "age_max", "to_age")),
    Field("image_url", ("image", "picture", "image_link", "picture_url")),
)


def resolve_columns(
    file: str,
    names: Sequence[str],
    fields: Sequence[Field],
    required: Sequence[str | tuple[str, ...]],
    mapping: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Find which column of the file holds each field: as mapped, by its own name, or by alias.

    Args:
        file: name of the file, for messages.
        names: the file's column names.
        fields: what to look for.
        required: fields that must be there; of a tuple, any one will do.
        mapping: field -> column, where the caller knows better.

    Returns:
        field -> column, for the fields that were found.

    Raises:
        DataError: a required field is missing, or `mapping` names an unknown field or column.
    """
    mapping = dict(mapping or {})
    known = [field.name for field in fields]
    for name, column in mapping.items():
        if name not in known:
            raise DataError(
                f"Expected a mapping of {', '.join(known)}; found {name!r}. "
                "Write it as field=column."
            )
        if column not in names:
            raise DataError(
                f"Expected the column {column!r} in {file}, as mapped to {name}; it is not there. "
                f"{_near(column, names)}{_map_it(name)}"
            )
    by_plain: dict[str, str] = {}
    for name in names:
        by_plain.setdefault(_plain(name), name)
    taken = set(mapping.values())
    found = dict(mapping)
    for field in fields:
        if field.name in found:
            continue
        for candidate in (field.name, *field.aliases):
            column = by_plain.get(_plain(candidate), "")
            if column and column not in taken:
                found[field.name] = column
                taken.add(column)
                break
    needs = [(need,) if isinstance(need, str) else need for need in required]
    missing = [need for need in needs if not any(option in found for option in need)]
    if missing:
        wanted = ", and for ".join(" or ".join(options) for options in missing)
        hints = "".join(_near(options[0], names, taken) for options in missing)
        raise DataError(
            f"Expected a column for {wanted} in {file}; found none among its "
            f"{len(names)} columns. {hints}{_map_it(*(options[0] for options in missing))}"
        )
    return found


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _near(wanted: str, names: Sequence[str], taken: set[str] | None = None) -> str:
    """A hint with similar column names; never a text that could be a value of a first row."""
    plain = {
        _plain(name): name
        for name in names
        if re.fullmatch("[A-Za-z][A-Za-z _-]{0,30}", name) and name not in (taken or ())
    }
    near = difflib.get_close_matches(_plain(wanted), list(plain), n=3, cutoff=0.6)
    if not near:
        return ""
    return f"Close to {wanted}: {', '.join(repr(plain[name]) for name in near)}. "


def _map_it(*fields: str) -> str:
    told = " ".join(f"{field}=YOURS" for field in fields)
    return f"Rename it, or say which of yours it is: {told} (with --column, where there is one)."
