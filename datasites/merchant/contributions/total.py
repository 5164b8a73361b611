"""The trusted sum: every row clipped, laid on the noise's grid, added up, noised, released once."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from datasites.merchant.contributions.nest import Nest
from datasites.merchant.contributions.page import Answer, RowArray
from recsys.data import Interactions
from recsys.privacy import GaussianEvent, SecureNoise, clip_rows

__all__ = ["Facts", "noised_sums"]

_LOOKED_AT_TWICE = 32


@dataclass
class Facts:
    """What the merchant may know about a run, and nobody else. Privacy: stays at the merchant."""

    shoppers: int = 0
    rows: int = 0
    clipped: int = 0
    looked_at_twice: int = 0
    different: int = 0

    def in_words(self) -> str:
        """One line for the merchant's own log."""
        return (
            f"{self.shoppers} shoppers, {self.rows} rows, {self.clipped} of them clipped, "
            f"{self.shoppers - self.rows} without a row; {self.different} of "
            f"{self.looked_at_twice} that were asked twice gave two different rows\n"
        )


def noised_sums(
    nest: Nest,
    histories: Interactions,
    arrays: Sequence[RowArray],
    event: GaussianEvent,
    noise: SecureNoise,
    *,
    seen: Callable[[Answer], None] = lambda _: None,
) -> tuple[dict[str, npt.NDArray[np.float64]], Facts]:
    """Sum over shoppers of their rows, each of length C at most, plus noise.

        s = sum_u trunc(clip_C(x_u)) + N(0, sigma^2),    x_u = all arrays of the phase together

    Rows are cut off towards zero on the grid of the noise, so that their sum is exact in every
    order and no row is longer than C. A shopper without a row adds zeros.

    Args:
        nest: the program.
        histories: one row a shopper.
        arrays: what a row is made of.
        event: the approved release; its sensitivity is C.
        noise: from the operating system, except in tests.
        seen: told every answer, for who tries a program on invented shoppers.

    Returns:
        name -> noised float64 array of the declared shape, and the facts for the merchant.

    Privacy: one shopper added or removed changes s by C at most, whatever the program does,
    because a row is made from one history alone; mu = C / sigma.
    """
    bound = event.sensitivity
    release = noise.release(event.what, bound, event.sigma, sum(one.size for one in arrays))
    sums = {one.name: np.zeros((one.shape[0], one.inner)) for one in arrays}
    facts = Facts(shoppers=histories.n_shoppers)
    order = list(range(histories.n_shoppers))
    # Places in line must tell nothing: secret, and new in every run.
    chance = secrets.SystemRandom()
    chance.shuffle(order)
    again = set(chance.sample(order, min(_LOOKED_AT_TWICE, len(order))))
    kept: dict[int, bytes] = {}  # fingerprints: rows may be large
    for shopper in order:
        answer = nest.row(histories.history(shopper))
        seen(answer)
        if shopper in again:
            kept[shopper] = _fingerprint(answer)
        if answer.parts is None:
            continue
        # The page has checked all of it. Should anything of a row break this off all the same, it
        # is no row: a run that fails because of one shopper would tell of her.
        with contextlib.suppress(Exception):
            cut = clip_rows(answer.values[None, :], bound)[0]
            # In place: memory must not grow with how full a row is, more than it has to.
            np.divide(cut, release.grid, out=cut)
            np.trunc(cut, out=cut)
            np.multiply(cut, release.grid, out=cut)
            with np.errstate(over="ignore"):
                facts.clipped += bool(np.linalg.norm(answer.values) > bound * (1 + 1e-9))
            _add(sums, arrays, answer, cut)
            facts.rows += 1
    facts.looked_at_twice = len(kept)
    for shopper in sorted(kept):
        second = _fingerprint(nest.row(histories.history(shopper)))
        facts.different += second != kept[shopper]
    noised = {one.name: release.add(sums[one.name]).reshape(one.shape) for one in arrays}
    release.close()
    return noised, facts


def _fingerprint(answer: Answer) -> bytes:
    digest = hashlib.sha256(b"row" if answer.parts is not None else b"none")
    for indices, values in answer.parts or []:
        digest.update(b"all" if indices is None else indices.tobytes())
        digest.update(values.tobytes())
    return digest.digest()


def _add(
    sums: dict[str, npt.NDArray[np.float64]],
    arrays: Sequence[RowArray],
    answer: Answer,
    values: npt.NDArray[np.float64],
) -> None:
    place = 0
    for array, (indices, part) in zip(arrays, answer.parts or [], strict=True):
        piece = values[place : place + part.size].reshape(part.shape)
        place += part.size
        if indices is None:
            sums[array.name] += piece
        else:
            sums[array.name][indices] += piece
