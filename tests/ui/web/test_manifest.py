from __future__ import annotations

import json
from pathlib import Path

import pytest

from datasites.errors import SettingsError
from datasites.merchant import MerchantHome
from ui.web.manifest import MANIFEST_VARIABLE, Manifest, current_manifest, read_manifest


def test_written_by_hand_with_relative_paths(tmp_path: Path) -> None:
    file = tmp_path / "market" / "marketplace.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"merchants": ["m1", "/elsewhere/m2"], "report": "r.json"}))
    found = read_manifest(file)
    assert found.merchants == (file.parent / "m1", Path("/elsewhere/m2"))
    assert found.report == file.parent / "r.json"
    assert not found.simulation
    assert read_manifest(file.parent) == found


@pytest.mark.parametrize("text", ["", "[]", '{"merchant": []}', '{"merchants": 3}', "\x00"])
def test_damaged_manifests_are_refused_readably(tmp_path: Path, text: str) -> None:
    file = tmp_path / "marketplace.json"
    file.write_text(text)
    with pytest.raises(SettingsError, match="is not a marketplace manifest"):
        read_manifest(file)


def test_missing_manifests_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="--marketplace"):
        read_manifest(tmp_path / "no.json")
    monkeypatch.delenv(MANIFEST_VARIABLE, raising=False)
    with pytest.raises(SettingsError, match="toyfed demo"):
        current_manifest()


def test_shops_of_one_name_stay_apart(homes: dict[str, MerchantHome], tmp_path: Path) -> None:
    root = next(iter(homes.values())).root
    names = Manifest(merchants=(root, root, tmp_path / "broken")).names()
    assert list(names) == ["Castle Toys", "Castle Toys (2)", "broken"]
