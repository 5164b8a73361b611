"""Scores that are products: those of several models at once, by one multiplication of each kind."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from scipy.linalg.blas import sgemm

from recsys.data.interactions import Interactions
from recsys.models.base import Recommender, chunks

__all__ = ["Joint", "LinearRecommender", "Product", "product_of"]

Floats = npt.NDArray[np.float32]

_MOST_KEPT = 1 << 24
"""Most numbers of toys that are laid side by side: 64 MB of float32, beside the originals."""


@dataclass(frozen=True, eq=False)
class Product:
    """Scores of shoppers for toys: a @ b.T + c @ d + e @ f + g.

    Args:
        dense: a and b, float32 [n_rows, k] and [n_items, k]; None where there is no such part.
        sparse: c and d, csr float32 [n_rows, m] and [m, n_items]; None likewise.
        table: e and f, csr float32 [n_rows, m] and float32 [m, n_items]; None likewise.
        constant: g, float32 [n_items], the same for every shopper; None likewise.

    Privacy: a, c and e come from shoppers' purchases and stay at the merchant.
    """

    dense: tuple[Floats, Floats] | None = None
    sparse: tuple[sp.csr_matrix, sp.csr_matrix] | None = None
    table: tuple[sp.csr_matrix, Floats] | None = None
    constant: Floats | None = None

    @cached_property
    def sparse_scores(self) -> sp.csr_matrix:
        """c @ d, multiplied out once."""
        assert self.sparse is not None
        return self.sparse[0] @ self.sparse[1]

    def scaled(self, factor: np.float32) -> Product:
        """The scores times a number; the toys' sides stay the very same arrays."""
        return Product(
            self.dense and (self.dense[0] * factor, self.dense[1]),
            self.sparse and (self.sparse[0] * factor, self.sparse[1]),
            self.table and (self.table[0] * factor, self.table[1]),
            None if self.constant is None else self.constant * factor,
        )

    def rows(self, block: slice) -> Product:
        """The scores of some shoppers."""
        return Product(
            self.dense and (self.dense[0][block], self.dense[1]),
            self.sparse and (self.sparse[0][block], self.sparse[1]),
            self.table and (self.table[0][block], self.table[1]),
            self.constant,
        )

    def of_items(self, items: npt.NDArray[np.int32]) -> Floats:
        """The scores of some toys alone, float32 [n_rows, len(items)]; cheaper than all."""
        left = self.dense or self.sparse or self.table
        scores = np.zeros((left[0].shape[0] if left else 1, items.size), dtype=np.float32)
        if self.dense:
            scores += self.dense[0] @ self.dense[1][items].T
        if self.sparse and len(scores) == 1:
            row = np.zeros(self.sparse[1].shape[1], dtype=np.float32)
            row[self.sparse_scores.indices] = self.sparse_scores.data
            scores += row[items]
        elif self.sparse:
            scores += self.sparse_scores[:, items].toarray()
        if self.table:
            scores += self.table[0] @ self.table[1][:, items]
        if self.constant is not None:
            scores += self.constant[items]
        return scores


class LinearRecommender(Recommender):
    """A model whose scores are a `Product`, so that a blend can multiply once for several."""

    @abstractmethod
    def product(self, histories: Interactions) -> Product:
        """The scores of `score`, not multiplied out.

        Raises:
            ModelError: for an unfitted model, or histories over another catalogue.
        """

    def score(self, histories: Interactions) -> Floats:
        """Multiply out: float32 [n_rows, n_items]."""
        product, joint = self.product(histories), Joint()
        scores = np.empty((histories.n_shoppers, self.n_items), dtype=np.float32)
        for rows in chunks(histories.n_shoppers, self.n_items):
            block = slice(rows[0], rows[-1] + 1)
            joint.write([product.rows(block)], scores[block])
        return scores


