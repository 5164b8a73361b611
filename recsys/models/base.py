"""The one contract that every recommender fulfils, and the exact top-n that they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.ranking import best_of_rows, top_n

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["Recommendations", "Recommender", "chunks", "mask_seen", "newest_weights", "top_n"]

Ids = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

CHUNK_CELLS = 1 << 23
"""Score cells held at once by chunked code: 32 MB of float32."""

_LIST_CELLS = 1 << 22
"""Score cells of `recommend`: 16 MB of float32; fewer cost more calls, more leave the cache."""


@dataclass(frozen=True, eq=False)
class Recommendations:
    """Toys per shopper, best first; a list is short when a shopper has exhausted the catalogue.

    Args:
        ids: per shopper, int32 [<= n] catalogue indices.
        scores: per shopper, float32 [<= n], falling.
    """

    ids: list[npt.NDArray[np.int32]]
    scores: list[npt.NDArray[np.float32]]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"Recommendations(for {len(self.ids)} shoppers)"


class Recommender(ABC):
    """A model that scores every toy of the catalogue for a shopper's history.

    Shoppers are never looked up: each is described by the purchases given to `score`, so a model
    serves shoppers that it was not fitted on, and holds nothing about a single one by name.

    Privacy: `fit` and `score` read shoppers' purchases and stay at the merchant.
    """

    name: ClassVar[str]
    unit_of: ClassVar[str | None] = None
    """The component whose unit the scores are in, for a model that says by itself how sure it is:
    a blend then neither blows up a whisper nor starts it at 0."""
    _n_items: int | None = None

    @abstractmethod
    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Learn from purchases (may be none at all) and the public catalogue; returns self."""

    @abstractmethod
    def score(self, histories: Interactions) -> npt.NDArray[np.float32]:
        """Score every toy for every row: float32 [n_rows, n_items], finite, higher is better.

        Toys in the history are scored like any other; masking them is the caller's choice. An
        empty history gets a row too (zeros where a model knows nothing about a stranger). The
        array is new: the caller may write into it.

        The last bits of a row may depend on how many stand beside it: score for a release one
        row at a time (`evaluate(..., alone=True)`).
        """

    def contributions(
        self, histories: Interactions, items: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32] | None:
        """Split the scores of `items` for one shopper over the purchases in her history.

        Args:
            histories: exactly one row.
            items: int32 [n], the toys to account for.

        Returns:
            float32 [n_history, n] in the order of the history, whose column sums are the scores;
            None where a score does not come from single purchases.
        """
        return None

    def of_many(self, interactions: Interactions, least: int) -> Recommender:
        """This fitted model without what fewer than `least` shoppers stand behind.

        For answers to whoever may ask about any toy: out of a toy that one shopper alone bought,
        the rest of her purchases could be read. No formal privacy: a crowd, not a guarantee.

        Args:
            interactions: the purchases that the model was fitted on.
            least: distinct shoppers.

        Returns:
            A new model, or this very one where it holds nothing of these purchases.
        """
        return self

    def settings(self) -> dict[str, Any]:
        """Return the arguments that rebuild the unfitted model, JSON-ready."""
        return {}

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return what fit learned as named arrays, for a merchant's serving bundle.

        Raises:
            ModelError: for a model that cannot be stored.
        """
        raise ModelError(
            f"Expected a model that can be stored, found {type(self).__name__}. "
            "Leave it out of the serving bundle."
        )

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]], catalogue: Catalogue) -> Self:
        """Take back what `arrays` returned, instead of fit; returns self."""
        raise ModelError(
            f"Expected a model that can be loaded, found {type(self).__name__}. Fit it instead."
        )

    @property
    def n_items(self) -> int:
        """Number of toys in the catalogue that the model was fitted on."""
        if self._n_items is None:
            raise ModelError(
                f"Expected a fitted {type(self).__name__}, found one without fit. Call fit first."
            )
        return self._n_items

    def recommend(
        self,
        histories: Interactions,
        n: int = 10,
        allowed: npt.NDArray[np.bool_] | None = None,
        exclude_seen: bool = True,
        threads: int = 1,
    ) -> Recommendations:
        """Return the best `n` toys per shopper, ties by lower catalogue index.

        Args:
            histories: one row per shopper, over the same catalogue as the model.
            n: length of the lists; fewer come back when fewer toys are left.
            allowed: bool [n_items], False hides a toy from everyone.
            exclude_seen: hide the toys in a shopper's own history from her list.
            threads: that score and rank blocks of shoppers; no effect on the lists.

        Raises:
            ModelError: for an unfitted model, another catalogue or a mask of another length.
        """
        self.check_histories(histories)
        if n < 0:
            raise ModelError(f"Expected n >= 0 toys to recommend, found {n}.")
        if allowed is not None and allowed.shape != (self.n_items,):
            raise ModelError(
                f"Expected `allowed` with one flag for each of the {self.n_items} toys, "
                f"found shape {allowed.shape}."
            )

        def block(rows: npt.NDArray[np.int64]) -> tuple[list[Ids], list[Floats]]:
            part = histories.rows(rows)
            scores = np.asarray(self.score(part), dtype=np.float32)
            if exclude_seen:
                scores[part.row_index, part.items] = -np.inf
            if allowed is not None:
                scores[:, ~allowed] = -np.inf
            return best_of_rows(scores, n)

        blocks = list(chunks(histories.n_shoppers, self.n_items, _LIST_CELLS))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                found = list(pool.map(block, blocks))
        else:
            found = [block(rows) for rows in blocks]
        return Recommendations(
            [row for ids, _ in found for row in ids], [row for _, values in found for row in values]
        )

    def similar_items(
        self, item: int, n: int = 10
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the `n` toys that a shopper of `item` alone would be shown: ids and scores."""
        if not 0 <= item < self.n_items:
            raise ModelError(
                f"Expected a toy index from 0 to {self.n_items - 1}, found {item}. "
                "Look it up in the catalogue's index_of."
            )
        best = self.recommend(Interactions.from_lists([[item]], self.n_items), n)
        return best.ids[0], best.scores[0]

    def check_histories(self, histories: Interactions) -> None:
        """Raise ModelError unless `histories` are over the catalogue of this fitted model."""
        if histories.n_items != self.n_items:
            raise ModelError(
                f"Expected histories over {self.n_items} toys, found {histories.n_items}. "
                "Use the catalogue that the model was fitted on."
            )


