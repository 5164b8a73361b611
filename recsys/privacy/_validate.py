"""Checks of privacy settings, each naming the setting, what it must be and what it was."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real

from recsys.errors import PrivacyError


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _is_whole(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral)


def require_positive(name: str, value: float) -> None:
    """`value` is a finite number above 0."""
    if not _is_number(value) or value <= 0:
        raise PrivacyError(f"Expected {name} to be a finite number above 0, found {value!r}.")


def require_not_negative(name: str, value: float) -> None:
    """`value` is a finite number, 0 or more."""
    if not _is_number(value) or value < 0:
        raise PrivacyError(f"Expected {name} to be a finite number, 0 or more, found {value!r}.")


def require_fraction(name: str, value: float) -> None:
    """`value` is strictly between 0 and 1."""
    if not _is_number(value) or not 0 < value < 1:
        raise PrivacyError(f"Expected {name} to be between 0 and 1, found {value!r}.")


def require_between(name: str, value: float, low: float, high: float) -> None:
    """`value` lies in [low, high]."""
    if not _is_number(value) or not low <= value <= high:
        raise PrivacyError(f"Expected {name} to lie in [{low}, {high}], found {value!r}.")


def require_count(name: str, value: int, least: int = 1) -> None:
    """`value` is a whole number of at least `least`."""
    if not _is_whole(value) or value < least:
        raise PrivacyError(
            f"Expected {name} to be a whole number, {least} or more, found {value!r}."
        )


def require_text(name: str, value: str) -> None:
    """`value` is a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise PrivacyError(f"Expected {name} to be a text that is not empty, found {value!r}.")


def require_known(values: Iterable[object], known: Iterable[str]) -> None:
    """Every setting that was given is one that there is."""
    allowed = sorted(known)
    unknown = sorted(map(str, set(values) - set(allowed)))
    if unknown:
        raise PrivacyError(f"Expected settings among {allowed}, found also {unknown}.")
