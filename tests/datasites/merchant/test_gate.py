"""Only what was declared passes the gate, whatever the code wrote."""

from __future__ import annotations

import json
import os
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from datasites.errors import GateError
from datasites.merchant.gate import (
    ArraySpec,
    Declaration,
    NumberSpec,
    check,
    check_state,
    read_release,
)

EVENT = {"type": "gaussian", "what": "item sums", "sensitivity": 1.0, "sigma": 2.5}
PLAN = Declaration(
    arrays=(ArraySpec("item_embeddings", (3, 2)), ArraySpec("item_counts", (3,), "int64")),
    events=(EVENT,),
    numbers=(NumberSpec("round", 0, 10, whole=True), NumberSpec("hr", -1.0, 2.0)),
)

pytestmark = pytest.mark.attack


def arrays() -> dict[str, np.ndarray]:
    return {
        "item_embeddings": np.arange(6, dtype=np.float32).reshape(3, 2),
        "item_counts": np.array([1, 2, 3]),
    }


def facts(**changes: Any) -> bytes:
    whole = {"events": [EVENT], "numbers": {"round": 3, "hr": 0.25}}
    return json.dumps(whole | changes).encode()


def write(folder: Path, tensors: bytes | None = None, told: bytes | None = None) -> Path:
    (folder / "release.safetensors").write_bytes(save(arrays()) if tensors is None else tensors)
    (folder / "release.json").write_bytes(facts() if told is None else told)
    return folder


def packed(header: Any, body: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_what_was_declared_passes(tmp_path: Path) -> None:
    release = read_release(write(tmp_path), PLAN)
    assert list(release.arrays) == ["item_embeddings", "item_counts"]
    for name, array in arrays().items():
        np.testing.assert_array_equal(release.arrays[name], array)
        assert release.arrays[name].dtype == array.dtype
    assert release.numbers == {"round": 3.0, "hr": 0.25}
    assert release.events == (EVENT,)
    np.testing.assert_array_equal(check(tmp_path, PLAN)["item_counts"], [1, 2, 3])


def test_a_plans_own_arrays_declare_too(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class PlanArray:
        name: str
        shape: tuple[int, ...]
        dtype: str

    (tmp_path / "release.safetensors").write_bytes(save({"x": np.ones(2)}))
    assert check(tmp_path, [PlanArray("x", (2,), "float64")])["x"].sum() == 2
    (tmp_path / "release.json").write_text('{"events": ["whatever"]}')
    assert read_release(tmp_path, [PlanArray("x", (2,), "float64")]).events == ()
    (tmp_path / "release.json").write_text('{"events": [], "extra": "x"}')
    with pytest.raises(GateError, match="undeclared: some"):
        check(tmp_path, [PlanArray("x", (2,), "float64")])


def test_arrays_are_encoded_afresh(tmp_path: Path) -> None:
    plain = save(arrays())
    length = int.from_bytes(plain[:8], "little")
    padded = packed(plain[8 : 8 + length] + b" \t \t\t ", plain[8 + length :])
    release = read_release(write(tmp_path, padded), PLAN)
    assert release.array_bytes() == read_release(write(tmp_path), PLAN).array_bytes()
    assert load(release.array_bytes()).keys() == arrays().keys()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"extra": np.ones(1)}, "missing: none; undeclared: some"),
        ({"item_counts": None}, "missing: item_counts; undeclared: none"),
        (
            {"item_embeddings": np.ones((2, 3), np.float32)},
            r"item_embeddings of shape \(3, 2\), found another shape",
        ),
        (
            {"item_embeddings": np.ones((4, 2), np.float32)},
            "Expected 48 bytes of arrays in release.safetensors, found more",
        ),
        (
            {"item_counts": np.ones(3)},
            r"item_counts as int64 \(I64\), found float64",
        ),
        (
            {"item_embeddings": np.full((3, 2), np.nan, np.float32)},
            "Expected only finite numbers in item_embeddings",
        ),
        (
            {"item_embeddings": np.full((3, 2), np.inf, np.float32)},
            "Expected only finite numbers in item_embeddings",
        ),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    wrong = {name: array for name, array in (arrays() | changes).items() if array is not None}
    with pytest.raises(GateError, match=what):
        check(write(tmp_path, save(wrong)), PLAN)


def test_free_text_in_the_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GateError, match="undeclared: some"):
        check(write(tmp_path, save(arrays(), {"note": "anna bought a train"})), PLAN)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
