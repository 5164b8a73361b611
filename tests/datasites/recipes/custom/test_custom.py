"""A study with a program of its author's: settings, cost, review, and a whole run of a phase."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from datasites.errors import GateError, ReviewError, SettingsError
from datasites.merchant import Ledger, MerchantHome, desk, runs
from datasites.merchant.contributions.apart import check_loads
from datasites.merchant.service import Service
from datasites.protocol import Proposal, Round
from datasites.recipes import recipe_named
from datasites.syftbox.types import Submission, SyncReport
from recsys.data import Marketplace, Shop
from recsys.federation import Update
from recsys.privacy import Budget, spent

SCIENTIST = "ada@science.test"


def model(**changes: Any) -> dict[str, Any]:
    return recipe_named("custom").complete(
        {"phases": [{"name": "counts", "arrays": {"item_counts": ["toys"]}}]} | changes
    )


def proposal(market: Marketplace, settings: dict[str, Any], **changes: Any) -> Proposal:
    n_items = market.catalogue.n_items
    values: dict[str, Any] = {
        "study": "mine",
        "recipe": "custom",
        "settings": settings,
        "catalogue": market.catalogue.digest,
        "n_items": n_items,
        "epsilon": 1.0,
        "delta": 1e-5,
        "phases": recipe_named("custom").phases(settings, Budget(1.0, 1e-5), n_items),
    }
    return Proposal(**(values | changes))


class Link:
    """Jobs in, answers out, all in memory."""

    own_fingerprint = "1111"

    def __init__(self) -> None:
        self.waiting: list[Submission] = []
        self.answers: list[tuple[str, str, str, dict[str, bytes]]] = []

    def sync(self) -> SyncReport:
        return SyncReport(0, [])

    def peers(self) -> list[Any]:
        return []

    def submissions(self) -> list[Submission]:
        return list(self.waiting)

    def is_settled(self, _job: str) -> bool:
        return False

    def reply(self, job: str, status: str, message: str, files: dict[str, bytes]) -> None:
        self.answers.append((job, status, message, files))
        self.waiting = [one for one in self.waiting if one.job != job]


def submission(tmp_path: Path, job: str, message: Any, main: str | None = None) -> Submission:
    code = tmp_path / "arrived" / job
    shutil.copytree(recipe_named("custom").code, code, ignore=shutil.ignore_patterns("__py*"))
    if main is not None:
        (code / "main.py").write_text(main)
    return Submission(job=job, sender=SCIENTIST, code=code, params=message.model_dump(mode="json"))


def test_phases_cost_the_budget_and_no_more() -> None:
    recipe = recipe_named("custom")
    phases = recipe.phases(recipe.complete({}), Budget(2.0, 1e-5), 100)
    events = [event for phase in phases for event in phase.privacy_events()]
    assert 0.999 * 2 < spent(events, 1e-5) <= 2
    assert [spec.shape for phase in phases for spec in phase.outputs] == [(100,), (100, 16)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"phases": []},
        {"phases": [{"name": "a", "arrays": {"x": ["shoppers"]}}]},
        {"phases": [{"name": "a", "clip": 0, "arrays": {"x": [1]}}]},
        {"phases": [{"name": "a", "arrays": {"x": [1]}}] * 2},
        {"milliseconds": 100_000},
        {"unknown": 1},
    ],
)
def test_settings_that_do_not_do_are_refused(wrong: dict[str, Any]) -> None:
    base = {"phases": [{"name": "a", "arrays": {"x": ["toys"]}}]}
    with pytest.raises(SettingsError, match="custom"):
        recipe_named("custom").complete(base | wrong)


def test_the_merchant_computes_the_cost_itself(
    home: MerchantHome, ledger: Ledger, market: Marketplace, tmp_path: Path
) -> None:
    honest = proposal(market, model())
    cheap = [phase.model_dump(mode="json") for phase in honest.phases]
    cheap[0]["events"][0]["sigma"] *= 2
    lying = Proposal(**(honest.model_dump(mode="json") | {"phases": cheap}))
    desk.file_request(home, ledger, submission(tmp_path, "mine-proposal", lying), lying)
    review = desk.review(home, ledger, "mine")
    assert review.noised_here
    assert "is not what this recipe releases" in " ".join(review.problems)


def test_a_changed_program_needs_a_consent_that_is_not_about_privacy(
    home: MerchantHome, ledger: Ledger, market: Marketplace, tmp_path: Path
) -> None:
    asked = proposal(market, model())
    sent = submission(tmp_path, "mine-proposal", asked, "def contribution(h, s, t): return {}")
    desk.file_request(home, ledger, sent, asked)
    with pytest.raises(ReviewError, match="ToyFed itself clips"):
        desk.approve(home, ledger, "mine", by="me")
    desk.approve(home, ledger, "mine", by="me", read_foreign_code=True)


COUNTS = """
import numpy as np
def contribution(history, state, settings):
    if len(history) > 6:
        raise ValueError("no row for who buys much")
    bought = np.unique(history)
    return {"item_counts": (bought, np.ones(len(bought)))}
