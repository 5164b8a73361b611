"""Every private file, damaged in every way: it is named, and nothing else stops or is lost."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from datasites.errors import ReviewError, SettingsError, TransportError
from datasites.merchant import Ledger, MerchantHome, desk, peers
from datasites.merchant.serving import open_shop
from datasites.merchant.stock import set_stock
from datasites.merchant.store import load_catalogue, load_shop
from recsys.errors import ToyFedError
from tests.crash.invariants import check_books
from tests.crash.market import SCIENTIST
from tests.crash.writes import Theatre
from ui.cli.app import app

pytestmark = [pytest.mark.attack, pytest.mark.slow]
SHOP = "shop0@toys.test"
DAMAGE: dict[str, Callable[[Path], Any]] = {
    "empty": lambda file: file.write_bytes(b""),
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "random bytes": lambda file: file.write_bytes(bytes(range(255, 0, -1)) * 3),
    "another document": lambda file: file.write_bytes(b"[17]"),
    "missing": lambda file: None,
    "a folder": lambda file: file.mkdir(),
}
# What to look for below the market's folder; the first that is there.
MERCHANTS_FILES = (
    "shop0/merchant.toml",
    "shop0/private/peers.json",
    "shop0/private/keys/peers.json",
    "shop0/private/service.json",
    "shop0/private/data-report.json",
    "shop0/private/data/shop.parquet",
    "shop0/private/data/catalogue.parquet",
    "shop0/private/requests/later/request.json",
    "shop0/private/requests/later/proposal.json",
    "shop0/private/requests/later/code/main.py",
    "shop0/private/runs/toys-counts/release.json",
    "shop0/private/runs/toys-counts/outcome.json",
    "shop0/private/mock-published",
    "shop0/private/models/toys/manifest.json",
    "shop0/private/models/toys/tensors-*.safetensors",
    "shop0/private/serving/current.json",
    "shop0/private/serving/*.npz",
    "shop0/private/serving/stock.txt",
    "shop0/private/quality/toys.json",
    "shop0/private/quality/toys.npz",
    "shop0/private/link/clock.json",
)
SCIENTISTS_FILES = (
    "ada/scientist.toml",
    "ada/catalogue.csv",
    "ada/private/keys/peers.json",
    "ada/studies/toys/study.toml",
    "ada/studies/toys/proposal.json",
    "ada/studies/toys/checkpoint.json",
    "ada/studies/toys/state-*.safetensors",
    "ada/studies/toys/sent/counts.json",
    "ada/studies/toys/sent/result.json",
    "ada/studies/toys/updates/counts/*.safetensors",
    "ada/studies/toys/progress.jsonl",
    "ada/studies/toys/artefact/manifest.json",
    "ada/studies/toys/artefact/tensors-*.safetensors",
    "ada/studies/toys/artefact/MODEL_CARD.md",
)


def cases(patterns: Sequence[str]) -> list[Any]:
    """Every file with every damage; all but one damage for each file are left to the soak."""
    return [
        pytest.param(
            pattern, damage, marks=() if (number - kind) % len(DAMAGE) == 0 else pytest.mark.soak
        )
        for number, pattern in enumerate(patterns)
        for kind, damage in enumerate(DAMAGE)
    ]


class Scene:
    """A market with a finished study, one that waits for approval, and copies of all files."""

    def __init__(self, theatre: Theatre) -> None:
        self.theatre = theatre
        self.folder = theatre.folder
        self.home = theatre.homes[SHOP]
        catalogue = load_catalogue(self.home)
        shop = load_shop(self.home, catalogue)
        self.private_values = [str(one) for one in shop.all.shopper_ids]
        listed = self.folder / "stock.csv"
        listed.write_text(f"item_id\n{catalogue.item_ids[0]}\n")
        set_stock(self.home, listed, catalogue)
        self.copy = self.folder.with_name("copy")
        shutil.copytree(self.folder, self.copy, symlinks=True)

    def damage(self, pattern: str, damage: str) -> Path:
        file = next(iter(sorted(self.folder.glob(pattern))))
        if damage in ("missing", "a folder"):
            file.unlink()
        DAMAGE[damage](file)
        return file

    def put_back(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.copy, self.folder, symlinks=True)
        self.theatre.parties.clear()

    def commands(self) -> Iterator[tuple[str, int, str]]:
        """What each command that reads says, and how it ends."""
        shop, ada = str(self.home.root), str(self.theatre.desk.root)
        for words in (
            ("datasite", "status", "--home", shop),
            ("datasite", "requests", "--home", shop),
            ("datasite", "requests", "later", "--code", "--home", shop),
            ("datasite", "requests", "toys", "--home", shop),
            ("datasite", "pair", "--home", shop),
            ("study", "status", "toys", "--home", ada),
            ("study", "report", "toys", "--home", ada),
            ("study", "report", "toys", "--json", "--home", ada),
            ("study", "run", "toys", "--home", ada),
            ("study", "submit", "toys", "--home", ada),
        ):
            done = CliRunner().invoke(app, words)
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise AssertionError(f"{words}: a traceback") from done.exception
            yield " ".join(words[:2]), done.exit_code, done.output


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with pytest.MonkeyPatch.context() as patch:
        theatre = Theatre(tmp_path_factory.mktemp("damage") / "market", patch)
        theatre.open()
        theatre.live("toys", SCIENTIST, None)
        theatre.compose("later")
        theatre.submit("later")
        for _ in range(3):
            theatre.pass_time()
        yield Scene(theatre)


@pytest.fixture(autouse=True)
def whole_again(scene: Scene) -> Iterator[None]:
    yield
    scene.put_back()


@pytest.mark.parametrize(("pattern", "damage"), cases((*MERCHANTS_FILES, *SCIENTISTS_FILES)))
def test_commands_and_pages_say_what_is_wrong(scene: Scene, pattern: str, damage: str) -> None:
    scene.damage(pattern, damage)
    said = [*scene.commands()]
    for words, code, text in said:
        assert code in (0, 1, 3, 4), (words, code, text)
        assert not [value for value in scene.private_values if value in text]
        if code:
            assert "error:" in text, (words, text)
    told = ""
    try:
        open_shop(MerchantHome.open(scene.home.root))
    except ToyFedError as error:
        told = str(error)
    assert not [value for value in scene.private_values if value in told]


@pytest.mark.parametrize(("pattern", "damage"), cases(MERCHANTS_FILES[1:]))
def test_the_service_goes_on(scene: Scene, pattern: str, damage: str) -> None:
    theatre = scene.theatre
    scene.damage(pattern, damage)
    theatre.parties.clear()
    for _ in range(3):
        # What the service's loop waits out; anything else fails the test.
        with contextlib.suppress(TransportError, SettingsError, ReviewError, OSError):
            theatre.pass_time()
    # Put right, everything is as it was: nothing ran twice, and what waited is decided.
    for file in sorted(scene.folder.glob(pattern)):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    for file in sorted(scene.copy.glob(pattern)):
        shutil.copy2(file, scene.folder / file.relative_to(scene.copy))
    theatre.parties.clear()
    theatre.pass_time()
    ledger = Ledger.open(scene.home.ledger_path)
    assert {one.study for one in desk.requests(scene.home, ledger)} == {"toys", "later"}
    assert peers.seen(scene.home, ledger)["peers"]
    desk.approve(scene.home, ledger, "later", by="me")
    theatre.pass_time()
    check_books(scene.home)
