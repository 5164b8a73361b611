"""Signing in to a share: kept private, checked, never shown."""

from __future__ import annotations

import stat

import pytest

from datasites.errors import SettingsError
from datasites.share_options import (
    OPTIONS_FILE,
    check_address,
    checked_options,
    keep_options,
    poll_seconds,
    read_options,
)


def test_options_are_kept_for_their_owner_alone(tmp_path):
    given = tmp_path / "given.toml"
    given.write_text('username = "toys"\npassword = "hunter2"\n')
    keep_options(tmp_path, checked_options(given, "webdavs://h/x"))
    assert stat.S_IMODE((tmp_path / OPTIONS_FILE).stat().st_mode) == 0o600
    assert read_options(tmp_path, "webdavs://h/x") == {"username": "toys", "password": "hunter2"}


def test_no_options_are_none(tmp_path):
    assert checked_options(None, "/some/folder") == ""
    assert read_options(tmp_path, "s3://b") == {}


@pytest.mark.attack
@pytest.mark.parametrize(
    ("share", "text"),
    [
        ("s3://b", "secret = hunter2"),
        ("s3://b", 'secret = ["hunter2"]'),
        ("s3://b", 'username = "hunter2"'),
        ("/folder", 'password = "hunter2"'),
        ("gdrive://1AbC-dEf_GhIjKlMn", 'token = "hunter2"'),
        ("gdrive://1AbC-dEf_GhIjKlMn", 'api_endpoint = "http://hunter2.example"'),
        ("webdav://example.org/x", 'username = "a"\npassword = "hunter2"'),
    ],
)
def test_bad_options_are_refused_without_showing_a_value(tmp_path, share, text):
    given = tmp_path / "given.toml"
    given.write_text(text)
    with pytest.raises(SettingsError, match="expected") as raised:
        checked_options(given, share)
    assert "hunter2" not in str(raised.value)


@pytest.mark.attack
@pytest.mark.parametrize(
    "share", ["sftp://a:hunter2@h/x", "webdavs://h/x?p=hunter2", "s3://k:hunter2@b", "http://[x"]
)
def test_an_address_with_a_password_is_refused(share):
    with pytest.raises(SettingsError, match="share-options") as raised:
        check_address(share)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("share", ["gdrive://", "gdrive://My Toys", "gdrive://x@1AbCdEfGhIjK"])
def test_google_drive_is_named_by_a_folders_id(share):
    with pytest.raises(SettingsError, match="Google Drive"):
        check_address(share)
    check_address("gdrive://1AbC-dEf_GhIjKlMn/market")


def test_servers_are_asked_less_often():
    assert poll_seconds("s3://b") > poll_seconds("/folder")
