"""A small catalogue and a small marketplace that the tests of recsys.data share."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest

from recsys.data import Catalogue

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def catalogue() -> Catalogue:
    return Catalogue(
        pd.DataFrame(
            {
                "item_id": [f"t{number}" for number in range(6)],
                "title": [f"Toy {number}" for number in range(6)],
                "category_path": ["Toys > Dolls"] * 3 + ["Toys > Games > Dice"] * 3,
                "brand": ["Larchwood & Co", "", "", "", "", "Quillberry"],
                "price": [9.99, None, 5.0, 1.0, 2.0, 3.0],
            }
        )
    )


@pytest.fixture(scope="session")
def real_data() -> Path:
    default = REPOSITORY.parent / "shared" / "data" / "amazon-toys"
    folder = Path(os.environ.get("TOYFED_REAL_DATA", default))
    if not (folder / "interactions.csv").is_file():
        pytest.skip("the real data is not here; set TOYFED_REAL_DATA to its folder")
    return folder
