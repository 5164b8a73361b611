"""A first look at remote code for somebody who does not write code: what stands out, and why.

The scan reads the code's text and never runs it. It helps a person to review; it protects
nothing. Code that means harm can hide from any scan, and is held by the sandbox and the gate.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

from datasites.merchant.code import read_code

__all__ = ["Finding", "Severity", "scan_code"]


class Severity(IntEnum):
    """How much attention a finding deserves."""

    NOTE = 1
    WARNING = 2
    DANGER = 3


@dataclass(frozen=True, order=True)
class Finding:
    """One thing in the code that a reviewer should look at."""

    file: str
    line: int
    severity: Severity
    what: str
    why: str


_NETWORK = "Code that learns from purchases has no need of a network; the sandbox has none."
_PROGRAMS = "Starting other programs is not needed for learning; the sandbox has none to start."
_MEMORY = "This can reach memory and the system below Python, where this scan cannot follow."
_HIDDEN = "Text is turned into code while it runs, so that what runs cannot be read here."
_PICKLE = "Loading such a file can run code that is hidden in it."
_SYSTEM = "The code asks about the computer it runs on, which learning does not need."
_UNKNOWN = "It is none of the packages that recipes are known to use; look at what it is for."
_PRINTING = "What is printed goes to a log that stays with you; it never leaves your datasite."
_TRICK = "It can make code read differently from what it does."

_Rule = tuple[Severity, str, str]
_DANGER, _WARNING, _NOTE = Severity.DANGER, Severity.WARNING, Severity.NOTE
_MODULES: Final[dict[str, _Rule]] = {
    **dict.fromkeys(
        ("socket", "ssl", "http", "urllib", "ftplib", "smtplib", "asyncio", "socketserver"),
        (_DANGER, "uses the network", _NETWORK),
    ),
    **dict.fromkeys(
        (
            "requests",
            "httpx",
            "aiohttp",
            "urllib3",
            "xmlrpc",
            "telnetlib",
            "websockets",
            "paramiko",
        ),
        (_DANGER, "uses the network", _NETWORK),
    ),
    **dict.fromkeys(
        ("subprocess", "multiprocessing", "pty", "concurrent", "webbrowser"),
        (_DANGER, "starts other programs", _PROGRAMS),
    ),
    **dict.fromkeys(
        ("ctypes", "cffi", "mmap", "gc", "_ctypes"), (_DANGER, "reaches below Python", _MEMORY)
    ),
    **dict.fromkeys(
        ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"),
        (_DANGER, "reads files that can hold code", _PICKLE),
    ),
    **dict.fromkeys(
        ("importlib", "runpy", "code", "codeop", "builtins", "pkgutil", "zipimport"),
        (_DANGER, "loads code by name", _HIDDEN),
    ),
    **dict.fromkeys(
        ("platform", "getpass", "pwd", "grp", "resource", "psutil", "sysconfig"),
        (_WARNING, "asks about the computer", _SYSTEM),
    ),
    **dict.fromkeys(
        ("base64", "binascii", "codecs", "zlib", "gzip", "lzma", "bz2"),
        (_WARNING, "unpacks or decodes data", "Packed data may hide what the code works with."),
    ),
}
_EXPECTED: Final = frozenset(
    [
        "__future__",
        "abc",
        "argparse",
        "collections",
        "contextlib",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "itertools",
        "json",
        "logging",
        "math",
        "numbers",
        "operator",
        "os",
        "pathlib",
        "random",
        "re",
        "statistics",
        "string",
        "sys",
        "time",
        "tomllib",
        "typing",
        "warnings",
        "numpy",
        "scipy",
        "pandas",
        "pyarrow",
        "sklearn",
        "torch",
        "opacus",
        "implicit",
        "safetensors",
        "dp_accounting",
        "recsys",
    ]
)
_BUILTINS: Final[dict[str, _Rule]] = {
    **dict.fromkeys(("eval", "exec", "compile"), (_DANGER, "runs text as code", _HIDDEN)),
    "__import__": (_DANGER, "loads code by name", _HIDDEN),
    **dict.fromkeys(
        ("getattr", "setattr", "globals", "locals", "vars"),
        (_NOTE, "looks things up by name", "Names put together while running hide what is used."),
    ),
    "breakpoint": (_WARNING, "stops and waits for a person", "A run would wait until its limit."),
    "input": (_WARNING, "stops and waits for a person", "A run would wait until its limit."),
    "print": (_NOTE, "prints", _PRINTING),
}
_CALLS: Final[dict[str, _Rule]] = {
    **dict.fromkeys(
        ("os.system", "os.popen", "os.fork", "os.forkpty", "os.kill", "os.posix_spawn"),
        (_DANGER, "starts or stops other programs", _PROGRAMS),
    ),
    **dict.fromkeys(
        ("os.getlogin", "os.uname", "os.getppid", "os.cpu_count"),
        (_WARNING, "asks about the computer", _SYSTEM),
    ),
    **dict.fromkeys(
        ("numpy.load", "np.load", "pandas.read_pickle", "pd.read_pickle", "torch.load"),
        (_WARNING, "reads a file that can hold code", _PICKLE),
    ),
    **dict.fromkeys(
        ("os.symlink", "os.link", "os.chmod", "os.mkfifo"),
        (_WARNING, "makes links or changes rights", "The gate takes plain files only."),
    ),
}
_ALLOWED_ROOTS: Final = ("/inputs", "/output", "/tmp", "/code")  # noqa: S108
_BLOB = re.compile(r"[A-Za-z0-9+/_=\\-]{120,}|(?:\\x[0-9a-fA-F]{2}){40,}")
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069\u200b-\u200f\ufeff]")
_MAX_LINE = 400
_LONGEST_NAME = 20
# How Python finds the encoding of a file (PEP 263): in a comment of its first two lines.
_ENCODING = re.compile(rb"\A(?:[^\r\n]*(?:\r\n|\r|\n))?[ \t\f]*#[^\r\n]*?coding[:=][ \t]*([-\w.]+)")


def scan_code(code: Path | Mapping[str, bytes]) -> list[Finding]:
    """Look through code for what a reviewer should see first; never run it.

    Args:
        code: A folder, or relative path -> contents as `read_code` gives them.

    Returns:
        Findings in order of file and line; an empty list does not mean that code is harmless.

    Raises:
        ReviewError: The folder cannot be read as code; see `read_code`.
    """
    files = read_code(code) if isinstance(code, Path) else code
    own = {path.split("/")[0].removesuffix(".py") for path in files if path.endswith(".py")}
    findings: set[Finding] = set()
    for path, data in files.items():
        findings.update(_scan_text(path, data.decode(errors="replace")))
        if path.endswith(".py"):
            findings.update(_scan_python(path, data, own))
    return sorted(findings)


def _scan_text(path: str, text: str) -> Iterator[Finding]:
    # Split as Python counts lines: other separators of Unicode are no ends of lines to it.
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if _BIDI.search(line):
            yield Finding(path, number, _DANGER, "holds invisible characters", _TRICK)
        if len(line) > _MAX_LINE:
            yield Finding(
                path, number, _WARNING, f"has a line of {len(line)} characters", "Ends of long "
                "lines are easily overlooked."
            )  # fmt: skip


def _scan_python(path: str, data: bytes, own: set[str]) -> Iterator[Finding]:
    declared = _ENCODING.match(data)
    if declared and declared[1].lower().replace(b"_", b"-") not in (b"utf-8", b"utf8", b"ascii"):
        yield Finding(path, 1, _DANGER, "declares an encoding other than UTF-8", _TRICK)
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        yield Finding(
            path, line, _DANGER, "is not valid Python", "It cannot be scanned, and cannot run."
        )
        return
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        for severity, what, why in _judge(node, own):
            yield Finding(path, line, severity, what, why)


def _judge(node: ast.AST, own: set[str]) -> Iterator[_Rule]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield from _judge_import(alias.name, own)
        case ast.ImportFrom(module=str(module), level=0):
            yield from _judge_import(module, own)
            for alias in node.names:
                yield from _judge_dotted(f"{module}.{alias.name}")
        case ast.Call(func=ast.Name(id="open"), args=[ast.Constant(value=str(target)), *_]):
            yield from _judge_path(target)
        case ast.Name(id=name, ctx=ast.Load()):
            if name in _BUILTINS:
                severity, what, why = _BUILTINS[name]
                yield severity, f"{what} ({name})", why
            elif not name.isascii():
                yield _WARNING, "has a name with unusual letters", _TRICK
        case ast.Attribute():
            yield from _judge_dotted(_dotted(node))
        case ast.Constant(value=str(text)):
            if _BLOB.search(text):
                yield _WARNING, "holds a long run of encoded text", "It may hide data or code."
            if text.startswith("/") and len(text) > 1 and "\n" not in text:
                yield from _judge_path(text)
        case ast.Constant(value=bytes(text)):
            if len(text) > 120:
                yield _WARNING, "holds a long run of bytes", "It may hide data or code."


def _judge_import(module: str, own: set[str]) -> Iterator[_Rule]:
    top = module.split(".")[0]
    if top in own:
        if top in sys.stdlib_module_names or top in _EXPECTED:
            why = "Whoever reads the code takes it for the well-known package of that name."
            yield _DANGER, f"has a file of its own that is named like the package {top}", why
        return
    if top in _MODULES:
        severity, what, why = _MODULES[top]
        yield severity, f"{what} (imports {module})", why
    elif top not in _EXPECTED:
        yield _WARNING, f"imports {module}, which recipes do not use", _UNKNOWN


def _judge_dotted(name: str) -> Iterator[_Rule]:
    if name.startswith(("os.environ", "os.getenv")):
        # Recipes find their folders by these two.
        yield (
            _NOTE,
            f"reads the environment ({name})",
            ("Inside the sandbox it holds nothing but the folders of inputs and outputs."),
        )
    elif name in _CALLS:
        severity, what, why = _CALLS[name]
        yield severity, f"{what} ({name})", why
    elif name.startswith(("os.exec", "os.spawn")):
        yield _DANGER, f"starts other programs ({name})", _PROGRAMS
    elif name.rpartition(".")[2] in _INNER:
        yield _DANGER, f"uses Python's inner parts ({name.rpartition('.')[2]})", _HIDDEN


def _judge_path(target: str) -> Iterator[_Rule]:
    inside = any(target == root or target.startswith(f"{root}/") for root in _ALLOWED_ROOTS)
    if target.startswith("/") and (not inside or ".." in target.split("/")):
        yield (
            _DANGER,
            f"names a place on the computer ({target[:60]!a})",
            ("Recipes read their inputs and write their outputs only; the sandbox shows no more."),
        )


_INNER: Final = frozenset(
    [
        "__subclasses__",
        "__globals__",
        "__builtins__",
        "__code__",
        "__bases__",
        "__mro__",
        "__loader__",
        "f_globals",
        "f_back",
        "f_locals",
    ]
)


def _dotted(node: ast.Attribute) -> str:
    """`a.b.c` as text; of longer chains the end alone, so that time stays linear."""
    parts: list[str] = []
    at: ast.expr = node
    while isinstance(at, ast.Attribute) and len(parts) < _LONGEST_NAME:
        parts.append(at.attr)
        at = at.value
    if isinstance(at, ast.Name):
        parts.append(at.id)
        return ".".join(reversed(parts))
    return node.attr
