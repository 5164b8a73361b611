"""A ledger put back from an old copy is noticed, whoever owns the share and whatever they do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from datasites.errors import LedgerError, RestoredError, ReviewError, TransportError
from datasites.merchant import Ledger, MerchantHome, MerchantSettings
from datasites.merchant.ledger import LOST, Sighting, verify_export
from datasites.merchant.ledger.books import Books
from datasites.merchant.witness import _MOST_BYTES, STARTED_ANEW, Witnesses
from datasites.syftbox.store import ObjectStore
from recsys.privacy import Budget, GaussianEvent, SubsampledGaussianEvent, Tally

pytestmark = pytest.mark.attack

CODE = PARAMS = "c" * 64
OBJECT = "castle@toys.test/ledger-witness"


class Shelf:
    """A place whose owner may do anything with it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.away = False

    def get(self, key: str, limit: int) -> bytes | None:
        self._reach()
        return self.objects.get(key)

    def put(self, key: str, data: bytes) -> None:
        self._reach()
        self.objects[key] = data

    def _reach(self) -> None:
        if self.away:
            raise TransportError("away")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def witnesses(home: MerchantHome, ledger: Ledger, shelf: Shelf) -> Witnesses:
    return Witnesses(home, ledger, {"the share": lambda: shelf})


def run(ledger: Ledger, study: str, sigma: float = 10.0) -> None:
    ledger.request(study, study, "ds@lab", CODE, PARAMS, {})
    event = GaussianEvent("sums", 1.0, sigma)
    ledger.approve(
        study,
        study=study,
        sender="ds@lab",
        code_sha256=CODE,
        params_sha256=PARAMS,
        events=[event, event],
        rounds=2,
        expires=datetime.now(UTC) + timedelta(days=1),
        by="me",
    )
    ledger.reserve(study, f"{study}-job", "one", [event])


@pytest.fixture
def put_back(home: MerchantHome, tmp_path: Path) -> Callable[[], None]:
    """Copies the whole ledger, head file and all, now; puts it back when called."""
    copy = tmp_path / "backup"
    copy.mkdir()
    for file in home.private.glob("ledger.*"):
        shutil.copy2(file, copy)

    def restore() -> None:
        for file in home.private.glob("ledger.*"):
            file.unlink()
        for file in copy.iterdir():
            shutil.copy2(file, home.private)

    return restore


def test_a_restored_ledger_is_noticed_and_its_loss_is_booked(
    home: MerchantHome,
    ledger: Ledger,
    shelf: Shelf,
    witnesses: Witnesses,
    put_back: Callable[[], None],
) -> None:
    run(ledger, "toys")
    witnesses.keep()
    before = ledger.spent()
    put_back()
    again = Ledger.open(home.ledger_path)
    later = Witnesses(home, again, {"the share": lambda: shelf})
    for look in (later.check, later.keep, later.keep_if_moved):
        with pytest.raises(RestoredError, match="accept-restore"):
            look()
    assert again.spent().epsilon == 0

    lost = again.accept_restore(later.seen(), by="me")
    assert lost == before
    assert again.spent() == before
    assert again.spent_by_study() == {LOST: before}
    later.keep()
    Ledger.open(home.ledger_path).verify()


def test_approvals_and_peers_do_not_come_back_with_a_restore(
    home: MerchantHome, ledger: Ledger, shelf: Shelf
) -> None:
    run(ledger, "toys")
    ledger.note("peer-approved", {"email": "ds@lab", "fingerprint": "1234"})
    seen = Sighting(99, "f" * 64, 1, 0, Tally(0.5))
    ledger.accept_restore([seen], by="me")
    assert ledger.approval("toys") is None
    assert ledger.is_revoked("toys")
    assert ledger.state_of("toys-job") == "failed"
    assert ledger.peers() == {"ds@lab": ""}


def test_an_old_witness_shown_again_is_no_alarm(
    home: MerchantHome,
    ledger: Ledger,
    shelf: Shelf,
    witnesses: Witnesses,
    put_back: Callable[[], None],
) -> None:
    witnesses.keep()
    oldest = shelf.objects[OBJECT]
    run(ledger, "toys")
    witnesses.keep()
    old = shelf.objects[OBJECT]
    shelf.objects[OBJECT] = oldest
    witnesses.check()
    put_back()
    again = Ledger.open(home.ledger_path)
    later = Witnesses(home, again, {"the share": lambda: shelf})
    shelf.objects[OBJECT] = old
    again.accept_restore(later.seen(), by="me")
    later.keep()
    for replayed in (oldest, old):
        shelf.objects[OBJECT] = replayed
        later.check()


