"""What a merchant's pages serve from: the newest blend, its components, and the catalogue.

    serving/current.json           which bundle, weights, settings of each component
    serving/STUDY-DIGEST.npz       what the merchant's own components learned

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
from datasites.merchant.stock import read_stock
from datasites.merchant.store import load_catalogue, load_shop
from datasites.private import damaged, read_private
from datasites.protocol import safe_name
from recsys.data import Catalogue, Interactions
from recsys.files import atomic_write_bytes, atomic_write_text
from recsys.models import Blend, Recommender
from recsys.serving import Filters, Shelf, Suggestion

__all__ = ["Filters", "ServedShop", "Suggestion", "open_shop", "write_bundle"]

_BUNDLE = re.compile(r"[a-z0-9][a-z0-9-]{0,120}\.npz")
_MEND = "Put private/serving back from a backup; the next model that arrives writes it anew."


def write_bundle(
    home: MerchantHome,
    study: str,
    components: Mapping[str, Recommender],
    mix: Mix,
) -> None:
    """Store fitted components and weights; the old bundle serves until the new one is whole."""
    arrays = {
        f"{name}|{key}": array
        for name in own_components()
        for key, array in components[name].arrays().items()
    }
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    data = packed.getvalue()
    name = f"{study}-{hashlib.sha256(data).hexdigest()[:16]}.npz"
    atomic_write_bytes(home.serving / name, data, mode=0o600)
    facts = {
        "study": study,
        "bundle": name,
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
        shelves: Mapping[bool, Shelf],
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
    ) -> list[Suggestion]:
        """Toys for a basket, by the blend with everything shared or by this shop alone."""
        return self._shelves[together].recommend(history, n, filters)

    def similar(self, item: int, n: int = 8) -> list[Suggestion]:
        """Toys that go with one toy."""
        return self._shelves[True].similar(item, n)


def _current(data: bytes) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(data)
    safe_name(facts["study"])
    if not _BUNDLE.fullmatch(facts["bundle"]):
        raise ValueError("not a bundle of this folder")
    for weights in ("alone", "federated", "units"):
        facts[weights] = {str(name): float(one) for name, one in facts[weights].items()}
    return facts


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as packed:
            return {key: packed[key] for key in packed.files}
    except (zipfile.BadZipFile, zlib.error, OSError) as error:
        raise ValueError("not whole") from error


def open_shop(home: MerchantHome) -> ServedShop:
    """Open a shop for its pages. Raises SettingsError if it has no data or no model yet."""
    try:
        facts = read_private(home.serving / "current.json", _current, _MEND)
        stored = read_private(home.serving / facts["bundle"], _arrays, _MEND)
    except FileNotFoundError:
        raise SettingsError(
            f"expected a model to serve at {home.settings.name}, found none yet: it arrives with "
            "the first finished study"
        ) from None
    catalogue = load_catalogue(home)
    own = own_components()
    for name, component in own.items():
        prefix = f"{name}|"
        arrays = {
            key.removeprefix(prefix): array
            for key, array in stored.items()
            if key.startswith(prefix)
        }
        try:
            component.restore(arrays, catalogue)
        except (KeyError, ValueError, TypeError):
            raise damaged(home.serving / facts["bundle"], "arrays are missing", _MEND) from None
    shop = load_shop(home, catalogue)
    shared = shared_components(home, facts["study"])
    for component in shared.values():
        component.fit(shop.all, catalogue)
    stock = read_stock(home, catalogue)
    shelves = {
        False: Shelf(Blend(own, facts["alone"], facts["units"]), catalogue, stock),
        True: Shelf(Blend(own | shared, facts["federated"], facts["units"]), catalogue, stock),
    }
    return ServedShop(
        home.settings.name,
        catalogue,
        shop.all,
        shelves,
        facts["study"],
        knows_stock=stock is not None,
    )
