"""Room that a run is sure of, on a real disk that fills while the real sandbox runs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datasites.merchant import MerchantHome, runs
from datasites.merchant.code import code_digest
from datasites.merchant.room import free_room, take_room
from datasites.protocol import Proposal
from datasites.recipes import recipe_named
from tests.crash.disk import SmallDisk, small_disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    try:
        mounted = small_disk(tmp_path / "castle", 16)
        with mounted as found:
            yield found
    except PermissionError as error:
        pytest.skip(f"a disk for this test cannot be mounted here: {error}")


@pytest.mark.attack
def test_without_room_nothing_is_held(disk: SmallDisk) -> None:
    with pytest.raises(OSError, match="No space"):
        take_room(disk.root, 6 * 1024 * 1024)
    assert [*disk.root.iterdir()] == []
    take_room(disk.root, 1024)
    assert len([*disk.root.iterdir()]) == 4
    free_room(disk.root)
    assert [*disk.root.iterdir()] == []


@pytest.mark.attack
@pytest.mark.slow
def test_a_disk_that_fills_while_the_code_runs_loses_no_release(
    disk: SmallDisk, home: MerchantHome, make_proposal: Callable[..., Proposal]
) -> None:
    proposal = make_proposal()
    phase = proposal.phase("counts")
    code = home.requests / "toys" / "code"
    shutil.copytree(
        recipe_named("private-als").code, code, ignore=shutil.ignore_patterns("__pycache__")
    )
    main = (code / "main.py").read_text()
    # More words than fit, so that the log is cut by the disk.
    (code / "main.py").write_text(main + "\nprint('word ' * 20_000)\n")
    runs.prepare(home, "job", proposal, phase)

    def film() -> bool:
        disk.fill()
        return False

    with runs.room_taken(home, "job", phase):
        pass
    booked = runs.execute(home, "job", code, code_digest(code), phase, cancelled=film)
    assert runs.release_facts(home, "job") == booked
    assert runs.release_files(home, "job")
    assert not [*(home.runs / "job").glob("room-*")]
