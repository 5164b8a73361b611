"""Remote code as a set of readable files: its digest, and how it differs from a known recipe."""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from datasites import recipes
from datasites.errors import ReviewError

__all__ = ["code_digest", "diff_against", "is_identical", "is_shipped", "read_code"]

MAX_FILES = 200
MAX_BYTES = 2 * 1024 * 1024
# Review means reading, so only kinds of file that a person can read are taken: no byte code, no
# libraries, no pickles.
READABLE_SUFFIXES = (".py", ".toml", ".json", ".md", ".txt")
_PLAIN_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}")
_MAX_DEPTH = 8
_CACHES = "__pycache__"


def read_code(folder: Path, *, skip_caches: bool = False) -> dict[str, bytes]:
    """Read every file of a code folder: relative path with `/` -> contents, sorted by path.

    Args:
        folder: The code folder.
        skip_caches: Leave out `__pycache__` folders, which Python makes beside code that was
            imported; for folders of our own only, never for submitted code.

    Raises:
        ReviewError: The folder holds a link, a special file, an odd name, a file that a person
            cannot read, more than 200 files or more than 2 MB.
    """
    folder = Path(folder)
    if folder.is_symlink() or not folder.is_dir():
        raise ReviewError(f"Expected a folder of code, found none at {folder.name!r}")
    files: dict[str, bytes] = {}
    _read_into(files, folder, "", skip_caches)
    return _checked(files)


def code_digest(code: Path | Mapping[str, bytes]) -> str:
    """Name code by its contents: sha256 over the sorted paths, lengths and bytes of all files.

    Lengths are hashed before what they measure, so that no two different sets of files give the
    same stream.

    Args:
        code: A folder, or relative path -> contents as `read_code` gives them.

    Returns:
        64 hexadecimal digits.

    Raises:
        ReviewError: As `read_code`.
    """
    files = _checked(dict(code)) if isinstance(code, Mapping) else read_code(code)
    digest = hashlib.sha256(b"toyfed code 1\n")
    digest.update(len(files).to_bytes(8, "big"))
    for path, data in files.items():
        name = path.encode()
        digest.update(len(name).to_bytes(8, "big") + name)
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def is_identical(code: Path | Mapping[str, bytes], reference: Path) -> bool:
    """Tell whether code is byte for byte the recipe in `reference` (caches there are ignored)."""
    return code_digest(code) == code_digest(read_code(reference, skip_caches=True))


def is_shipped(code: Path | Mapping[str, bytes], recipe: str) -> bool:
    """Tell whether code is that of a recipe of this installation, without loading the recipe."""
    folder = Path(recipes.__file__).parent / recipe.replace("-", "_") / "code"
    return recipe in recipes.recipe_names() and is_identical(code, folder)


def diff_against(code: Path | Mapping[str, bytes], reference: Path) -> str:
    """Show how code differs from the recipe in `reference`, as a unified diff; '' when identical.

    Args:
        code: The submitted code.
        reference: The folder of the recipe that ships with the merchant's own release.
    """
    ours = read_code(reference, skip_caches=True)
    theirs = _checked(dict(code)) if isinstance(code, Mapping) else read_code(code)
    parts: list[str] = []
    for path in sorted(ours.keys() | theirs.keys()):
        before, after = ours.get(path), theirs.get(path)
        if before == after:
            continue
        lines = difflib.unified_diff(
            _lines(before),
            _lines(after),
            "(no such file)" if before is None else f"recipe/{path}",
            "(no such file)" if after is None else f"submitted/{path}",
        )
        # An empty file that was added or removed has no lines to show.
        shown = list(lines) or [f"--- recipe/{path}\n", f"+++ submitted/{path}\n"]
        parts += (
            line if line.endswith("\n") else f"{line}\n\\ no end of line in the file\n"
            for line in shown
        )
    return "".join(parts)


def _read_into(files: dict[str, bytes], folder: Path, prefix: str, skip_caches: bool) -> None:
    if prefix.count("/") > _MAX_DEPTH:
        raise ReviewError(f"Expected folders at most {_MAX_DEPTH} deep, found more")
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if entry.is_symlink():
                raise ReviewError(f"Expected plain files, found a link: {path!a}")
            if entry.is_dir():
                if skip_caches and entry.name == _CACHES:
                    continue
                _read_into(files, folder / entry.name, f"{path}/", skip_caches)
                continue
            _check_path(path)
            files[path] = _read_plain(folder / entry.name, path)
            if len(files) > MAX_FILES:
                raise ReviewError(f"Expected at most {MAX_FILES} files of code, found more")
            if sum(map(len, files.values())) > MAX_BYTES:
                raise ReviewError(f"Expected at most {MAX_BYTES} bytes of code, found more")


def _read_plain(file: Path, path: str) -> bytes:
    # O_NOFOLLOW and O_NONBLOCK: an entry may have become a link or a pipe since it was listed.
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        raise ReviewError(f"Expected to read {path!a}; it is not a plain readable file") from None
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ReviewError(f"Expected plain files, found a special file: {path!a}")
        with open(handle, "rb", closefd=False) as stream:
            return stream.read(MAX_BYTES + 1)
    finally:
        os.close(handle)


def _checked(files: dict[str, bytes]) -> dict[str, bytes]:
    if not files:
        raise ReviewError("Expected at least one file of code, found none")
    if len(files) > MAX_FILES:
        raise ReviewError(f"Expected at most {MAX_FILES} files of code, found {len(files)}")
    total = sum(map(len, files.values()))
    if total > MAX_BYTES:
        raise ReviewError(f"Expected at most {MAX_BYTES} bytes of code, found {total}")
    if len({path.lower() for path in files}) != len(files):
        raise ReviewError("Expected file names that differ by more than capital letters")
    for path, data in files.items():
        _check_path(path)
        try:
            data.decode()
        except UnicodeDecodeError:
            raise ReviewError(f"Expected text in UTF-8, found something else in {path}") from None
    return dict(sorted(files.items()))


def _check_path(path: str) -> None:
    parts = path.split("/")
    if len(parts) > _MAX_DEPTH or not all(_PLAIN_PART.fullmatch(part) for part in parts):
        raise ReviewError(
            f"Expected file names of letters, digits, '_', '-' and '.', found {path[:120]!a}"
        )
    if not path.endswith(READABLE_SUFFIXES) or _CACHES in parts:
        raise ReviewError(
            f"Expected only files that a person can read ({', '.join(READABLE_SUFFIXES)}), "
            f"found {path[:120]!a}"
        )


def _lines(data: bytes | None) -> list[str]:
    return [] if data is None else data.decode().splitlines(keepends=True)
