"""Weights of a blend, by a search that believes only gains above their own uncertainty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import ModelError
from recsys.models.base import CHUNK_CELLS, Recommender, chunks

__all__ = ["Candidates", "WeightSearch", "evenly", "gather_candidates", "typical_best"]

Floats = npt.NDArray[np.float32]

_MOST = 25_000
"""Shoppers by whom weights are chosen: a standard error below 0.002, some 200 MB of candidates."""


def evenly(rows: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Return at most `most` of the rows, at even distances."""
    return rows[:: max(1, -(-rows.size // most))]


def typical_best(model: Recommender, histories: Interactions, sample: int = 500) -> float:
    """Return the mean over shoppers of the best score, the unit of a component's weight.

    Args:
        model: fitted.
        histories: about `sample` rows are taken at even distances among those with a purchase.
        sample: most rows scored.

    Returns:
        A positive number; 1.0 where the best scores are not positive or there is no history.

    Privacy: reads shoppers' purchases; the unit stays at the merchant with the weights.
    """
    rows = evenly(np.flatnonzero(histories.lengths > 0), sample)
    bests = [
        model.score(histories.rows(rows[block])).max(axis=1, initial=-np.inf)
        for block in chunks(rows.size, histories.n_items)
    ]
    best = float(np.concatenate(bests).mean()) if bests else 0.0
    return best if np.isfinite(best) and best > 0 else 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Candidates:
    """How far each rival toy lies above each target, per component, in the component's unit.

    Only rivals that some component puts among its best are kept, and only targets that some
    component finds: the others are in no list of ten, whatever the weights.

    Args:
        gaps: component name to float32 [n_cells], rival's score less the target's.
        starts: int64 [n_targets + 1]; target t owns cells `starts[t]:starts[t + 1]`.
        shopper: int64 [n_targets], which shopper a target belongs to.
        n_targets_of: int64 [n_shoppers], targets of each evaluated shopper, kept or not.

    Privacy: derived from shoppers' purchases; stays at the merchant.
    """

    gaps: dict[str, Floats]
    starts: npt.NDArray[np.int64]
    shopper: npt.NDArray[np.int64]
    n_targets_of: npt.NDArray[np.int64]

    @property
    def n_shoppers(self) -> int:
        """Number of shoppers with a target."""
        return int(self.n_targets_of.size)

    def ranks(self, weights: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """Rank of each kept target under these weights, ties at half rank, float64 [n_targets].

        A gap that is not a number puts the rival above: nobody gains by scores that are none.
        """
        total = np.zeros(int(self.starts[-1]), dtype=np.float32)
        for name, weight in weights.items():
            if weight > 0:
                total += np.float32(weight) * self.gaps[name]
        return 1 + self._count(~(total <= 0)) + self._count(total == 0) / 2

    def ndcg(self, weights: Mapping[str, float], k: int = 10) -> npt.NDArray[np.float64]:
        """NDCG@k of each shopper under these weights, float64 [n_shoppers]."""
        ranks = self.ranks(weights)
        gains = np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0)
        ideal = np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1))
        best = ideal[np.clip(self.n_targets_of, 1, k) - 1]
        return np.bincount(self.shopper, weights=gains, minlength=self.n_shoppers) / best

    def _count(self, cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        running = np.concatenate([[0], np.cumsum(cells)])
        return np.asarray(running[self.starts[1:]] - running[self.starts[:-1]])


@dataclass(frozen=True)
class WeightSearch:
    """Greedy coordinate search for the weights with the best NDCG@k on a valid split.

    Each step tries every component at every share of the greatest present weight, takes the change
    with the greatest mean gain among those whose mean exceeds `errors` standard errors of the
    paired differences over shoppers, and stops when there is none.

    Args:
        k: length of the list that counts.
        errors: standard errors that a gain has to exceed; 1 is the one-standard-error rule.
        min_shoppers: with fewer valid shoppers the start is kept.
        shares: weights tried, relative to the greatest present weight.
        steps: most changes made.
    """

    k: int = 10
    errors: float = 1.0
    min_shoppers: int = 50
    shares: tuple[float, ...] = (0.0, 0.03, 0.06, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.5, 4.0)
    steps: int = 12

    def best(self, candidates: Candidates, start: Mapping[str, float]) -> dict[str, float]:
        """Return the weights found from `start`; `start` itself where nothing helps."""
        weights = {name: float(start.get(name, 0.0)) for name in candidates.gaps}
        if candidates.n_shoppers < max(2, self.min_shoppers):
            return weights
        reached = candidates.ndcg(weights, self.k)
        for _ in range(self.steps):
            proposal, proposed, most = None, reached, 0.0
            top = max(weights.values()) or 1.0
            for name in weights:
                for share in self.shares:
                    trial = {**weights, name: share * top}
                    if trial == weights or not any(trial.values()):
                        continue
                    values = candidates.ndcg(trial, self.k)
                    gain = values - reached
                    mean = float(gain.mean())
                    error = float(gain.std(ddof=1)) / np.sqrt(gain.size)
                    if mean > most and mean > self.errors * error:
                        proposal, proposed, most = trial, values, mean
            if proposal is None:
                break
            weights, reached = proposal, proposed
        return weights


def gather_candidates(
    components: Mapping[str, Recommender],
    units: Mapping[str, float],
    histories: Interactions,
    targets: Interactions,
    depth: int = 200,
    most: int = _MOST,
) -> Candidates:
    """Score every component once and keep what the weights can change.

    Args:
        components: name to fitted model.
        units: name to the score that counts as 1.
        histories, targets: same rows; shoppers without a target are left out.
        depth: best toys kept per component.
        most: shoppers looked at; of more, so many at even distances.

    Raises:
        ModelError: rows or catalogues that do not fit.

    Privacy: reads every shopper's purchases; stays at the merchant.
    """
    if histories.n_shoppers != targets.n_shoppers or histories.n_items != targets.n_items:
        raise ModelError(
            "Expected histories and targets with the same rows and catalogue, found different "
            "ones. Take both from one Split."
        )
    shoppers = evenly(np.flatnonzero(targets.lengths > 0), most)
    gaps: dict[str, list[Floats]] = {name: [] for name in components}
    sizes: list[npt.NDArray[np.int64]] = []
    owners: list[npt.NDArray[np.int64]] = []
    n_targets = np.zeros(shoppers.size, dtype=np.int64)
    width = histories.n_items * max(1, len(components))
    for block in chunks(shoppers.size, width, 4 * CHUNK_CELLS):
        known, wanted = histories.rows(shoppers[block]), targets.rows(shoppers[block])
        rows, toys = np.unique(np.stack([wanted.row_index, wanted.items]), axis=1)
        n_targets[block] = np.bincount(rows, minlength=block.size)
        scores = {name: _masked(model, known, rows, toys) for name, model in components.items()}
        kept = np.zeros(rows.size, dtype=bool)
        for values in scores.values():
            kept |= _within(values, rows, toys, depth)
        rows, toys = rows[kept], toys[kept]
        rivals = np.zeros((rows.size, histories.n_items), dtype=bool)
        for values in scores.values():
            _mark_best(rivals, values[rows], depth)
        rivals[np.arange(rows.size), toys] = False
        pair, rival = np.nonzero(rivals)
        for name, values in scores.items():
            gap = values[rows[pair], rival] - values[rows, toys][pair]
            gaps[name].append(gap / np.float32(units[name]))
        sizes.append(np.bincount(pair, minlength=rows.size))
        owners.append(block[rows])
    joined = {n: np.concatenate(g) if g else np.empty(0, np.float32) for n, g in gaps.items()}
    size = np.concatenate(sizes) if sizes else np.empty(0, dtype=np.int64)
    owner = np.concatenate(owners) if owners else np.empty(0, dtype=np.int64)
    return Candidates(joined, np.concatenate([[0], np.cumsum(size)]), owner, n_targets)


def _masked(
    model: Recommender,
    known: Interactions,
    rows: npt.NDArray[np.int64],
    toys: npt.NDArray[np.int64],
) -> Floats:
    """Return scores with seen toys far below all others, unless they are targets."""
    scores = model.score(known)
    wanted = scores[rows, toys]
    # Finite, because a weight times infinity would make the gaps of two seen toys undefined.
    scores[known.row_index, known.items] = np.float32(-1e30)
    scores[rows, toys] = wanted
    return scores


def _within(
    scores: Floats, rows: npt.NDArray[np.int64], toys: npt.NDArray[np.int64], depth: int
) -> npt.NDArray[np.bool_]:
    """Tell for each target whether it ranks among the best `depth`, ties at half rank."""
    wanted, block = scores[rows, toys][:, None], scores[rows]
    above = np.count_nonzero(block > wanted, axis=1)
    level = np.count_nonzero(block == wanted, axis=1)
    return np.asarray(above + (level + 1) / 2 <= depth)


def _mark_best(rivals: npt.NDArray[np.bool_], scores: Floats, depth: int) -> None:
    if depth >= scores.shape[1]:
        rivals[:] = True
        return
    # Toys level with the last place are left out: where a component says nothing of most toys
    # they are thousands, and a target among them is not found by that component anyway.
    place = scores.shape[1] - depth
    rivals |= scores > np.partition(scores, place, axis=1)[:, place, None]
