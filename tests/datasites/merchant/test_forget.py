"""A shopper who wants to be forgotten is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from datasites.errors import SettingsError
from datasites.merchant import MerchantHome, add_data
from datasites.merchant.forget import (
    forget,
    forget_all,
    take_back,
    take_over,
    who_was_forgotten,
)
from datasites.merchant.stale import HANDED_OVER
from datasites.merchant.store import load_catalogue, load_shop
from recsys.data import Marketplace, write_catalogue
from recsys.errors import DataError

pytestmark = pytest.mark.attack

BOUGHT = {"kim": [0, 1, 2, 3], "lee": [3, 1], "ada": [5, 2, 4]}


@pytest.fixture
def files(tmp_path: Path, market: Marketplace) -> tuple[Path, Path]:
    ids = market.catalogue.item_ids
    write_catalogue(tmp_path / "items.csv", market.catalogue)
    lines = [
        f"{shopper},{ids[toy]},{place}"
        for shopper, toys in BOUGHT.items()
        for place, toy in enumerate(toys)
    ]
    (tmp_path / "bought.csv").write_text("\n".join(["shopper_id,item_id,position", *lines]) + "\n")
    return tmp_path / "bought.csv", tmp_path / "items.csv"


@pytest.fixture
def home(empty_home: MerchantHome, files: tuple[Path, Path]) -> MerchantHome:
    add_data(empty_home, *files)
    return empty_home


def histories(home: MerchantHome) -> dict[str, list[int]]:
    shop = load_shop(home, load_catalogue(home))
    assert shop.split.everything().items.tolist() == shop.all.items.tolist()
    return {
        str(shopper): shop.all.history(row).tolist()
        for row, shopper in enumerate(shop.all.shopper_ids)
    }


def without(*gone: str) -> dict[str, list[int]]:
    return {shopper: toys for shopper, toys in BOUGHT.items() if shopper not in gone}


def test_her_purchases_go_and_the_others_stay(home: MerchantHome) -> None:
    before = load_shop(home, load_catalogue(home))
    assert forget(home, "lee")
    assert histories(home) == without("lee")
    after = load_shop(home, load_catalogue(home))
    kept = before.all.shopper_ids.astype(str) != "lee"
    np.testing.assert_array_equal(before.rows(kept).labels, after.labels)
    assert not forget(home, "lee")


def test_she_does_not_come_back_with_the_next_file(
    home: MerchantHome, files: tuple[Path, Path]
) -> None:
    assert forget(home, "kim")
    assert not forget(home, "zoe")
    add_data(home, *files)
    assert histories(home) == without("kim")


def test_she_does_not_come_back_with_a_file_that_is_handed_over_just_then(
    home: MerchantHome, files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = threading.Thread(target=forget, args=(home, "kim"))

    def meanwhile(_home: MerchantHome) -> bool:
        asking.start()
        asking.join(1.0)  # she has to wait for the file, or is done before it
        return False

    monkeypatch.setattr("datasites.merchant.store._has_released", meanwhile)
    add_data(home, *files)
    asking.join(30)
    assert histories(home) == without("kim")


def test_the_last_shopper_can_go(home: MerchantHome) -> None:
    for shopper in BOUGHT:
        assert forget(home, shopper)
    assert histories(home) == {}


def test_her_id_is_kept_nowhere(home: MerchantHome) -> None:
    forget(home, "kim")
    for file in home.root.rglob("*"):
        if file.is_file():
            assert b"kim" not in file.read_bytes(), file
            if file.name.startswith(("forg", "shop")):
                assert file.stat().st_mode & 0o077 == 0, file


def test_a_lost_key_is_told_and_nothing_is_added(
    home: MerchantHome, files: tuple[Path, Path]
) -> None:
    forget(home, "kim")
    (home.private / "keys" / "forget.key").unlink()
    with pytest.raises(SettingsError, match=r"forget\.key"):
        add_data(home, *files)
    assert histories(home) == without("kim")


def test_who_asks_before_there_are_purchases_is_left_out_of_them(
    empty_home: MerchantHome, files: tuple[Path, Path]
) -> None:
    assert not forget(empty_home, "kim")
    add_data(empty_home, *files)
    assert histories(empty_home) == without("kim")


@pytest.mark.parametrize("typed", [" lee ", "lee\t", "\u00a0lee"])
def test_an_id_is_read_as_a_file_of_purchases_is(
    home: MerchantHome, files: tuple[Path, Path], typed: str
) -> None:
    assert forget(home, typed)
    add_data(home, *files)
    assert histories(home) == without("lee")


def test_a_number_that_a_table_made_a_float_is_that_shopper(
    empty_home: MerchantHome, files: tuple[Path, Path], tmp_path: Path
) -> None:
    import pandas as pd

    items = pd.read_csv(files[1])["item_id"]
    table = pd.DataFrame(
        {"shopper_id": [7.0, 7.0, 8.0, 8.0], "item_id": items[[0, 1, 2, 3]], "position": [0, 1] * 2}
    )
    table.to_parquet(tmp_path / "bought.parquet")
    add_data(empty_home, tmp_path / "bought.parquet", files[1])
    assert forget_all(empty_home, ["7.0", "8.5", "70"]) == [True, False, False]
    add_data(empty_home, tmp_path / "bought.parquet", files[1])
    assert set(histories(empty_home)) == {"8"}
    # Written as text later, and the other way round.
    table.assign(shopper_id=["7.0", "7.0", "8.0", "8.0"]).to_csv(tmp_path / "text.csv", index=False)
    add_data(empty_home, tmp_path / "text.csv", files[1])
    assert set(histories(empty_home)) == {"8.0"}
    assert forget(empty_home, "8")
    assert histories(empty_home) == {}


def test_two_shoppers_whose_ids_are_one_number_are_two(
    empty_home: MerchantHome, files: tuple[Path, Path], tmp_path: Path
) -> None:
    ids = files[1].read_text().splitlines()[1].split(",")[0]
    (tmp_path / "two.csv").write_text(f"shopper_id,item_id,position\n7,{ids},0\n7.0,{ids},0\n")
    add_data(empty_home, tmp_path / "two.csv", files[1])
    assert forget(empty_home, "7.0")
    assert set(histories(empty_home)) == {"7"}
    add_data(empty_home, tmp_path / "two.csv", files[1])
    assert set(histories(empty_home)) == {"7"}


@pytest.mark.parametrize("wrong", ["", "  ", "null", "x" * 257, "\udcff"])
def test_what_cannot_be_an_id_is_refused_and_nobody_is_taken_out(
    home: MerchantHome, wrong: str
) -> None:
    with pytest.raises(DataError):
        forget_all(home, ["kim", wrong])
    assert histories(home) == dict(BOUGHT)


def test_a_customer_who_has_come_back_counts_again(
    home: MerchantHome, files: tuple[Path, Path]
) -> None:
    assert forget_all(home, ["kim", "lee"]) == [True, True]
    assert take_back(home, [" kim", "ada"]) == [True, False]
    add_data(home, *files)
    assert histories(home) == without("lee")


def test_a_datasite_that_follows_leaves_out_whom_the_earlier_one_forgot(
    home: MerchantHome, files: tuple[Path, Path], tmp_path: Path
) -> None:
    follower = MerchantHome.create(tmp_path / "follower", home.settings)
    assert who_was_forgotten(home).hashes == frozenset()
    take_over(follower, who_was_forgotten(home))
    forget(home, "kim")
    take_over(follower, who_was_forgotten(home))
    add_data(follower, *files)
    assert histories(follower) == without("kim")
    forget(follower, "lee")
    assert histories(follower) == without("kim", "lee")
    with pytest.raises(SettingsError, match="forgotten shoppers itself"):
        take_over(follower, who_was_forgotten(home))


ADDING = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from datasites.merchant import MerchantHome, add_data
write = pq.write_table
def killed(table, where, *args, **kwargs):
    write(table, where, *args, **kwargs)
    if "shop" in str(where):
        os.kill(os.getpid(), signal.SIGKILL)
pq.write_table = killed
add_data(MerchantHome.open(Path(sys.argv[1])), Path(sys.argv[2]), Path(sys.argv[3]))
"""


