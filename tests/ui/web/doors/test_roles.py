from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from datasites.merchant import MerchantHome
from tests.ui.web.market import BARE, SHOP
from ui.errors import NotAllowedError, SignInError
from ui.web.doors import ACTIONS, DOORS_VARIABLE, PAGES, Action, PageName, Role, demand, signed_in

SignIn = Callable[..., str]


def test_the_table_is_whole() -> None:
    assert ACTIONS.keys() == PAGES.keys() == set(Role)
    assert all(PAGES.values())
    assert ACTIONS[Role.DEMO] == set(Action)


@pytest.mark.attack
def test_a_shopper_may_do_nothing_but_shop_and_be_forgotten() -> None:
    assert PAGES[Role.SHOPPER] == (PageName.SHOP,)
    assert ACTIONS[Role.SHOPPER] == {Action.FORGET_ME}
    assert {role for role in Role if Action.FORGET_ME in ACTIONS[role]} == {Role.SHOPPER, Role.DEMO}


@pytest.mark.attack
def test_nobody_but_the_demo_may_pick_a_shopper() -> None:
    assert [role for role in Role if Action.PICK_SHOPPER in ACTIONS[role]] == [Role.DEMO]


@pytest.mark.attack
def test_only_merchants_decide() -> None:
    for action in (Action.DECIDE, Action.SEE_CONSOLE, Action.ADD_DATA, Action.PAIR):
        assert {role for role in Role if action in ACTIONS[role]} == {Role.MERCHANT, Role.DEMO}


@pytest.mark.attack
@pytest.mark.parametrize("role", [Role.SHOPPER, Role.SCIENTIST, Role.ANALYST])
def test_every_action_is_refused_to_roles_without_it(role: Role, sign_in: SignIn) -> None:
    sign_in(role)
    for action in set(Action) - ACTIONS[role]:
        with pytest.raises(NotAllowedError, match="expected a role that may"):
            demand(action)
    for action in ACTIONS[role]:
        assert demand(action).role is role


@pytest.mark.attack
def test_a_merchant_reaches_no_other_merchant(
    homes: dict[str, MerchantHome], sign_in: SignIn
) -> None:
    mine, other = homes[SHOP].root, homes[BARE].root
    sign_in(Role.MERCHANT, mine)
    assert demand(Action.DECIDE, mine)
    with pytest.raises(NotAllowedError, match="that shop's own link"):
        demand(Action.DECIDE, other)
    sign_in(Role.MERCHANT)
    with pytest.raises(NotAllowedError):
        demand(Action.DECIDE, mine)


@pytest.mark.attack
def test_a_home_of_somebody_else_is_not_this_installation(
    homes: dict[str, MerchantHome], sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    mine = homes[SHOP].root
    sign_in(Role.MERCHANT, mine)
    monkeypatch.setattr(os, "getuid", lambda: mine.stat().st_uid + 1)
    monkeypatch.setattr("ui.web.doors.guard._store", _cached_store())
    with pytest.raises(NotAllowedError, match="of this installation"):
        demand(Action.DECIDE, mine)


def _cached_store() -> Callable[[str], object]:
    """The store that was opened before: opening it anew would meet the other check."""
    from ui.web.doors import DoorStore

    class Kept(DoorStore):
        def _make_private(self) -> None:
            pass

    return lambda path: Kept(Path(path))


@pytest.mark.attack
def test_without_a_session_nobody_is_here(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("ui.web.doors.guard.session_secret", lambda: None)
    with pytest.raises(SignInError, match="toyfed web link"):
        signed_in()
    monkeypatch.delenv(DOORS_VARIABLE)
    sign_in(Role.DEMO)
    with pytest.raises(SignInError):
        signed_in()  # no file of doors: closed, not open
