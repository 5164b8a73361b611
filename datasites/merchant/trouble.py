"""What keeps a service from its work, in words for its log, its heartbeat and its page."""

from __future__ import annotations

import errno

from datasites.errors import LedgerWriteError

__all__ = ["DISK_TROUBLES", "in_words"]

_GOES_ON = "the service goes on by itself then"
_FULL = f"disk full: free some space, {_GOES_ON}"
_KNOWN = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: f"a file may not grow (a limit on file sizes?): raise it, {_GOES_ON}",
    errno.EROFS: f"the disk is read-only: mount it writable, {_GOES_ON}",
    errno.EACCES: f"a folder may not be written: set its permissions right, {_GOES_ON}",
}
DISK_TROUBLES = frozenset(_KNOWN)


def in_words(error: Exception) -> str:
    """An error for the merchant: ours as they are, the system's without file names."""
    cause = error.__cause__ if isinstance(error, LedgerWriteError) else error
    if isinstance(cause, OSError):
        known = _KNOWN.get(cause.errno or 0)
        return known or f"{cause.strerror or type(cause).__name__} (is the share or a disk away?)"
    return str(error)
