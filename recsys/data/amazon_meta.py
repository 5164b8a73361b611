"""Streams Amazon item metadata of 2018 and 2023, and keeps what a catalogue holds."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Container
from pathlib import Path
from typing import Any

from recsys.data.amazon_reviews import bounded_lines, open_lines
from recsys.data.catalogue import LEVELS
from recsys.data.report import ReadReport

__all__ = ["read_amazon_meta"]

_LONGEST_TITLE = 400
_AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(month|year)?", re.IGNORECASE)


def read_amazon_meta(
    path: Path, wanted: Container[str]
) -> tuple[dict[str, dict[str, Any]], ReadReport]:
    """Facts of the `wanted` items: title, category_path, brand, price, ages, image_url.

    Raises:
        DataError: the file is missing or damaged.
    """
    report = ReadReport(file=path.name)
    facts: dict[str, dict[str, Any]] = {}
    with open_lines(path) as source:
        for line, text in enumerate(bounded_lines(source, path.name), start=1):
            if text.isspace():
                continue
            report.rows_read += 1
            try:
                item = json.loads(text)
            except (ValueError, RecursionError):
                item = None
            if not isinstance(item, dict):
                report.add([line], "", "metadata not a JSON object")
                continue
            name = item.get("parent_asin") or item.get("asin")
            if isinstance(name, str) and name in wanted and name not in facts:
                facts[name] = _facts(item)
    report.rows_kept = len(facts)
    return facts, report


def _facts(item: dict[str, Any]) -> dict[str, Any]:
    levels = _list(item.get("categories")) or _list(item.get("category"))
    if levels and isinstance(levels[0], list):
        levels = levels[0]
    details = item.get("details") if isinstance(item.get("details"), dict) else {}
    age_from, age_to = _ages(str((details or {}).get("Manufacturer recommended age", "")))
    facts = {
        "category_path": LEVELS.join(_clean(level) for level in levels if isinstance(level, str)),
        "brand": _clean(item.get("store") or item.get("brand")),
        "price": _price(item.get("price")),
        "age_from": age_from,
        "age_to": age_to,
        "image_url": _picture(item),
    }
    title = _clean(item.get("title"))
    # Some titles of 2018 are a piece of the web page's script.
    if title and len(title) <= _LONGEST_TITLE and "getTime()" not in title:
        facts["title"] = title
    return facts


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _clean(text: Any) -> str:
    if not isinstance(text, str):
        return ""
    return " ".join(html.unescape(text).split())


def _price(price: Any) -> float | None:
    """The price, the lowest of a range, or None."""
    if isinstance(price, int | float) and not isinstance(price, bool):
        return float(price) if 0 <= price < 1e6 else None
    found = re.search(r"\d+(?:\.\d+)?", price.replace(",", "")) if isinstance(price, str) else None
    return float(found.group()) if found and float(found.group()) < 1e6 else None


def _ages(text: str) -> tuple[float | None, float | None]:
    """Years from texts like '36 months - 6 years', '3 - 6 years', '8 years and up'."""
    found = _AGE.findall(text)[:2]
    if not found:
        return None, None
    last_unit = next((unit for _, unit in reversed(found) if unit), "year").lower()
    years = [
        float(number) / (12 if (unit or last_unit).lower() == "month" else 1)
        for number, unit in found
    ]
    if len(years) == 1:
        return years[0], None
    return (years[0], years[1]) if years[0] <= years[1] else (None, None)


def _picture(item: dict[str, Any]) -> str:
    for name in ("images", "imageURLHighRes", "imageURL"):
        for picture in _list(item.get(name)):
            address = picture.get("large") if isinstance(picture, dict) else picture
            if isinstance(address, str) and address.startswith("https://"):
                return address
    return ""