def test_a_witness_withheld_when_a_restore_was_accepted_still_counts(
    home: MerchantHome, ledger: Ledger, put_back: Callable[[], None]
) -> None:
    run(ledger, "toys")
    early = ledger.sighting()
    run(ledger, "games")
    late = ledger.sighting()
    spent = ledger.spent()
    put_back()
    again = Ledger.open(home.ledger_path)
    again.accept_restore([early], by="me")
    assert not again.lacks(early)
    assert again.lacks(late)
    again.accept_restore([late], by="me")
    assert again.spent().epsilon == pytest.approx(spent.epsilon)


def test_what_is_spent_after_a_restore_does_not_pay_for_what_was_lost(
    home: MerchantHome, ledger: Ledger, put_back: Callable[[], None]
) -> None:
    run(ledger, "toys")
    early = ledger.sighting()
    run(ledger, "games")
    late = ledger.sighting()
    each = ledger.spent_by_study()["toys"].mu ** 2
    put_back()
    again = Ledger.open(home.ledger_path)
    again.accept_restore([early], by="me")
    run(again, "puzzles")
    assert again.lacks(late)
    again.accept_restore([late], by="me")
    assert again.spent_ever().mu ** 2 == pytest.approx(3 * each)
    assert not again.lacks(late)
    assert not again.lacks(early)


def test_a_ledger_that_went_on_unnoticed_books_both_branches(
    home: MerchantHome, ledger: Ledger, put_back: Callable[[], None]
) -> None:
    run(ledger, "toys")
    each = ledger.spent_by_study()["toys"].mu ** 2
    stick = ledger.sighting()
    put_back()
    again = Ledger.open(home.ledger_path)
    run(again, "puzzles")
    run(again, "dolls")
    assert again.lacks(stick)
    again.accept_restore([stick], by="me")
    assert again.spent_ever().mu ** 2 == pytest.approx(3 * each)
    assert not again.lacks(stick)
    assert Sighting.from_dict(again.sighting().to_dict()) == again.sighting()


def test_a_witness_of_many_kinds_of_steps_can_still_be_read() -> None:
    books = Books()
    for number in range(200):
        step = SubsampledGaussianEvent("gradient", 1.0 + number / 1000, 0.1, 20)
        books.ever += Tally.of([step])
        books.marks = (*books.marks[:1], *books.marks[1:][-62:], (number, "f" * 64, books.ever))
    seen = books.sighting
    assert len(json.dumps(seen.to_dict())) < _MOST_BYTES // 2
    assert (seen.marks[0], seen.marks[-1]) == (books.marks[0], books.marks[-1])
    assert Sighting.from_dict(json.loads(json.dumps(seen.to_dict()))) == seen


def test_another_history_of_the_same_length_is_noticed(
    home: MerchantHome, ledger: Ledger, put_back: Callable[[], None]
) -> None:
    ledger.note("here", {})
    seen = ledger.sighting()
    put_back()
    again = Ledger.open(home.ledger_path)
    again.note("there", {})
    assert again.sighting().seq == seen.seq
    assert again.lacks(seen)


@pytest.mark.parametrize("forged", [b"", b"x", b"x" * 500])
def test_what_others_put_in_its_place_is_no_alarm_and_is_written_over(
    shelf: Shelf, witnesses: Witnesses, forged: bytes
) -> None:
    witnesses.keep()
    shelf.objects[OBJECT] = forged
    witnesses.check()
    witnesses.keep()
    assert len(witnesses.seen()) == 1


def test_a_second_home_of_the_same_address_does_not_begin_with_a_fresh_budget(
    witnesses: Witnesses, ledger: Ledger, shelf: Shelf, tmp_path: Path
) -> None:
    run(ledger, "toys")
    witnesses.keep()
    kept = dict(shelf.objects)
    settings = MerchantSettings(name="Y", email="castle@toys.test", share=str(tmp_path / "share"))
    other = MerchantHome.create(tmp_path / "other", settings)
    fresh = Ledger.create(other.ledger_path, Budget(1.0, 1e-5))
    second = Witnesses(other, fresh, {"the share": lambda: shelf})
    for act in (second.check, second.keep, second.keep_if_moved):
        with pytest.raises(RestoredError, match="--spent-before"):
            act()
    assert shelf.objects == kept
    fresh.note(STARTED_ANEW, {"by": "me"})
    second.keep()
    assert shelf.objects != kept


def test_a_datasite_that_counts_what_an_earlier_one_spent_begins(
    witnesses: Witnesses, ledger: Ledger, shelf: Shelf, tmp_path: Path
) -> None:
    run(ledger, "toys")
    witnesses.keep()
    ledger.export(tmp_path / "ledger.json")
    settings = MerchantSettings(name="Y", email="castle@toys.test", share=str(tmp_path / "share"))
    other = MerchantHome.create(tmp_path / "other", settings)
    earlier = [verify_export(tmp_path / "ledger.json")]
    fresh = Ledger.create(other.ledger_path, Budget(1.0, 1e-5), earlier=earlier)
    Witnesses(other, fresh, {"the share": lambda: shelf}).keep()


