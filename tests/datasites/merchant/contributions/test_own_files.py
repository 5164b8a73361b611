"""A program of several files, and what it may import: all of it is there before any shopper."""

from __future__ import annotations

import textwrap
import time
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


LIBRARIES = """
import datetime
import numpy as np
import scipy
import scipy.sparse
from sklearn.cluster import KMeans

def contribution(history, state, settings):
    day = datetime.datetime.strptime("2026-11-30", "%Y-%m-%d").day
    found = KMeans(2, n_init=1, random_state=0).fit(np.array([[0.0], [0.1], [9.0], [9.1]]))
    return {"counts": ([0, 1, 2], [day, found.inertia_ < 1, scipy.special.gamma(4.0)])}
"""


def test_libraries_work_although_no_file_can_be_opened(tmp_path: Path) -> None:
    with nest_of(tmp_path / "code", {"main.py": LIBRARIES}) as nest:
        answer = nest.row(np.array([1], np.int32))
    assert answer.parts is not None, answer.text
    assert answer.values.tolist() == pytest.approx([30.0, 1.0, 6.0])


@pytest.mark.attack
@pytest.mark.parametrize(("megabytes", "fits"), [(40, True), (110, False), (500, False)])
def test_a_child_gets_the_memory_that_its_limit_says(
    tmp_path: Path, megabytes: int, fits: bool
) -> None:
    main = f"""
        import numpy as np
        def contribution(history, state, settings):
            return {{"counts": ([0], [float(np.ones({megabytes} << 17).size > 0)])}}
        """
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "main.py").write_text(textwrap.dedent(main))
    job = {"phase": "p", "n_items": N_TOYS, "program": {}}
    with Nest(tmp_path / "code", None, job, ARRAYS, RowLimits(1000, 64)) as nest:
        assert (nest.row(np.array([1], np.int32)).parts is not None) == fits


@pytest.mark.attack
def test_caches_are_filled_anew_before_every_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left in them of the one before moves the limit of processor time (measured)."""
    from datasites.merchant.contributions.kernel import kernel_facts

    facts = kernel_facts()
    assert facts is not None
    main = """
        import sys
        def contribution(history, state, settings):
            frame = sys._getframe()
            while 'program' not in frame.f_locals: frame = frame.f_back
            ballast = frame.f_locals['program'].ballast
            return {"counts": ([0], [float(ballast.nbytes)])}
        """
    with nest_of(tmp_path / "code", {"main.py": main}) as nest:
        answer = nest.row(np.array([1], np.int32))
    assert answer.values[0] == pytest.approx(3 * facts.cache_bytes, abs=8)

    def seconds(megabytes: int) -> float:
        other = facts._replace(cache_bytes=megabytes << 20)
        monkeypatch.setattr("datasites.merchant.contributions.nest.kernel_facts", lambda: other)
        with nest_of(tmp_path / f"{megabytes}", {"main.py": main}) as nest:
            times = []
            for _ in range(5):
                begun = time.monotonic()
                assert nest.row(np.array([1], np.int32)).parts is not None
                times.append(time.monotonic() - begun)
        return min(times)

    # It is read each time, not only there: 1.5 GB take a while.
    assert seconds(256) > seconds(1) + 0.04


def test_folders_need_no_init_and_own_files_go_before_what_is_loaded(tmp_path: Path) -> None:
    files = {
        "main.py": """
            import random
            from sub.deep.one import X
            def contribution(history, state, settings):
                return {"counts": ([0, 1], [X, random.MINE])}
            """,
        "sub/deep/one.py": "X = 2.0\n",
        "random.py": "MINE = 7.0\n",
    }
    with nest_of(tmp_path / "code", files) as nest:
        answer = nest.row(np.array([1], np.int32))
    assert answer.values.tolist() == [2.0, 7.0], answer.text
