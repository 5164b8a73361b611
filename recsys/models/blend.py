"""One score out of several models', weighted by each merchant for its own shoppers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.base import Recommender, chunks
from recsys.models.blend_weights import (
    Candidates,
    WeightSearch,
    gather_candidates,
    typical_best,
)
from recsys.models.linear import Joint, Product, product_of
from recsys.models.ranking import best_of_rows

if TYPE_CHECKING:
    from recsys.data.catalogue import Catalogue

__all__ = ["DEFAULT_WEIGHTS", "Blend", "Explanation"]

Floats = npt.NDArray[np.float32]

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "content": 1.0,
    "neighbours": 0.4,
    "local": 0.05,
    "popularity": 0.06,
}
"""Public start, best on the valid split of a public benchmark (Amazon Toys, eight shops)."""

CALIBRATED_SHARE = 0.5
"""Weight of a calibrated component, of its reference's; from the same valid split."""

CALIBRATED_ERRORS = 0.5
"""Standard errors that the gain of a calibrated component has to exceed."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where the blended scores of some toys for one shopper come from.

    Args:
        items: int32 [n] toys.
        terms: component name to float32 [n]; over all components they add up to the score.
        purchases: float32 [n_history, n], what each purchase adds through the components that
            can tell, in the order of the history.
    """

    items: npt.NDArray[np.int32]
    terms: dict[str, Floats]
    purchases: Floats

    @property
    def scores(self) -> Floats:
        """The blended scores, float32 [n]."""
        total = np.zeros(self.items.size, dtype=np.float32)
        for term in self.terms.values():
            total += term
        return total

    def shares(self) -> dict[str, Floats]:
        """Each component's part of what speaks for a toy, in [0, 1]; 0 where it speaks against."""
        positive = {name: np.maximum(term, 0) for name, term in self.terms.items()}
        total = np.sum(list(positive.values()), axis=0)
        return {
            name: np.divide(term, total, out=np.zeros_like(term), where=total > 0)
            for name, term in positive.items()
        }


