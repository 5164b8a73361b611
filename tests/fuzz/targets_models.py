"""Readers of artefacts, of what runs leave, of states and of submitted code."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from datasites.errors import GateError
from datasites.merchant import gate
from datasites.merchant.code import code_digest, diff_against
from datasites.merchant.fit import verify_artefact
from datasites.merchant.home import MerchantHome, MerchantSettings
from datasites.merchant.scan import scan_code
from datasites.recipes import recipe_named
from recsys.artifact import SharedModel, load_model, save_model
from recsys.data import Interactions
from recsys.errors import ToyFedError
from recsys.models.co_purchase import CoPurchaseSettings, PairCells, pairs_release
from recsys.models.co_purchase import make_plan as plan_pairs
from recsys.models.private_als import PrivateALSSettings, als_round, make_plan
from recsys.privacy import Budget, GaussianEvent, SecureNoise
from tests.fuzz.target import Target, scratch
from tests.fuzz.targets_data import TOYS

__all__ = ["TARGETS"]

BOUGHT = Interactions.from_lists([[0, 1, 2], [3], [1, 1, 4], []], 6)
SETTINGS = PrivateALSSettings(factors=3, rounds=1, averaged_rounds=1)
PLAN = make_plan(SETTINGS, Budget(1.0, 1e-5))
PAIR_SETTINGS = CoPurchaseSettings(pairs_per_toy=1)
PAIR_PLAN = plan_pairs(PAIR_SETTINGS, Budget(1.0, 1e-5))
_CODES = {
    "F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32,
    "U8": np.uint8, "BOOL": np.bool_,
}  # fmt: skip


def _model(recipe: str = "private-als", **arrays: np.ndarray) -> SharedModel:
    return SharedModel(
        arrays
        or {
            "item_embeddings": np.ones((6, 3), dtype=np.float32),
            "item_counts": np.arange(6, dtype=np.float64),
        },
        recipe,
        {"study": "s", "model": {"factors": 3}},
        TOYS.digest,
        {"a@b.c": 1.0},
        1e-5,
        {"a@b.c": [GaussianEvent("counts", 1.0, 4.0)]},
    )


def _saved() -> tuple[bytes, bytes]:
    folder = scratch() / "seed"
    save_model(folder, _model())
    (tensors,) = folder.glob("tensors-*")
    return (folder / "manifest.json").read_bytes(), tensors.read_bytes()


MANIFEST, TENSORS = _saved()


def _reseal(data: bytes) -> bytes:
    """Sealed again, so that the checks behind the hash are reached; as it is if that cannot be."""
    from recsys.artifact import _manifest_bytes

    try:
        facts = json.loads(data)
        facts.pop("manifest_sha256", None)
        return _manifest_bytes(facts)
    except (ValueError, RecursionError, AttributeError, TypeError, ToyFedError):
        return data


def _artefact(data: bytes) -> None:
    for manifest in {data, _reseal(data)}:
        _load(manifest, TENSORS)


def _tensors(data: bytes) -> None:
    """Other tensors under a manifest that names them."""
    from recsys.artifact import _manifest_bytes, _sha256

    facts = json.loads(MANIFEST)
    facts.pop("manifest_sha256")
    facts["tensors_sha256"] = _sha256(data)
    _load(_manifest_bytes(facts), data)


def _load(manifest: bytes, tensors: bytes) -> None:
    from recsys.artifact import _sha256

    folder = scratch() / "artefact"
    folder.mkdir(exist_ok=True)
    (folder / "manifest.json").write_bytes(manifest)
    for named in {_sha256(tensors), _sha256(TENSORS)}:
        (folder / f"tensors-{named}.safetensors").write_bytes(tensors)
    try:
        load_model(folder, catalogue_digest=TOYS.digest)
    except ToyFedError:
        pass
    finally:
        for file in folder.iterdir():
            file.unlink()


def _home() -> MerchantHome:
    from recsys.data import write_catalogue

    home = MerchantHome(scratch(), MerchantSettings(name="x", email="a@b.c", share="s"))
    if not (home.data / "catalogue.parquet").exists():
        home.data.mkdir(parents=True, exist_ok=True)
        write_catalogue(home.data / "catalogue.parquet", TOYS)
    return home


def hostile_arrays(data: bytes) -> dict[str, np.ndarray] | None:
    """Arrays as a JSON object describes them: name -> [kind, shape, values that repeat]."""
    try:
        described = json.loads(data)
        return {
            str(name).encode(errors="replace").decode(): np.resize(
                np.array([float(v) for v in values] or [0.0]).astype(_CODES[kind]),
                tuple(int(size) for size in shape[:4]),
            )
            for name, (kind, shape, values) in described.items()
            if np.prod([float(size) for size in shape[:4]]) < 1e6
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None


def _verify(data: bytes) -> None:
    """A model whose arrays and settings somebody chose, through the check at the merchant."""
    arrays = hostile_arrays(data)
    if arrays is None:
        return
    folder = scratch() / "arrived"
    for recipe in ("private-als", "co-purchase", "neural"):
        try:
            save_model(folder, _model(recipe, **arrays))
            verify_artefact(_home(), folder)
        except ToyFedError:
            continue


def _verify_settings(data: bytes) -> None:
    try:
        settings = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(settings, dict):
        return
    folder = scratch() / "arrived"
    for recipe in ("private-als", "co-purchase", "neural"):
        model = _model(recipe)
        try:
            save_model(folder, SharedModel(**{**vars(model), "settings": settings}))
            verify_artefact(_home(), folder)
        except ToyFedError:
            continue


def _state_als(data: bytes) -> None:
    """What a hostile state makes of a round: refused, or a release that is finite."""
    state = hostile_arrays(data)
    if state is None or not {"item_embeddings", "item_counts"} <= state.keys():
        return
    found, _ = als_round(
        BOUGHT,
        state["item_embeddings"],
        state["item_counts"],
        SETTINGS,
        PLAN,
        SecureNoise(),
        round_number=1,
    )
    assert np.isfinite(found).all()


def _state_pairs(data: bytes) -> None:
    state = hostile_arrays(data)
    if state is None or not {"pair_toys", "pair_similarity"} <= state.keys():
        return
    cells = PairCells(state["pair_toys"], state["pair_similarity"], TOYS.n_items)
    sums, _ = pairs_release(BOUGHT, cells, PAIR_PLAN, SecureNoise())
    assert np.isfinite(sums).all()


DECLARED = gate.Declaration(
    (gate.ArraySpec("item_counts", (6,), "float64"), gate.ArraySpec("v", (2, 3), "float32")),
    ({"type": "gaussian", "what": "counts", "sensitivity": 1.0, "sigma": 4.0},),
    (gate.NumberSpec("n", 0, 100, True),),
)
RELEASE = save(
    {"item_counts": np.arange(6, dtype=np.float64), "v": np.ones((2, 3), dtype=np.float32)}
)
FACTS = (
    b'{"events": [{"type": "gaussian", "what": "counts", "sensitivity": 1.0, "sigma": 4.0}], '
    b'"numbers": {"n": 3}}'
)


def _gate(arrays: bytes, facts: bytes) -> None:
    folder = scratch() / "output"
    folder.mkdir(exist_ok=True)
    (folder / "release.safetensors").write_bytes(arrays)
    (folder / "release.json").write_bytes(facts)
    release = gate.read_release(folder, DECLARED)
    assert release.arrays.keys() == {"item_counts", "v"}
    assert all(np.isfinite(array).all() for array in release.arrays.values())


def _round_state(data: bytes) -> None:
    folder = scratch() / "state"
    folder.mkdir(exist_ok=True)
    (folder / "state.safetensors").write_bytes(data)
    gate.check_state(folder, DECLARED.arrays)
    try:
        found = load(data)
    except SafetensorError:
        return  # such as two arrays in one place; the run ends at once, whoever the shoppers are
    assert {name: one.nbytes for name, one in found.items()} == {
        spec.name: spec.nbytes for spec in DECLARED.arrays
    }


def _scan(data: bytes) -> None:
    scan_code({"main.py": data})


def _folder(data: bytes) -> None:
    try:
        files = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(files, dict):
        code = {name: str(t).encode(errors="surrogatepass") for name, t in files.items()}
        code_digest(code)
        scan_code(code)
        diff_against(code, recipe_named("private-als").code)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


_CODE = b"""# -*- coding: utf-8 -*-
import os, json
from recsys.data import read_shop
class A:
    def f(self, x: int = 0x10) -> 'str':
        return f"{x!r:>{10}}" + open('/etc/passwd').read() + os.environ['A'].__class__.__name__
