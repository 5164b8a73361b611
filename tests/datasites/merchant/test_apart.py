"""The service stays small: what needs large libraries is done in a process that ends."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from datasites.errors import DatasiteError
from datasites.merchant import MerchantHome, apart
from datasites.merchant.store import mock_files
from datasites.recipes import recipe_named
from recsys.artifact import SharedModel, save_model
from recsys.data import Marketplace
from recsys.errors import ArtifactError

# Of these none may be in a process that is up for months beside the merchant's shop.
HEAVY = ("pandas", "pyarrow", "torch", "sklearn", "implicit", "streamlit", "matplotlib")


def test_the_service_loads_no_large_library() -> None:
    program = (
        "import sys, datasites.merchant.__main__, datasites.merchant.sandbox.runner\n"
        "from datasites.syftbox import MerchantLink\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
def test_the_mock_is_the_same_from_another_process(home: MerchantHome, market: Marketplace) -> None:
    files, digest = apart.make_mock(home)
    assert files == mock_files(market.catalogue)
    assert digest == market.catalogue.digest


@pytest.mark.slow
def test_a_model_is_judged_in_another_process(home: MerchantHome, market: Marketplace) -> None:
    n_items = market.catalogue.n_items
    for digest, wrong in ((market.catalogue.digest, False), ("0" * 64, True)):
        folder = home.models / f"toys-{wrong}"
        save_model(
            folder,
            SharedModel(
                arrays={
                    "item_embeddings": np.zeros((n_items, 4), np.float32),
                    "item_counts": np.ones(n_items),
                },
                recipe="private-als",
                settings={"study": "toys", "model": recipe_named("private-als").complete({})},
                catalogue_digest=digest,
                epsilon={"castle@toys.test": 1.0},
                delta=1e-5,
            ),
        )
        if wrong:
            with pytest.raises(ArtifactError):
                apart.verify_artefact(home, folder)
        else:
            apart.verify_artefact(home, folder)


@pytest.mark.slow
def test_a_task_that_breaks_off_says_nothing_of_its_files(empty_home: MerchantHome) -> None:
    (empty_home.data / "catalogue.parquet").write_text("s0000001 bought a train")
    with pytest.raises(DatasiteError, match="its own process") as caught:
        apart.make_mock(empty_home)
    assert "s0000001" not in str(caught.value)
