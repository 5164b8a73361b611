"""Inside a page: who is signed in, and the one check that every action makes where it is done."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import streamlit as st

from ui.errors import NotAllowedError, SignInError
from ui.web.doors.roles import Action, Person, Role, may
from ui.web.doors.store import DoorStore

__all__ = [
    "COOKIE_VARIABLE",
    "DOORS_VARIABLE",
    "at_demand",
    "demand",
    "end_others",
    "keep",
    "kept",
    "session_secret",
    "signed_in",
]

T = TypeVar("T")
DOORS_VARIABLE = "TOYFED_DOORS"
COOKIE_VARIABLE = "TOYFED_DOORS_COOKIE"


def session_secret() -> str | None:
    """The session cookie that this page's browser sent; None without one."""
    return st.context.cookies.get(os.environ.get(COOKIE_VARIABLE, "toyfed_session"))


def signed_in() -> Person:
    """Who looks at this page. Raises SignInError if nobody is signed in (any more)."""
    return _person(session_secret())


def _person(secret: str | None) -> Person:
    path = os.environ.get(DOORS_VARIABLE)
    person = _store(path).person(secret) if path else None
    if person is None:
        raise SignInError(
            "expected somebody who is signed in, found nobody: the session ended, or the page was "
            "opened without its link. Make a new link with `toyfed web link`."
        )
    return person


def keep(name: str, value: str) -> None:
    """Put a text aside for whoever is signed in, as long as that lasts; see `DoorStore.keep`."""
    _store(os.environ[DOORS_VARIABLE]).keep(signed_in().session, name, value)


def end_others(merchant: Path, person: Person) -> None:
    """End a shopper's other sessions and her links, where there are doors; see `DoorStore`."""
    path = os.environ.get(DOORS_VARIABLE)
    if path:
        _own(person, merchant)
        _store(path).end_others(person)


def kept(name: str) -> str | None:
    """What whoever is signed in put aside; nobody else's can be asked for."""
    return _store(os.environ[DOORS_VARIABLE]).kept(signed_in().session, name)


def demand(action: Action, merchant: Path | None = None) -> Person:
    """The one check of every action, made where it is done, whatever the page showed.

    Args:
        action: what is about to be done.
        merchant: the home that it is done to, where it is one merchant's.

    Raises:
        SignInError: nobody is signed in.
        NotAllowedError: the role does not allow it, it is another merchant's home, or a home that
            is not this installation's own.
    """
    return _checked(signed_in(), action, merchant)


def at_demand(
    action: Action, make: Callable[[], T], merchant: Path | None = None
) -> Callable[[], T]:
    """`make` for a download that is made when it is asked for, checked again at that moment.

    Streamlit calls it on a thread that knows nothing of the page, long after it was drawn: whoever
    it was drawn for must still be signed in, and allowed to.
    """
    secret = session_secret()

    def made() -> T:
        _checked(_person(secret), action, merchant)
        return make()

    return made


def _checked(person: Person, action: Action, merchant: Path | None) -> Person:
    if not may(person, action):
        raise NotAllowedError(
            f"expected a role that may {action.value}, found a session of a {person.role.value}. "
            "Sign in with a link for that role."
        )
    if merchant is not None:
        _own(person, Path(merchant))
    return person


def _own(person: Person, merchant: Path) -> None:
    if person.role is not Role.DEMO and (
        person.merchant is None or person.merchant.resolve() != merchant.resolve()
    ):
        raise NotAllowedError(
            "expected the shop that this session belongs to, found another one. "
            "Sign in with that shop's own link, on that shop's own installation."
        )
    try:
        owner = merchant.stat().st_uid
    except OSError:
        owner = -1
    if owner != os.getuid():
        raise NotAllowedError(
            "expected a datasite of this installation, found a folder of somebody else's. "
            "A merchant's console opens only where the datasite itself runs."
        )


@lru_cache(maxsize=4)
def _store(path: str) -> DoorStore:
    return DoorStore(Path(path))
