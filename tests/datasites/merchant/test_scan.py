"""The scan points a reviewer at what stands out, in plain words, and never runs anything."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasites.merchant.scan import Severity, scan_code


def scan(text: str, **others: bytes):
    return scan_code({"main.py": text.encode(), **{f"{k}.py": v for k, v in others.items()}})


@pytest.mark.parametrize(
    ("line", "severity", "what"),
    [
        ("import socket", Severity.DANGER, "uses the network (imports socket)"),
        ("from urllib.request import urlopen", Severity.DANGER, "uses the network"),
        ("import subprocess as s", Severity.DANGER, "starts other programs"),
        ("import ctypes", Severity.DANGER, "reaches below Python"),
        ("import pickle", Severity.DANGER, "reads files that can hold code"),
        ("import importlib", Severity.DANGER, "loads code by name"),
        ("eval(x)", Severity.DANGER, "runs text as code (eval)"),
        ("f = exec", Severity.DANGER, "runs text as code (exec)"),
        ("__import__('os')", Severity.DANGER, "loads code by name"),
        ("os.system('ls')", Severity.DANGER, "starts or stops other programs (os.system)"),
        ("from os import system", Severity.DANGER, "starts or stops other programs (os.system)"),
        ("os.execv('/bin/sh', [])", Severity.DANGER, "starts other programs (os.execv)"),
        ("open('/etc/passwd')", Severity.DANGER, "names a place on the computer ('/etc/passwd')"),
        ("Path('/home/anna')", Severity.DANGER, "names a place on the computer ('/home/anna')"),
        ("open('/inputs/../etc/x')", Severity.DANGER, "names a place on the computer"),
        ("().__class__.__subclasses__()", Severity.DANGER, "inner parts (__subclasses__)"),
        ("# \u202ereversed", Severity.DANGER, "holds invisible characters"),
        ("def broken(:", Severity.DANGER, "is not valid Python"),
        ("import torch; torch.load('x')", Severity.WARNING, "can hold code (torch.load)"),
        ("import base64", Severity.WARNING, "unpacks or decodes data"),
        ("import flwr", Severity.WARNING, "imports flwr, which recipes do not use"),
        (f"x = '{'QUJD' * 50}'", Severity.WARNING, "a long run of encoded text"),
        (f"x = {b'x' * 200!r}", Severity.WARNING, "a long run of bytes"),
        ("x = 1  " + "#" * 400, Severity.WARNING, "has a line of 407 characters"),
        ("\u0430 = 1; print(\u0430)", Severity.WARNING, "a name with unusual letters"),
        ("os.environ['HOME']", Severity.NOTE, "reads the environment (os.environ)"),
        ("print(1)", Severity.NOTE, "prints (print)"),
        ("getattr(x, y)", Severity.NOTE, "looks things up by name (getattr)"),
    ],
)
def test_what_stands_out_is_found_in_its_line(line: str, severity: Severity, what: str) -> None:
    found = [f for f in scan(f"\n{line}\n") if what in f.what]
    assert len(found) == 1, scan(f"\n{line}\n")
    assert (found[0].file, found[0].line, found[0].severity) == ("main.py", 2, severity)
    assert found[0].why.endswith(".")


def test_an_ordinary_recipe_is_quiet() -> None:
    text = """
from __future__ import annotations
import json
import math
from pathlib import Path
import numpy as np
import scipy.sparse as sparse
from recsys.privacy import noise
from helper import tidy

def main(folder: Path = Path("/inputs/data"), out: Path = Path("/output")) -> None:
    values = np.zeros(3) / 2
    out.joinpath("release.json").write_text(json.dumps({"x": math.pi}))
"""
    assert scan(text, helper=b"def tidy(x): return x\n") == []


def test_a_file_named_like_a_known_package_is_pointed_at() -> None:
    findings = scan("import numpy\n", numpy=b"x = 1\n")
    assert [f.what for f in findings] == [
        "has a file of its own that is named like the package numpy"
    ]
    assert findings[0].severity is Severity.DANGER


def test_a_folder_is_read_and_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    code = tmp_path / "code"
    code.mkdir()
    (code / "main.py").write_text(f"import socket\nopen({str(marker)!r}, 'w')\n")
    (code / "notes.md").write_text("import socket\n")
    findings = scan_code(code)
    assert {f.file for f in findings} == {"main.py"}
    assert not marker.exists()


@pytest.mark.parametrize("text", ["(" * 5000, "x = " + "-" * 20000 + "1", "\x00", "1" * 9999])
def test_code_made_to_break_the_scan_does_not(text: str) -> None:
    assert all(finding.file == "main.py" for finding in scan(text))


@given(st.text(max_size=200))
def test_any_text_can_be_scanned(text: str) -> None:
    data = text.encode(errors="replace")
    assert all(finding.line >= 0 for finding in scan_code({"main.py": data}))
