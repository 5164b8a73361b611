"""The demo's story, step by step, by the same functions that the command line calls.

    merchants make datasites and add purchases  ->  services start (one process each)
    the data scientist pairs, composes a study and submits it
    merchants review and approve                ->  rounds run  ->  the model arrives and is served

Each step tells what it does through `tell`; nothing it says depends on a shopper.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datasites.errors import DatasiteError, SettingsError
from datasites.merchant import Ledger, MerchantHome, MerchantSettings, add_data, desk, peers
from datasites.merchant.heartbeat import has_come_up
from datasites.recipes import recipe_named
from datasites.simulation.processes import Services
from datasites.study import (
    Coordinator,
    Progress,
    ScientistHome,
    ScientistSettings,
    StudySettings,
    new_study,
    parse_study,
    submit,
)
from datasites.syftbox import ScientistLink
from recsys.data import Marketplace, write_catalogue, write_marketplace
from recsys.federation import DEFAULT_MERGE
from recsys.files import atomic_write_text
from recsys.privacy import Budget

__all__ = ["Story", "StorySettings", "check_folder"]

SCIENTIST = "scientist@toyfed.local"
_WAIT_SECONDS = 120.0
_MARKER = "demo.marker"


@dataclass(frozen=True)
class StorySettings:
    """What a demo is asked for."""

    workdir: Path
    epsilon: float = 1.0
    delta: float = 1e-5
    rounds: int | None = None
    recipe: str = "private-als"
    merge: str = DEFAULT_MERGE
    seed: int = 0
    study: str = "toys"


def check_folder(root: Path) -> None:
    """Raise SettingsError unless a folder may be emptied: it is empty, or an earlier demo's."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        if root.is_dir() and (root / _MARKER).exists():
            return
        raise SettingsError(
            f"expected {root} to be empty or an earlier demo's folder, found other files. "
            "Choose another with --workdir."
        )


