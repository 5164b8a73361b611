"""Everything that datasites raises on purpose.

ToyFedError (recsys.errors)
└── DatasiteError
    ├── SettingsError      a home folder or study.toml that cannot be used
    ├── TransportError     the share cannot be reached, read or written
    ├── PeerError          a peer that is unknown, not approved, or whose key changed
    ├── ReviewError        a request that may not run: not approved, changed, or out of bounds
    ├── BudgetError        the ledger has not enough budget left
    ├── LedgerError        the ledger's chain does not verify
    │   ├── LedgerWriteError  its disk is full, read-only or away; nothing is wrong with the chain
    │   └── RestoredError     an older copy of it, or another one, was put in its place
    ├── SandboxError       remote code could not be isolated, or broke a limit
    └── GateError          outputs that may not leave the datasite

Messages say what was expected, what was found and what to do; they never hold a shopper's value.
"""

from __future__ import annotations

from recsys.errors import ToyFedError

__all__ = [
    "BudgetError",
    "DatasiteError",
    "GateError",
    "LedgerError",
    "LedgerWriteError",
    "PeerError",
    "RestoredError",
    "ReviewError",
    "SandboxError",
    "SettingsError",
    "StateGoneError",
    "TransportError",
]


class DatasiteError(ToyFedError):
    """Base of every error that a datasite or a study raises on purpose."""


class SettingsError(DatasiteError):
    """A home folder or a study.toml cannot be used as it is."""


class TransportError(DatasiteError):
    """The share between the parties cannot be reached, read or written."""


class PeerError(DatasiteError):
    """A peer is unknown, not approved, or shows another key than the pinned one."""


class ReviewError(DatasiteError):
    """A request may not run: not approved, changed since approval, or out of its bounds."""


class BudgetError(DatasiteError):
    """The privacy budget left at this merchant is smaller than what was asked for."""


class LedgerError(DatasiteError):
    """The ledger was changed, cut or damaged: its hash chain does not verify."""


class LedgerWriteError(LedgerError):
    """The ledger's files cannot be used now: disk full, read-only, or held by another process."""


class RestoredError(LedgerError):
    """The ledger lacks entries that were seen before: an older copy, or another one."""


class SandboxError(DatasiteError):
    """Remote code could not be isolated, or broke one of its limits."""


class GateError(DatasiteError):
    """Outputs of remote code that were not declared, or not of the declared kind."""


class StateGoneError(TransportError):
    """What a job starts from is not in the share, while its sender's other files are."""