match 1:
    case [1, *_] | {"a": 2}: pass
async def g():
    async with a as b: yield (await c)
"""
_PYTHON = (
    b"# coding: utf-7\n", b"# coding: rot13\n", b"\\\n", b"lambda: ", b"(" * 300, b"a." * 900,
    b"not " * 900, b"-" * 2000, b"1" * 5000, b"0x" + b"f" * 5000, b"if x:\n ", b"@", b"\x0c",
    b"'''", b"f'{", b"__import__", b"eval", b"+".join([b"a"] * 900), b"[" * 150 + b"]" * 150,
    "\u212aname = 1\n".encode(),
)  # fmt: skip
_STATE = {
    "item_embeddings": ["F32", [6, 3], [0.1, -0.2, 0.3]],
    "item_counts": ["F64", [6], [1.0, 2.0, 5.0]],
    "gram": ["F64", [6], [1.0]],
}
_PAIRS = {
    "pair_toys": ["I32", [6, 2], [0, 1, 0, 2, 1, 2, 2, 3, -1, -1, -1, -1]],
    "pair_similarity": ["F32", [6], [0.5]],
}

TARGETS = (
    Target("artefact-manifest", _artefact, (MANIFEST,), "json", (b"gaussian", b"private-als")),
    Target("artefact-tensors", _tensors, (TENSORS,), words=(b"F32", b"BF16", b"F8_E4M3", b"BOOL")),
    Target("verify-arrays", _verify, (_json(_STATE), _json(_PAIRS)), "json", (b"F64", b"I64")),
    Target(
        "verify-settings",
        _verify_settings,
        (_json({"study": "s", "model": {"factors": 3}}), _json({"model": {"window": 2}})),
        "json",
    ),
    Target("state-als", _state_als, (_json(_STATE),), "json", (b"1e308", b"5e-324")),
    Target("state-pairs", _state_pairs, (_json(_PAIRS),), "json"),
    Target("gate-arrays", lambda data: _gate(data, FACTS), (RELEASE,), allowed=(GateError,)),
    Target("gate-state", _round_state, (RELEASE,), allowed=(GateError,)),
    Target("gate-facts", lambda data: _gate(RELEASE, data), (FACTS,), "json", allowed=(GateError,)),
    Target("scan-python", _scan, (_CODE,), "text", _PYTHON),
    Target("code-folder", _folder, (_json({"main.py": _CODE.decode(), "a/b.md": "x"}),), "json"),
)
