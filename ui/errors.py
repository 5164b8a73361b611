"""Everything that the screens and the doors raise on purpose.

ToyFedError (recsys.errors)
└── UiError
    ├── DoorError          doors that cannot be set up: a file, an address, a missing package
    ├── SignInError        nobody is signed in, or not any more
    └── NotAllowedError    somebody is signed in whose role may not do this

Messages say what was expected, what was found and what to do; they never hold a shopper's value.
"""

from __future__ import annotations

from recsys.errors import ToyFedError

__all__ = ["DoorError", "NotAllowedError", "SignInError", "UiError"]


class UiError(ToyFedError):
    """Base of every error that the screens raise on purpose."""


class DoorError(UiError):
    """Doors cannot be set up as they are: a damaged file, an open address, a missing package."""


class SignInError(UiError):
    """Nobody is signed in here, or not any more."""


class NotAllowedError(UiError):
    """The role of who is signed in does not allow this."""
