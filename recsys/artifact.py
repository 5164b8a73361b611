"""A shared model on disk: tensors in safetensors, facts in a JSON manifest, hashes over both.

    FOLDER/manifest.json            facts, sha256 of the tensors, sha256 of itself
    FOLDER/tensors-<sha256>.safetensors

The manifest names its tensors by their hash and is replaced last: a crash leaves the old model
or the new one. The hashes find damage; against a forger, compare the digest that `save_model`
returned with one that came by another way, such as the study's signed result.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys.errors import ArtifactError, PrivacyError
from recsys.files import atomic_write_bytes
from recsys.privacy import PrivacyEvent, event_from_dict

__all__ = ["MANIFEST", "SharedModel", "load_model", "save_model"]

MANIFEST = "manifest.json"
_FORMAT = "toyfed-model"
_VERSION = 1
_FACTS = {
    "format": str,
    "version": int,
    "recipe": str,
    "settings": dict,
    "catalogue_digest": str,
    "merchants": list,
    "epsilon": dict,
    "delta": float,
    "events": dict,
    "arrays": dict,
    "tensors_sha256": str,
}


@dataclass(frozen=True, eq=False)
class SharedModel:
    """What merchants learned together, and what it cost each of their shoppers.

    Args:
        arrays: name -> finite array; `item_embeddings` float32 [n_items, d] and what else serving
            needs.
        recipe: name of the recipe that trained it.
        settings: public settings, JSON values.
        catalogue_digest: of the catalogue that the rows belong to.
        epsilon: merchant -> epsilon spent on one of its shoppers.
        delta: at which.
        events: merchant -> every release.

    Privacy: holds released values only.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    recipe: str
    settings: Mapping[str, Any]
    catalogue_digest: str
    epsilon: Mapping[str, float]
    delta: float
    events: Mapping[str, Sequence[PrivacyEvent]] = field(default_factory=dict)

    @property
    def merchants(self) -> list[str]:
        """Names of the merchants that took part, sorted."""
        return sorted(self.epsilon)


def save_model(folder: Path, model: SharedModel) -> str:
    """Write a model into `folder`, whole or not at all, in place of the one there.

    Returns:
        sha256 of the manifest, which covers everything.

    Raises:
        ArtifactError: an array that is not finite, or facts that JSON cannot hold.
    """
    from safetensors.numpy import save

    if not _all_finite(model.arrays):
        raise ArtifactError("Expected finite numbers in every array, found others.")
    tensors = save({name: np.ascontiguousarray(array) for name, array in model.arrays.items()})
    digest = _sha256(tensors)
    facts = {
        "format": _FORMAT,
        "version": _VERSION,
        "recipe": model.recipe,
        "settings": dict(model.settings),
        "catalogue_digest": model.catalogue_digest,
        "merchants": model.merchants,
        "epsilon": dict(model.epsilon),
        "delta": float(model.delta),
        "events": {
            merchant: [event.to_dict() for event in events]
            for merchant, events in model.events.items()
        },
        "arrays": _described(model.arrays),
        "tensors_sha256": digest,
    }
    manifest = _manifest_bytes(facts)
    atomic_write_bytes(folder / _tensors_name(digest), tensors)
    atomic_write_bytes(folder / MANIFEST, manifest)
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != _tensors_name(digest):
            old.unlink()
    return _sha256(manifest)


def load_model(
    folder: Path, *, catalogue_digest: str | None = None, manifest_sha256: str | None = None
) -> SharedModel:
    """Read a model back and verify every byte of it.

    Args:
        folder: that `save_model` wrote.
        catalogue_digest: refuse a model of another catalogue.
        manifest_sha256: refuse any model but the one with this digest.

    Raises:
        ArtifactError: missing, damaged, foreign, or not the one asked for.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    manifest = _read(folder / MANIFEST)
    if manifest_sha256 is not None and _sha256(manifest) != manifest_sha256:
        raise ArtifactError(
            f"Expected the model with digest {manifest_sha256}, found {_sha256(manifest)}; "
            "fetch the study's result again."
        )
    facts = _parse(manifest)
    if catalogue_digest is not None and facts["catalogue_digest"] != catalogue_digest:
        raise ArtifactError(
            f"Expected a model of the catalogue {catalogue_digest[:12]}, found one of "
            f"{str(facts['catalogue_digest'])[:12]}; train on this catalogue."
        )
    tensors = _read(folder / _tensors_name(facts["tensors_sha256"]))
    if _sha256(tensors) != facts["tensors_sha256"]:
        raise ArtifactError("Expected the tensors that the manifest names, found damaged ones.")
    try:
        arrays = load(tensors)
        events = {
            merchant: [event_from_dict(row) for row in rows]
            for merchant, rows in facts["events"].items()
        }
    except (SafetensorError, PrivacyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"Expected readable tensors and known events: {error}") from error
    if _described(arrays) != facts["arrays"] or not _all_finite(arrays):
        raise ArtifactError(
            f"Expected the finite arrays {sorted(facts['arrays'])} that the manifest describes, "
            f"found {sorted(arrays)} or other shapes or values."
        )
    return SharedModel(
        arrays,
        facts["recipe"],
        facts["settings"],
        facts["catalogue_digest"],
        facts["epsilon"],
        facts["delta"],
        events,
    )


def _described(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    return {
        name: {"shape": list(array.shape), "dtype": str(array.dtype)}
        for name, array in arrays.items()
    }


def _all_finite(arrays: Mapping[str, npt.NDArray[Any]]) -> bool:
    return all(
        np.issubdtype(array.dtype, np.number) and np.isfinite(array).all()
        for array in arrays.values()
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _tensors_name(digest: str) -> str:
    return f"tensors-{digest}.safetensors"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"Expected the model file {path.name}, found none that can be read; "
            "fetch the study's result again."
        ) from error


def _manifest_bytes(facts: Mapping[str, Any]) -> bytes:
    try:
        body = json.dumps(facts, indent=2, sort_keys=True, allow_nan=False)
        sealed = {**facts, "manifest_sha256": _sha256(body.encode())}
        return json.dumps(sealed, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise ArtifactError(f"Expected facts that JSON can hold: {error}") from error


def _parse(manifest: bytes) -> dict[str, Any]:
    damaged = "Expected an undamaged manifest, found a changed one; fetch the result again."
    try:
        facts = json.loads(manifest)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(damaged) from error
    # Written again it must give the very same bytes: this covers spaces, key order, and the seal.
    if not isinstance(facts, dict) or facts.pop("manifest_sha256", None) is None:
        raise ArtifactError(damaged)
    if _manifest_bytes(facts) != manifest:
        raise ArtifactError(damaged)
    if facts.get("format") != _FORMAT or facts.get("version") != _VERSION:
        raise ArtifactError(
            f"Expected format {_FORMAT} version {_VERSION}, found {facts.get('format')!r} version "
            f"{facts.get('version')!r}; update ToyFed."
        )
    fits = set(facts) == set(_FACTS) and all(
        isinstance(facts[name], kind) for name, kind in _FACTS.items()
    )
    # The hash becomes part of a path, and whoever sent the manifest is not trusted.
    if not fits or not re.fullmatch("[0-9a-f]{64}", facts["tensors_sha256"]):
        raise ArtifactError(
            f"Expected a manifest with the facts {sorted(_FACTS)}, found others; "
            "fetch the result again."
        )
    return facts
