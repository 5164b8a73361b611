"""The shipped recipe in the real sandbox, and what hostile code gets out of it: nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save_file

from datasites.errors import ReviewError, SandboxError
from datasites.merchant import MerchantHome, runs
from datasites.merchant.code import code_digest
from datasites.protocol import Proposal
from datasites.recipes import recipe_named

pytestmark = pytest.mark.slow

HOSTILE = {
    "socket": "import socket\nsocket.create_connection(('127.0.0.1', 9))\n",
    "key": "print(open({key!r}).read())\n",
    "purchase": (
        "import pandas\n"
        "row = pandas.read_parquet('/inputs/data/shop.parquet').iloc[0]\n"
        "raise ValueError(f'{{row.shopper_id}} bought it')\n"
    ),
}


def code_on_the_desk(home: MerchantHome, proposal: Proposal, main: str | None = None) -> Path:
    code = home.requests / proposal.study / "code"
    shutil.copytree(
        recipe_named("private-als").code, code, ignore=shutil.ignore_patterns("__pycache__")
    )
    if main is not None:
        (code / "main.py").write_text(main)
    return code


def test_every_phase_of_the_recipe_releases_what_it_declares(
    home: MerchantHome, make_proposal: Callable[..., Proposal]
) -> None:
    proposal = make_proposal()
    code = code_on_the_desk(home, proposal)
    recipe = recipe_named("private-als")
    state = recipe.initial_state(proposal.settings, proposal.n_items)
    state["item_counts"] = np.ones(proposal.n_items)
    for phase in proposal.phases:
        inputs = runs.prepare(home, phase.name, proposal, phase)
        if needed := recipe.state_for(phase.name, state):
            save_file(needed, inputs / "state" / "state.safetensors")
        assert not runs.has_release(home, phase.name)
        booked = runs.execute(home, phase.name, code, code_digest(code), phase)
        assert runs.release_facts(home, phase.name) == booked
        (data,) = runs.release_files(home, phase.name).values()
        found = {name: (one.shape, str(one.dtype)) for name, one in load(data).items()}
        assert found == {one.name: (one.shape, one.dtype) for one in phase.outputs}
        assert not (home.runs / phase.name / "inputs").exists()
    file = home.runs / "counts" / "release.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ReviewError, match="not the one that was booked"):
        runs.release_files(home, "counts")


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_code_fails_and_its_words_stay_at_the_merchant(
    home: MerchantHome, make_proposal: Callable[..., Proposal], attack: str
) -> None:
    key = home.private / "keys" / "secret"
    key.parent.mkdir()
    key.write_text("the-merchants-key")
    proposal = make_proposal()
    code = code_on_the_desk(home, proposal, HOSTILE[attack].format(key=str(key)))
    phase = proposal.phase("counts")
    runs.prepare(home, "job", proposal, phase)
    with pytest.raises(SandboxError) as caught:
        runs.execute(home, "job", code, code_digest(code), phase)
    assert str(caught.value) == "the code ended with an error"
    assert not runs.has_release(home, "job")
    outcome = json.loads((home.runs / "job" / "outcome.json").read_text())
    log = (home.runs / "job" / "log.txt").read_text()
    assert not outcome["ok"]
    assert "Error" in outcome["reason"]
    assert "the-merchants-key" not in log
    if attack == "purchase":
        assert "bought it" in log
