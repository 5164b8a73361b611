"""The whole application as each role meets it, with Streamlit's own test runner."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from datasites.merchant import Ledger, MerchantHome, desk
from datasites.merchant.store import load_catalogue, load_shop
from datasites.protocol import Proposal
from tests.ui.web.market import BARE, SHOP, STUDY, texts
from ui.web.doors import DOORS_VARIABLE, PAGES, DoorStore, PageName, Role

SignIn = Callable[..., str]
APP = Path(__file__).parents[4] / "ui" / "web" / "app.py"


def open_app() -> AppTest:
    return AppTest.from_file(str(APP), default_timeout=30).run()


def forget_form(home: MerchantHome) -> AppTest:
    """What the dialog shows, as a page of its own."""
    script = (
        "from pathlib import Path\n"
        "from types import SimpleNamespace\n"
        "from datasites.merchant import MerchantHome\n"
        "from ui.web.views.forget_me import forget_form\n"
        f"shop = SimpleNamespace(name={SHOP!r})\n"
        f"forget_form(MerchantHome.open(Path({str(home.root)!r})), shop)\n"
    )
    return AppTest.from_string(script, default_timeout=30).run()


@pytest.fixture
def shopper(homes: dict[str, MerchantHome]) -> tuple[str, list[int]]:
    """The one who bought most, and what she bought."""
    shop = load_shop(homes[SHOP], load_catalogue(homes[SHOP])).all
    row = int(max(range(shop.n_shoppers), key=lambda one: len(shop.history(one))))
    return str(shop.shopper_ids[row]), [int(item) for item in shop.history(row)]


@pytest.mark.attack
def test_a_shopper_sees_herself_and_cannot_choose_another(
    homes: dict[str, MerchantHome],
    manifest: Path,
    served: Callable[..., None],
    sign_in: SignIn,
    shopper: tuple[str, list[int]],
) -> None:
    served()
    identity, history = shopper
    sign_in(Role.SHOPPER, homes[SHOP].root, identity)
    page = AppTest.from_file(str(APP), default_timeout=30)
    page.query_params["at"] = BARE
    page.query_params["shopper"] = "1"
    page.run()
    told = texts(page)
    assert page.title[0].value == SHOP
    assert page.subheader[0].value == "For you"
    assert identity not in told
    assert not [one for one in page.radio if one.key == "shop-who"]
    assert not page.number_input
    assert not [one for one in page.selectbox if one.key == "at"]
    titles = load_catalogue(homes[SHOP]).frame["title"]
    assert titles.iloc[history[-1]] in told
    for key in ("shop-who", "at", f"shopper-{SHOP}"):
        page.session_state[key] = 2
    page.run()
    assert page.subheader[0].value == "For you"
    assert titles.iloc[history[-1]] in texts(page)


@pytest.mark.attack
def test_a_shopper_has_herself_forgotten_and_nobody_else(
    homes: dict[str, MerchantHome],
    manifest: Path,
    served: Callable[..., None],
    sign_in: SignIn,
    shopper: tuple[str, list[int]],
) -> None:
    served()
    identity, _ = shopper
    before = load_shop(homes[SHOP], load_catalogue(homes[SHOP])).all
    sign_in(Role.SHOPPER, homes[SHOP].root, identity)
    store = DoorStore(Path(os.environ[DOORS_VARIABLE]))
    elsewhere = store.begin(Role.SHOPPER, merchant=homes[SHOP].root, shopper=identity)
    page = open_app()
    assert "cannot be taken back" in texts(page.button(key="forget-me").click().run())
    asked = forget_form(homes[SHOP])
    asked.button(key="forget-me-yes").click().run()
    assert not asked.exception
    after = load_shop(homes[SHOP], load_catalogue(homes[SHOP])).all
    assert {*map(str, before.shopper_ids)} - {*map(str, after.shopper_ids)} == {identity}
    assert store.person(elsewhere) is None
    again = open_app()
    assert "This shop knows of nothing that you bought" in texts(again)
    assert not [one for one in again.button if one.key == "forget-me"]


@pytest.mark.attack
@pytest.mark.parametrize(
    ("role", "where", "identity"),
    [
        (Role.SHOPPER, BARE, "s0000001"),
        (Role.SHOPPER, SHOP, None),
        (Role.MERCHANT, SHOP, None),
        (Role.ANALYST, None, None),
    ],
)
def test_the_form_is_worth_nothing_to_others(
    homes: dict[str, MerchantHome],
    manifest: Path,
    sign_in: SignIn,
    role: Role,
    where: str | None,
    identity: str | None,
) -> None:
    before = (homes[SHOP].data / "shop.parquet").read_bytes()
    sign_in(role, None if where is None else homes[where].root, identity)
    asked = forget_form(homes[SHOP])
    asked.button(key="forget-me-yes").click().run()
    assert asked.exception or asked.error
    assert (homes[SHOP].data / "shop.parquet").read_bytes() == before


@pytest.mark.attack
@pytest.mark.parametrize("role", [Role.DEMO, Role.MERCHANT])
def test_nobody_but_the_shopper_is_offered_forgetting(
    homes: dict[str, MerchantHome],
    manifest: Path,
    served: Callable[..., None],
    sign_in: SignIn,
    role: Role,
) -> None:
    served()
    sign_in(role, homes[SHOP].root if role is Role.MERCHANT else None)
    assert not [one for one in open_app().button if one.key == "forget-me"]


@pytest.mark.attack
def test_somebody_new_has_no_history_to_look_at(
    homes: dict[str, MerchantHome], manifest: Path, served: Callable[..., None], sign_in: SignIn
) -> None:
    served()
    sign_in(Role.SHOPPER, homes[SHOP].root)
    page = open_app()
    assert page.subheader[0].value == "A new face"
    assert not page.number_input
    assert not page.radio


@pytest.mark.attack
def test_pages_that_a_role_lacks_refuse_it_though_called(
    homes: dict[str, MerchantHome], manifest: Path, sign_in: SignIn
) -> None:
    for role, lacks in {
        Role.SHOPPER: ("merchant", "study", "insights"),
        Role.SCIENTIST: ("merchant", "insights"),
        Role.ANALYST: ("merchant", "study"),
        Role.MERCHANT: ("study", "insights"),
    }.items():
        bound = homes[SHOP].root if role in (Role.SHOPPER, Role.MERCHANT) else None
        sign_in(role, bound)
        for name in lacks:
            script = f"from ui.web.views import {name}\n{name}.page()\n"
            page = AppTest.from_string(script, default_timeout=30).run()
            refused = page.exception and "expected a role that may" in page.exception[0].message
            nothing = not page.title and not page.tabs
            assert refused or nothing, (role, name)


@pytest.mark.attack
def test_an_action_is_refused_after_the_session_ended(
    homes: dict[str, MerchantHome],
    manifest: Path,
    ask: Callable[..., Proposal],
    sign_in: SignIn,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = homes[SHOP]
    ask(home)
    sign_in(Role.MERCHANT, home.root)
    script = (
        "from pathlib import Path\n"
        "from datasites.merchant import Ledger, MerchantHome, desk\n"
        "from ui.web.views.decision import approve_form\n"
        f"home = MerchantHome.open(Path({str(home.root)!r}))\n"
        "ledger = Ledger.open(home.ledger_path)\n"
        f"approve_form(home, ledger, desk.review(home, ledger, {STUDY!r}))\n"
    )
    form = AppTest.from_string(script, default_timeout=30).run()
    sign_in(Role.SHOPPER, home.root)
    form.button(key="approve-now").click().run()
    assert "expected a role that may" in form.error[0].value
    assert Ledger.open(home.ledger_path).approval(STUDY) is None
    sign_in(Role.MERCHANT, homes[BARE].root)
    form.button(key="approve-now").click().run()
    assert "belongs to" in form.error[0].value
    monkeypatch.setattr("ui.web.doors.guard.session_secret", lambda: None)
    form.button(key="approve-now").click().run()
    assert "signed in" in form.error[0].value
    assert Ledger.open(home.ledger_path).approval(STUDY) is None
    assert desk.requests(home, Ledger.open(home.ledger_path))[0].status == "pending"


def test_nobody_gets_a_sign_in_page(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.web.doors.guard.session_secret", lambda: None)
    page = open_app()
    assert page.title[0].value == "Please sign in"
    assert "toyfed web link" in page.info[0].value


@pytest.mark.attack
def test_the_next_person_in_the_same_tab_starts_anew(
    homes: dict[str, MerchantHome], manifest: Path, served: Callable[..., None], sign_in: SignIn
) -> None:
    served()
    sign_in(Role.DEMO)
    page = open_app()
    page.session_state["liked"] = [3]
    page.run()
    sign_in(Role.SHOPPER, homes[SHOP].root)
    page.run()
    assert page.session_state["person"]
    assert not page.session_state["liked"]
    assert page.subheader[0].value == "A new face"
    assert PAGES[Role.SHOPPER] == (PageName.SHOP,)
