"""Takes what a run wrote: plain files only."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from datasites.errors import SandboxError

__all__ = ["take_outputs"]

MAX_OUTPUTS = 64
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_CHUNK = 1024 * 1024


def take_outputs(written: int, output: Path, limit: int) -> None:
    """Copy the files of an open folder into `output`: all of them, or none.

    Every process of the run must have ended before. Refusals name no file, because the code chose
    the names and could have put a purchase there.

    Args:
        written: The open folder that the code wrote in.
        output: An empty folder.
        limit: Most bytes of all files together.

    Raises:
        SandboxError: There is a link, a folder, a special file, an odd name, too many files or
            too many bytes.
    """
    names = sorted(os.listdir(written))
    if len(names) > MAX_OUTPUTS:
        raise SandboxError(f"left more than {MAX_OUTPUTS} outputs")
    copied: list[Path] = []
    try:
        for name in names:
            if not _PLAIN_NAME.fullmatch(name):
                raise SandboxError("left an output with an odd name")
            copied.append(output / name)
            limit -= _copy(written, name, output / name, limit)
    except BaseException:
        for path in copied:
            path.unlink(missing_ok=True)
        raise


def _copy(written: int, name: str, target: Path, limit: int) -> int:
    facts = os.stat(name, dir_fd=written, follow_symlinks=False)
    kind = _unfit(facts)
    if kind is not None:
        raise SandboxError(f"left {kind} among its outputs")
    if facts.st_size > limit:
        raise SandboxError("left more bytes of outputs than allowed")
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=written)
    with os.fdopen(handle, "rb") as source, target.open("xb") as copy:
        left = facts.st_size
        while left and (chunk := source.read(min(left, _CHUNK))):
            copy.write(chunk)
            left -= len(chunk)
    target.chmod(0o600)
    return facts.st_size


def _unfit(facts: os.stat_result) -> str | None:
    if stat.S_ISLNK(facts.st_mode):
        return "a link"
    if stat.S_ISDIR(facts.st_mode):
        return "a folder"
    if not stat.S_ISREG(facts.st_mode):
        return "a special file"
    if facts.st_nlink != 1:
        return "a second name of a file"
    return None
