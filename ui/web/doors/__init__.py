"""Doors: who may come in, what their role sees and does, and the check at every action.

A link that the command line prints, or an OpenID provider, lets somebody in; the gate stands
before the whole application; `demand` is asked again where something is done.
"""

from ui.web.doors.guard import (
    COOKIE_VARIABLE,
    DOORS_VARIABLE,
    at_demand,
    demand,
    end_others,
    keep,
    kept,
    signed_in,
)
from ui.web.doors.roles import ACTIONS, PAGES, Action, PageName, Person, Role, may
from ui.web.doors.store import DoorStore

__all__ = [
    "ACTIONS",
    "COOKIE_VARIABLE",
    "DOORS_VARIABLE",
    "PAGES",
    "Action",
    "DoorStore",
    "PageName",
    "Person",
    "Role",
    "at_demand",
    "demand",
    "end_others",
    "keep",
    "kept",
    "may",
    "signed_in",
]
