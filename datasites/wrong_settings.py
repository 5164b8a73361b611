"""What is wrong with settings, in the words of those who write them.

Values are left out, because one may be a password that was put there by mistake; only where a
setting's own check says what it found, such as a study's name that is none, is it repeated.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

__all__ = ["wrong_settings"]


def wrong_settings(error: ValidationError, most: int = 20) -> str:
    """Name each wrong setting and what was expected of it, in one line."""
    found = error.errors(include_input=False, include_url=False)
    told = [_in_words(part) for part in found[:most]]
    if len(found) > most:
        told.append(f"and {len(found) - most} more")
    return "; ".join(told)


def _in_words(part: Any) -> str:
    place = ".".join(map(str, part["loc"]))
    name = place or "the whole"
    match part["type"]:
        case "missing":
            return f"{name} is missing"
        case "extra_forbidden":
            return f"{name} is not a setting here"
        case "string_pattern_mismatch" if place.endswith("email"):
            return f"{name} should be an address such as toys@shop.example"
    if part["type"] in ("tuple_type", "list_type"):
        return f"{name} should be a list in square brackets"
    said = str(part["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    return f"{name}: {said}"