def product_of(model: Recommender, histories: Interactions) -> Product:
    """The scores of any model as a product; of one that is none, as they are."""
    if isinstance(model, LinearRecommender):
        return model.product(histories)
    one = sp.identity(histories.n_shoppers, dtype=np.float32, format="csr")
    return Product(table=(one, model.score(histories)))


class Joint:
    """Adds products up. Toys' sides are laid side by side once, and kept as long as they come."""

    def __init__(self) -> None:
        self._toys = _Kept(lambda toys: np.ascontiguousarray(np.hstack(toys).T))
        self._tables = _Kept(lambda tables: sp.vstack(tables, format="csr"))

    def write(self, products: Sequence[Product], out: Floats) -> None:
        """Write the sum of the products over `out`, float32 [n_rows, n_items] in C order."""
        assert out.flags.c_contiguous  # BLAS would write to a copy
        assert out.dtype == np.float32
        if len(out) == 1:
            self._write_one(products, out)
            return
        sparse = [product.sparse for product in products if product.sparse is not None]
        out_is_new = True
        for together in _few(sparse, lambda table: int(table.nnz)):
            rows = sp.hstack([left for left, _ in together], format="csr")
            tables = self._tables.of([right for _, right in together])
            found = (rows @ tables).astype(np.float32, copy=False)
            if out_is_new:
                found.toarray(out=out)
                out_is_new = False
            else:
                out += found.toarray()
        if out_is_new:
            out.fill(0)
        for shoppers, toys in self._dense(products):
            _add_product(shoppers, toys, out)
        _add_rest(products, out)

    def _write_one(self, products: Sequence[Product], out: Floats) -> None:
        # Of one shopper only few toys have a sparse score: laying tables together, and rows out
        # in full, would take longer than the rest.
        out.fill(0)
        for shoppers, toys in self._dense(products):
            out += shoppers @ toys
        for product in products:
            if product.sparse is not None:
                out[0, product.sparse_scores.indices] += product.sparse_scores.data
        _add_rest(products, out)

    def _dense(self, products: Sequence[Product]) -> Iterator[tuple[Floats, Floats]]:
        """Both sides of the dense parts, laid together: [n_rows, k] and [k, n_items]."""
        dense = [product.dense for product in products if product.dense is not None]
        for together in _few(dense, lambda toys: int(toys.size)):
            shoppers = np.hstack([left for left, _ in together])
            yield shoppers, self._toys.of([right for _, right in together], alone=np.transpose)


def _add_product(left: Floats, right: Floats, out: Floats) -> None:
    """out += left @ right, without another array as large as `out`."""
    if left.shape[1] and out.size:
        # BLAS counts in columns, so that what it sees are the transposes.
        sgemm(1.0, right.T, left.T, beta=1.0, c=out.T, overwrite_c=True)


def _add_rest(products: Sequence[Product], out: Floats) -> None:
    for product in products:
        if product.table is not None:
            out += product.table[0] @ product.table[1]
        if product.constant is not None:
            out += product.constant


class _Kept:
    """Several arrays made one: anew only where one of them is another than before."""

    def __init__(self, join: Callable[[list[Any]], Any]) -> None:
        self._join = join
        self._kept: tuple[list[Any], Any] = ([], None)

    def of(self, parts: list[Any], alone: Callable[[Any], Any] = lambda part: part) -> Any:
        """Them joined; a single one as `alone` gives it, which copies nothing."""
        if len(parts) == 1:
            return alone(parts[0])
        before, made = self._kept
        if len(before) != len(parts) or any(a is not b for a, b in zip(before, parts, strict=True)):
            made = self._join(parts)
            self._kept = (parts, made)
        return made


def _few(pairs: list[tuple[Any, Any]], size: Callable[[Any], int]) -> Iterator[list[Any]]:
    """All pairs together; one by one where copies of the toys' sides would take much memory."""
    if sum(size(right) for _, right in pairs) <= _MOST_KEPT:
        if pairs:
            yield pairs
        return
    yield from ([pair] for pair in pairs)
