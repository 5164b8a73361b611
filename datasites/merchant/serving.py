"""What a merchant's pages serve from: the newest blend, its components, and the catalogue.

    serving/current.json           which bundle, its arrays, weights, and the purchases behind it
    serving/STUDY-DIGEST.npz       what the merchant's own components learned, whole, and what at
                                   least three shoppers stand behind (`many-...`)
    serving/stale                  not to be served until it was fitted again

The bundle holds models of this merchant's purchases: it stays here.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasites.errors import SettingsError
from datasites.merchant.fit import Mix, own_components, shared_components
from datasites.merchant.home import MerchantHome
from datasites.merchant.stale import BUNDLE_FORMAT, is_stale, purchases_digest
from datasites.merchant.stock import read_stock
from datasites.merchant.store import load_catalogue, load_shop
from datasites.private import damaged, read_private
from datasites.protocol import safe_name
from recsys.data import Catalogue, Interactions
from recsys.files import atomic_write_bytes, atomic_write_text
from recsys.models import Blend, Recommender
from recsys.serving import Filters, Shelf, Suggestion

__all__ = ["Filters", "ServedShop", "Suggestion", "open_shop", "write_bundle"]

_MANY = "many-"
_BUNDLE = re.compile(r"[a-z0-9][a-z0-9-]{0,120}\.npz")
_MEND = (
    "Remove private/serving/current.json or put it back from a backup; the next model that arrives "
    "writes it anew."
)


def write_bundle(
    home: MerchantHome,
    study: str,
    components: Mapping[str, Recommender],
    of_many: Mapping[str, Recommender],
    mix: Mix,
) -> None:
    """Store fitted components and weights; the old bundle serves until the new one is whole.

    Args:
        components: the merchant's own, fitted.
        of_many: the same without what few shoppers stand behind.

    Called in the `data_turn` in which the purchases are those that the components were fitted on.
    """
    arrays = {
        f"{prefix}{name}|{key}": array
        for prefix, models in (("", components), (_MANY, of_many))
        for name, model in models.items()
        for key, array in model.arrays().items()
        if not prefix or model is not components[name]
    }
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    data = packed.getvalue()
    name = f"{study}-{hashlib.sha256(data).hexdigest()[:16]}.npz"
    atomic_write_bytes(home.serving / name, data, mode=0o600)
    facts = {
        "format": BUNDLE_FORMAT,
        "study": study,
        "purchases": purchases_digest(home),
        "bundle": name,
        "arrays": sorted(arrays),
        "alone": dict(mix.alone),
        "federated": dict(mix.federated),
        "units": dict(mix.units),
    }
    atomic_write_text(home.serving / "current.json", json.dumps(facts), mode=0o600)
    for old in home.serving.glob("*.npz"):
        if old.name != name:
            old.unlink()


class ServedShop:
    """One merchant's shop, open for its own pages.

    Privacy: holds this merchant's purchases and models; it stays in the merchant's own process.
    """

    def __init__(
        self,
        name: str,
        catalogue: Catalogue,
        histories: Interactions,
        shelves: Mapping[tuple[bool, bool], Shelf],
        study: str | None,
        *,
        knows_stock: bool = False,
    ) -> None:
        self.name = name
        self.knows_stock = knows_stock
        self.catalogue = catalogue
        self.study = study
        self.shopper_ids = [str(identity) for identity in histories.shopper_ids]
        self._rows = {identity: row for row, identity in enumerate(self.shopper_ids)}
        self._histories = histories
        self._shelves = shelves

    def __repr__(self) -> str:
        return f"ServedShop({self.name!r}, study={self.study!r})"

    def history(self, shopper_id: str) -> list[int]:
        """What a shopper bought, catalogue indices, oldest first. Raises SettingsError."""
        row = self._rows.get(shopper_id)
        if row is None:
            raise SettingsError("expected a shopper of this shop, found none of that id")
        return [int(item) for item in self._histories.history(row)]

    def recommend(
        self,
        history: Sequence[int],
        n: int = 12,
        filters: Filters | None = None,
        together: bool = True,
        *,
        own_history: bool = False,
    ) -> list[Suggestion]:
        """Toys for a basket, by the blend with everything shared or by this shop alone.

        Args:
            history: catalogue indices, oldest first.
            own_history: whether it is what one shopper really bought here, for her own eyes. Of
                a basket that anybody may fill, only what at least `LEAST_SHOPPERS` shoppers stand
                behind is told.
        """
        return self._shelves[together, own_history].recommend(history, n, filters)

    def similar(self, item: int, n: int = 8) -> list[Suggestion]:
        """Toys that go with one toy; as for a basket that anybody may fill."""
        return self._shelves[True, False].similar(item, n)


def _current(data: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(data)
    safe_name(facts["study"])
    if not _BUNDLE.fullmatch(facts["bundle"]):
        raise ValueError("not a bundle of this folder")
    for weights in ("alone", "federated", "units"):
        facts[weights] = {str(name): float(one) for name, one in facts[weights].items()}
    facts["arrays"] = [str(name) for name in facts["arrays"]]
    return facts


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as packed:
            return {key: packed[key] for key in packed.files}
    except (zipfile.BadZipFile, zlib.error, OSError) as error:
        raise ValueError("not whole") from error


def _arrays_of(stored: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    prefix = f"{name}|"
    return {
        key.removeprefix(prefix): array for key, array in stored.items() if key.startswith(prefix)
    }


def open_shop(home: MerchantHome) -> ServedShop:
    """Open a shop for its pages. Raises SettingsError if it has no data or no model yet."""
    if is_stale(home):
        raise SettingsError(
            f"expected lists of the present purchases at {home.settings.name}, found older ones, "
            "which are not shown. The datasite's service makes them anew; wait a moment"
        )
    try:
        facts = read_private(home.serving / "current.json", _current, _MEND)
        stored = read_private(home.serving / facts["bundle"], _arrays, _MEND)
    except FileNotFoundError:
        raise SettingsError(
            f"expected a model to serve at {home.settings.name}, found none yet: it arrives with "
            "the first finished study"
        ) from None
    catalogue = load_catalogue(home)
    try:
        if sorted(stored) != facts["arrays"]:
            raise KeyError
        own = {
            name: component.restore(_arrays_of(stored, name), catalogue)
            for name, component in own_components().items()
        }
        of_many = {
            name: component.restore(found, catalogue)
            if (found := _arrays_of(stored, f"{_MANY}{name}"))
            else own[name]
            for name, component in own_components().items()
        }
    except (KeyError, ValueError, TypeError):
        raise damaged(home.serving / facts["bundle"], "arrays are missing", _MEND) from None
    shop = load_shop(home, catalogue)
    shared, of_others = (shared_components(home, facts["study"]) for _ in range(2))
    nothing = Interactions.from_lists([], catalogue.n_items)
    for name, component in shared.items():
        component.fit(shop.all, catalogue)
        # A free basket is not told how this shop's own purchases bear on what others released.
        of_others[name].fit(nothing, catalogue)
    stock = read_stock(home, catalogue)
    shelves = {
        (together, own_history): Shelf(
            Blend(
                (own | (shared if together else {}))
                if own_history
                else (of_many | (of_others if together else {})),
                facts["federated" if together else "alone"],
                facts["units"],
            ),
            catalogue,
            stock,
        )
        for together in (False, True)
        for own_history in (False, True)
    }
    return ServedShop(
        home.settings.name,
        catalogue,
        shop.all,
        shelves,
        facts["study"],
        knows_stock=stock is not None,
    )
