"""What the code of a job may be: plain text under plain names, showing what it does."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from datasites.errors import ReviewError
from datasites.syftbox.names import MAX_CODE_FILES, check_code_path

__all__ = ["PARAMS_FILE", "check_code", "read_folder"]

PARAMS_FILE = "params.json"
# How Python finds a file's encoding (PEP 263): in a comment of its first two lines.
_ENCODING = re.compile(rb"\A(?:[^\r\n]*(?:\r\n|\r|\n))?[ \t\f]*#[^\r\n]*?coding[:=][ \t]*([-\w.]+)")
# Controls but tab and line ends, and what turns the direction of writing or takes no room.
_DECEIVING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e"
    "\u2060\u2066-\u2069\ufeff]|\r(?!\n)"
)


def check_code(code: dict[str, bytes]) -> None:
    """Raise ReviewError unless these are text files under plain, distinct, relative paths."""
    if not 0 < len(code) <= MAX_CODE_FILES:
        raise ReviewError(f"expected 1 to {MAX_CODE_FILES} code files, found {len(code)}")
    folders: set[str] = set()
    for path, content in code.items():
        check_code_path(path)
        folders.update(str(parent).lower() for parent in PurePosixPath(path).parents)
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise ReviewError(f"expected code as UTF-8 text, found bytes in {path!r}") from error
        declared = _ENCODING.match(content) if path.endswith(".py") else None
        if declared and declared[1].lower().replace(b"_", b"-") not in (b"utf-8", b"utf8"):
            raise ReviewError(
                f"expected code in UTF-8, found another encoding declared in {path!r}: Python "
                "would run other code than people read. Remove that line"
            )
        # They make a terminal or an editor show other code than what runs.
        if found := _DECEIVING.search(text):
            raise ReviewError(
                f"expected plain text, found the character U+{ord(found[0]):04X} in {path!r}. It "
                "can make code read differently from what it does. Write it as an escape"
            )
    if PARAMS_FILE in code:
        raise ReviewError(f"{PARAMS_FILE} holds a job's parameters; no code file may be called so")
    names = {path.lower() for path in code}
    if len(names) != len(code) or names & folders:
        raise ReviewError("expected distinct paths, found two that would be the same file")


def read_folder(folder: Path) -> dict[str, bytes]:
    """Every file of a code folder but Python's caches. Raises ReviewError for links."""
    if not folder.is_dir():
        raise ReviewError(f"expected a folder of code, found none at {folder.name!r}")
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if "__pycache__" in relative.parts:
            continue
        if path.is_symlink():
            raise ReviewError(f"expected plain files, found a link at {str(relative)!r}")
        if path.is_file():
            files[relative.as_posix()] = path.read_bytes()
    return files
