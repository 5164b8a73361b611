"""Noise for everything that is released, from the operating system's cryptographic randomness.

A released number is `round(sum) + round(gaussian)`, both to one fixed, public grid. A sum that
lies on the grid makes this the same as `round(sum + gaussian)`: post-processing of the ideal
Gaussian mechanism, whose exact composition therefore holds, and the low-order bits, through which
floating-point noise leaks, carry nothing (Mironov, On significance of the least significant
bits, CCS 2012).

Rounding the sum first can move two neighbouring sums apart by one grid step a coordinate, and
floating-point summation by less than another, so that the sensitivity grows to

    sensitivity + 2 grid sqrt(coordinates),    grid = 2^floor(log2(2^-20 sigma / sqrt(coordinates)))

and sigma is scaled up with it: mu is exactly what was planned.

What is left between this and the ideal: a Box-Muller draw reaches 9.4 sigma, which a true
Gaussian passes with a chance below 2^-64 a draw, and its floating-point error is some 2^-50 sigma,
against a grid of about 2^-31 sigma for two million coordinates.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from recsys.errors import PrivacyError
from recsys.privacy._validate import require_count, require_positive
from recsys.privacy.events import GaussianEvent

__all__ = ["GaussianRelease", "SecureNoise", "grid_for"]

_CHUNK_PAIRS = 1 << 17
_EXACT = 2.0**53  # whole numbers up to here are exact in float64


def grid_for(sigma: float, coordinates: int) -> float:
    """Public grid of a release: the power of two at or below 2^-20 sigma / sqrt(coordinates)."""
    require_positive("sigma", sigma)
    require_count("coordinates", coordinates)
    return float(2.0 ** math.floor(math.log2(sigma / math.sqrt(coordinates)) - 20))


class SecureNoise:
    """Draws for released numbers.

    Args:
        source: gives so many random bytes. Anything but `os.urandom` is for tests and
            simulations on public data only: whoever can guess the bytes can undo the noise.
    """

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self._source = source

    def uniform(self, size: int) -> npt.NDArray[np.float64]:
        """float64 [size] in [0, 1) with 53 random bits each."""
        bits = np.frombuffer(self._source(8 * size), dtype="<u8")
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def gaussian(
        self, shape: int | tuple[int, ...], sigma: float, grid: float
    ) -> npt.NDArray[np.float64]:
        """Gaussian draws with standard deviation `sigma`, rounded to multiples of `grid`.

        Args:
            shape: of the answer.
            sigma: positive.
            grid: power of two, far below sigma.

        Returns:
            float64 [shape], every number an exact multiple of `grid`.
        """
        require_positive("sigma", sigma)
        if math.frexp(grid)[0] != 0.5 or not 0 < grid <= sigma / 2**10:
            raise PrivacyError(
                f"Expected grid to be a power of two, at most sigma / 1024, found {grid!r} for "
                f"sigma {sigma!r}; use grid_for(sigma, coordinates)."
            )
        size = math.prod(shape) if isinstance(shape, tuple) else shape
        draws = np.empty(size)
        for start in range(0, size, 2 * _CHUNK_PAIRS):
            part = draws[start : start + 2 * _CHUNK_PAIRS]
            part[:] = self._standard(len(part))
        draws *= sigma / grid
        np.rint(draws, out=draws)
        draws *= grid
        return draws.reshape(shape)

    def _standard(self, size: int) -> npt.NDArray[np.float64]:
        """Box and Muller: sqrt(-2 log u) times the cosine and the sine of a random angle."""
        pairs = (size + 1) // 2
        bits = np.frombuffer(self._source(16 * pairs), dtype="<u8")
        # All 64 bits and half a step more: never 0, and fine steps where the tail is made.
        radius = np.log((bits[:pairs].astype(np.float64) + 0.5) * 2.0**-64)
        radius *= -2.0
        np.sqrt(radius, out=radius)
        angle = (bits[pairs:] >> np.uint64(11)).astype(np.float64) * (2.0**-52 * np.pi)
        draws = np.empty(2 * pairs)
        np.multiply(radius, np.cos(angle), out=draws[:pairs])
        np.multiply(radius, np.sin(angle), out=draws[pairs:])
        return draws[:size]

    def release(
        self, what: str, sensitivity: float, sigma: float, coordinates: int
    ) -> GaussianRelease:
        """Begin a release that is noised chunk by chunk; see `GaussianRelease`."""
        return GaussianRelease(self, what, sensitivity, sigma, coordinates)

    def release_sum(
        self, exact: npt.NDArray[np.float64], sensitivity: float, sigma: float, what: str
    ) -> tuple[npt.NDArray[np.float64], GaussianEvent]:
        """Noise a whole array at once.

        Args:
            exact: float64, any shape; the sum over shoppers.
            sensitivity: L2 norm over the whole array of what one shopper can add.
            sigma: noise that was planned; see the module for how little is added to it.
            what: name in the ledger.

        Returns:
            the noised array (float64, same shape) and the event to book.

        Privacy: shopper-level, add or remove one; mu = sensitivity / sigma.
        """
        release = self.release(what, sensitivity, sigma, exact.size)
        noised = release.add(exact)
        return noised, release.close()


class GaussianRelease:
    """One event whose array is noised chunk by chunk, so that memory stays bounded.

    Args:
        noise: where the draws come from.
        what: name in the ledger.
        sensitivity: L2 norm over **all** chunks together of what one shopper can add.
        sigma: planned standard deviation.
        coordinates: how many numbers all chunks hold together.

    Raises:
        PrivacyError: more or fewer numbers than announced, or one that is not a number.
    """

    def __init__(
        self, noise: SecureNoise, what: str, sensitivity: float, sigma: float, coordinates: int
    ) -> None:
        planned = GaussianEvent(what, sensitivity, sigma)
        self.grid = grid_for(sigma, coordinates)
        inflated = sensitivity + 2 * self.grid * math.sqrt(coordinates)
        scaled = sigma * (inflated / sensitivity)
        while inflated / scaled > planned.mu:
            scaled = math.nextafter(scaled, math.inf)
        self.event = GaussianEvent(what, inflated, scaled)
        self._noise = noise
        self._left = coordinates

    def add(self, exact: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Noise the next chunk; float64 in, float64 of the same shape out."""
        if exact.size > self._left:
            raise PrivacyError(
                f"Expected at most {self._left} more numbers of {self.event.what!r}, found "
                f"{exact.size}; announce the size of the whole array."
            )
        steps = np.asarray(exact, dtype=np.float64) / self.grid
        if np.isnan(steps).any():
            raise PrivacyError(
                f"Expected numbers in {self.event.what!r}, found one that is not a number; "
                "check the clipping."
            )
        self._left -= exact.size
        # Sums beyond what the grid holds exactly (some 2^22 sigma) are cut off, not refused: an
        # error would tell about the data, and cutting off brings neighbours only closer.
        np.clip(steps, -_EXACT / 2, _EXACT / 2, out=steps)
        np.rint(steps, out=steps)
        steps *= self.grid
        steps += self._noise.gaussian(exact.shape, self.event.sigma, self.grid)
        return steps

    def close(self) -> GaussianEvent:
        """The event to book, once all numbers were noised."""
        if self._left:
            raise PrivacyError(
                f"Expected {self._left} more numbers of {self.event.what!r} before closing; "
                "release all chunks."
            )
        return self.event
