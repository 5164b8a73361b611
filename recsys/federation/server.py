"""How the server steps from what it had towards what the merchants' average says.

The difference between the two is a pseudo-gradient, D_t = merged_t - x_(t-1). What a step has to
remember are named arrays, kept with the study's state: a coordinator that is killed and started
again goes on exactly. All of it is post-processing of releases, free.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.errors import ModelError

__all__ = ["ServerAdam", "ServerMomentum", "ServerOptimizer", "ServerReplace", "ServerYogi"]

Array = npt.NDArray[np.float64]
State = Mapping[str, npt.NDArray[Any]]

# Squares stay finite, whatever a merchant sends.
_MOST = 1e100


class ServerOptimizer(ABC):
    """One step from the previous state to the next, given the merchants' average."""

    @abstractmethod
    def step(
        self, previous: Array, merged: Array, state: State, array: str
    ) -> tuple[Array, dict[str, Array]]:
        """Take one step.

        Args:
            previous: x_(t-1), what the merchants started from.
            merged: their average, of the same shape.
            state: the study's state; read under the keys 'server:<array>:...', where a key that
                is not there yet counts as the beginning.
            array: name of the array.

        Returns:
            x_t float64, and the entries to put into the state.

        Raises:
            ModelError: shapes that differ, or numbers that are not finite.
        """


class ServerReplace(ServerOptimizer):
    """x_t = merged_t: FedAvg as McMahan et al. (2017) wrote it; remembers nothing."""

    def step(
        self, previous: Array, merged: Array, state: State, array: str
    ) -> tuple[Array, dict[str, Array]]:
        _difference(previous, merged, array)
        return np.asarray(merged, dtype=np.float64), {}


@dataclass(frozen=True)
class ServerMomentum(ServerOptimizer):
    """FedAvgM: m_t = beta m_(t-1) + D_t,  x_t = x_(t-1) + eta m_t.

    Args:
        beta: in [0, 1).
        learning_rate: eta, above 0.

    Source: Hsu, Qi, Brown, Measuring the effects of non-identical data distribution for federated
    visual classification, 2019.
    """

    beta: float = 0.9
    learning_rate: float = 1.0

    def __post_init__(self) -> None:
        _require_decay("beta", self.beta)
        _require_above_zero("learning_rate", self.learning_rate)

    def step(
        self, previous: Array, merged: Array, state: State, array: str
    ) -> tuple[Array, dict[str, Array]]:
        difference = _difference(previous, merged, array)
        momentum = self.beta * _kept(state, array, "momentum", difference) + difference
        return previous + self.learning_rate * momentum, {_key(array, "momentum"): momentum}


@dataclass(frozen=True)
class ServerAdam(ServerOptimizer):
    """FedAdam, coordinate by coordinate, started at m_0 = 0, v_0 = tau^2.

        m_t = beta1 m_(t-1) + (1 - beta1) D_t
        v_t = beta2 v_(t-1) + (1 - beta2) D_t^2
        x_t = x_(t-1) + eta m_t / (sqrt(v_t) + tau)

    Args:
        beta1, beta2: in [0, 1).
        learning_rate: eta, above 0, in units of the array.
        tau: how adaptive it is, above 0; small is more.

    Source: Reddi et al., Adaptive federated optimization, ICLR 2021, algorithm 2.
    """

    beta1: float = 0.9
    beta2: float = 0.99
    learning_rate: float = 0.1
    tau: float = 1e-3

    def __post_init__(self) -> None:
        _require_decay("beta1", self.beta1)
        _require_decay("beta2", self.beta2)
        _require_above_zero("learning_rate", self.learning_rate)
        _require_above_zero("tau", self.tau)

    def step(
        self, previous: Array, merged: Array, state: State, array: str
    ) -> tuple[Array, dict[str, Array]]:
        difference = _difference(previous, merged, array)
        first = self.beta1 * _kept(state, array, "first", difference)
        first = first + (1 - self.beta1) * difference
        second = self._second(_kept(state, array, "second", difference, self.tau**2), difference)
        stepped = previous + self.learning_rate * first / (np.sqrt(second) + self.tau)
        return stepped, {_key(array, "first"): first, _key(array, "second"): second}

    def _second(self, second: Array, difference: Array) -> Array:
        return self.beta2 * second + (1 - self.beta2) * difference**2


@dataclass(frozen=True)
class ServerYogi(ServerAdam):
    """FedYogi: FedAdam with v_t = v_(t-1) - (1 - beta2) D_t^2 sign(v_(t-1) - D_t^2).

    v moves by no more than the newest square, so that a noisy round does not wash it out.

    Source: Reddi et al., Adaptive federated optimization, ICLR 2021, algorithm 2.
    """

    def _second(self, second: Array, difference: Array) -> Array:
        square = difference**2
        return second - (1 - self.beta2) * square * np.sign(second - square)


def _difference(previous: Array, merged: Array, array: str) -> Array:
    if np.shape(previous) != np.shape(merged):
        raise ModelError(
            f"Expected {array!r} of shape {np.shape(previous)} as it was before, found "
            f"{np.shape(merged)}; use one catalogue throughout."
        )
    if not (np.isfinite(previous).all() and np.isfinite(merged).all()):
        raise ModelError(
            f"Expected finite numbers in {array!r} before and after the round, found others."
        )
    before = np.clip(np.asarray(previous, dtype=np.float64), -_MOST, _MOST)
    after = np.clip(np.asarray(merged, dtype=np.float64), -_MOST, _MOST)
    difference: Array = after - before
    return difference


def _key(array: str, what: str) -> str:
    return f"server:{array}:{what}"


def _kept(state: State, array: str, what: str, like: Array, start: float = 0.0) -> Array:
    """What was remembered, or `start` everywhere before the first step."""
    found = state.get(_key(array, what))
    if found is None:
        return np.full(like.shape, start)
    if found.shape != like.shape:
        raise ModelError(
            f"Expected {_key(array, what)!r} of shape {like.shape} in the study's state, found "
            f"{found.shape}; start the study anew."
        )
    return np.asarray(found, dtype=np.float64)


def _require_decay(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ModelError(f"Expected {name} in [0, 1), found {value}.")


def _require_above_zero(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ModelError(f"Expected {name} above 0 and finite, found {value}.")
