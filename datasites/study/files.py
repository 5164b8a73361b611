"""Reads a study's own files; a damaged one is named, with what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from datasites.errors import SettingsError
from datasites.private import damaged, read_private
from datasites.protocol import Proposal
from recsys.artifact import load_model
from recsys.errors import ArtifactError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["is_whole", "read_checkpoint", "read_proposal", "read_sent", "read_state"]

_MEND = "Put it back from a backup. What merchants released is in `updates`; other studies go on."
_SENT = "Remove it: what is sent a second time is not run a second time."


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """How far a study is; the beginning if it has no checkpoint. Raises SettingsError."""
    try:
        return read_private(folder / "checkpoint.json", _checkpoint, _MEND)
    except FileNotFoundError:
        return {"finished": [], "contributors": {}, "dropped": {}}


def read_state(file: Path) -> dict[str, np.ndarray]:
    """The arrays that a checkpoint names. Raises SettingsError."""
    try:
        return read_private(file, _arrays, _MEND)
    except FileNotFoundError:
        raise damaged(file, "it is missing", _MEND) from None


def read_sent(file: Path) -> dict[str, bool]:
    """Whom a job was sent; nobody if there is no such file. Raises SettingsError."""
    try:
        return read_private(file, lambda data: {str(one): True for one in json.loads(data)}, _SENT)
    except FileNotFoundError:
        return {}


def read_proposal(folder: Path) -> Proposal:
    """What was submitted. Raises SettingsError if nothing was, or if it is damaged."""
    try:
        return read_private(folder / "proposal.json", Proposal.model_validate_json, _MEND)
    except FileNotFoundError:
        raise SettingsError(
            f"expected a submitted study in {folder}, found no proposal.json. "
            "Send it with `toyfed study submit` first."
        ) from None


def is_whole(artefact: Path) -> bool:
    """Whether a finished model lies here with its card, every byte of it as it was written."""
    try:
        load_model(artefact)
        return bool((artefact / "MODEL_CARD.md").read_text(encoding="utf-8").strip())
    except (ArtifactError, OSError, ValueError):
        return False


def _checkpoint(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(data)
    if not isinstance(found["finished"], list) or not all(
        isinstance(found[name], dict) for name in ("contributors", "dropped")
    ):
        raise TypeError("not a checkpoint")
    return found


def _arrays(data: bytes) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(data)
    except SafetensorError as error:
        raise ValueError("not safetensors") from error
