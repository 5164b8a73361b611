"""Sign-in by OpenID Connect: Streamlit and Authlib do the protocol, our own table gives the role.

The private file (0600) that `toyfed web --sign-in FILE` names:

    [provider]
    redirect_uri = "https://toys.example/oauth2callback"
    cookie_secret = "32 or more random characters"
    client_id = "..."
    client_secret = "..."
    server_metadata_url = "https://login.example/.well-known/openid-configuration"

    [[people]]
    email = "anna@castle.example"      # verified by the provider; or: subject = "..."
    role = "merchant"
    merchant = "anna@castle.example"   # a merchant's or shopper's shop, by its datasite's e-mail
"""

from __future__ import annotations

import os
import stat
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from datasites.errors import SettingsError
from datasites.merchant.home import MerchantHome
from datasites.wrong_settings import wrong_settings
from ui.errors import DoorError
from ui.web.doors.roles import Role
from ui.web.doors.store import DoorStore

__all__ = [
    "OIDC_PATHS",
    "Known",
    "Provider",
    "SignInTable",
    "newcomer",
    "provider_address",
    "read_sign_in",
    "refuse_strangers",
    "streamlit_secrets",
    "take_away",
    "word_spender",
]

OIDC_PATHS = frozenset({"/auth/login", "/oauth2callback"})
FRESH_SECONDS = 600.0
"""A provider's word is taken this long after it was given: later, it has to be asked again."""
CALLBACK = "/oauth2callback"


class Provider(BaseModel):
    """The OpenID provider and this page's own registration there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    redirect_uri: Annotated[str, Field(pattern=r"^https://[^\s/?#@]+/oauth2callback$")]
    cookie_secret: Annotated[str, Field(min_length=32)]
    client_id: Annotated[str, Field(min_length=1)]
    client_secret: Annotated[str, Field(min_length=1)]
    server_metadata_url: Annotated[str, Field(pattern=r"^https://\S+$")]

    @property
    def host(self) -> str:
        """The name under which the page is reached."""
        return urlsplit(self.redirect_uri).hostname or ""

    @property
    def origin(self) -> str:
        """Scheme and host of the page."""
        return self.redirect_uri.removesuffix(CALLBACK)


class Known(BaseModel):
    """One row of the role table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    email: str | None = None
    subject: str | None = None
    role: Role
    merchant: str | None = None
    shopper: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.email is None) == (self.subject is None):
            raise ValueError("expected either email or subject")
        if self.email is not None and not self.email.isascii():
            raise ValueError("expected an email of ASCII letters; name this person by subject")
        if self.role is Role.DEMO:
            raise ValueError("the role demo exists only for simulations on this machine")
        if (self.role in (Role.MERCHANT, Role.SHOPPER)) != (self.merchant is not None):
            raise ValueError("expected merchant for the roles merchant and shopper, and only there")
        if self.shopper is not None and self.role is not Role.SHOPPER:
            raise ValueError("expected shopper only for the role shopper")
        return self

    def is_meant(self, claims: Mapping[str, Any]) -> bool:
        """Whether verified claims name this person. An unverified e-mail names nobody."""
        if self.subject is not None:
            return claims.get("sub") == self.subject
        email = claims.get("email")
        return (
            claims.get("email_verified") is True
            and isinstance(email, str)
            and self.email is not None
            # Of other letters some look alike, and some are alike to `casefold`: nobody's.
            and email.isascii()
            and email.lower() == self.email.lower()
        )


