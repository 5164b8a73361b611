"""What every merge of updates must do; a merge's tests inherit `MergeContract`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from recsys.errors import ModelError
from recsys.federation import Update


class MergeContract:
    """Subclasses say how to merge and how two equal merchants combine."""

    equal_merchants_scale = 1.0
    """What merging n copies of one update gives, as a multiple of it: 1 for means, n for sums."""

    def merge(self, updates: Sequence[Update]) -> np.ndarray:
        """Merge the arrays 'x' of the updates."""
        raise NotImplementedError

    def update(self, x: np.ndarray, weight: float = 1.0, merchant: str = "a") -> Update:
        """An update that this merge can read; subclasses add what theirs needs."""
        return Update({"x": x}, weight, merchant=merchant)

    def test_one_merchant_is_returned_as_it_is(self) -> None:
        x = np.arange(6, dtype=np.float32).reshape(3, 2)
        assert self.merge([self.update(x, 7.0)]) == pytest.approx(x)

    def test_equal_merchants_agree(self) -> None:
        x = np.random.default_rng(0).normal(size=(4, 3))
        merged = self.merge([self.update(x, 2.0), self.update(x, 2.0)])
        scale = 1.0 if self.equal_merchants_scale == 1.0 else 2.0
        assert merged == pytest.approx(scale * x)

    def test_the_order_of_merchants_does_not_matter(self) -> None:
        rng = np.random.default_rng(1)
        updates = [self.update(rng.normal(size=(5, 2)), w, str(w)) for w in (1.0, 2.0, 5.0)]
        assert self.merge(updates) == pytest.approx(self.merge(updates[::-1]), rel=1e-12)

    def test_the_result_is_linear_in_the_arrays(self) -> None:
        rng = np.random.default_rng(2)
        a, b = rng.normal(size=(2, 5, 2))
        single = self.merge([self.update(a, 1.0), self.update(b, 3.0)])
        double = self.merge([self.update(2 * a, 1.0), self.update(2 * b, 3.0)])
        assert double == pytest.approx(2 * single)

    def test_single_precision_is_not_summed_in_single_precision(self) -> None:
        x = np.full((1, 1), 1e-8, dtype=np.float32)
        big = np.full((1, 1), 1.0, dtype=np.float32)
        merged = self.merge([self.update(big), *[self.update(x) for _ in range(50)]])
        lost = self.merge([self.update(big), *[self.update(0 * x) for _ in range(50)]])
        assert merged.dtype == np.float64
        assert (merged > lost).all()

    def test_huge_values_stay_finite(self) -> None:
        most = np.finfo(np.float64).max
        updates = [self.update(np.full((2, 2), most), 1e300, name) for name in "abc"]
        assert np.isfinite(self.merge([*updates, self.update(np.full((2, 2), -most))])).all()

    def test_inputs_are_left_alone(self) -> None:
        x, y = np.ones((2, 2)), np.zeros((2, 2))
        self.merge([self.update(x), self.update(y)])
        assert (x == 1).all()
        assert (y == 0).all()

    def test_no_merchants_are_refused(self) -> None:
        with pytest.raises(ModelError, match="at least one merchant"):
            self.merge([])

    def test_other_shapes_are_refused_with_the_merchant_named(self) -> None:
        updates = [self.update(np.ones((2, 2))), self.update(np.ones((3, 2)), merchant="bad")]
        with pytest.raises(ModelError, match="'bad'"):
            self.merge(updates)

    def test_missing_arrays_are_refused_with_the_merchant_named(self) -> None:
        updates = [self.update(np.ones((2, 2))), Update({"y": np.ones((2, 2))}, 1.0, (), "bad")]
        with pytest.raises(ModelError, match="'bad'"):
            self.merge(updates)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_numbers_that_are_not_finite_never_reach_the_merge(self, value: float) -> None:
        with pytest.raises(ModelError, match="Expected finite numbers in 'x'"):
            self.merge([self.update(np.ones((2, 2))), self.update(np.full((2, 2), value))])
