"""What decides a private two-tower network; all merchants share it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from recsys.errors import PrivacyError
from recsys.privacy._validate import (
    require_between,
    require_count,
    require_known,
    require_not_negative,
)

__all__ = ["NeuralSettings"]


@dataclass(frozen=True)
class NeuralSettings:
    """Public settings of the two-tower network and of its training with DP-SGD.

    Args:
        rounds: rounds of federated averaging T, fixed in advance: the budget pays for T, so
            'until converged' is no stopping rule here.
        steps: local DP-SGD steps of each round.
        averaged_rounds: how many of the last rounds' weights make the final ones.
        sampling_rate: q, the chance that a shopper takes part in a step (Poisson sampling).
        clip: C, the largest norm of one shopper's gradient.
        learning_rate: of Adam; each weight moves by about that much in a step.
        history: how many of a shopper's newest purchases are looked at.
        negatives: toys that each step compares the bought one with, drawn uniformly in public;
            all toys where the catalogue is no larger.
        sharpness: factor of all scores in the softmax, to begin with.
        features: dimensions F of the public features that the item tower reads.
        hidden: units of its hidden layer.
        factors: dimensions d of the learned embeddings.
        toy_residuals: whether each toy has an embedding of its own beside the tower's.
        count_bound: kc, how many random toys a shopper adds to the noised counts.
        counts_share: part of the squared mu of the whole budget for the counts.
        seed: of weights before round 1 and of negatives; public.

    Raises:
        PrivacyError: a setting outside its range.
    """

    rounds: int = 3
    steps: int = 20
    averaged_rounds: int = 2
    sampling_rate: float = 0.1
    clip: float = 1.0
    learning_rate: float = 0.01
    history: int = 12
    negatives: int = 128
    sharpness: float = 12.0
    features: int = 64
    hidden: int = 32
    factors: int = 16
    toy_residuals: bool = False
    count_bound: int = 5
    counts_share: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        # Time and memory grow with these: none may be used to make a run end at its limits for
        # one merchant's shoppers and not for another's.
        for name, largest in (
            ("rounds", 100),
            ("steps", 1000),
            ("averaged_rounds", 100),
            ("history", 64),
            ("negatives", 1024),
            ("features", 256),
            ("hidden", 256),
            ("factors", 128),
            ("count_bound", 500),
        ):
            require_count(name, getattr(self, name))
            require_between(name, getattr(self, name), 1, largest)
        require_count("seed", self.seed, least=0)
        # Whole numbers of any size are none for torch, which then fails, but only for a step in
        # which somebody takes part: a failure that tells of her. Beyond these ranges rounding
        # would be felt, and with it who else is there.
        for name, least, most in (
            ("sampling_rate", 1e-6, 1.0),
            ("clip", 1e-3, 1e3),
            ("learning_rate", 1e-6, 1.0),
            ("sharpness", 1e-3, 100.0),
            ("counts_share", 1e-6, 0.9),
        ):
            require_between(name, getattr(self, name), least, most)
            object.__setattr__(self, name, float(getattr(self, name)))
        require_not_negative("toy_residuals", int(self.toy_residuals))
        if not isinstance(self.toy_residuals, bool):
            raise PrivacyError(
                f"Expected toy_residuals to be true or false, found {self.toy_residuals!r}."
            )

    @property
    def all_steps(self) -> int:
        """Steps of all rounds together."""
        return self.rounds * self.steps

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NeuralSettings:
        """Read the JSON form; keys left out keep their defaults.

        Raises:
            PrivacyError: an unknown key, or a value outside its range.
        """
        require_known(values, (field.name for field in fields(cls)))
        return cls(**values)
