"""The scientist's side of shared co-purchases: two phases with their cost, and sums."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from datasites.errors import SettingsError
from datasites.protocol import ArraySpec, Phase
from datasites.recipes.base import Recipe
from recsys.errors import ModelError, PrivacyError
from recsys.federation import Update
from recsys.models.co_purchase import (
    COUNTS,
    PAIRS,
    CoPurchaseSettings,
    PairCells,
    PairSums,
    SharedPairs,
    make_plan,
    pair_cells,
)
from recsys.privacy import GaussianEvent

if TYPE_CHECKING:
    from recsys.data import Catalogue
    from recsys.models import Popularity, Recommender
    from recsys.privacy import Budget

__all__ = ["CoPurchaseRecipe"]

# A merchant is not trusted either: no update may make the sum of all of them overflow.
_MOST = 1e9
_VARIANCES, _MERGED = "noise_variances", "merged_{phase}"


class CoPurchaseRecipe(Recipe):
    """Toys bought together, counted once under shopper-level privacy; the sums just add up."""

    name: ClassVar[str] = "co-purchase"
    title: ClassVar[str] = "Private co-purchases guided by the catalogue"
    code: ClassVar[Path] = Path(__file__).parent / "code"
    learns_from: ClassVar[str] = (
        "`train` and `valid` splits: all but the last purchase of a shopper"
    )
    takes_out_own: ClassVar[bool] = True
    model_arrays: ClassVar[tuple[str, ...]] = (
        "pair_toys",
        "pair_similarity",
        "pair_sums",
        "item_counts",
        "shopper_count",
        _VARIANCES,
        _MERGED.format(phase=COUNTS),
        _MERGED.format(phase=PAIRS),
    )

    def complete(self, model: dict[str, Any]) -> dict[str, Any]:
        try:
            return CoPurchaseSettings.from_dict(model).to_dict()
        except (PrivacyError, TypeError) as error:
            raise SettingsError(f"[model] of co-purchase: {error}") from None

    def phases(self, settings: dict[str, Any], budget: Budget, n_items: int) -> tuple[Phase, ...]:
        chosen = CoPurchaseSettings.from_dict(settings)
        outputs = {
            COUNTS: (
                ArraySpec(name="item_counts", shape=(n_items,), dtype="float64"),
                ArraySpec(name="shopper_count", shape=(1,), dtype="float64"),
            ),
            PAIRS: (
                ArraySpec(
                    name="pair_sums", shape=(n_items * chosen.pairs_per_toy,), dtype="float32"
                ),
            ),
        }
        return tuple(
            Phase(name=name, outputs=outputs[name], events=(event.to_dict(),))
            for name, event in make_plan(chosen, budget).phases.items()
        )

    def initial_state(self, settings: dict[str, Any], n_items: int) -> dict[str, np.ndarray]:
        chosen = CoPurchaseSettings.from_dict(settings)
        return {
            "pair_sums": np.zeros(n_items * chosen.pairs_per_toy),
            "item_counts": np.zeros(n_items),
            "shopper_count": np.zeros(1),
            _VARIANCES: np.zeros(2),
        }

    def public_arrays(
        self, settings: dict[str, Any], catalogue: Catalogue
    ) -> dict[str, np.ndarray]:
        """The list of pairs: made once here, so that all merchants count the same ones."""
        cells = pair_cells(catalogue, CoPurchaseSettings.from_dict(settings).pairs_per_toy)
        return {"pair_toys": cells.toys, "pair_similarity": cells.similarity}

    def state_for(self, phase: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if phase == COUNTS:
            return {}
        return {name: state[name] for name in ("pair_toys", "pair_similarity")}

    def merge(
        self,
        phase: str,
        updates: list[Update],
        state: dict[str, np.ndarray],
        settings: dict[str, Any],
        rule: str,
    ) -> dict[str, np.ndarray]:
        """Everything adds up, s = sum_k s_k, and so does the variance of the noise.

        Sums are the one right merge of counts, whatever `rule` says. Which updates are in the
        sum is kept as their fingerprints, so that each merchant can take its own part out again.
        """
        state = dict(state)
        for update in updates:
            for name, values in update.arrays.items():
                state[name] = state[name] + _bounded(values)
            variances = np.zeros(2)
            for event in update.events:
                if isinstance(event, GaussianEvent):
                    variances[0 if phase == PAIRS else 1] += event.sigma**2
            state[_VARIANCES] = state[_VARIANCES] + variances
        state[_MERGED.format(phase=phase)] = np.array(
            [_fingerprint(dict(update.arrays)) for update in updates], dtype=np.int64
        )
        return state

    def model(
        self, arrays: dict[str, np.ndarray], settings: dict[str, Any]
    ) -> dict[str, Recommender]:
        counts = arrays["item_counts"]
        if arrays["shopper_count"].shape != (1,) or arrays[_VARIANCES].shape != (2,):
            raise ModelError(
                "Expected one number of shoppers and two variances of noise, found others; use "
                "the arrays that the study published."
            )
        cells = PairCells(arrays["pair_toys"], arrays["pair_similarity"], counts.size)
        pair_variance, count_variance = map(float, np.maximum(arrays[_VARIANCES], 0.0))
        sums = PairSums(
            arrays["pair_sums"],
            counts,
            float(arrays["shopper_count"][0]),
            pair_variance,
            count_variance,
        )
        merged = {phase: arrays[_MERGED.format(phase=phase)] for phase in (COUNTS, PAIRS)}
        return {
            "shared": _Merged(cells, sums, CoPurchaseSettings.from_dict(settings), merged),
            "shared_popularity": _popularity(counts),
        }

    def of_others(
        self, components: dict[str, Recommender], own: dict[str, dict[str, np.ndarray]]
    ) -> dict[str, Recommender]:
        shared = components["shared"]
        if not isinstance(shared, _Merged):
            raise ModelError("Expected the components that this recipe's `model` returned.")
        left = shared.of_others(own)
        return {"shared": left, "shared_popularity": _popularity(left.sums.counts)}


class _Merged(SharedPairs):
    """Sums of all merchants, with the fingerprints of what is in them."""

    def __init__(
        self,
        cells: PairCells,
        sums: PairSums,
        settings: CoPurchaseSettings,
        merged: dict[str, np.ndarray],
    ) -> None:
        super().__init__(cells, sums, settings)
        self._merged = merged

    def of_others(self, own: dict[str, dict[str, np.ndarray]]) -> SharedPairs:
        """Without each own update that was merged; one that came too late is in no sum."""
        part = {
            phase: own[phase]
            for phase, merged in self._merged.items()
            if phase in own and _fingerprint(own[phase]) in merged
        }
        pairs, counts = part.get(PAIRS, {}), part.get(COUNTS, {})
        return self.without(
            PairSums(
                _bounded(pairs.get("pair_sums", np.zeros(self.cells.n_cells))),
                _bounded(counts.get("item_counts", np.zeros(self.cells.n_items))),
                float(_bounded(counts.get("shopper_count", np.zeros(1)))[0]),
                self._share(PAIRS, self.sums.pair_variance) if pairs else 0.0,
                self._share(COUNTS, self.sums.count_variance) if counts else 0.0,
            )
        )

    def _share(self, phase: str, variance: float) -> float:
        """One merchant's part of the noise: every merchant of a study adds as much."""
        return variance / max(1, self._merged[phase].size)


def _popularity(counts: np.ndarray) -> Popularity:
    from recsys.models import Popularity

    return Popularity(np.clip(counts, 0.0, _MOST))


def _bounded(values: np.ndarray) -> np.ndarray:
    return np.clip(values.astype(np.float64), -_MOST, _MOST)


def _fingerprint(arrays: dict[str, np.ndarray]) -> int:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return int.from_bytes(digest.digest()[:8], "little", signed=True)
