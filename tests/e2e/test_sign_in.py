"""Sign-in in earnest: `toyfed web --sign-in` by https, an OpenID provider, and a real browser.

The provider is a real one on loopback with registration of clients; its certificate and the
page's are one that the page's process trusts and the browser is told to take.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from datasites.merchant import add_data
from recsys.data import synthesize, write_marketplace
from tests.e2e.browser import chromium, settle
from tests.servers.oidc import make_certificate
from tests.ui.web.market import SHOP, make_home, write_purchases
from ui.web.doors.store import ABSOLUTE_SECONDS
from ui.web.launch import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("sign-in")]
ROOT = Path(__file__).parents[2]
NOT_KNOWN = "this page has no role for you"


@dataclass
class Door:
    """What runs: the page and its provider."""

    page: str
    provider: str
    folder: Path
    trust: ssl.SSLContext


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder = tmp_path_factory.mktemp("sign-in")
    certificate = make_certificate(folder)
    provider = f"https://localhost:{free_port()}"
    page = f"https://localhost:{free_port()}"
    environment = os.environ | {"SSL_CERT_FILE": str(certificate), "PYTHONPATH": str(ROOT)}
    trust = ssl.create_default_context(cafile=str(certificate))
    running: list[subprocess.Popen[bytes]] = []

    def start(name: str, *command: str) -> None:
        with (folder / f"{name}.log").open("ab") as log:
            running.append(
                subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    try:
        provide = ("-m", "tests.servers.oidc", _port(provider), str(folder))
        start("provider", sys.executable, *provide)
        _until(lambda: (folder / f"ready-{running[0].pid}").exists())
        client = _register(provider, f"{page}/oauth2callback", trust)
        toyfed = str(Path(sys.executable).with_name("toyfed"))
        start("page", toyfed, *_arguments(folder, page, provider, client))
        _until(lambda: "Ctrl-C stops" in (folder / "page.log").read_text())
        yield Door(page, provider, folder, trust)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


def _arguments(folder: Path, page: str, provider: str, client: dict[str, Any]) -> list[str]:
    """A shop with purchases, its private file for sign-in, and the command that opens it."""
    home = make_home(folder / "castle", SHOP)
    market = synthesize(None, merchants=2, shoppers=60, toys=40, seed=3)
    write_marketplace(folder / "market", market)
    add_data(home, *write_purchases(folder, market))
    settings = {
        "provider": {
            "redirect_uri": f"{page}/oauth2callback",
            "cookie_secret": "a-cookie-secret-of-more-than-32-characters",
            "client_id": client["client_id"],
            "client_secret": client["client_secret"],
            "server_metadata_url": f"{provider}/.well-known/openid-configuration",
        },
        "people": [
            {"email": "anna@castle.example", "role": "merchant", "merchant": home.settings.email},
            {"subject": "248289761001", "role": "analyst"},
        ],
    }
    file = folder / "sign-in.toml"
    file.touch(0o600)
    file.write_text(tomli_w.dumps(settings))
    paths = {
        "--datasite": home.root,
        "--sign-in": file,
        "--certificate": folder / "localhost.pem",
        "--certificate-key": folder / "localhost.key",
        "--port": _port(page),
    }
    return ["web", *(str(word) for pair in paths.items() for word in pair), "--no-browser"]


def _register(provider: str, callback: str, trust: ssl.SSLContext) -> dict[str, Any]:
    asked = urllib.request.Request(
        f"{provider}/oauth2/clients",
        json.dumps(
            {"redirect_uris": [callback], "token_endpoint_auth_method": "client_secret_basic"}
        ).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked, timeout=20, context=trust) as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def _port(address: str) -> str:
    return address.rsplit(":", 1)[1]


def _until(holds: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "expected a server to be ready by now"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def person(browser: Browser) -> Iterator[BrowserContext]:
    """Somebody with a fresh browser."""
    context = browser.new_context(ignore_https_errors=True)
    context.set_default_timeout(45_000)
    yield context
    context.close()


def sign_in(door: Door, person: BrowserContext, account: str) -> Page:
    """Come from nowhere, press *Sign in*, and say at the provider who one is."""
    page = person.new_page()
    page.goto(door.page)
    assert page.url == f"{door.page}/sign-in"
    page.get_by_role("link", name="Sign in").click()
    page.wait_for_url(f"{door.provider}/**")
    page.get_by_role("button", name=account, exact=True).click()
    page.wait_for_url(f"{door.page}/**")
    return page


def cookies(person: BrowserContext, door: Door) -> dict[str, Any]:
    return {one["name"]: one for one in person.cookies(door.page)}  # type: ignore[typeddict-item]


def test_a_merchant_whom_the_provider_vouches_for_comes_in_and_leaves(
    door: Door, person: BrowserContext
) -> None:
    page = sign_in(door, person, "anna")
    page.get_by_role("heading", level=1).wait_for()
    settle(page)
    assert page.get_by_role("link", name="Merchant").count()
    assert not page.get_by_role("link", name="Study").count()

    kept = cookies(person, door)
    # Streamlit's own would open the page for a month; ours ends with the session.
    assert not [name for name in kept if name.startswith("_streamlit_user")]
    session = kept["__Host-toyfed"]
    assert session["httpOnly"] is True
    assert session["secure"] is True
    assert session["expires"] <= time.time() + ABSOLUTE_SECONDS

    page.goto(f"{door.page}/sign-out")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{door.page}/sign-in**")
    assert "__Host-toyfed" not in cookies(person, door)
    page.goto(door.page)
    assert page.url == f"{door.page}/sign-in"


def test_somebody_named_by_the_providers_own_name_sees_her_own_pages(
    door: Door, person: BrowserContext
) -> None:
    page = sign_in(door, person, "248289761001")
    page.get_by_role("heading", level=1).wait_for()
    settle(page)
    assert page.get_by_role("link", name="Insights").count()
    assert not page.get_by_role("link", name="Merchant").count()


@pytest.mark.attack
@pytest.mark.parametrize("account", ["eve", "claims-to-be-anna"])
def test_who_has_no_role_or_an_email_that_nobody_verified_stays_outside(
    door: Door, person: BrowserContext, account: str
) -> None:
    page = sign_in(door, person, account)
    page.get_by_text(NOT_KNOWN).wait_for()
    assert not cookies(person, door)
    page.goto(door.page)
    assert page.url == f"{door.page}/sign-in"


@pytest.mark.attack
def test_an_answer_that_was_used_opens_nothing_a_second_time(
    door: Door, browser: Browser, person: BrowserContext
) -> None:
    answers: list[str] = []
    person.on(
        "request",
        lambda asked: answers.append(asked.url) if "/oauth2callback?" in asked.url else None,
    )
    sign_in(door, person, "anna").get_by_role("heading", level=1).wait_for()
    assert len(answers) == 1
    # Neither in the thief's browser, which did not ask, nor once more in the same one.
    thief = browser.new_context(ignore_https_errors=True)
    for somebody in (thief, person):
        somebody.clear_cookies()
        page = somebody.new_page()
        page.goto(answers[0])
        page.goto(door.page)
        assert page.url == f"{door.page}/sign-in"
    thief.close()


@pytest.mark.attack
def test_a_sign_in_that_was_denied_leads_back_to_the_door(
    door: Door, person: BrowserContext
) -> None:
    page = sign_in(door, person, "Deny")
    assert "__Host-toyfed" not in cookies(person, door)
    page.goto(door.page)
    assert page.url == f"{door.page}/sign-in"


def test_nothing_private_was_written_to_the_log(door: Door) -> None:
    log = (door.folder / "page.log").read_text()
    assert f"People sign in at {door.page}\n" in log
    for private in ("anna@castle.example", "248289761001", "cookie-secret", "code=", "Traceback"):
        assert private not in log
