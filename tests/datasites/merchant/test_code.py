"""Code is named by its contents, and only code that a person can read is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasites.errors import ReviewError
from datasites.merchant.code import code_digest, diff_against, is_identical, read_code

FILES = {"main.py": b"print(1)\n", "lib/tool.py": b"x = 1\n"}


def lay_out(folder: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


def test_a_folder_and_its_files_have_one_digest(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "code", FILES)
    assert read_code(folder) == dict(sorted(FILES.items()))
    assert code_digest(folder) == code_digest(FILES)
    assert code_digest(dict(reversed(FILES.items()))) == code_digest(FILES)
    assert len(code_digest(FILES)) == 64


@pytest.mark.parametrize(
    "other",
    [
        {"main.py": b"print(2)\n", "lib/tool.py": b"x = 1\n"},
        {"main.py": b"print(1)\r\n", "lib/tool.py": b"x = 1\n"},
        {"main.py": b"print(1)\n"},
        {"main.py": b"print(1)\n", "tool.py": b"x = 1\n"},
        {"main.py": b"print(1)\n", "lib/tool.py": b"x = 1\n", "empty.py": b""},
    ],
)
def test_any_difference_changes_the_digest(other: dict[str, bytes]) -> None:
    assert code_digest(other) != code_digest(FILES)


names = st.from_regex(r"[a-c]{1,3}\.py", fullmatch=True)
code = st.dictionaries(names, st.text("ab\n", max_size=6).map(str.encode), min_size=1, max_size=4)


@given(code, code)
def test_digests_agree_exactly_when_the_files_do(one: dict[str, bytes], two: dict[str, bytes]):
    assert (code_digest(one) == code_digest(two)) == (one == two)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        (".hidden.py", "file names of letters"),
        ("-rf.py", "file names of letters"),
        ("a b.py", "file names of letters"),
        ("caf\u00e9.py", "file names of letters"),
        ("../out.py", "file names of letters"),
        ("/abs.py", "file names of letters"),
        ("a//b.py", "file names of letters"),
        ("lib.so", "a person can read"),
        ("main.pyc", "a person can read"),
        ("__pycache__/x.py", "a person can read"),
        ("run.sh", "a person can read"),
        ("/".join("abcdefghi") + ".py", "file names of letters"),
    ],
)
def test_odd_names_are_refused(path: str, what: str) -> None:
    with pytest.raises(ReviewError, match=what):
        code_digest({**FILES, path: b""})


def test_what_is_no_readable_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReviewError, match="at least one file"):
        code_digest({})
    with pytest.raises(ReviewError, match="at most 200 files"):
        code_digest({f"f{i}.py": b"" for i in range(201)})
    with pytest.raises(ReviewError, match="bytes of code"):
        code_digest({"main.py": b"#" * (2 * 1024 * 1024 + 1)})
    with pytest.raises(ReviewError, match="UTF-8"):
        code_digest({"main.py": b"\xff\xfe"})
    with pytest.raises(ReviewError, match="capital letters"):
        code_digest({"Main.py": b"", "main.py": b""})
    with pytest.raises(ReviewError, match="folder of code"):
        read_code(tmp_path / "none")


def test_links_and_special_files_are_refused(tmp_path: Path) -> None:
    folder = lay_out(tmp_path / "code", FILES)
    (tmp_path / "secret.txt").write_text("x")
    (folder / "notes.txt").symlink_to(tmp_path / "secret.txt")
    with pytest.raises(ReviewError, match="found a link"):
        read_code(folder)
    (folder / "notes.txt").unlink()
    (folder / "more").symlink_to(tmp_path)
    with pytest.raises(ReviewError, match="found a link"):
        read_code(folder)
    (folder / "more").unlink()
    os.mkfifo(folder / "pipe.txt")
    with pytest.raises(ReviewError, match="special file"):
        read_code(folder)
    alias = tmp_path / "alias"
    alias.symlink_to(folder)
    with pytest.raises(ReviewError, match="folder of code"):
        read_code(alias)


def test_large_folders_are_refused_while_reading(tmp_path: Path) -> None:
    many = lay_out(tmp_path / "many", {f"f{i}.py": b"" for i in range(201)})
    with pytest.raises(ReviewError, match="at most 200 files"):
        read_code(many)
    large = lay_out(tmp_path / "large", {f"f{i}.py": b"#" * 1_100_000 for i in range(2)})
    with pytest.raises(ReviewError, match="bytes of code"):
        read_code(large)


def test_caches_count_in_submitted_code_but_not_in_our_recipe(tmp_path: Path) -> None:
    ours = lay_out(tmp_path / "ours", {**FILES, "__pycache__/main.cpython-311.pyc": b"\xff"})
    theirs = lay_out(tmp_path / "theirs", FILES)
    assert is_identical(theirs, ours)
    with pytest.raises(ReviewError, match="a person can read"):
        is_identical(ours, theirs)


def test_the_difference_is_shown_as_a_diff(tmp_path: Path) -> None:
    recipe = lay_out(tmp_path / "recipe", FILES)
    assert diff_against(FILES, recipe) == ""
    changed = {"main.py": b"print(1)\nprint(2)", "new.py": b"", "other.py": b"y = 2\n"}
    assert not is_identical(changed, recipe)
    diff = diff_against(lay_out(tmp_path / "submitted", changed), recipe)
    assert "--- recipe/main.py\n+++ submitted/main.py\n" in diff
    assert " print(1)\n+print(2)\n\\ no end of line in the file\n" in diff
    assert "--- recipe/lib/tool.py\n+++ (no such file)\n" in diff
    assert "-x = 1\n" in diff
    assert "--- (no such file)\n+++ submitted/other.py\n" in diff
    assert "--- recipe/new.py\n+++ submitted/new.py\n" in diff
