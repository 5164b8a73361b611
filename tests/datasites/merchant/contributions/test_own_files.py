"""A program of several files, and what it may import: all of it is there before any shopper."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
import pytest

from datasites.errors import ReviewError
from datasites.merchant.contributions import Nest, RowLimits
from tests.datasites.merchant.contributions.conftest import ARRAYS, N_TOYS

pytestmark = pytest.mark.slow

FILES = {
    "main.py": """
        import numpy as np
        import helpers
        from shapes import circles
        from shapes.squares import side
        from scipy.sparse import linalg
        from sklearn.preprocessing import normalize

        def contribution(history, state, settings):
            assert linalg.norm and np.fft.rfft([1.0, 2.0]).size == 2
            length = normalize(np.ones((1, 4)))[0, 0]
            return {"counts": ([0, 1, 2], [helpers.twice(2), circles.AREA * side(), length])}
        """,
    "helpers.py": """
        import json  # also this is there

        def twice(number):
            return json.loads(json.dumps(2 * number))
        """,
    "shapes/__init__.py": "NAME = 'shapes'\n",
    "shapes/circles.py": "from . import NAME\nAREA = len(NAME)\n",
    "shapes/squares.py": "from .circles import AREA\ndef side():\n    return AREA / 3\n",
}


def nest_of(folder: Path, files: dict[str, str]) -> Nest:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    job = {"phase": "p", "n_items": N_TOYS, "program": {}}
    return Nest(folder, None, job, ARRAYS, RowLimits(1000, 512))


def test_a_program_may_have_several_files(tmp_path: Path) -> None:
    with nest_of(tmp_path / "code", FILES) as nest:
        answer = nest.row(np.array([1], np.int32))
    assert answer.parts is not None, answer.text
    assert answer.values.tolist() == [4.0, 12.0, 0.5]


def test_a_file_of_its_own_goes_before_a_library_of_that_name(tmp_path: Path) -> None:
    main = "import colorsys\ndef contribution(h, s, t):\n    return {'counts': ([0], [colorsys.X])}"
    with nest_of(tmp_path / "code", {"main.py": main, "colorsys.py": "X = 3.0\n"}) as nest:
        answer = nest.row(np.array([1], np.int32))
    assert answer.values.tolist() == [3.0], answer.text


@pytest.mark.parametrize(
    ("main", "why"),
    [
        ("import nothing_of_that_name\n", "nothing_of_that_name"),
        ("from helpers import\n", "SyntaxError"),
        ("open('/code/main.py')\n", "PermissionError"),
    ],
)
def test_what_cannot_be_loaded_says_so_before_any_shopper(
    tmp_path: Path, main: str, why: str
) -> None:
    with pytest.raises(ReviewError, match=why):
        nest_of(tmp_path / "code", {"main.py": main})
