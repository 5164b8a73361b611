"""Toys as cards of one height: picture, title, price, age, category, brand, reason."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from urllib.parse import urlsplit

from recsys.data import Catalogue, toy_picture_uri

__all__ = ["PHOTOS_VARIABLE", "Toy", "card", "grid", "photo_hosts", "strip", "toy_of"]

PHOTOS_VARIABLE = "TOYFED_PHOTOS_FROM"


@dataclass(frozen=True)
class Toy:
    """Public facts of one toy as people read them; "" where the catalogue does not say."""

    item_id: str
    title: str
    category_path: str
    brand: str
    price: str
    age: str
    image_url: str

    @property
    def category(self) -> str:
        """The narrowest level of the category."""
        return self.category_path.split(" > ")[-1]


def toy_of(catalogue: Catalogue, item: int) -> Toy:
    """The toy at a catalogue index."""
    row = catalogue.frame.iloc[item]
    price = row["price"]
    return Toy(
        item_id=row["item_id"],
        title=row["title"],
        category_path=row["category_path"],
        brand=row["brand"],
        price="" if math.isnan(price) else f"{price:,.2f}",
        age=_age(row["age_from"], row["age_to"]),
        image_url=row["image_url"],
    )


def _age(youngest: float, oldest: float) -> str:
    if math.isnan(youngest) and math.isnan(oldest):
        return ""
    if math.isnan(oldest):
        return f"{youngest:g}+ years"
    if math.isnan(youngest) or youngest <= 0:
        return f"up to {oldest:g} years"
    return f"{youngest:g}–{oldest:g} years"


@lru_cache(maxsize=4096)
def _drawn(category_path: str, item_id: str) -> str:
    return toy_picture_uri(category_path, item_id)


def photo_hosts() -> frozenset[str]:
    """Hosts that photographs may come from: they see which toys each visitor's browser shows."""
    return frozenset(os.environ.get(PHOTOS_VARIABLE, "").split())


def _may_be_asked_for(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and parts.netloc.lower() in photo_hosts()
    except ValueError:
        return False


def _picture(toy: Toy) -> str:
    drawn = f'<img src="{_drawn(toy.category_path, toy.item_id)}" alt="">'
    if not _may_be_asked_for(toy.image_url):
        return drawn
    # The drawing lies beneath, for photographs that do not load.
    photo = (
        f'<img class="tf-photo" src="{escape(toy.image_url)}" alt="" loading="lazy" '
        'referrerpolicy="no-referrer">'
    )
    return drawn + photo


def card(toy: Toy, reason: str = "", badge: str = "") -> str:
    """One toy as HTML; every text is escaped, since a catalogue may say anything."""
    facts = "".join(
        f'<span class="tf-fact">{escape(fact)}</span>' for fact in (toy.price, toy.age) if fact
    )
    kind = " · ".join(escape(part) for part in (toy.category, toy.brand) if part)
    return (
        '<article class="tf-card">'
        f'<div class="tf-picture">{_picture(toy)}'
        f"{f'<span class=tf-badge>{escape(badge)}</span>' if badge else ''}</div>"
        f'<div class="tf-title" title="{escape(toy.title)}">{escape(toy.title)}</div>'
        f'<div class="tf-kind">{kind}</div>'
        f'<div class="tf-facts">{facts}</div>'
        f'<div class="tf-reason">{escape(reason)}</div>'
        "</article>"
    )


def grid(cards: Sequence[str]) -> str:
    """Cards side by side, as many in a row as fit, all of one height."""
    return f'<section class="tf-grid">{"".join(cards)}</section>'


def strip(toys: Sequence[Toy]) -> str:
    """Small pictures with titles in one line that scrolls where it is too long."""
    parts = [
        f'<div class="tf-small" title="{escape(toy.title)}">{_picture(toy)}'
        f"<span>{escape(toy.title)}</span></div>"
        for toy in toys
    ]
    # It scrolls, so it can be reached by keyboard.
    return f'<section class="tf-strip" tabindex="0" aria-label="toys">{"".join(parts)}</section>'