ONE = Declaration(arrays=(ArraySpec("x", (2,)),))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 7,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 70_000) + b" " * 70_000,
        packed(b"[" * 50_000, b"\x00" * 8),
        packed(b'{"x": NaN}', b"\x00" * 8),
        packed([], b"\x00" * 8),
        packed({"x": []}, b"\x00" * 8),
        packed({"x": {**ENTRY, "more": 1}}, b"\x00" * 8),
        packed({"x": {**ENTRY, "dtype": 5}}, b"\x00" * 8),
        packed({"x": {**ENTRY, "shape": [2.0]}}, b"\x00" * 8),
        packed({"x": {**ENTRY, "shape": [True, 2]}}, b"\x00" * 8),
        packed({"x": {**ENTRY, "shape": 2}}, b"\x00" * 8),
        packed({"x": {**ENTRY, "data_offsets": [-8, 0]}}, b"\x00" * 8),
        packed({"x": {**ENTRY, "data_offsets": [8, 16]}}, b"\x00" * 8),
        packed({"x": {**ENTRY, "data_offsets": [0, 8, 8]}}, b"\x00" * 8),
        packed({"x": {**ENTRY, "data_offsets": [0, 10**400]}}, b"\x00" * 8),
        packed(b'{"x": {"dtype": "F32"}, "x": ' + json.dumps(ENTRY).encode() + b"}", b"\x00" * 8),
        packed({"x": ENTRY}, b"\x00" * 9),
        packed({"x": ENTRY}, b"\x00" * 7),
        packed({"x": ENTRY}, b"\x00" * 1_000_000),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "release.safetensors").write_bytes(data)
    with pytest.raises(GateError, match="Expected"):
        check(tmp_path, ONE)


def test_arrays_that_share_bytes_are_refused(tmp_path: Path) -> None:
    both = Declaration(arrays=(ArraySpec("x", (2,)), ArraySpec("y", (2,))))
    (tmp_path / "release.safetensors").write_bytes(packed({"x": ENTRY, "y": ENTRY}, b"\x00" * 16))
    with pytest.raises(GateError, match="one after the other"):
        check(tmp_path, both)
    (tmp_path / "release.safetensors").rename(tmp_path / "state.safetensors")
    with pytest.raises(GateError, match="one after the other"):
        check_state(tmp_path, both.arrays)


@pytest.mark.parametrize(
    ("told", "what"),
    [
        (b"", "JSON"),
        (b"[]", "JSON object"),
        (b"\xff", "JSON"),
        (b"[" * 60_000, "JSON"),
        (b'{"events": [], "events": []}', "each key once"),
        (b'{"events": [], "numbers": {"round": NaN}}', "finite numbers"),
        (b" " * 70_000, "Expected at most 65536 bytes in release.json"),
        (facts(note="x"), "undeclared: some"),
        (b'{"events": []}', "missing: numbers"),
        (facts(events=[]), "Expected 1 privacy events, found another number"),
        (facts(events={}), "Expected 1 privacy events, found no list"),
        (facts(events=[EVENT | {"sigma": 2.4}]), "event 1 to be as approved"),
        (facts(events=[EVENT | {"sigma": "2.5"}]), "event 1 to be as approved"),
        (facts(events=[EVENT | {"sigma": 10**400}]), "event 1 to be as approved"),
        (facts(events=[EVENT | {"what": "other"}]), "event 1 to be as approved"),
        (facts(events=[EVENT | {"note": "x"}]), "event 1 to be as approved"),
        (facts(events=["x"]), "event 1 to be as approved"),
        (facts(numbers=[]), "`numbers` to be a JSON object"),
        (facts(numbers={"round": 3}), "missing: hr"),
        (facts(numbers={"round": 3, "hr": 0.1, "x": 1}), "undeclared: some"),
        (facts(numbers={"round": 3.5, "hr": 0.1}), "round to be a whole number"),
        (facts(numbers={"round": True, "hr": 0.1}), "round to be a whole number"),
        (facts(numbers={"round": 11, "hr": 0.1}), "round between 0 and 10"),
        (facts(numbers={"round": 10**400, "hr": 0.1}), "round between 0 and 10"),
        (facts(numbers={"round": 3, "hr": "0.1"}), "hr to be a number"),
        (b'{"events": [], "numbers": {"round": 3, "hr": 1e999}}', "Expected"),
    ],
)
def test_other_facts_are_refused(tmp_path: Path, told: bytes, what: str) -> None:
    with pytest.raises(GateError, match=what):
        check(write(tmp_path, told=told), PLAN)


STEPS = {
    "type": "subsampled_gaussian",
    "what": "towers",
    "noise_multiplier": 1.415,
    "sampling_rate": 0.01,
    "steps": 1000,
}


@pytest.mark.parametrize(
    "change",
    [
        {"noise_multiplier": 1.414},
        {"sampling_rate": 0.011},
        {"steps": 999},
        {"steps": 1000.0},
        {"steps": True},
        {"what": "other"},
        {"type": "gaussian"},
        {"batch": 64},
    ],
    ids=str,
)
def test_steps_must_be_reported_exactly_as_approved(tmp_path: Path, change: dict[str, Any]) -> None:
    plan = Declaration(arrays=PLAN.arrays, events=(STEPS,), numbers=PLAN.numbers)
    assert read_release(write(tmp_path, told=facts(events=[STEPS])), plan).events == (STEPS,)
    write(tmp_path, told=facts(events=[STEPS | change]))
    with pytest.raises(GateError, match="event 1 to be as approved"):
        read_release(tmp_path, plan)


