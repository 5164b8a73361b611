"""Models on disk: what is written is read back, and every damage is found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from recsys.artifact import MANIFEST, SharedModel, load_model, save_model
from recsys.errors import ArtifactError
from recsys.privacy import GaussianEvent


def example(seed: int = 0) -> SharedModel:
    rng = np.random.default_rng(seed)
    return SharedModel(
        arrays={
            "item_embeddings": rng.normal(size=(5, 2)).astype(np.float32),
            "counts": rng.normal(size=5),
        },
        recipe="private_als",
        settings={"factors": 2, "alpha": 0.1},
        catalogue_digest="c" * 64,
        epsilon={"b": 1.0, "a": 0.5},
        delta=1e-5,
        events={"a": [GaussianEvent("counts", 3.0, 40.0)], "b": []},
    )


def test_a_model_is_read_back_as_it_was(tmp_path: Path) -> None:
    model = example()
    digest = save_model(tmp_path, model)
    read = load_model(tmp_path, catalogue_digest="c" * 64, manifest_sha256=digest)
    assert read.merchants == ["a", "b"]
    assert (read.recipe, read.settings, read.epsilon, read.delta, read.events) == (
        model.recipe,
        model.settings,
        model.epsilon,
        model.delta,
        model.events,
    )
    for name, array in model.arrays.items():
        assert read.arrays[name].dtype == array.dtype
        assert np.array_equal(read.arrays[name], array)


def test_the_same_model_has_the_same_digest(tmp_path: Path) -> None:
    assert save_model(tmp_path / "x", example()) == save_model(tmp_path / "y", example())
    assert save_model(tmp_path / "x", example(1)) != save_model(tmp_path / "y", example())


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    save_model(tmp_path, example())
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for position in range(len(whole)):
            for flip in (0x01, 0x20, 0x80):
                changed = bytearray(whole)
                changed[position] ^= flip
                path.write_bytes(changed)
                with pytest.raises(ArtifactError):
                    load_model(tmp_path)
        path.write_bytes(whole)
    load_model(tmp_path)


@pytest.mark.parametrize("cut", [0, 1, -1])
def test_cut_files_are_found(tmp_path: Path, cut: int) -> None:
    save_model(tmp_path, example())
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:cut])
        with pytest.raises(ArtifactError):
            load_model(tmp_path)
        path.write_bytes(whole)


def test_missing_files_are_found(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        load_model(tmp_path)
    save_model(tmp_path, example())
    next(tmp_path.glob("*.safetensors")).unlink()
    with pytest.raises(ArtifactError, match="fetch the study's result"):
        load_model(tmp_path)


def test_saving_again_replaces_the_model_and_leaves_nothing_behind(tmp_path: Path) -> None:
    save_model(tmp_path, example(0))
    save_model(tmp_path, example(1))
    assert len(list(tmp_path.iterdir())) == 2
    read = load_model(tmp_path)
    assert np.array_equal(read.arrays["counts"], example(1).arrays["counts"])


def test_a_crash_before_the_manifest_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recsys import artifact

    digest = save_model(tmp_path, example(0))
    write = artifact.atomic_write_bytes

    def crash(target: Path, data: bytes) -> None:
        if target.name == MANIFEST:
            raise KeyboardInterrupt
        write(target, data)

    monkeypatch.setattr(artifact, "atomic_write_bytes", crash)
    with pytest.raises(KeyboardInterrupt):
        save_model(tmp_path, example(1))
    load_model(tmp_path, manifest_sha256=digest)


def test_another_catalogue_or_model_is_refused(tmp_path: Path) -> None:
    save_model(tmp_path, example())
    with pytest.raises(ArtifactError, match="catalogue"):
        load_model(tmp_path, catalogue_digest="d" * 64)
    with pytest.raises(ArtifactError, match="digest"):
        load_model(tmp_path, manifest_sha256="0" * 64)


def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    model = example()
    model.arrays["counts"][0] = np.nan
    with pytest.raises(ArtifactError, match="finite"):
        save_model(tmp_path, model)
    assert not list(tmp_path.iterdir())


def _sealed(facts: dict[str, object]) -> bytes:
    from recsys import artifact

    return artifact._manifest_bytes(facts)


@pytest.mark.parametrize(
    "change",
    [
        {"tensors_sha256": "../../secret"},
        {"version": 2},
        {"events": {"a": [{"type": "laplace"}]}},
        {"events": {"a": 3}},
        {"arrays": {}},
        {"epsilon": None},
        {"extra": 1},
    ],
)
def test_a_forged_manifest_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    save_model(tmp_path, example())
    facts = json.loads((tmp_path / MANIFEST).read_bytes())
    del facts["manifest_sha256"]
    (tmp_path / MANIFEST).write_bytes(_sealed(facts | change))
    with pytest.raises(ArtifactError):
        load_model(tmp_path)