def test_a_second_witness_shows_what_the_share_hides(
    home: MerchantHome, ledger: Ledger, shelf: Shelf, put_back: Callable[[], None]
) -> None:
    stick = Shelf()
    places: dict[str, Callable[[], Shelf]] = {"the share": lambda: shelf, "copy 1": lambda: stick}
    run(ledger, "toys")
    Witnesses(home, ledger, dict(places)).keep()
    shelf.objects.clear()
    put_back()
    with pytest.raises(RestoredError, match="copy 1"):
        Witnesses(home, Ledger.open(home.ledger_path), dict(places)).check()


def test_nothing_leaves_while_no_witness_can_be_written(
    ledger: Ledger, shelf: Shelf, witnesses: Witnesses
) -> None:
    shelf.away = True
    witnesses.check()
    with pytest.raises(TransportError, match="Nothing leaves"):
        witnesses.keep()
    shelf.away = False
    witnesses.keep()
    assert witnesses.seen() == [ledger.sighting()]


def test_a_witness_tells_its_reader_nothing(
    home: MerchantHome, shelf: Shelf, witnesses: Witnesses
) -> None:
    witnesses.keep()
    sealed = shelf.objects[OBJECT]
    assert b"seq" not in sealed
    assert b"hash" not in sealed
    key = home.private / "keys" / "witness.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes() not in sealed


def test_there_is_nothing_to_accept_on_a_whole_ledger(ledger: Ledger) -> None:
    with pytest.raises(ReviewError, match="no restore"):
        ledger.accept_restore([ledger.sighting()], by="me")


@pytest.mark.parametrize("odd", [{}, {"seq": -1}, {"seq": "1", "hash": "", "ever": {}}])
def test_a_sighting_that_is_none_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises(LedgerError):
        Sighting.from_dict(odd)


@pytest.mark.parametrize("lost", ["the witness", "the key"])
def test_a_witness_that_is_gone_is_noted_in_the_ledger_after_a_restart(
    home: MerchantHome, ledger: Ledger, shelf: Shelf, witnesses: Witnesses, lost: str
) -> None:
    witnesses.keep()
    if lost == "the key":
        (home.private / "keys" / "witness.key").unlink()
    else:
        shelf.objects.clear()
    for _ in range(3):
        restarted = Witnesses(home, ledger, {"the share": lambda: shelf})
        restarted.check()
        restarted.keep()
    notes = [entry for entry in ledger.entries() if entry.kind == "witness missing"]
    assert notes
    assert all(entry.note for entry in notes)
    assert len(notes) <= 2, "told once, not at every look"


def test_a_new_place_is_not_missed(
    home: MerchantHome, ledger: Ledger, shelf: Shelf, witnesses: Witnesses
) -> None:
    witnesses.keep()
    places = {"the share": lambda: shelf, "copy 1": Shelf}
    Witnesses(home, ledger, places).keep()
    assert not [entry for entry in ledger.entries() if entry.note]


@pytest.mark.parametrize("left", ["an empty folder", "nothing"])
def test_a_share_that_is_not_mounted_has_lost_nothing(
    home: MerchantHome, ledger: Ledger, tmp_path: Path, left: str
) -> None:
    """The machine was started again, and what is mounted over the network comes later."""
    share = tmp_path / "mounted"
    share.mkdir()
    places = {"the share": lambda: ObjectStore(str(share))}
    Witnesses(home, ledger, places).keep()
    share.rename(tmp_path / "unmounted")
    if left == "an empty folder":
        share.mkdir()
    for _ in range(3):
        Witnesses(home, ledger, places).check()
        with pytest.raises(TransportError):
            Witnesses(home, ledger, places).keep()
    assert not [entry for entry in ledger.entries() if entry.note]
    assert not list(share.glob("*"))
    # Another share is another place: it begins there.
    other = {"the share": lambda: ObjectStore(str(tmp_path / "other"))}
    Witnesses(home, ledger, other).keep()
    assert list((tmp_path / "other").rglob("ledger-witness"))


def test_what_was_said_once_is_not_booked_again_by_whoever_begins_anew(
    home: MerchantHome, ledger: Ledger, shelf: Shelf, witnesses: Witnesses
) -> None:
    witnesses.keep()
    shelf.objects.clear()
    said: set[tuple[str, str]] = set()
    for _ in range(5):
        Witnesses(home, ledger, {"the share": lambda: shelf}, said=said).check()
    assert len([entry for entry in ledger.entries() if entry.kind == "witness missing"]) == 1
