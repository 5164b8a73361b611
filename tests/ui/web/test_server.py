"""The server that `toyfed web` starts, and a walk through the pages in a real browser."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from datasites.errors import SettingsError
from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.ledger import verify_export
from datasites.merchant.store import load_catalogue, load_shop
from datasites.protocol import Proposal
from tests.ui.web.market import SHOP, STUDY, join
from ui.web.doors import DoorStore, Role
from ui.web.launch import (
    cookie_name,
    doors_beside,
    free_port,
    link_to,
    start_server,
    wait_ready,
)

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_taken_port_is_refused_readably(manifest: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SettingsError, match="Choose another with --port"):
            start_server(manifest, other.getsockname()[1])


def test_a_server_that_ends_at_once_is_noticed() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    with pytest.raises(SettingsError, match="code 3"):
        wait_ready(free_port(), process=ended)


def test_wrong_use_is_told_before_anything_starts(tmp_path: Path) -> None:
    from ui.cli.web import app

    run = CliRunner().invoke
    assert run(app, []).exit_code == 2
    assert run(app, ["--marketplace", "x", "--datasite", "y"]).exit_code == 2
    missing = run(app, ["--datasite", str(tmp_path / "no"), "--no-browser"])
    assert missing.exit_code == 1


@pytest.mark.e2e
def test_a_walk_through_the_pages(
    server: str,
    browser_page: Page,
    homes: dict[str, MerchantHome],
    ask: Callable[..., Proposal],
    tmp_path: Path,
    manifest: Path,
) -> None:
    page, home = browser_page, homes[SHOP]
    ask(home)
    elsewhere: list[str] = []
    page.on("request", lambda one: elsewhere.append(one.url))

    page.goto(link_to(doors_beside(manifest), Role.DEMO))
    page.get_by_text("This shop has no model yet").wait_for()
    assert "#" not in page.url

    page.get_by_role("link", name="Merchant").click()
    page.get_by_text("Byte-identical to a recipe of this release").wait_for()
    page.get_by_role("tab", name="Code").click()
    page.get_by_text("what runs inside a merchant's sandbox").first.wait_for()
    page.get_by_role("button", name="Approve …").click()
    page.get_by_role("dialog").get_by_role("button", name="Approve", exact=True).click()
    # The request as it is drawn anew: a click on the old one would open nothing.
    page.locator("summary", has_text=f"{STUDY} from").filter(has_text="· approved").click()
    page.get_by_role("button", name="Revoke …").wait_for()
    assert Ledger.open(home.ledger_path).approval(STUDY) is not None
    page.get_by_text("promised:").wait_for()
    page.get_by_role("tab", name="Ledger").click()
    page.get_by_text("entries verified").wait_for()
    with page.expect_download() as exporting:
        page.get_by_role("button", name="Export").click()
    assert STUDY in verify_export(Path(exporting.value.path())).approvals

    page.get_by_role("link", name="Insights").click()
    page.get_by_text("only because this is a simulation").wait_for()
    page.locator("canvas, svg.marks").first.wait_for()
    with page.expect_download() as downloading:
        page.get_by_role("tab", name="All figures").click()
        page.get_by_role("button", name="JSON").click()
    assert json.loads(downloading.value.path().read_text())["settings"] == {"seed": 1}

    _choose(page, "Merchant", "Harbour Toys")
    assert "at=Harbour" in page.url
    page.get_by_role("link", name="Shop").click()
    page.get_by_text("This shop has no purchases yet").wait_for()  # the choice went along

    assert not [url for url in elsewhere if not url.startswith((server, "data:", "blob:"))]
    _nothing_private(elsewhere, tmp_path / "server.log", home)


@pytest.mark.e2e
def test_a_shopper_of_a_shop_that_joined(
    server: str,
    browser_page: Page,
    homes: dict[str, MerchantHome],
    tmp_path: Path,
    manifest: Path,
) -> None:
    page, home = browser_page, homes[SHOP]
    join(home)
    page.goto(link_to(doors_beside(manifest), Role.DEMO))
    cards = page.locator(".tf-card")
    cards.nth(11).wait_for()  # one after another, each with its buttons
    assert cards.count() == 12
    for text in cards.all_inner_texts():
        title, *facts = [line for line in text.splitlines() if line.strip()]
        assert title in set(load_catalogue(home).frame["title"])
        assert len(facts) >= 2  # category and brand, and a reason at the end
        assert "chose" in facts[-1] or "chosen" in facts[-1] or "popular" in facts[-1]
    assert all(
        source.startswith("data:image/svg+xml")
        for source in cards.locator("img").evaluate_all("all => all.map(one => one.src)")
    )

    page.get_by_text("Side by side").click()
    page.get_by_role("heading", name="Together with other shops").wait_for()
    page.wait_for_function("document.querySelectorAll('.tf-grid').length === 2")
    page.wait_for_function("document.querySelectorAll('.tf-card').length === 24")

    page.get_by_role("link", name="Merchant").click()
    page.get_by_role("tab", name="What joining brought").click()
    page.get_by_text("these figures stay here").wait_for()
    _nothing_private([], tmp_path / "server.log", home)


def _choose(page: Page, where: str, name: str) -> None:
    """Go to a page by its link and choose a merchant in its sidebar."""
    page.get_by_role("link", name=where).click()
    page.get_by_role("combobox").first.click()
    page.get_by_role("option", name=name).click()
    page.get_by_role("heading", name=name).wait_for()


def _nothing_private(urls: list[str], log: Path, home: MerchantHome) -> None:
    told = "\n".join(urls) + log.read_text()
    catalogue = load_catalogue(home)
    for shopper in load_shop(home, catalogue).all.shopper_ids:
        assert str(shopper) not in told
    assert "Traceback" not in log.read_text()


@pytest.mark.e2e
def test_no_server_outlives_the_command(homes: dict[str, MerchantHome]) -> None:
    port = free_port()
    command = [sys.executable, "-c", "from ui.cli import main; main()", "web", "--no-browser"]
    command += ["--datasite", str(homes[SHOP].root), "--port", str(port)]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_ready(port, process=started)
        started.terminate()
        assert started.wait(30) == 0
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    finally:
        started.kill()
        started.wait()


@pytest.mark.e2e
def test_only_this_machine_under_its_own_name(server: str, manifest: Path) -> None:
    port = int(server.rsplit(":", 1)[1])
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
    for address in others - {"127.0.0.1", "::1"}:
        with socket.socket(socket.AF_INET6 if ":" in str(address) else socket.AF_INET) as probe:
            assert probe.connect_ex((str(address), port)) != 0
    secret = DoorStore(doors_beside(manifest)).begin(Role.DEMO)
    assert _handshake(port, f"127.0.0.1:{port}", secret) == 101
    assert _handshake(port, f"127.0.0.1:{port}", "") == 403
    assert _handshake(port, "rebound.example", secret) == 403


def _handshake(port: int, host: str, secret: str) -> int:
    """The server's answer to a page of `host` that wants to talk to it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", "/_stcore/stream", skip_host=True)
    for name, value in {
        "Host": host,
        "Origin": f"http://{host}",
        "Cookie": f"{cookie_name(port, secure=False)}={secret}",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dG95ZmVkLXRveWZlZC10bw==",
        "Sec-WebSocket-Version": "13",
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()