class Blend(Recommender):
    """Weighted sum of component scores, each in a unit of its own.

        s(u, j) = sum_c w_c * s_c(u, j) / unit_c,   w_c >= 0

    unit_c is the typical best score of the component, the same for every shopper, so that a
    component that has little to say about a shopper says little (chosen by experiment over
    scaling each shopper by her spread, her best score, or its root).

    Args:
        components: name to model. Names are the merchant's choice; weights refer to them.
        weights: name to weight; None takes `DEFAULT_WEIGHTS`, 0 for names that it lacks.
        units: name to unit; those that are missing are measured by `fit` or `fit_weights`.

    Raises:
        ModelError: no component, or weights that are negative, not finite or of other names.

    Privacy: weights and units are fitted on a merchant's own shoppers and stay there.
    """

    name: ClassVar[str] = "blend"

    def __init__(
        self,
        components: Mapping[str, Recommender],
        weights: Mapping[str, float] | None = None,
        units: Mapping[str, float] | None = None,
    ) -> None:
        if not components:
            raise ModelError("Expected at least one component to blend, found none.")
        self.components = dict(components)
        self.weights = self._complete(weights)
        self.units = dict(units or {})
        self._joint = Joint()

    @property
    def n_items(self) -> int:
        """Number of toys in the one catalogue that all components were fitted on."""
        sizes = {model.n_items for model in self.components.values()}
        if len(sizes) != 1:
            raise ModelError(
                f"Expected components over one catalogue, found catalogues of {sorted(sizes)} "
                "toys. Fit them on the same catalogue."
            )
        return sizes.pop()

    def fit(self, interactions: Interactions, catalogue: Catalogue) -> Self:
        """Fit every component on these purchases; weights and known units stay as they are."""
        for component in self.components.values():
            component.fit(interactions, catalogue)
        return self._measure_units(interactions)

    def extend(self, shared: Mapping[str, Recommender]) -> Blend:
        """Return a blend with further components at weight 0: until fitted, it scores as this one.

        Raises:
            ModelError: a name that is taken.
        """
        taken = sorted(self.components.keys() & shared.keys())
        if taken:
            raise ModelError(f"Expected new component names, found {', '.join(taken)} again.")
        return Blend({**self.components, **shared}, self.weights, self.units)

    def fit_weights(
        self,
        train_histories: Interactions,
        valid_targets: Interactions,
        base_weights: Mapping[str, float] | None = None,
        search: WeightSearch | None = None,
    ) -> Self:
        """Choose the weights by NDCG@10 on the valid split; the components are fitted already.

        A change is taken only if its paired gain over the shoppers exceeds its standard error, so
        a blend in which no component helps keeps its start weights to the last bit, and a shop
        with too few valid shoppers keeps them too. A calibrated component (`unit_of`) that is left
        at 0 is then taken up at a public weight for a gain above half its standard error.

        Args:
            train_histories: what the components may know of each shopper.
            valid_targets: what she bought next, same rows.
            base_weights: start; the present weights by default.
            search: settings of the search.

        Privacy: reads every shopper's purchases; the weights stay at the merchant.
        """
        if base_weights is not None:
            self.weights = self._complete(base_weights)
        candidates = self.candidates(train_histories, valid_targets)
        search = search or WeightSearch()
        self.weights = search.best(candidates, self.weights)
        if candidates.n_shoppers >= search.min_shoppers:
            self._take_up_calibrated(candidates, search.k)
        return self

    def _take_up_calibrated(self, candidates: Candidates, k: int) -> None:
        """Start what says by itself how sure it is at a public weight, if `valid` says yes.

        Its scores shrink with the noise in them, so that little evidence is enough: half the
        standard error, where a component of unknown worth needs a whole one.
        """
        for name, model in sorted(self.components.items()):
            reference = self.weights.get(model.unit_of or "", 0.0)
            if self.weights[name] > 0 or reference <= 0:
                continue
            trial = {**self.weights, name: CALIBRATED_SHARE * reference}
            gain = candidates.ndcg(trial, k) - candidates.ndcg(self.weights, k)
            error = float(gain.std(ddof=1)) / np.sqrt(gain.size)
            if gain.mean() > CALIBRATED_ERRORS * error:
                self.weights = trial

    def candidates(self, train_histories: Interactions, valid_targets: Interactions) -> Candidates:
        """Return what `fit_weights` looks at, for fitting several blends at one cost.

        Privacy: holds scores of shoppers' toys; stays at the merchant.
        """
        self.check_histories(train_histories)
        self._measure_units(train_histories)
        return gather_candidates(self.components, self.units, train_histories, valid_targets)

    def score(self, histories: Interactions) -> Floats:
        """Return the weighted sum: float32 [n_rows, n_items]."""
        self.check_histories(histories)
        total = np.empty((histories.n_shoppers, self.n_items), dtype=np.float32)
        for rows in chunks(histories.n_shoppers, self.n_items):
            part, block = histories.rows(rows), total[rows[0] : rows[-1] + 1]
            self._joint.write(list(self._terms(part).values()), block)
        return total

    def recommend_explained(
        self,
        histories: Interactions,
        n: int,
        allowed: npt.NDArray[np.bool_] | None = None,
    ) -> Explanation:
        """The best `n` toys for one shopper with what makes their scores.

        The toys and their order are those of `recommend`, the rest that of `explain`, whose terms
        add up to the scores of `recommend` but for the last bits.

        Args:
            histories: exactly one row.
            n: length of the list.
            allowed: bool [n_items], False hides a toy.

        Raises:
            ModelError: another number of rows than one.
        """
        self.check_histories(histories)
        if histories.n_shoppers != 1:
            raise ModelError("Expected the history of exactly one shopper to explain.")
        terms = self._terms(histories)
        total = np.empty((1, self.n_items), dtype=np.float32)
        self._joint.write(list(terms.values()), total)
        total[0, histories.items] = -np.inf
        if allowed is not None:
            total[:, ~allowed] = -np.inf
        asked = np.asarray(best_of_rows(total, n)[0][0], dtype=np.int32)
        return self._explained(histories, asked, terms)

    def explain(self, histories: Interactions, items: npt.ArrayLike) -> Explanation:
        """Take the scores of `items` for one shopper apart.

        Args:
            histories: exactly one row.
            items: [n] toys.

        Raises:
            ModelError: another number of rows than one.
        """
        self.check_histories(histories)
        if histories.n_shoppers != 1:
            raise ModelError("Expected the history of exactly one shopper to explain.")
        return self._explained(histories, np.asarray(items, dtype=np.int32), self._terms(histories))

    def _terms(self, histories: Interactions) -> dict[str, Product]:
        """Each component's part of the scores, without idle components."""
        return {
            name: product_of(self.components[name], histories).scaled(factor)
            for name, factor in self._factors()
        }

    def _explained(
        self, histories: Interactions, asked: npt.NDArray[np.int32], terms: dict[str, Product]
    ) -> Explanation:
        of_asked = {name: term.of_items(asked)[0] for name, term in terms.items()}
        return Explanation(asked, of_asked, self._purchases(histories, asked))

    def _purchases(self, histories: Interactions, asked: npt.NDArray[np.int32]) -> Floats:
        """What each purchase adds to each of these toys: float32 [n_history, n]."""
        purchases = np.zeros((histories.n_purchases, asked.size), dtype=np.float32)
        for name, factor in self._factors():
            parts = self.components[name].contributions(histories, asked)
            if parts is not None:
                purchases += parts * factor
        return purchases

    def _factors(self) -> list[tuple[str, np.float32]]:
        """Return what each component's scores are multiplied by, without idle components."""
        # In the order of the names, so that the same weights always give the same bits.
        return [
            (name, np.float32(self.weights[name] / self.units.get(name, 1.0)))
            for name in sorted(self.components)
            if self.weights[name] > 0
        ]

    def _measure_units(self, histories: Interactions) -> Self:
        for name, model in self.components.items():
            reference = model.unit_of if model.unit_of in self.components else None
            if (reference or name) not in self.units:
                measured = self.components[reference] if reference else model
                self.units[reference or name] = typical_best(measured, histories)
            self.units.setdefault(name, self.units[reference or name])
        return self

    def _complete(self, weights: Mapping[str, float] | None) -> dict[str, float]:
        if weights is None:
            weights = {n: DEFAULT_WEIGHTS[n] for n in self.components if n in DEFAULT_WEIGHTS}
            if not any(weights.values()):
                weights = dict.fromkeys(self.components, 1.0)
        unknown = sorted(weights.keys() - self.components.keys())
        if unknown or not all(np.isfinite(w) and w >= 0 for w in weights.values()):
            raise ModelError(
                "Expected finite weights of at least 0 for the components "
                f"{', '.join(sorted(self.components))}, found others"
                f"{': ' + ', '.join(unknown) if unknown else ''}."
            )
        return {name: float(weights.get(name, 0.0)) for name in self.components}
