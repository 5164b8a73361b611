"""Which purchases a model learns from, is tuned on, and is judged by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recsys.data.interactions import Interactions
from recsys.errors import DataError

__all__ = ["TEST", "TRAIN", "VALID", "Split", "by_labels", "leave_one_out", "temporal"]

TRAIN, VALID, TEST = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Split:
    """Train, valid and test purchases of the same shopper rows (rows may be empty).

    Each shopper's train purchases precede the valid ones, which precede the test ones.

    Raises:
        DataError: the three parts do not have the same shoppers in the same order.
    """

    train: Interactions
    valid: Interactions
    test: Interactions

    def __post_init__(self) -> None:
        for part in (self.valid, self.test):
            if part.n_items != self.train.n_items or not np.array_equal(
                part.shopper_ids, self.train.shopper_ids
            ):
                raise DataError(
                    "Expected train, valid and test to have the same shoppers in the same order "
                    "and one catalogue; found others. Use leave_one_out, temporal or by_labels."
                )

    def before_test(self) -> Interactions:
        """Train and valid purchases together: the history that the test split is judged with."""
        return self.train.append(self.valid)

    def everything(self) -> Interactions:
        """All purchases: train, then valid, then test."""
        return self.before_test().append(self.test)

    def rows(self, rows: npt.ArrayLike) -> Split:
        """A subset or another order of shoppers, the same in all three parts."""
        return Split(self.train.rows(rows), self.valid.rows(rows), self.test.rows(rows))


def leave_one_out(interactions: Interactions, min_history: int = 1) -> Split:
    """Each shopper's newest purchase is test, the one before it valid, the rest train.

    Args:
        interactions: purchases in order of time.
        min_history: train purchases that must remain; shoppers with fewer than
            `min_history + 2` purchases stay in train only.

    Raises:
        DataError: min_history below 0.

    Privacy: stays at the merchant.
    """
    if min_history < 0:
        raise DataError(f"Expected min_history of 0 or more; found {min_history}.")
    enough = np.repeat(interactions.lengths >= min_history + 2, interactions.lengths)
    ages = interactions.ages
    labels = np.where(enough & (ages == 0), TEST, np.where(enough & (ages == 1), VALID, TRAIN))
    return by_labels(interactions, labels)


def temporal(
    interactions: Interactions,
    times: npt.NDArray[np.int64],
    valid: float = 0.1,
    test: float = 0.1,
    cuts: tuple[int, int] | None = None,
) -> Split:
    """One pair of dates for all shoppers: train before the first, test from the second on.

    Args:
        interactions: purchases in order of time.
        times: int64 [n_purchases], aligned with `interactions.items`, never falling in a row.
        valid: fraction of all purchases between the cuts (unless `cuts` is given).
        test: fraction of all purchases after the second cut (unless `cuts` is given).
        cuts: (first valid time, first test time), in the unit of `times`.

    Raises:
        DataError: fractions or cuts that leave no train part, or times out of order.

    Privacy: stays at the merchant; the cuts derived from fractions depend on the purchases.
    """
    times = np.asarray(times)
    if len(times) != interactions.n_purchases:
        raise DataError("Expected one time for each purchase; found another number of times.")
    same_row = np.diff(interactions.row_index) == 0
    if np.any(np.diff(times)[same_row] < 0):
        raise DataError(
            "Expected each shopper's times to rise; some fall. Sort the purchases by time first."
        )
    if cuts is None:
        if valid < 0 or test < 0 or valid + test >= 1:
            raise DataError(
                "Expected fractions of 0 or more for valid and test that add up to less than 1; "
                f"found {valid} and {test}."
            )
        start, end = np.quantile(times, [1 - valid - test, 1 - test]) if len(times) else (0, 0)
    else:
        start, end = cuts
    if start > end:
        raise DataError(f"Expected the valid cut before the test cut; found {start} and {end}.")
    return by_labels(interactions, np.where(times >= end, TEST, np.where(times >= start, VALID, 0)))


def by_labels(interactions: Interactions, labels: npt.NDArray[np.integer]) -> Split:
    """Split by a given label for each purchase: 0 train, 1 valid, 2 test.

    Args:
        interactions: purchases in order of time.
        labels: int [n_purchases], aligned with `interactions.items`.

    Raises:
        DataError: another number of labels than purchases, or other labels.

    Privacy: stays at the merchant.
    """
    labels = np.asarray(labels)
    if len(labels) != interactions.n_purchases or not np.isin(labels, (TRAIN, VALID, TEST)).all():
        raise DataError("Expected one label of 0, 1 or 2 for each purchase; found others.")
    parts = [interactions.where(labels == part) for part in (TRAIN, VALID, TEST)]
    return Split(*parts)
