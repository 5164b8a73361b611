"""Who may see which page and do what: one table, read by the pages and by every action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

__all__ = ["ACTIONS", "PAGES", "Action", "PageName", "Person", "Role", "may"]


class Role(StrEnum):
    """What somebody is here."""

    SHOPPER = "shopper"
    MERCHANT = "merchant"
    SCIENTIST = "scientist"
    ANALYST = "analyst"
    DEMO = "demo"
    """Everything at once; exists only where a simulation is shown."""


class PageName(StrEnum):
    """A page, by the last part of its address; the value of the shop is its key alone."""

    SHOP = "shop"
    CONSOLE = "merchant"
    STUDY = "study"
    INSIGHTS = "insights"
    RECIPES = "recipes"


class Action(StrEnum):
    """What is checked again where it is done. Looking at something private is an action too."""

    SEE_CONSOLE = "see the merchant console"
    DECIDE = "approve, reject or revoke a study"
    ADD_DATA = "add purchases"
    PAIR = "pair with another party or end it"
    CLEAR_QUARANTINE = "clear the quarantine"
    TAKE_LEDGER = "take a copy of the ledger"
    FORGET_ME = "have one's own purchases forgotten"
    PICK_SHOPPER = "look at any shopper's recommendations"
    SEE_STUDIES = "see the study desk"
    COMPOSE_STUDY = "compose or submit a study"
    RUN_STUDY = "run or stop a study"
    TAKE_MODEL = "take a study's model"
    SEE_INSIGHTS = "see the insights"
    UPLOAD = "upload a file"


_MERCHANT = frozenset(
    {
        Action.SEE_CONSOLE,
        Action.DECIDE,
        Action.ADD_DATA,
        Action.PAIR,
        Action.CLEAR_QUARANTINE,
        Action.TAKE_LEDGER,
        Action.UPLOAD,
    }
)
_SCIENTIST = frozenset(
    {
        Action.SEE_STUDIES,
        Action.COMPOSE_STUDY,
        Action.RUN_STUDY,
        Action.TAKE_MODEL,
        Action.UPLOAD,
    }
)

ACTIONS: Mapping[Role, frozenset[Action]] = {
    Role.SHOPPER: frozenset({Action.FORGET_ME}),
    Role.MERCHANT: _MERCHANT,
    Role.SCIENTIST: _SCIENTIST,
    Role.ANALYST: frozenset({Action.SEE_INSIGHTS}),
    Role.DEMO: frozenset(Action),
}

PAGES: Mapping[Role, tuple[PageName, ...]] = {
    Role.SHOPPER: (PageName.SHOP,),
    Role.MERCHANT: (PageName.CONSOLE, PageName.SHOP, PageName.RECIPES),
    Role.SCIENTIST: (PageName.STUDY, PageName.RECIPES),
    Role.ANALYST: (PageName.INSIGHTS, PageName.RECIPES),
    Role.DEMO: tuple(PageName),
}
"""The first one opens by itself."""


@dataclass(frozen=True)
class Person:
    """Who is signed in.

    Args:
        role: what they are.
        merchant: the one home that a merchant or a shopper belongs to; None for other roles.
        shopper: the one shopper whose history may be used; None for somebody new.
        session: a name of this sign-in that is no secret: it opens nothing.

    Privacy: `shopper` stays in this process; it is never part of a text, a URL or a log.
    """

    role: Role
    merchant: Path | None = None
    shopper: str | None = None
    session: str = ""

    def __repr__(self) -> str:
        return f"Person({self.role.value})"


def may(person: Person, action: Action) -> bool:
    """Whether the role's row in the table holds the action."""
    return action in ACTIONS[person.role]