def files_with(home: MerchantHome, shopper: str) -> list[Path]:
    return [
        file
        for file in home.root.rglob("*")
        if file.is_file() and shopper.encode() in file.read_bytes()
    ]


@pytest.mark.parametrize("then", ["forgotten", "added"])
def test_a_copy_that_a_kill_left_half_written_goes_with_her(
    home: MerchantHome, files: tuple[Path, Path], then: str
) -> None:
    command = [sys.executable, "-c", ADDING, str(home.root), *map(str, files)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = files_with(home, "kim")
    assert len(left) == 2
    assert home.data / "shop.parquet" in left
    if then == "forgotten":
        assert forget(home, "kim")
        assert files_with(home, "kim") == []
    else:
        add_data(home, *files)
        assert files_with(home, "kim") == [home.data / "shop.parquet"]


def test_what_a_killed_page_was_handed_over_goes_too(home: MerchantHome) -> None:
    for name, age in (("old", 7200), ("new", 60)):
        folder = home.private / f"{HANDED_OVER}{name}.tmp"
        folder.mkdir()
        (folder / "purchases.csv").write_text("kim")
        os.utime(folder, (time.time() - age,) * 2)
    assert forget(home, "kim")
    # The other one may be looked at just now; who asked is left out of it when it is added.
    assert [file.parent.name for file in files_with(home, "kim")] == [f"{HANDED_OVER}new.tmp"]


KILLED = """
import os, signal, sys
from pathlib import Path
from recsys import files
from datasites.merchant import MerchantHome
from datasites.merchant.forget import forget
left = int(sys.argv[2])
plain = Path.replace
def replace(self, target):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, target)
Path.replace = replace
forget(MerchantHome.open(Path(sys.argv[1])), "kim")
"""


@pytest.mark.parametrize("written", [0, 1, 2])
def test_a_kill_in_the_middle_leaves_all_or_nothing(
    home: MerchantHome, files: tuple[Path, Path], written: int
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(home.root), str(written)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert histories(home) == dict(BOUGHT)
    assert forget(home, "kim")
    assert histories(home) == without("kim")


def test_two_at_once_both_hold(home: MerchantHome, run_both: Callable[[str], None]) -> None:
    run_both(str(home.root))
    assert histories(home) == without("kim", "lee")


@pytest.fixture
def run_both() -> Callable[[str], None]:
    code = (
        "import sys; from pathlib import Path; from datasites.merchant import MerchantHome; "
        "from datasites.merchant.forget import forget; "
        "forget(MerchantHome.open(Path(sys.argv[1])), sys.argv[2])"
    )

    def run(root: str) -> None:
        started = [
            subprocess.Popen([sys.executable, "-c", code, root, shopper], env=dict(os.environ))
            for shopper in ("kim", "lee")
        ]
        assert [one.wait(60) for one in started] == [0, 0]

    return run
