"""The release gate: the only door by which outputs of remote code leave a datasite.

What the gate lets through is decided by the approved plan alone: names, shapes and kinds of
arrays, bounds of plain numbers, and the privacy events. Whatever else the code wrote stays.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from datasites.errors import GateError

__all__ = [
    "ArraySpec",
    "Declaration",
    "DeclaredArray",
    "NumberSpec",
    "Release",
    "check",
    "check_state",
    "read_release",
]

ARRAYS_FILE: Final = "release.safetensors"
FACTS_FILE: Final = "release.json"
STATE_FILE: Final = "state.safetensors"
MAX_ARRAYS: Final = 64
MAX_ARRAY_BYTES: Final = 512 * 1024 * 1024
_MAX_HEADER: Final = 64 * 1024
_MAX_FACTS: Final = 64 * 1024
_MAX_EVENTS: Final = 64
_CODES: Final = {"float32": "F32", "float64": "F64", "int32": "I32", "int64": "I64"}


class DeclaredArray(Protocol):
    """Anything that declares an array: the gate's own `ArraySpec`, or a plan's."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> str: ...


@dataclass(frozen=True)
class ArraySpec:
    """One array that may leave: its name, its exact shape and dtype (float or int, 32 or 64)."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in _CODES:
            raise GateError(f"Expected a dtype of {', '.join(_CODES)}, declared {self.dtype!a}")
        if not self.name.isidentifier() or len(self.name) > 80:
            raise GateError(f"Expected a plain array name, declared {self.name[:80]!a}")
        if len(self.shape) > 4 or any(size < 0 for size in self.shape):
            raise GateError(f"Expected up to 4 sizes of 0 or more, declared {self.shape}")

    @property
    def nbytes(self) -> int:
        """Size of the array in bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class NumberSpec:
    """One plain number that may leave, within bounds; already public, or noised and booked."""

    name: str
    low: float
    high: float
    whole: bool = False


@dataclass(frozen=True)
class Declaration:
    """What one run may release, taken from the approved plan and never from the code's outputs.

    Args:
        arrays: Arrays that must be in `release.safetensors`, no more and no fewer.
        events: Privacy events as dictionaries. The code must report exactly these, so that the
            merchant books what it approved, and so that the report itself carries nothing. None:
            the code need not report any; what it reports is not read.
        numbers: Plain numbers that must be in `release.json` under `numbers`.
    """

    arrays: tuple[ArraySpec, ...]
    events: tuple[Mapping[str, Any], ...] | None = None
    numbers: tuple[NumberSpec, ...] = ()

    def __post_init__(self) -> None:
        names = [spec.name for spec in self.arrays]
        if len(set(names)) != len(names) or not 0 < len(names) <= MAX_ARRAYS:
            raise GateError(f"Expected 1 to {MAX_ARRAYS} arrays of different names to be declared")
        if self.nbytes > MAX_ARRAY_BYTES:
            raise GateError(f"Expected at most {MAX_ARRAY_BYTES} bytes, declared {self.nbytes}")
        if len(self.events or ()) > _MAX_EVENTS or len(self.numbers) > MAX_ARRAYS:
            raise GateError(f"Expected at most {_MAX_EVENTS} events and {MAX_ARRAYS} numbers")

    @property
    def nbytes(self) -> int:
        """Bytes of all declared arrays together."""
        return sum(spec.nbytes for spec in self.arrays)


@dataclass(frozen=True)
class Release:
    """What passed the gate: arrays, numbers, and the events of the approved plan."""

    arrays: dict[str, np.ndarray]
    numbers: dict[str, float] = field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()

    def array_bytes(self) -> bytes:
        """Encode the arrays afresh, so that nothing of the code's own file layout leaves."""
        return save(self.arrays)


def check(output: Path, declared: Declaration | Sequence[DeclaredArray]) -> dict[str, np.ndarray]:
    """Return the declared arrays of a run, or refuse all of its outputs; see `read_release`."""
    return read_release(output, declared).arrays


