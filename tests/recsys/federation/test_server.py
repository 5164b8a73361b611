"""Server optimizers: formulas by hand, and going on after a restart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from recsys.errors import ModelError
from recsys.federation import (
    ServerAdam,
    ServerMomentum,
    ServerOptimizer,
    ServerReplace,
    ServerYogi,
)

ALL: list[ServerOptimizer] = [ServerReplace(), ServerMomentum(), ServerAdam(), ServerYogi()]


def name_of(server: ServerOptimizer) -> str:
    return type(server).__name__


def test_momentum_by_hand() -> None:
    server = ServerMomentum(beta=0.5, learning_rate=2.0)
    x, state = server.step(np.array([1.0]), np.array([2.0]), {}, "x")
    assert x == pytest.approx(3.0)  # m = 1, x = 1 + 2
    x, _ = server.step(x, np.array([2.0]), state, "x")
    assert x == pytest.approx(2.0)  # m = .5 - 1 = -.5, x = 3 - 1


def test_momentum_without_memory_is_replacement() -> None:
    old, new = np.array([1.0, 4.0]), np.array([2.0, -3.0])
    assert ServerMomentum(beta=0.0).step(old, new, {}, "x")[0] == pytest.approx(new)


@pytest.mark.parametrize(("server", "second"), [(ServerAdam, 0.9 * 0.01 + 0.4), (ServerYogi, 0.41)])
def test_adam_and_yogi_by_hand(server: Any, second: float) -> None:
    one = server(beta1=0.5, beta2=0.9, learning_rate=3.0, tau=0.1)
    x, state = one.step(np.array([1.0]), np.array([3.0]), {}, "x")
    # D = 2, m = 1, v = .9 * .01 + .1 * 4 (Adam) or .01 + .1 * 4 (Yogi)
    assert state["server:x:second"] == pytest.approx(second)
    assert x == pytest.approx(1 + 3 * 1 / (np.sqrt(second) + 0.1))


@pytest.mark.parametrize("server", ALL, ids=name_of)
def test_a_restart_between_rounds_changes_not_one_bit(server: ServerOptimizer) -> None:
    rng = np.random.default_rng(0)
    rounds = rng.normal(size=(5, 4, 3))

    def run(stop_after: int | None) -> np.ndarray:
        x, state = np.zeros((4, 3)), dict[str, np.ndarray]()
        for number, merged in enumerate(rounds):
            x, entries = server.step(x, merged, state, "x")
            state |= entries
            if number == stop_after:  # killed here: all that is left is the checkpoint
                kept = load(save(state | {"x": x}))
                x, state = kept.pop("x"), kept
        return x

    np.testing.assert_array_equal(run(stop_after=None), run(stop_after=2))


def test_memory_matters() -> None:
    """The test above could not fail if steps did not depend on what was remembered."""
    for server in ALL[1:]:
        x, state = server.step(np.zeros(2), np.ones(2), {}, "x")
        with_memory, _ = server.step(x, np.ones(2), state, "x")
        without, _ = server.step(x, np.ones(2), {}, "x")
        assert not np.allclose(with_memory, without)


@pytest.mark.parametrize("server", ALL, ids=name_of)
def test_arrays_do_not_share_their_memory(server: ServerOptimizer) -> None:
    _, first = server.step(np.zeros(2), np.ones(2), {}, "x")
    _, second = server.step(np.zeros(2), np.ones(2), {}, "y")
    assert not first.keys() & second.keys()


@pytest.mark.parametrize("server", ALL, ids=name_of)
def test_huge_steps_stay_finite(server: ServerOptimizer) -> None:
    x, state = np.full(2, -1e300), dict[str, np.ndarray]()
    for _ in range(4):
        x, entries = server.step(x, np.array([1e300, -1e300]), state, "x")
        state |= entries
        assert np.isfinite(x).all()
        assert all(np.isfinite(array).all() for array in state.values())


@pytest.mark.parametrize("server", ALL, ids=name_of)
def test_nothing_to_learn_leaves_everything_as_it_is(server: ServerOptimizer) -> None:
    x = np.array([3.0, -1.0])
    assert server.step(x, x, {}, "x")[0] == pytest.approx(x)


@pytest.mark.parametrize("server", ALL, ids=name_of)
def test_other_shapes_and_numbers_that_are_not_finite_are_refused(server: ServerOptimizer) -> None:
    with pytest.raises(ModelError, match="of shape"):
        server.step(np.zeros(2), np.zeros(3), {}, "x")
    with pytest.raises(ModelError, match="finite numbers in 'x'"):
        server.step(np.zeros(2), np.array([0.0, np.nan]), {}, "x")


@pytest.mark.parametrize("server", ALL[1:], ids=name_of)
def test_a_memory_of_another_study_is_refused(server: ServerOptimizer) -> None:
    _, state = server.step(np.zeros(2), np.ones(2), {}, "x")
    with pytest.raises(ModelError, match="start the study anew"):
        server.step(np.zeros(3), np.ones(3), state, "x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: ServerMomentum(beta=1.0),
        lambda: ServerMomentum(learning_rate=0.0),
        lambda: ServerAdam(beta2=-0.1),
        lambda: ServerAdam(tau=0.0),
        lambda: ServerYogi(learning_rate=float("nan")),
    ],
)
def test_impossible_settings_are_refused(make: Any) -> None:
    with pytest.raises(ModelError, match="Expected"):
        make()