class SignInTable(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider: Provider
    people: tuple[Known, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Self:
        names = [(one.email or "").lower() or f"sub:{one.subject}" for one in self.people]
        if len(set(names)) != len(names):
            raise ValueError("expected each person once")
        return self


def read_sign_in(path: Path) -> SignInTable:
    """Read the private file.

    Raises: DoorError if it is missing, readable by others, damaged, or Authlib is not there.
    """
    path = Path(path)
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(handle, "rb") as file:
            mode = stat.S_IMODE(os.fstat(handle).st_mode)
            if mode & 0o077:
                raise DoorError(
                    f"expected {path.name} to be readable by you alone, found mode {mode:o}: it "
                    "holds secrets. Run `chmod 600` on it."
                )
            values = tomllib.loads(file.read().decode("utf-8"))
        table = SignInTable.model_validate(values)
    except OSError as error:
        raise DoorError(
            f"expected the sign-in settings in {path.name}, found: {error.strerror}. "
            "docs/sign-in.md shows what to write there."
        ) from None
    except ValidationError as error:
        # The values stay out: some of them are secrets.
        raise DoorError(
            f"expected usable sign-in settings in {path.name}, found: {wrong_settings(error)}. "
            "Mend them."
        ) from None
    except (ValueError, RecursionError) as error:
        raise DoorError(
            f"expected TOML in {path.name}, found a file that is none ({type(error).__name__}). "
            "Mend it."
        ) from None
    _need_authlib()
    return table


def refuse_strangers(table: SignInTable, homes: tuple[Path, ...]) -> None:
    """See that each shop of the table is on this machine: its people would stand outside unheard.

    Args:
        table: provider and people.
        homes: home folders of the merchants that the page shows.

    Raises: DoorError naming the first row whose shop is not here.
    """
    here = {email for _, email in _emails(homes)}
    for row, one in enumerate(table.people, 1):
        if one.merchant is not None and one.merchant not in here:
            raise DoorError(
                f"expected the merchant of person {row} to be a datasite that this page shows "
                f"({', '.join(sorted(here)) or 'it shows none'}), found {one.merchant!r}. Write "
                "the e-mail that `toyfed datasite status` shows, or name its home with --datasite."
            )


def _need_authlib() -> None:
    from streamlit.auth_util import is_authlib_installed

    if not is_authlib_installed():
        raise DoorError(
            "expected the package Authlib for sign-in by OpenID Connect, found none. "
            "Install it: pip install Authlib"
        )


def streamlit_secrets(table: SignInTable) -> dict[str, Any]:
    """The part of the file that Streamlit's own sign-in needs, as its secrets."""
    return {"auth": table.provider.model_dump()}


def provider_address() -> str:
    """Where the provider's sign-in begins; a new address for each page that shows it."""
    from streamlit.auth_util import encode_provider_token

    return f"/auth/login?provider={encode_provider_token('default')}"


def newcomer(
    store: DoorStore,
    table: SignInTable,
    merchants: Callable[[], tuple[Path, ...]],
    let_in: Callable[[Response, str], None],
    clock: Callable[[], float] = time.time,
) -> Callable[[Scope], Response | None]:
    """Let in whom the provider has just vouched for, if the role table knows them.

    The provider's word comes in Streamlit's signed cookie, which lives for a month: it is taken
    once, while it is fresh, and taken away. Our own session begins, and ends, as any other.

    Args:
        store: where sessions begin.
        table: provider and people.
        merchants: homes on this machine.
        let_in: gives a response its session cookie.
        clock: seconds since the epoch.
    """

    def look(scope: Scope) -> Response | None:
        claims = _claims(HTTPConnection(scope), table.provider.origin)
        if not claims:
            return None
        response = RedirectResponse("/sign-in?not-known", status_code=303)
        issued = claims.get("iat")
        fresh = isinstance(issued, int | float) and -60 <= clock() - issued < FRESH_SECONDS
        known = next((one for one in table.people if one.is_meant(claims)), None)
        if fresh and known and store.first_use(_proof(claims), 2 * FRESH_SECONDS):
            home = _home_of(known, merchants())
            if known.merchant is None or home is not None:
                secret = store.begin(known.role, merchant=home, shopper=known.shopper)
                response = RedirectResponse("/", status_code=303)
                let_in(response, secret)
        take_away(scope, response)
        return response

    return look


def word_spender(store: DoorStore, table: SignInTable) -> Callable[[Scope], None]:
    """What makes the provider's word, if somebody still has one, open nothing any more."""

    def spend(scope: Scope) -> None:
        claims = _claims(HTTPConnection(scope), table.provider.origin)
        if claims:
            store.first_use(_proof(claims), 2 * FRESH_SECONDS)

    return spend


def take_away(scope: Scope, response: Response) -> None:
    """Delete the provider's cookies from a browser."""
    for name in HTTPConnection(scope).cookies:
        if name.startswith("_streamlit_user"):
            response.delete_cookie(name, path="/")


def _proof(claims: Mapping[str, Any]) -> str:
    return "\n".join(str(claims.get(name)) for name in ("iss", "sub", "nonce", "iat"))


def _claims(connection: HTTPConnection, origin: str) -> dict[str, Any]:
    """What Streamlit's cookie says, after its signature and origin were verified; {} if nothing."""
    from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
    from streamlit.web.server.starlette.starlette_websocket import (
        _get_signed_cookie_with_chunks,
        _parse_decoded_user_cookie,
    )

    try:
        raw = _get_signed_cookie_with_chunks(connection.cookies, USER_COOKIE_NAME)
        return _parse_decoded_user_cookie(raw, origin) if raw else {}
    except Exception:
        return {}


def _home_of(known: Known, homes: tuple[Path, ...]) -> Path | None:
    return next((root for root, email in _emails(homes) if email == known.merchant), None)


def _emails(homes: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
    for root in homes:
        try:
            yield root, MerchantHome.open(root).settings.email
        except SettingsError:
            # Its page says what is wrong; the other shops go on.
            continue