class Story:
    """One marketplace on this machine, from empty folders to a served model."""

    def __init__(
        self,
        settings: StorySettings,
        marketplace: Marketplace,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.settings = settings
        self.marketplace = marketplace
        self.tell = tell
        self.share = settings.workdir / "share"
        self.services = Services(settings.workdir / "logs")
        self.merchants: dict[str, MerchantHome] = {}

    def prepare_folder(self) -> None:
        """Empty the working folder. Raises SettingsError if it is not an earlier demo's."""
        root = self.settings.workdir
        check_folder(root)
        shutil.rmtree(root, ignore_errors=True)
        self.share.mkdir(parents=True)
        atomic_write_text(root / _MARKER, "made by toyfed demo; it may delete this folder\n")

    def open_datasites(self) -> None:
        """Each merchant: datasite init, add-data, serve."""
        catalogue = self.settings.workdir / "catalogue.csv"
        write_catalogue(catalogue, self.marketplace.catalogue)
        for name, shop in self.marketplace.shops.items():
            folder = self.settings.workdir / "merchants" / _slug(name)
            home = MerchantHome.create(
                folder,
                MerchantSettings(
                    name=name,
                    email=f"{_slug(name)}@toyfed.local",
                    share=str(self.share),
                    epsilon=self.settings.epsilon,
                    delta=self.settings.delta,
                ),
            )
            Ledger.create(home.ledger_path, Budget(self.settings.epsilon, self.settings.delta))
            handed_over = home.root / "handed-over"
            write_marketplace(handed_over, Marketplace(self.marketplace.catalogue, {name: shop}))
            add_data(home, handed_over / "interactions.csv", handed_over / "items.csv")
            shutil.rmtree(handed_over)
            self.merchants[name] = home
            self.services.start(home)
            self.tell(f"[bold]{name}[/] opened its datasite ({home.settings.email})")

    def open_study_desk(self) -> None:
        """The data scientist: study init, pair; merchants compare fingerprints and approve."""
        root = self.settings.workdir / "scientist"
        home = ScientistHome.create(root, ScientistSettings(email=SCIENTIST, share=str(self.share)))
        shutil.copyfile(self.settings.workdir / "catalogue.csv", home.catalogue)
        self.scientist = home
        self.link = ScientistLink(SCIENTIST, home.root, str(self.share))
        for merchant in self.merchants.values():
            self._until(
                f"{merchant.settings.name}'s datasite to come up", partial(has_come_up, merchant)
            )
            self.link.request_peer(merchant.settings.email)
        for merchant in self.merchants.values():
            ledger = Ledger.open(merchant.ledger_path)

            def asked(merchant: MerchantHome = merchant, ledger: Ledger = ledger) -> bool:
                return any(
                    peer["email"] == SCIENTIST and peer["fingerprint"]
                    for peer in peers.seen(merchant, ledger)["peers"]
                )

            self._until(f"the pairing request to reach {merchant.settings.name}", asked)
            # Two people would read this to each other on the phone.
            peers.approve(merchant, ledger, SCIENTIST, self.link.own_fingerprint, by="demo")
        self._until("every merchant to have paired", self._all_paired)
        self.tell(f"paired {SCIENTIST} with {len(self.merchants)} merchants by key fingerprint")

    def _all_paired(self) -> bool:
        self.link.sync()
        accepted = {peer.email for peer in self.link.peers() if peer.state == "accepted"}
        return {home.settings.email for home in self.merchants.values()} <= accepted

    def submit_study(self) -> StudySettings:
        """study new, study submit."""
        # A recipe takes what it knows: one that counts once has no rounds and starts from nothing.
        known = recipe_named(self.settings.recipe).complete({})
        wanted = {"seed": self.settings.seed, "rounds": self.settings.rounds}
        model = {
            name: value
            for name, value in wanted.items()
            if value is not None and (name in known or name == "rounds")
        }
        settings = parse_study(
            {
                "study": {
                    "name": self.settings.study,
                    "recipe": self.settings.recipe,
                    "merchants": [home.settings.email for home in self.merchants.values()],
                },
                "privacy": {"epsilon": self.settings.epsilon, "delta": self.settings.delta},
                "model": model,
                "federation": {"merge": self.settings.merge},
            }
        )
        new_study(self.scientist, settings)
        proposal = submit(self.scientist, self.link, self.settings.study)
        self.tell(
            f"submitted study [bold]{proposal.study}[/]: {len(proposal.phases)} phases, "
            f"epsilon {proposal.epsilon:g} at delta {proposal.delta:g} in all"
        )
        return settings

    def approve_study(self) -> None:
        """Every merchant reviews the request and approves it."""
        for name, home in self.merchants.items():
            ledger = Ledger.open(home.ledger_path)

            def arrived(home: MerchantHome = home, ledger: Ledger = ledger) -> bool:
                return any(one.study == self.settings.study for one in desk.requests(home, ledger))

            self._until(f"the code request to reach {name}", arrived)
            found = desk.review(home, ledger, self.settings.study)
            desk.approve(home, ledger, self.settings.study, by="demo")
            looks = "; ".join(f"{one.file}:{one.line} {one.what}" for one in found.findings)
            badge = "the recipe of its own release" if found.shipped else "foreign code"
            self.tell(
                f"[bold]{name}[/] approved: {badge}, "
                f"{f'to be looked at: {looks}' if looks else 'no findings'}, "
                f"epsilon {found.after_epsilon:.3g} of {found.budget.epsilon:g}"
            )
        coordinator = Coordinator(self.scientist, self.link, self.settings.study)
        self._until(
            "every approval to come back",
            lambda: all(status == "done" for status, _ in coordinator.answers().values()),
        )

    def run_study(self) -> Iterator[Progress]:
        """study run: rounds of FedAvg until the model is delivered and served."""
        for progress in Coordinator(self.scientist, self.link, self.settings.study).run():
            self.services.check()
            yield progress

    def _until(self, what: str, happened: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _WAIT_SECONDS
        while not happened():
            self.services.check()
            if time.monotonic() > deadline:
                raise DatasiteError(
                    f"waited {_WAIT_SECONDS:.0f} s for {what}. The services' logs are in "
                    f"{self.services.logs}."
                )
            time.sleep(0.2)

    def close(self) -> None:
        """Stop every service."""
        self.services.stop()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "shop"
