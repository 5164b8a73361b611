"""Nests for programs given as text."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datasites.merchant.contributions import Nest, RowArray, RowLimits

N_TOYS = 40
ARRAYS = [RowArray("counts", (N_TOYS,)), RowArray("sums", (N_TOYS, 2))]


@pytest.fixture
def open_nest(tmp_path: Path) -> Iterator[Callable[..., Nest]]:
    opened: list[Nest] = []

    def make(text: str, limits: RowLimits | None = None, **program: object) -> Nest:
        code = tmp_path / f"code{len(opened)}"
        code.mkdir()
        (code / "main.py").write_text(textwrap.dedent(text))
        job = {"phase": "p", "n_items": N_TOYS, "program": program}
        nest = Nest(code, None, job, ARRAYS, limits or RowLimits(1000, 256))
        opened.append(nest)
        return nest

    yield make
    for nest in opened:
        nest.close()
