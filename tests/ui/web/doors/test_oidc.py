"""Sign-in by OpenID Connect: the private file, the role table, and whom the provider vouches for.

The protocol itself is Authlib's; these tests begin where its signed cookie arrives. Those with a
provider and a browser are in `tests/e2e/test_sign_in.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from pydantic import ValidationError
from starlette.responses import Response

from datasites.merchant import MerchantHome
from tests.ui.web.market import SHOP
from ui.errors import DoorError
from ui.web.doors import oidc
from ui.web.doors.oidc import (
    Known,
    SignInTable,
    newcomer,
    read_sign_in,
    refuse_strangers,
    word_spender,
)
from ui.web.doors.roles import Role
from ui.web.doors.store import DoorStore

SIGNED_WITH = "a-cookie-secret-of-more-than-32-characters"
NOW = 1_800_000_000.0
PROVIDER = {
    "redirect_uri": "https://toys.example/oauth2callback",
    "cookie_secret": SIGNED_WITH,
    "client_id": "toyfed",
    "client_secret": "hush",
    "server_metadata_url": "https://login.example/.well-known/openid-configuration",
}
ANNA = {"email": "anna@castle.example", "role": "merchant", "merchant": "castle@toyfed.local"}
PEOPLE = [ANNA, {"subject": "s-7", "role": "analyst"}]


def write(folder: Path, values: dict[str, Any], mode: int = 0o600) -> Path:
    file = folder / "sign-in.toml"
    file.write_text(tomli_w.dumps(values))
    file.chmod(mode)
    return file


def test_without_authlib_one_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlit.auth_util.is_authlib_installed", lambda: False)
    with pytest.raises(DoorError, match="pip install Authlib"):
        read_sign_in(write(tmp_path, {"provider": PROVIDER}))


@pytest.fixture
def _authlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlit.auth_util.is_authlib_installed", lambda: True)


@pytest.mark.usefixtures("_authlib")
def test_the_file_is_read(tmp_path: Path) -> None:
    table = read_sign_in(write(tmp_path, {"provider": PROVIDER, "people": PEOPLE}))
    assert table.provider.host == "toys.example"
    assert [one.role for one in table.people] == [Role.MERCHANT, Role.ANALYST]
    assert oidc.streamlit_secrets(table)["auth"]["client_id"] == "toyfed"


@pytest.mark.attack
@pytest.mark.usefixtures("_authlib")
def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DoorError, match="chmod 600"):
        read_sign_in(write(tmp_path, {"provider": PROVIDER}, 0o640))
    write(tmp_path, {"provider": PROVIDER})
    os.symlink(tmp_path / "sign-in.toml", tmp_path / "linked.toml")
    with pytest.raises(DoorError):
        read_sign_in(tmp_path / "linked.toml")


@pytest.mark.attack
@pytest.mark.usefixtures("_authlib")
@pytest.mark.parametrize(
    "change",
    [
        {"redirect_uri": "http://toys.example/oauth2callback"},
        {"redirect_uri": "https://toys.example@evil.example/oauth2callback"},
        {"redirect_uri": "https://toys.example/x"},
        {"cookie_secret": "short"},
        {"server_metadata_url": "http://login.example/"},
        {"client_id": ""},
        {"more": "x"},
    ],
)
def test_weak_settings_are_refused_and_secrets_stay_out(
    tmp_path: Path, change: dict[str, str]
) -> None:
    with pytest.raises(DoorError) as refused:
        read_sign_in(write(tmp_path, {"provider": PROVIDER | change}))
    assert "hush" not in str(refused.value)
    assert SIGNED_WITH not in str(refused.value)


@pytest.mark.attack
@pytest.mark.parametrize(
    "row",
    [
        {"email": "a@b.example", "role": "demo"},
        {"email": "a@b.example", "role": "merchant"},
        {"email": "a@b.example", "subject": "x", "role": "analyst"},
        {"role": "analyst"},
        {"email": "a@b.example", "role": "analyst", "merchant": "c@d.example"},
        {"email": "a@b.example", "role": "merchant", "merchant": "c@d", "shopper": "S"},
    ],
)
def test_rows_that_would_open_too_much_are_refused(row: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Known.model_validate(row)


@pytest.mark.attack
def test_an_email_that_is_not_verified_names_nobody() -> None:
    anna = Known.model_validate(ANNA)
    claims = {"email": "Anna@Castle.example", "email_verified": True}
    assert anna.is_meant(claims)
    for wrong in (
        {"email": "anna@castle.example"},
        {"email": "anna@castle.example", "email_verified": "true"},
        {"email": "anna@castle.example", "email_verified": False},
        {"email": ["anna@castle.example"], "email_verified": True},
        {"email": "anna@castle.example.evil.example", "email_verified": True},
        {"sub": "anna@castle.example", "email_verified": True},
    ):
        assert not anna.is_meant(wrong)
    kim = Known(email="kim@strasse.example", role=Role.ANALYST)
    for alike in ("kim@stra\xdfe.example", "\u212aim@strasse.example"):
        assert not kim.is_meant({"email": alike, "email_verified": True})
        with pytest.raises(ValidationError, match="ASCII"):
            Known(email=alike, role=Role.ANALYST)
    by_subject = Known(subject="s-7", role=Role.ANALYST)
    assert by_subject.is_meant({"sub": "s-7"})
    assert not by_subject.is_meant({"email": "s-7", "email_verified": True})


def test_a_shop_that_is_not_here_is_told_before_anybody_stands_outside(
    homes: dict[str, MerchantHome],
) -> None:
    table = SignInTable.model_validate({"provider": PROVIDER, "people": PEOPLE})
    refuse_strangers(table, tuple(home.root for home in homes.values()))
    with pytest.raises(DoorError, match=r"person 1 .*it shows none.* 'castle@toyfed\.local'"):
        refuse_strangers(table, ())


class TestNewcomer:
    @pytest.fixture(autouse=True)
    def _secret(self) -> Iterator[None]:
        from streamlit import config

        before = config.get_option("server.cookieSecret")
        config.set_option("server.cookieSecret", SIGNED_WITH)
        yield
        config.set_option("server.cookieSecret", before)

    @pytest.fixture
    def store(self, tmp_path: Path) -> DoorStore:
        return DoorStore(tmp_path / "oidc.sqlite3", lambda: NOW)

    def knock(
        self,
        store: DoorStore,
        homes: dict[str, MerchantHome],
        secret: str = SIGNED_WITH,
        **claims: Any,
    ) -> tuple[Response | None, str | None]:
        """Arrive with the cookie that Streamlit signs after the provider's answer."""
        table = SignInTable.model_validate({"provider": PROVIDER, "people": PEOPLE})
        given: list[str] = []
        look = newcomer(
            store,
            table,
            lambda: tuple(home.root for home in homes.values()),
            lambda _response, session: given.append(session),
            lambda: NOW,
        )
        answer = look(self.scope(secret, **claims))
        return answer, given[0] if given else None

    def scope(self, secret: str = SIGNED_WITH, **claims: Any) -> dict[str, Any]:
        """A request with the cookie that Streamlit signs."""
        from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

        told = {
            "origin": "https://toys.example",
            "is_logged_in": True,
            "iss": "https://login.example",
            "sub": "s-1",
            "nonce": "n-1",
            "iat": NOW - 5,
            "email": "anna@castle.example",
            "email_verified": True,
        } | claims
        signed = create_signed_value(secret, "_streamlit_user", json.dumps(told)).decode()
        headers = [(b"cookie", f"_streamlit_user={signed}".encode())]
        return {"type": "http", "headers": headers, "path": "/", "method": "GET"}

    def test_who_is_in_the_table_gets_a_session(
        self, store: DoorStore, homes: dict[str, MerchantHome]
    ) -> None:
        answer, session = self.knock(store, homes)
        person = store.person(session)
        assert person is not None
        assert (person.role, person.merchant) == (Role.MERCHANT, homes[SHOP].root)
        assert answer is not None
        assert answer.headers["location"] == "/"
        # The provider's cookie would live for a month: ours ends the session.
        assert "_streamlit_user=" in answer.headers["set-cookie"]
        assert "max-age=0" in answer.headers["set-cookie"].lower()

    @pytest.mark.attack
    def test_the_same_word_is_taken_once(
        self, store: DoorStore, homes: dict[str, MerchantHome]
    ) -> None:
        assert self.knock(store, homes)[1]
        answer, session = self.knock(store, homes)
        assert session is None
        assert answer is not None
        assert answer.headers["location"] == "/sign-in?not-known"

    @pytest.mark.attack
    def test_a_word_that_was_there_at_sign_out_opens_nothing(
        self, store: DoorStore, homes: dict[str, MerchantHome]
    ) -> None:
        table = SignInTable.model_validate({"provider": PROVIDER, "people": PEOPLE})
        word_spender(store, table)(self.scope())
        assert self.knock(store, homes)[1] is None

    @pytest.mark.attack
    @pytest.mark.parametrize(
        "claims",
        [
            {"iat": NOW - 3600},
            {"iat": NOW + 3600},
            {"iat": None},
            {"iat": "now"},
            {"email": "eve@castle.example"},
            {"email_verified": False},
            {"origin": "https://evil.example"},
            {"origin": None},
        ],
    )
    def test_others_stay_outside(
        self, store: DoorStore, homes: dict[str, MerchantHome], claims: dict[str, Any]
    ) -> None:
        assert self.knock(store, homes, **claims)[1] is None

    @pytest.mark.attack
    def test_a_cookie_signed_by_somebody_else_is_nothing(
        self, store: DoorStore, homes: dict[str, MerchantHome]
    ) -> None:
        answer, session = self.knock(store, homes, secret="x" * 40)
        assert (answer, session) == (None, None)

    @pytest.mark.attack
    def test_a_merchant_whose_datasite_is_not_here_gets_nothing(
        self, store: DoorStore, homes: dict[str, MerchantHome]
    ) -> None:
        assert self.knock(store, {})[1] is None
