"""Answers to checked questions, out of an open shop.

Privacy: baskets and histories are used for the one answer and kept nowhere. Answers to questions
about toys alone are the same for everybody and may be kept.
"""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from datasites.errors import SettingsError
from ui.api.questions import Basket, Found, Popular, Similar, Suggested

if TYPE_CHECKING:
    from datasites.merchant.serving import Filters, ServedShop, Suggestion

__all__ = ["UnknownToyError", "answer_basket", "answer_popular", "answer_similar"]

MOST_KEPT_BYTES = 64 * 1024 * 1024
"""Of answers kept for one shop; the least recently asked for go first."""


class UnknownToyError(LookupError):
    """The catalogue has no toy of that id."""


class _Prepared:
    """What is the same for every question to one open shop."""

    def __init__(self, shop: ServedShop) -> None:
        frame = shop.catalogue.frame
        self.columns = {name: frame[name].tolist() for name in frame.columns}
        self.kept: OrderedDict[Popular | Similar, bytes] = OrderedDict()
        self.kept_bytes = 0
        self.lock = threading.Lock()


_prepared: WeakKeyDictionary[ServedShop, _Prepared] = WeakKeyDictionary()


def answer_popular(shop: ServedShop, question: Popular) -> bytes:
    """Toys for somebody of whom nothing is known, as JSON."""

    def find() -> bytes:
        categories = (question.category,) if question.category else ()
        filters = _filters(
            question.price_min, question.price_max, question.age, categories, exclude=()
        )
        return _found(shop, shop.recommend([], question.n, filters))

    return _kept(shop, question, find)


def answer_similar(shop: ServedShop, question: Similar) -> bytes:
    """Toys that go with one toy, as JSON. Raises UnknownToyError."""
    item = shop.catalogue.index_of.get(question.item)
    if item is None:
        raise UnknownToyError
    return _kept(shop, question, lambda: _found(shop, shop.similar(item, question.n)))


def answer_basket(shop: ServedShop, question: Basket) -> bytes:
    """Toys for a basket and, where a shopper is named, for what she bought here, as JSON.

    A shopper whom the shop does not know is somebody new: the answer does not say which.
    """
    index_of = shop.catalogue.index_of
    history: list[int] = []
    if question.shopper is not None:
        try:
            history = shop.history(question.shopper)
        except (SettingsError, ValueError):
            history = []
    basket = [index_of[one] for one in question.basket if one in index_of]
    exclude = [index_of[one] for one in question.exclude if one in index_of]
    unknown = len(question.basket) + len(question.exclude) - len(basket) - len(exclude)
    filters = _filters(
        question.price_min, question.price_max, question.age, question.categories, exclude
    )
    found = shop.recommend(
        [*history, *basket],
        question.n,
        filters,
        question.together,
        # What she really bought, and nothing that was put beside it to find out what goes with it.
        own_history=bool(history) and not basket,
    )
    return _found(shop, found, unknown)


def _filters(
    price_min: float | None,
    price_max: float | None,
    age: float | None,
    categories: Sequence[str],
    exclude: Sequence[int],
) -> Filters:
    from datasites.merchant.serving import Filters

    return Filters(
        price_min=price_min,
        price_max=price_max,
        age=age,
        categories=tuple(categories),
        exclude=tuple(exclude),
    )


def _kept(shop: ServedShop, question: Popular | Similar, find: Callable[[], bytes]) -> bytes:
    prepared = _prepare(shop)
    with prepared.lock:
        if question in prepared.kept:
            prepared.kept.move_to_end(question)
            return prepared.kept[question]
    answer = find()
    with prepared.lock:
        # Somebody else may have asked the same meanwhile.
        before = prepared.kept.pop(question, None)
        if before is not None:
            prepared.kept_bytes -= _size(question, before)
        prepared.kept[question] = answer
        prepared.kept_bytes += _size(question, answer)
        while prepared.kept_bytes > MOST_KEPT_BYTES:
            prepared.kept_bytes -= _size(*prepared.kept.popitem(last=False))
    return answer


def _size(question: Popular | Similar, answer: bytes) -> int:
    """Bytes that a kept answer takes, its question included: texts may be long and wide."""
    return len(answer) + 4 * len(repr(question)) + 1024


def _found(shop: ServedShop, suggestions: Sequence[Suggestion], unknown: int = 0) -> bytes:
    columns = _prepare(shop).columns
    items = [
        Suggested(
            item_id=columns["item_id"][one.item],
            title=columns["title"][one.item],
            reason=one.reason,
            category=columns["category_path"][one.item],
            brand=columns["brand"][one.item],
            price=_known(columns["price"][one.item]),
            age_from=_known(columns["age_from"][one.item]),
            age_to=_known(columns["age_to"][one.item]),
            image_url=columns["image_url"][one.item],
        )
        for one in suggestions
    ]
    found = Found(shop=shop.name, study=shop.study, items=items, unknown=unknown)
    return json.dumps(found.model_dump(), ensure_ascii=False, allow_nan=False).encode(
        "utf-8", "replace"
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _prepare(shop: ServedShop) -> _Prepared:
    found = _prepared.get(shop)
    if found is None:
        found = _prepared[shop] = _Prepared(shop)
    return found
