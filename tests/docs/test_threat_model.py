"""Every promise in docs/threat-model.md names a test that is there and is counted as an attack."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NAMED = re.compile(r"`(tests/[\w/.-]+\.py)(?:::(\w+))?(?:::(\w+))?`")


def _rows() -> list[str]:
    """Rows of the tables whose first column is the attack."""
    rows: list[str] = []
    inside = False
    for line in (ROOT / "docs" / "threat-model.md").read_text().splitlines():
        if line.startswith("| attack |"):
            inside = True
        elif not line.startswith("|"):
            inside = False
        elif inside and not line.startswith("|---"):
            rows.append(line)
    return rows


def _tests_of(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_every_attack_names_the_test_that_proves_the_answer() -> None:
    rows = _rows()
    assert len(rows) > 30
    missing = [row[:80] for row in rows if not _NAMED.search(row)]
    assert not missing


def test_every_named_test_exists() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    wrong = []
    for path, *names in _NAMED.findall(text):
        file = ROOT / path
        if not file.exists() or not {name for name in names if name} <= _tests_of(file):
            wrong.append("::".join([path, *filter(None, names)]))
    assert not wrong


def test_every_named_file_is_counted_by_make_attack() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    files = {path for path, *_ in _NAMED.findall(text)}
    unmarked = {path for path in files if "mark.attack" not in (ROOT / path).read_text()}
    assert not unmarked
