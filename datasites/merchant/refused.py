"""Where a merchant finds the messages that its datasite refused to act on."""

from __future__ import annotations

from datasites.merchant.home import MerchantHome
from datasites.quarantine import Quarantine

__all__ = ["quarantine"]


def quarantine(home: MerchantHome) -> Quarantine:
    """The quarantine of this datasite, as its service fills it."""
    return Quarantine(home.private / "link" / "quarantine")