def read_release(output: Path, declared: Declaration | Sequence[DeclaredArray]) -> Release:
    """Read what a run may release, or refuse all of its outputs.

    Only `release.safetensors` and `release.json` may be in the folder. The header is checked
    against the declaration before any array is made.

    Privacy: post-processing, free; the noise was added by the approved code. Names and sizes that
    the code chose could hold a purchase or a count of shoppers: refusals do not show them.

    Args:
        output: The folder that `sandbox.run` filled.
        declared: What the approved plan lets out; a bare list of arrays declares no numbers and
            leaves `release.json` optional.

    Raises:
        GateError: Anything is missing, undeclared, of another shape or dtype, not finite, too
            large, or not a plain file.
    """
    if not isinstance(declared, Declaration):
        specs = (ArraySpec(spec.name, tuple(spec.shape), spec.dtype) for spec in declared)
        declared = Declaration(tuple(specs))
    numbers: dict[str, float] = {}
    if FACTS_FILE in _check_folder(output) or declared.numbers or declared.events is not None:
        facts = _parse_json(_read_plain(output, FACTS_FILE, _MAX_FACTS), FACTS_FILE)
        numbers = _check_facts(facts, declared)
    limit = 8 + _MAX_HEADER + declared.nbytes
    return Release(
        arrays=_check_arrays(_read_plain(output, ARRAYS_FILE, limit), declared),
        numbers=numbers,
        events=declared.events or (),
    )


