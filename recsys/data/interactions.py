"""Purchases of many shoppers in compressed sparse rows, each shopper's in order of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from recsys.errors import DataError

__all__ = ["Interactions"]

_REMEMBERED = 1 << 20
"""Most purchases whose distinct ones are remembered: 32 MB."""

_Distinct = tuple[npt.NDArray[np.intp], npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Places of purchases, their toys, and where each shopper's begin among these."""


@dataclass(frozen=True, eq=False, repr=False)
class Interactions:
    """Purchases in CSR by shopper, each shopper's purchases in order of time (oldest first).

    Args:
        indptr: int64 [n_shoppers + 1]; row r owns `items[indptr[r]:indptr[r + 1]]`.
        items: int32 [n_purchases], catalogue index of the toy bought.
        shopper_ids: str/object [n_shoppers].
        n_items: size of the catalogue.

    Raises:
        DataError: the arrays do not fit together or a toy lies outside the catalogue.

    Privacy: holds shoppers' purchases; stays at the merchant. The unit is one shopper at one
    merchant, i.e. one row. `repr` shows the size of the public catalogue and nothing else.
    """

    indptr: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    shopper_ids: npt.NDArray[Any]
    n_items: int

    def __post_init__(self) -> None:
        indptr = np.ascontiguousarray(self.indptr, dtype=np.int64)
        items = np.ascontiguousarray(self.items, dtype=np.int32)
        shopper_ids = np.asarray(self.shopper_ids)
        if indptr.ndim != 1 or len(indptr) != len(shopper_ids) + 1:
            raise DataError(
                "Expected indptr with one entry more than there are shoppers; "
                "the two lengths do not fit. Build Interactions with from_columns or from_lists."
            )
        if indptr[0] != 0 or indptr[-1] != len(items) or np.any(np.diff(indptr) < 0):
            raise DataError(
                "Expected indptr to rise from 0 to the number of purchases; it does not. "
                "Build Interactions with from_columns or from_lists."
            )
        if len(items) and (items.min() < 0 or items.max() >= self.n_items):
            raise DataError(
                f"Expected every toy to be an index below the catalogue's size {self.n_items}; "
                "at least one lies outside. Read the purchases with the catalogue they belong to."
            )
        object.__setattr__(self, "indptr", indptr)
        object.__setattr__(self, "items", items)
        object.__setattr__(self, "shopper_ids", shopper_ids)

    def __repr__(self) -> str:
        return f"Interactions(n_items={self.n_items}, shoppers and purchases not shown)"

    @classmethod
    def from_columns(
        cls,
        shopper_ids: Sequence[Any] | npt.NDArray[Any],
        items: Sequence[int] | npt.NDArray[Any],
        order: Sequence[Any] | npt.NDArray[Any],
        n_items: int,
    ) -> Interactions:
        """Build from one row per purchase, sorted stably by (shopper, order), shoppers by id.

        Args:
            shopper_ids: str [n_purchases], who bought.
            items: int [n_purchases], catalogue index.
            order: number or time [n_purchases]; greater is newer, ties keep the rows' order.
            n_items: size of the catalogue.

        Raises:
            DataError: columns of unequal length or a toy outside the catalogue.

        Privacy: stays at the merchant.
        """
        import pandas as pd

        if not len(shopper_ids) == len(items) == len(order):
            raise DataError(
                "Expected shopper_ids, items and order of one length; found unequal lengths. "
                "Give one value of each for each purchase."
            )
        codes, names = pd.factorize(np.asarray(shopper_ids, dtype=object))
        return cls.from_codes(codes, names, np.asarray(items), np.asarray(order), n_items)

    @classmethod
    def from_codes(
        cls,
        codes: npt.NDArray[np.int64],
        names: npt.NDArray[Any],
        items: npt.NDArray[Any],
        order: npt.NDArray[Any],
        n_items: int,
    ) -> Interactions:
        """Build as `from_columns` does, from `names[codes]` instead of one id per purchase.

        Args:
            codes: int [n_purchases], index into `names`.
            names: str/object [n_names]; names without a purchase give no row.
            items: int [n_purchases], catalogue index.
            order: number or time [n_purchases].
            n_items: size of the catalogue.

        Privacy: stays at the merchant.
        """
        counts = np.bincount(codes, minlength=len(names))
        present = np.flatnonzero(counts)
        kept = np.asarray(names, dtype=object)[present].astype(str).astype(object)
        by_name = np.argsort(kept, kind="stable")
        row_of = np.empty(len(names), dtype=np.int64)
        row_of[present[by_name]] = np.arange(len(present))
        rows = row_of[codes]
        by_time = np.lexsort((order, rows))
        indptr = np.concatenate(([0], np.cumsum(counts[present[by_name]])))
        return cls(indptr, _int32(items)[by_time], kept[by_name], n_items)

    @classmethod
    def from_lists(
        cls,
        histories: Sequence[Sequence[int]] | Sequence[npt.NDArray[Any]],
        n_items: int,
        shopper_ids: Sequence[str] | npt.NDArray[Any] | None = None,
    ) -> Interactions:
        """Build from one list of toys per shopper, oldest first, rows in the order given.

        Privacy: stays at the merchant.
        """
        lengths = np.fromiter((len(h) for h in histories), dtype=np.int64, count=len(histories))
        items = (
            np.concatenate([np.asarray(h, dtype=np.int64) for h in histories])
            if lengths.sum()
            else np.empty(0, dtype=np.int64)
        )
        if shopper_ids is None:
            shopper_ids = [str(row) for row in range(len(histories))]
        ids = np.asarray(shopper_ids, dtype=object)
        return cls(np.concatenate(([0], np.cumsum(lengths))), _int32(items), ids, n_items)

    @property
    def n_shoppers(self) -> int:
        """Number of rows, those without a purchase included."""
        return len(self.shopper_ids)

    @property
    def n_purchases(self) -> int:
        """Number of purchases, repeated ones included."""
        return len(self.items)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Purchases per shopper, int64 [n_shoppers]."""
        return np.diff(self.indptr)

    @property
    def row_index(self) -> npt.NDArray[np.int64]:
        """The shopper's row of each purchase, int64 [n_purchases]."""
        return np.repeat(np.arange(self.n_shoppers), self.lengths)

    @property
    def ages(self) -> npt.NDArray[np.int64]:
        """How many purchases the same shopper made after each one, int64 [n_purchases]."""
        return np.repeat(self.indptr[1:], self.lengths) - 1 - np.arange(self.n_purchases)

    def history(self, row: int) -> npt.NDArray[np.int32]:
        """One shopper's toys, oldest first, int32 [n of that shopper]."""
        return self.items[self.indptr[row] : self.indptr[row + 1]]

    def rows(self, rows: npt.ArrayLike) -> Interactions:
        """A subset or another order of shoppers; `rows` holds row numbers or is a bool mask."""
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64)
        lengths = self.lengths[chosen]
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        shift = np.repeat(self.indptr[chosen] - indptr[:-1], lengths)
        items = self.items[shift + np.arange(len(shift))]
        return Interactions(indptr, items, self.shopper_ids[chosen], self.n_items)

    def where(self, mask: npt.NDArray[np.bool_]) -> Interactions:
        """The same shoppers with only the purchases that `mask` (bool [n_purchases]) keeps."""
        kept = np.concatenate(([0], np.cumsum(mask)))
        return Interactions(kept[self.indptr], self.items[mask], self.shopper_ids, self.n_items)

    def last(self, k: int) -> Interactions:
        """The same shoppers with only the newest `k` purchases of each."""
        return self.where(self.ages < k)

    def append(self, other: Interactions) -> Interactions:
        """The same shoppers with `other`'s purchases after ours.

        Raises:
            DataError: `other` has other shoppers, another order of them, or another catalogue.
        """
        if self.n_items != other.n_items or not np.array_equal(self.shopper_ids, other.shopper_ids):
            raise DataError(
                "Expected the same shoppers in the same order and the same catalogue in both; "
                "found others. Select them with rows() first."
            )
        indptr = self.indptr + other.indptr
        items = np.empty(indptr[-1], dtype=np.int32)
        items[np.arange(self.n_purchases) + np.repeat(other.indptr[:-1], self.lengths)] = self.items
        items[np.arange(other.n_purchases) + np.repeat(self.indptr[1:], other.lengths)] = (
            other.items
        )
        return Interactions(indptr, items, self.shopper_ids, self.n_items)

    def csr(self) -> sp.csr_matrix:
        """Who bought what: float32 [n_shoppers, n_items], 1 where bought, duplicates collapsed."""
        return self._csr(np.ones(self.n_purchases, dtype=np.float32))

    def recency_csr(self, decay: float) -> sp.csr_matrix:
        """Weights that fade with age: `decay ** (newer purchases of the same shopper)`.

        Args:
            decay: in [0, 1]; 1 weighs all alike, 0 keeps the newest purchase only.

        Returns:
            float32 [n_shoppers, n_items]; a toy bought twice has the greater (newer) weight.

        Raises:
            DataError: decay outside [0, 1].
        """
        if not 0.0 <= decay <= 1.0:
            raise DataError(f"Expected a decay from 0 to 1; found {decay}. 0.6 is a good start.")
        return self._csr(np.power(decay, self.ages, dtype=np.float64).astype(np.float32))

    def _csr(self, weights: npt.NDArray[np.float32]) -> sp.csr_matrix:
        kept, columns, indptr = self._distinct
        shape = (self.n_shoppers, self.n_items)
        # Copies: who changes a matrix in place changes it for herself alone.
        matrix = sp.csr_matrix((weights[kept], columns.copy(), indptr.copy()), shape=shape)
        matrix.eliminate_zeros()
        matrix.has_sorted_indices = True
        return matrix

    @property
    def _distinct(self) -> _Distinct:
        """The newest purchase of each toy by each shopper, in the order of a sorted CSR matrix."""
        found: _Distinct | None = self.__dict__.get("_found")
        if found is None:
            found = self._find_distinct()
            if self.n_purchases <= _REMEMBERED:
                # The models of a blend all ask for it, each with its own decay.
                self.__dict__["_found"] = found
        return found

    def _find_distinct(self) -> _Distinct:
        key = self.row_index * self.n_items + self.items
        by_key = np.argsort(key, kind="stable")
        key = key[by_key]
        newest = np.ones(len(key), dtype=bool)
        newest[:-1] = key[1:] != key[:-1]
        key = key[newest]
        rows = key // self.n_items if self.n_items else key
        indptr = np.searchsorted(rows, np.arange(self.n_shoppers + 1))
        return by_key[newest], key - rows * self.n_items, indptr

    def item_counts(self) -> npt.NDArray[np.int64]:
        """Number of shoppers who bought each toy (binary per shopper), int64 [n_items].

        Privacy: exact, stays at the merchant; one shopper changes it by 1 in each toy bought.
        """
        counts: npt.NDArray[np.int64] = np.bincount(self.csr().indices, minlength=self.n_items)
        return counts.astype(np.int64)


def _int32(items: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
    """Narrow to int32 without letting a large index wrap round to a valid one."""
    array = np.asarray(items)
    if len(array) and (array.min() < 0 or array.max() > np.iinfo(np.int32).max):
        raise DataError(
            "Expected toys as catalogue indices from 0; at least one is negative or too large. "
            "Translate item ids with Catalogue.index_of."
        )
    return array.astype(np.int32)