def check_catalogue(n_items: int, catalogue: Catalogue) -> None:
    """Raise ModelError unless purchases or stored arrays are over as many toys as the catalogue."""
    if n_items != catalogue.n_items:
        raise ModelError(
            f"Expected a catalogue of {n_items} toys, found one of {catalogue.n_items}. "
            "Use purchases, arrays and catalogue of the same marketplace."
        )


def chunks(
    n_rows: int, n_columns: int, cells: int = CHUNK_CELLS
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield consecutive row numbers in blocks of about `cells` matrix cells."""
    size = max(1, cells // max(1, n_columns))
    for start in range(0, n_rows, size):
        yield np.arange(start, min(start + size, n_rows), dtype=np.int64)


def newest_weights(history: npt.NDArray[np.int32], decay: float) -> npt.NDArray[np.float32]:
    """Return decay^age per purchase, 0 for all but the newest purchase of the same toy."""
    ages = np.arange(history.size)[::-1]
    _, newest = np.unique(history[::-1], return_index=True)
    weights = np.zeros(history.size, dtype=np.float32)
    kept = history.size - 1 - newest
    weights[kept] = np.power(float(decay), ages[kept])
    return weights


def mask_seen(scores: npt.NDArray[np.float32], histories: Interactions) -> npt.NDArray[np.float32]:
    """Return a copy of `scores` [n_rows, n_items] with each row's own history at -inf."""
    masked = np.array(scores, dtype=np.float32)
    rows = np.repeat(np.arange(histories.n_shoppers), np.diff(histories.indptr))
    masked[rows, histories.items] = -np.inf
    return masked