def test_the_last_digits_of_an_event_may_differ_but_do_not_pass(tmp_path: Path) -> None:
    close = EVENT | {"sigma": 2.5000000000001}
    release = read_release(write(tmp_path, told=facts(events=[close])), PLAN)
    assert release.events[0]["sigma"] == 2.5


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        (save({**arrays(), "x777": np.ones(1)}), facts()),
        (save(arrays() | {"item_counts": np.ones(777, np.int64)}), facts()),
        (packed({"item_counts": [], "item_embeddings": {"777": 777}}, b"\x00" * 48), facts()),
        (
            packed(
                {
                    "item_embeddings": {"dtype": "777", "shape": [777], "data_offsets": [0, 777]},
                    "item_counts": [],
                },
                b"\x00" * 48,
            ),
            facts(),
        ),
        (save(arrays()), facts(numbers={"round": 777, "hr": 0.1})),
        (save(arrays()), facts(numbers={"round": 3, "hr": 777})),
        (save(arrays()), facts(x777=1)),
        (save(arrays()), facts(events=[EVENT] * 777)),
        (save(arrays()), facts(events=[EVENT | {"sigma": 777.0}])),
    ],
)
def test_refusals_show_nothing_that_the_code_chose(
    tmp_path: Path, tensors: bytes, told: bytes
) -> None:
    with pytest.raises(GateError) as refusal:
        check(write(tmp_path, tensors, told), PLAN)
    assert "777" not in str(refusal.value)


def test_anything_else_in_the_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "more.txt").write_text("x")
    with pytest.raises(GateError, match="found other files too"):
        check(tmp_path, PLAN)
    (tmp_path / "more.txt").unlink()
    (tmp_path / "sub").mkdir()
    with pytest.raises(GateError, match="found other files too"):
        check(tmp_path, PLAN)
    with pytest.raises(GateError, match="a folder of outputs, found none"):
        check(tmp_path / "none", PLAN)


@pytest.mark.parametrize("name", ["release.safetensors", "release.json"])
def test_only_plain_files_are_read(tmp_path: Path, name: str) -> None:
    output = tmp_path / "output"
    output.mkdir()
    write(output)
    original = tmp_path / "original"
    (output / name).rename(original)
    with pytest.raises(GateError, match=f"Expected the file {name}, found none"):
        check(output, PLAN)
    (output / name).symlink_to(original)
    with pytest.raises(GateError, match="plain file"):
        check(output, PLAN)
    (output / name).unlink()
    os.link(original, output / name)
    with pytest.raises(GateError, match="plain file"):
        check(output, PLAN)
    (output / name).unlink()
    os.mkfifo(output / name)
    with pytest.raises(GateError, match="plain file"):
        check(output, PLAN)
    (output / name).unlink()
    (output / name).mkdir()
    with pytest.raises(GateError, match="plain file"):
        check(output, PLAN)


def test_plans_that_declare_nonsense_are_refused() -> None:
    spec = ArraySpec("x", (1,))
    with pytest.raises(GateError, match="different names"):
        Declaration(arrays=(spec, spec))
    with pytest.raises(GateError, match="1 to 64 arrays"):
        Declaration(arrays=())
    with pytest.raises(GateError, match="bytes, declared"):
        Declaration(arrays=(ArraySpec("x", (10**6, 10**6)),))
    with pytest.raises(GateError, match="dtype of"):
        ArraySpec("x", (1,), "object")
    with pytest.raises(GateError, match="plain array name"):
        ArraySpec("../x", (1,))
    with pytest.raises(GateError, match="sizes of 0 or more"):
        ArraySpec("x", (-1,))
    with pytest.raises(GateError, match="64 events and 64 numbers"):
        Declaration(arrays=(spec,), events=(EVENT,) * 65)


def only_gate_errors(tensors: bytes, told: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = write(Path(name), tensors, told)
        try:
            release = read_release(folder, PLAN)
        except GateError:
            return
        assert [array.shape for array in release.arrays.values()] == [(3, 2), (3,)]
        assert all(np.isfinite(array).all() for array in release.arrays.values())


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=300))
def test_random_bytes_give_gate_errors_only(tensors: bytes, told: bytes) -> None:
    only_gate_errors(tensors, facts())
    only_gate_errors(save(arrays()), told)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_changed_and_cut_files_give_gate_errors_only(data: st.DataObject) -> None:
    for whole, is_tensors in ((save(arrays()), True), (facts(), False)):
        damaged = bytearray(whole)
        for place in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=4)):
            damaged[place] = data.draw(st.integers(0, 255))
        cut = bytes(damaged[: data.draw(st.integers(0, len(whole)))])
        only_gate_errors(*((cut, facts()) if is_tensors else (save(arrays()), cut)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(json_values, json_values, json_values)
def test_any_header_gives_gate_errors_only(dtype: Any, shape: Any, offsets: Any) -> None:
    header = {
        "item_embeddings": {"dtype": dtype, "shape": shape, "data_offsets": offsets},
        "item_counts": {"dtype": "I64", "shape": [3], "data_offsets": [24, 48]},
    }
    only_gate_errors(packed(header, b"\x00" * 48), facts(events=dtype, numbers=shape))