def check_state(folder: Path, expected: Sequence[DeclaredArray]) -> None:
    """Whether the state that came for a round is of exactly these arrays; none of it is loaded.

    Privacy: reads public bytes alone, so the reason may be told to everybody.

    Args:
        folder: What was unpacked: `state.safetensors` and nothing else.
        expected: No more and no fewer; none means an empty folder.

    Raises:
        GateError: Anything is missing, undeclared, or of another shape, dtype or size.
    """
    specs = [ArraySpec(spec.name, tuple(spec.shape), spec.dtype) for spec in expected]
    names = sorted(os.listdir(folder))
    if names != ([STATE_FILE] if specs else []):
        found = "other files" if names else "none"
        raise GateError(f"Expected {STATE_FILE if specs else 'no state'}, found {found}")
    if not specs:
        return
    try:
        with open(folder / STATE_FILE, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(8 + _MAX_HEADER)
    except IsADirectoryError:
        raise GateError(f"Expected {STATE_FILE} to be a plain file, found a folder") from None
    _check_header(head, size, specs, STATE_FILE)


def _check_folder(output: Path) -> list[str]:
    try:
        found = sorted(os.listdir(output))
    except OSError as error:
        raise GateError(f"Expected a folder of outputs, found none ({error.strerror})") from None
    extra = [name for name in found if name not in (ARRAYS_FILE, FACTS_FILE)]
    if extra:
        raise GateError(f"Expected only {ARRAYS_FILE} and {FACTS_FILE}, found other files too")
    return found


def _read_plain(output: Path, name: str, limit: int) -> bytes:
    try:
        handle = os.open(output / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise GateError(f"Expected the file {name}, found none") from None
    except OSError:
        raise GateError(f"Expected {name} to be a plain file that can be read") from None
    try:
        facts = os.fstat(handle)
        # A second name for the same file (a hard link) could be changed after the check.
        if not stat.S_ISREG(facts.st_mode) or facts.st_nlink != 1:
            raise GateError(f"Expected {name} to be a plain file, found a link or special file")
        with open(handle, "rb", closefd=False) as stream:
            data = stream.read(limit + 1)
    finally:
        os.close(handle)
    if len(data) > limit:
        raise GateError(f"Expected at most {limit} bytes in {name}, found more")
    return data


def _parse_json(data: bytes, what: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        parsed = json.loads(data.decode(), object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise GateError(
            f"Expected {what} to be JSON with each key once and finite numbers"
        ) from None
    if not isinstance(parsed, dict):
        raise GateError(f"Expected {what} to be a JSON object, found another kind of value")
    return parsed


def _check_facts(facts: dict[str, Any], declared: Declaration) -> dict[str, float]:
    _check_names("the keys", facts, {"events", "numbers"} if declared.numbers else {"events"})
    if declared.events is not None:
        _check_events(facts["events"], declared.events)
    if not declared.numbers:
        return {}
    numbers = facts["numbers"]
    if not isinstance(numbers, dict):
        raise GateError("Expected `numbers` to be a JSON object, found another kind of value")
    _check_names("the numbers", numbers, {spec.name for spec in declared.numbers})
    return {spec.name: _check_number(numbers[spec.name], spec) for spec in declared.numbers}


def _check_events(events: Any, approved: tuple[Mapping[str, Any], ...]) -> None:
    if not isinstance(events, list) or len(events) != len(approved):
        found = "another number" if isinstance(events, list) else "no list"
        raise GateError(f"Expected {len(approved)} privacy events, found {found}")
    for place, (event, expected) in enumerate(zip(events, approved, strict=True), start=1):
        if not _same_event(event, expected):
            raise GateError(
                f"Expected privacy event {place} to be as approved ({expected.get('what', '')!a}), "
                "found another event"
            )


def _same_event(found: Any, approved: Mapping[str, Any]) -> bool:
    if not isinstance(found, dict) or found.keys() != approved.keys():
        return False
    for key, value in approved.items():
        other = found[key]
        if isinstance(value, float):
            # The last digits may differ with the machine; the merchant books its own figures.
            if type(other) is not float or not math.isclose(other, value, rel_tol=1e-9):
                return False
        elif type(other) is not type(value) or other != value:
            return False
    return True


def _check_number(value: Any, spec: NumberSpec) -> float:
    kinds = (int,) if spec.whole else (int, float)
    if type(value) not in kinds:
        raise GateError(f"Expected {spec.name} to be a {'whole ' if spec.whole else ''}number")
    # Comparing first: a huge integer cannot be turned into a float.
    if not spec.low <= value <= spec.high:
        raise GateError(f"Expected {spec.name} between {spec.low} and {spec.high}, found it out")
    return float(value)


def _check_names(what: str, found: Mapping[str, Any], expected: set[str]) -> None:
    missing = sorted(expected - found.keys())
    extra = sorted(found.keys() - expected)
    if missing or extra:
        raise GateError(
            f"Expected {what} {', '.join(sorted(expected))}; missing: "
            f"{', '.join(missing) or 'none'}; undeclared: {'some' if extra else 'none'}"
        )


def _check_header(head: bytes, size: int, specs: Sequence[ArraySpec], file: str) -> None:
    """Whether a safetensors file of so many bytes, which begins with `head`, declares these."""
    if size < 8:
        raise GateError(f"Expected {file} to be in safetensors format, found it too short")
    length = int.from_bytes(head[:8], "little")
    if length > min(_MAX_HEADER, size - 8):
        raise GateError(f"Expected a header of at most {_MAX_HEADER} bytes within {file}")
    header = _parse_json(head[8 : 8 + length], f"the header of {file}")
    _check_names("the arrays", header, {spec.name for spec in specs})
    end, expected = size - 8 - length, sum(spec.nbytes for spec in specs)
    if end != expected:
        found = "more" if end > expected else "fewer"
        raise GateError(f"Expected {expected} bytes of arrays in {file}, found {found}")
    for spec in specs:
        _check_entry(header[spec.name], spec, end, file)
    spans = sorted(header[spec.name]["data_offsets"] for spec in specs)
    if any(later[0] != earlier[1] for earlier, later in pairwise(spans)):
        raise GateError(f"Expected the arrays of {file} one after the other, found them otherwise")


def _check_arrays(data: bytes, declared: Declaration) -> dict[str, np.ndarray]:
    _check_header(data, len(data), declared.arrays, ARRAYS_FILE)
    try:
        arrays = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise GateError(f"Expected {ARRAYS_FILE} to be in safetensors format") from None
    for spec in declared.arrays:
        array = arrays[spec.name]
        if array.shape != spec.shape or array.dtype != np.dtype(spec.dtype):
            raise GateError(f"Expected {spec.name} as declared, found another shape or dtype")
        if not np.isfinite(array).all():
            raise GateError(f"Expected only finite numbers in {spec.name}, found others")
    return {spec.name: arrays[spec.name] for spec in declared.arrays}


def _check_entry(entry: Any, spec: ArraySpec, end: int, file: str) -> None:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise GateError(f"Expected dtype, shape and data_offsets for {spec.name}")
    if entry["dtype"] != _CODES[spec.dtype]:
        raise GateError(
            f"Expected {spec.name} as {spec.dtype} ({_CODES[spec.dtype]}), "
            f"found {_known(entry['dtype'])}"
        )
    shape = entry["shape"]
    if not _whole_numbers(shape) or tuple(shape) != spec.shape:
        found = "another shape" if _whole_numbers(shape) else "no list of whole numbers"
        raise GateError(f"Expected {spec.name} of shape {spec.shape}, found {found}")
    offsets = entry["data_offsets"]
    if (
        not _whole_numbers(offsets)
        or len(offsets) != 2
        or not 0 <= offsets[0] <= offsets[1] <= end
        or offsets[1] - offsets[0] != spec.nbytes
    ):
        raise GateError(f"Expected {spec.name} to lie within {file}, found it outside")


def _known(code: Any) -> str:
    return next((name for name, known in _CODES.items() if code == known), "another dtype")


def _whole_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int for item in value)
