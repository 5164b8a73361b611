"""Folders and files that only their owner may touch: keys, pinned peers, what was quarantined."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from datasites.errors import SettingsError

__all__ = [
    "check_apart",
    "check_private_file",
    "damaged",
    "open_private_log",
    "private_folder",
    "problems",
    "read_private",
]

T = TypeVar("T")


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner can enter, and return it.

    One that others could enter is closed. Raises SettingsError for a link or somebody else's.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    _check_owner(path, stat.S_ISDIR, "folder")
    path.chmod(0o700)
    return path


def read_private(path: Path, parse: Callable[[bytes], T], to_do: str) -> T:
    """Read one of our own files.

    Args:
        path: The file.
        parse: What its bytes mean; may raise whatever damaged bytes set off.
        to_do: What helps if it is damaged, as a sentence.

    Raises: FileNotFoundError if it is missing, SettingsError that names it if it is damaged.
    """
    try:
        return parse(path.read_bytes())
    except (IsADirectoryError, PermissionError) as error:
        raise damaged(path, str(error.strerror), to_do) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, EOFError):
        # Such an error's text may quote the file.
        raise damaged(path, "it cannot be read", to_do) from None


def open_private_log(path: Path) -> BinaryIO:
    """Open a log for appending; where it is new, only its owner may read it."""
    return open(path, "ab", opener=lambda name, flags: os.open(name, flags, 0o600))


def damaged(path: Path, found: str, to_do: str) -> SettingsError:
    """The error that names a damaged file of our own, without the way to it."""
    name = "/".join(path.parts[-2:])
    return SettingsError(f"expected a whole file {name}, found a damaged one ({found}). {to_do}")


def check_private_file(path: Path) -> None:
    """Take away everybody else's rights to a file, if it is there.

    Raises SettingsError for a link, for anything but a plain file, and for a file of somebody
    else's: whoever can put those here could read or swap what is kept.
    """
    try:
        facts = _check_owner(path, stat.S_ISREG, "file")
    except FileNotFoundError:
        return
    if stat.S_IMODE(facts.st_mode) != 0o600:
        path.chmod(0o600)


def check_apart(home: Path, share: str) -> None:
    """Raise SettingsError if a share on this disk and a home lie one inside the other.

    Keys and purchases would then be where everybody may look.
    """
    if "://" in str(share):
        return
    ours, theirs = Path(home).resolve(), Path(share).expanduser().resolve()
    if ours.is_relative_to(theirs) or theirs.is_relative_to(ours / "private"):
        raise SettingsError(
            f"expected the home outside the share, found {ours.name} inside it: keys and purchases "
            "would lie where everybody may look. Choose another folder with --home"
        )


def problems(keys: Path) -> Iterator[str]:
    """What is wrong with a folder of keys and peers, in words; nothing is changed."""
    for path, wanted in (
        (keys.parent, 0o700),
        (keys, 0o700),
        *((file, 0o600) for file in _in(keys)),
    ):
        try:
            kind = stat.S_ISDIR if wanted == 0o700 else stat.S_ISREG
            mode = stat.S_IMODE(_check_owner(path, kind, "file").st_mode)
        except FileNotFoundError:
            continue
        except SettingsError as error:
            yield str(error)
            continue
        if mode & ~wanted:
            yield f"{path.name} is open to others (mode {mode:04o}, expected {wanted:04o})"


def _in(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _check_owner(path: Path, kind: Callable[[int], bool], name: str) -> os.stat_result:
    facts = path.lstat()
    if not kind(facts.st_mode):
        raise SettingsError(
            f"expected {path.name} to be a {name} of its own, found a link or something else. "
            f"Put the real {name} there; private things are never kept behind links"
        )
    if facts.st_uid not in (os.geteuid(), 0):
        raise SettingsError(
            f"expected {path.name} to belong to this user, found another owner. "
            "Run ToyFed as the user that owns its home"
        )
    return facts