"""


@pytest.mark.slow
def test_a_round_releases_the_noised_sum_of_clipped_rows(
    home: MerchantHome, ledger: Ledger, market: Marketplace, shop: Shop, tmp_path: Path
) -> None:
    (home.private / "mock-published").touch()
    link = Link()
    service = Service(home, link, ledger)  # type: ignore[arg-type]
    asked = proposal(market, model())
    link.waiting = [submission(tmp_path, "mine-proposal", asked, COUNTS)]
    service.step()
    desk.approve(home, ledger, "mine", by="me", read_foreign_code=True)
    order = Round(study="mine", phase="counts", proposal_sha256=asked.sha256)
    link.waiting.append(submission(tmp_path, "mine-counts", order, COUNTS))
    service.step()
    job, status, text, files = link.answers[-1]
    assert (job, status, text) == ("mine-counts", "done", "")
    released = load(files["release.safetensors"])["item_counts"]
    sigma = asked.phases[0].privacy_events()[0].sigma  # type: ignore[union-attr]
    assert released.shape == (market.catalogue.n_items,)
    expected = np.zeros(market.catalogue.n_items)
    train = shop.split.train
    for row in range(train.n_shoppers):
        bought = np.unique(train.history(row))
        if 0 < len(train.history(row)) <= 6:
            expected[bought] += len(bought) ** -0.5
    assert np.abs(released - expected).max() < 6 * sigma
    assert ledger.spent().epsilon == pytest.approx(1.0, rel=1e-3)
    # How many failed stays in a file of the merchant's alone.
    assert "without a row" in (home.runs / "mine-counts" / "log.txt").read_text()
    assert "without" not in json.dumps([entry.body for entry in ledger.entries()])


class Held:
    """A merchant with one approved program, whose first answer is due after three seconds."""

    job = "mine-counts"

    def __init__(
        self, home: MerchantHome, ledger: Ledger, market: Marketplace, folder: Path, main: str
    ) -> None:
        (home.private / "mock-published").touch()
        self.home, self.ledger, self.link = home, ledger, Link()
        self.service = Service(home, self.link, ledger)  # type: ignore[arg-type]
        asked = proposal(market, model())
        self.link.waiting = [submission(folder, "mine-proposal", asked, main)]
        self.service.step()
        desk.approve(home, ledger, "mine", by="me", read_foreign_code=True)
        order = Round(study="mine", phase="counts", proposal_sha256=asked.sha256)
        self.link.waiting = [submission(folder, self.job, order, main)]
        self.service.step(lambda: True)
        self.link.answers.clear()

    @property
    def until(self) -> float:
        """When the answer is due; 0 while the run goes on."""
        try:
            note = json.loads((self.home.runs / self.job / "held.json").read_text())
        except FileNotFoundError:
            return 0.0
        return float(note["until"])

    def has_ended(self) -> bool:
        """Whether the run is over, and its release, if it has one, kept."""
        return (self.home.runs / self.job / "outcome.json").exists()


@pytest.fixture
def held(
    home: MerchantHome,
    ledger: Ledger,
    market: Marketplace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Held:
    monkeypatch.setattr(
        "datasites.merchant.contributions.held.rounded", lambda seconds: seconds + 3
    )
    return Held(home, ledger, market, tmp_path, COUNTS)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_stop_while_the_answer_is_held_back_loses_nothing_and_tells_nothing(
    held: Held, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    written: list[str] = []
    monkeypatch.setattr(held.service.witnesses, "keep_if_moved", lambda: written.append("witness"))

    def stops() -> bool:
        if held.has_ended() and killed:
            raise KeyboardInterrupt
        return held.has_ended()

    if killed:
        with pytest.raises(KeyboardInterrupt):
            held.service.step(stops)
    else:
        assert held.service.step(stops) == 0
    assert not held.link.answers
    assert not written  # a peer would see when
    until = held.until
    assert time.time() < until

    after = Service(held.home, held.link, held.ledger)  # type: ignore[arg-type]
    after.recover()
    spent = held.ledger.spent()
    assert after.step() == 1
    assert time.time() >= until
    ((job, status, text, files),) = held.link.answers
    assert (job, status, text) == (held.job, "done", "")
    assert len(load(files["release.safetensors"])["item_counts"])
    assert held.ledger.spent() == spent
    kinds = [entry.kind for entry in held.ledger.entries()]
    assert kinds.count("reserved") == kinds.count("committed") == 1


@pytest.mark.slow
def test_a_study_that_is_revoked_while_its_answer_is_held_back_gets_none(held: Held) -> None:
    def revokes() -> bool:
        if held.has_ended() and not held.ledger.is_revoked("mine"):
            held.ledger.revoke("mine", by="me")
        return False

    assert held.service.step(revokes) == 1
    assert time.time() < held.until
    ((_, status, text, files),) = held.link.answers
    assert (status, text, files) == ("failed", "the merchant revoked this study", {})
    assert held.ledger.state_of(held.job) == "failed"
    assert held.ledger.spent().epsilon > 0


@pytest.mark.slow
def test_also_a_failure_is_told_only_when_it_is_due(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> None:
        raise GateError("something else came out")

    monkeypatch.setattr("datasites.merchant.gate.read_release", refuses)
    assert held.service.step() == 1
    assert time.time() >= held.until > 0
    ((_, status, _, files),) = held.link.answers
    assert (status, files) == ("failed", {})


@pytest.mark.attack
@pytest.mark.slow
def test_a_program_runs_only_within_the_memory_that_the_service_allows(
    home: MerchantHome, ledger: Ledger, market: Marketplace, tmp_path: Path
) -> None:
    (home.private / "mock-published").touch()
    link = Link()
    asked = proposal(market, model())
    service = Service(home, link, ledger)  # type: ignore[arg-type]
    link.waiting = [submission(tmp_path, "mine-proposal", asked, COUNTS)]
    service.step()
    desk.approve(home, ledger, "mine", by="me", read_foreign_code=True)
    less = replace(home, settings=home.settings.model_copy(update={"memory_mb": 256}))
    service = Service(less, link, ledger)  # type: ignore[arg-type]
    order = Round(study="mine", phase="counts", proposal_sha256=asked.sha256)
    link.waiting = [submission(tmp_path, "mine-counts", order, COUNTS)]
    service.step()
    _, status, text, _ = link.answers[-1]
    assert status == "refused"
    assert "smaller memory_mb" in text
    assert "256" not in text
    assert ledger.spent().epsilon == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("main", "why"), [("def contribution(:", "SyntaxError"), ("x = 1", "to define contribution")]
)
def test_a_program_that_does_not_load_is_refused_openly_and_costs_nothing(
    home: MerchantHome, market: Marketplace, tmp_path: Path, main: str, why: str
) -> None:
    asked = proposal(market, model())
    sent = submission(tmp_path, "mine-counts", asked, main)
    runs.prepare(home, "mine-counts", asked, asked.phases[0])
    from datasites.merchant.code import code_digest

    with pytest.raises(ReviewError, match=why):
        check_loads(home, "mine-counts", sent.code, code_digest(sent.code))


def test_sums_of_merchants_become_a_model(market: Marketplace, tmp_path: Path) -> None:
    bare = recipe_named("custom")
    settings = bare.complete({})
    assert bare.study_files is not None
    shutil.copytree(bare.study_files, tmp_path / "study")
    recipe = bare.of_study(tmp_path / "study")
    n_items = market.catalogue.n_items
    state = recipe.initial_state(settings, n_items)
    state |= recipe.public_arrays(settings, market.catalogue)
    chance = np.random.default_rng(0)
    for phase in recipe.phases(settings, Budget(1.0, 1e-5), n_items):
        updates = [
            Update(
                arrays={
                    spec.name: chance.standard_normal(spec.shape).astype(np.float32)
                    for spec in phase.outputs
                },
                weight=1.0,
                events=phase.privacy_events(),
                merchant=f"m{number}@toys.test",
            )
            for number in range(2)
        ]
        state = recipe.merge(phase.name, updates, state, settings, "support")
    model = recipe.model({name: state[name] for name in recipe.model_arrays}, settings)
    assert set(model) == {"shared", "shared_popularity"}


def test_a_server_file_that_does_not_load_says_so(tmp_path: Path) -> None:
    (tmp_path / "server.py").write_text("def initial_state(: pass")
    with pytest.raises(SettingsError, match=r"server\.py to load"):
        recipe_named("custom").of_study(tmp_path)
