"""Which folders a Python interpreter needs, and nothing beside them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasites.errors import SandboxError

__all__ = ["Interpreter", "find_interpreter", "installed_package"]

# Run by the interpreter in question. A base prefix such as /usr holds far more than Python, so
# its own folders are named one by one.
_QUESTION = """
import json, os, sys, sysconfig
print(json.dumps({
    "prefix": sys.prefix,
    "base": sys.base_prefix,
    "paths": [sysconfig.get_path(n) for n in ("stdlib", "platstdlib", "purelib", "platlib")],
    "search": [p for p in sys.path if p],
    "library": os.path.join(
        sysconfig.get_config_var("LIBDIR") or "", sysconfig.get_config_var("LDLIBRARY") or ""),
}))
"""
_SHARED_PREFIXES = {Path("/"), Path("/usr"), Path("/usr/local")}
# Not Path.home(), which raises for users that have no home.
_SHARED_PREFIXES.add(Path(os.path.expanduser("~")))


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter: the path to start it by, and the folders and files that it reads."""

    executable: Path
    paths: tuple[Path, ...]


def find_interpreter(python: Path | None = None) -> Interpreter:
    """Find what the given interpreter (else the running one) needs to start and to import.

    Works for virtual environments, a system's Python, pyenv, conda and uv.

    Raises:
        SandboxError: The interpreter cannot be started.
    """
    return _find(Path(os.path.abspath(python or sys.executable)))


def installed_package(name: str) -> Path:
    """Return the source folder of an installed package, editable or not, without importing it."""
    from importlib.util import find_spec

    spec = find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places:
        raise SandboxError(f"Expected the package {name} to be installed, found none")
    return Path(places[0]).resolve()


@functools.lru_cache(maxsize=8)
def _find(executable: Path) -> Interpreter:
    try:
        answer = subprocess.run(
            [str(executable), "-I", "-c", _QUESTION],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        facts = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        raise SandboxError(
            f"Expected {executable.name} to be a Python interpreter that starts; it does not"
        ) from None
    wanted = [*_links(executable), *_links(Path(facts["library"]))]
    for prefix in {Path(facts["prefix"]), Path(facts["base"])}:
        if prefix not in _SHARED_PREFIXES:
            wanted.append(prefix)
    # Entries of .pth files (editable installs) would show whole checkouts: only what belongs to
    # the interpreter's own prefixes is taken.
    own = (Path(facts["prefix"]), Path(facts["base"]), Path("/usr/lib"))
    wanted += [
        path
        for path in map(Path, dict.fromkeys(facts["paths"] + facts["search"]))
        if any(path.is_relative_to(root) and path != root for root in own)
        and path not in _SHARED_PREFIXES
    ]
    return Interpreter(executable, _outermost([path for path in wanted if path.exists()]))


def _links(path: Path) -> list[Path]:
    """Return a file and every file that its chain of links goes through."""
    chain: list[Path] = []
    while path.is_file() and path not in chain and len(chain) < 16:
        chain.append(path)
        if not path.is_symlink():
            # Folders on the way may be links too; the loader follows them to the real file.
            return list(dict.fromkeys([*chain, path.resolve()]))
        path = Path(os.path.normpath(path.parent / path.readlink()))
    return chain


def _outermost(paths: Sequence[Path]) -> tuple[Path, ...]:
    distinct = sorted(set(paths))
    return tuple(
        path
        for path in distinct
        if not any(path != other and path.is_relative_to(other) for other in distinct)
    )
