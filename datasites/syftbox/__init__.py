"""PySyft behind two classes: a merchant's link and a data scientist's link to one share.

The only package that imports PySyft. Everything that travels is encrypted to its recipient and
signed by its sender; whatever breaks a rule is quarantined and the exchange goes on.
"""

from __future__ import annotations

from datasites.syftbox.merchant_link import MerchantLink
from datasites.syftbox.scientist_link import ScientistLink
from datasites.syftbox.types import Mock, Peer, Reply, Submission, SyncReport

__all__ = [
    "MerchantLink",
    "Mock",
    "Peer",
    "Reply",
    "ScientistLink",
    "Submission",
    "SyncReport",
]
