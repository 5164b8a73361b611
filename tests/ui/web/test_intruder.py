"""Somebody with a shopper's session, and somebody with none, against the real server."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import websockets
import websockets.exceptions
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from datasites.merchant import Ledger, MerchantHome
from datasites.merchant.store import load_catalogue, load_shop
from tests.ui.web.market import BARE, SHOP, STUDY, file_request, join
from ui.api import KeyRing
from ui.web.doors import DoorStore, Role
from ui.web.launch import (
    cookie_name,
    doors_beside,
    free_port,
    link_to,
    start_server,
    stop_server,
    wait_ready,
)
from ui.web.manifest import Manifest, write_manifest

pytestmark = [pytest.mark.e2e, pytest.mark.attack]


@dataclass
class Server:
    """A real server, and what is known about it from outside and inside."""

    port: int
    doors: Path
    log: Path
    homes: dict[str, MerchantHome]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        session: str = "",
        **headers: str,
    ) -> tuple[int, dict[str, str], bytes]:
        """One request, the path sent as it is."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {"Host": self.host, "Cookie": self.cookie(session)} | headers
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        try:
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def cookie(self, session: str) -> str:
        return f"{cookie_name(self.port, secure=False)}={session}"

    def session(self, role: Role, shopper: str | None = None) -> str:
        home = self.homes[SHOP].root if role in (Role.SHOPPER, Role.MERCHANT) else None
        return DoorStore(self.doors).begin(role, merchant=home, shopper=shopper)


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory, _built: Path) -> dict[str, MerchantHome]:
    """A merchant who serves and is asked to join a study, and another."""
    folder = tmp_path_factory.mktemp("intruder")
    shutil.copytree(_built, folder / "homes")
    found = {
        SHOP: MerchantHome.open(folder / "homes" / "castle"),
        BARE: MerchantHome.open(folder / "homes" / "harbour"),
    }
    join(found[SHOP])
    file_request(folder, found[SHOP])
    return found


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, homes: dict[str, MerchantHome]) -> Path:
    """A marketplace in earnest: what only a simulation may do is not there."""
    file = tmp_path_factory.mktemp("manifest") / "marketplace.json"
    write_manifest(file, Manifest(merchants=tuple(home.root for home in homes.values())))
    return file


@pytest.fixture(scope="module")
def server(manifest: Path, homes: dict[str, MerchantHome]) -> Iterator[Server]:
    port, log = free_port(), manifest.with_name("server.log")
    process = start_server(manifest, port, log=log)
    try:
        wait_ready(port, process=process)
        yield Server(port, doors_beside(manifest), log, homes)
    finally:
        stop_server(process)


def _heard(server: Server, session: str, messages: list[BackMsg], seconds: float = 3.0) -> str:
    """Everything that an open page is told after these messages, as text."""

    async def talk() -> str:
        told = []
        async with websockets.connect(
            f"ws://{server.host}/_stcore/stream",
            additional_headers={"Cookie": server.cookie(session)},
            origin=f"http://{server.host}",  # type: ignore[arg-type]
            subprotocols=["streamlit", "x"],  # type: ignore[list-item]
            max_size=None,
        ) as page:
            for message in messages:
                await page.send(message.SerializeToString())
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        while True:
                            data = await page.recv()
                            assert isinstance(data, bytes)
                            heard = ForwardMsg.FromString(data)
                            told.append(str(heard))
                            if heard.WhichOneof("type") == "script_finished":
                                break
        return "\n".join(told)

    return asyncio.run(talk())


def _rerun(page: str = "", query: str = "", fragment: str = "", page_hash: str = "") -> BackMsg:
    message = BackMsg()
    message.rerun_script.page_name = page
    message.rerun_script.query_string = query
    message.rerun_script.fragment_id = fragment
    message.rerun_script.page_script_hash = page_hash
    return message


def test_a_shopper_reaches_her_own_shop_and_nothing_else(server: Server) -> None:
    home = server.homes[SHOP]
    catalogue = load_catalogue(home)
    shop = load_shop(home, catalogue).all
    rows = sorted(range(shop.n_shoppers), key=lambda row: -len(shop.history(row)))
    me, other = str(shop.shopper_ids[rows[0]]), str(shop.shopper_ids[rows[1]])
    session = server.session(Role.SHOPPER, me)

    merchant = _heard(server, server.session(Role.MERCHANT), [_rerun()], seconds=20)
    assert STUDY in merchant  # what there is to be seen, by whom it concerns
    hashes = set(re.findall(r'page_script_hash: "([0-9a-f]+)"', merchant))
    assert len(hashes) >= 3
    fragments = set(re.findall(r'fragment_id: "([0-9a-f]+)"', merchant))
    assert fragments

    forged = _rerun()
    widget = forged.rerun_script.widget_states.widgets.add()
    widget.id, widget.string_value = "$$ID-at-at", BARE
    other_shopper = forged.rerun_script.widget_states.widgets.add()
    other_shopper.id, other_shopper.int_value = f"$$ID-shopper-{SHOP}", 2
    heard = _heard(
        server,
        session,
        [
            _rerun(),
            *[_rerun(page=name) for name in ("merchant", "study", "insights", "../merchant")],
            *[_rerun(page_hash=one) for one in sorted(hashes)],
            *[_rerun(fragment=one) for one in sorted(fragments)[:2]],
            _rerun(query=f"at={BARE}&shopper={other}&role=merchant"),
            forged,
        ],
    )
    titles = catalogue.frame["title"]
    mine = {int(item) for item in shop.history(rows[0])}
    assert "For you" in heard
    assert str(titles.iloc[max(mine)]) in heard
    for secret in (
        STUDY,
        "Ledger verified",
        "toyfed datasite",
        BARE,
        me,
        other,
        str(home.root),
        "Study desk",
        "Insights",
    ):
        assert secret not in heard, secret
    assert Ledger.open(home.ledger_path).approval(STUDY) is None
    log = server.log.read_text()
    for secret in (me, other, session, str(home.private)):
        assert secret not in log


FILES = [
    "/../../../../etc/passwd",
    "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/../../../../etc/passwd",
    "/static/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e%5c%2e%2e%5cetc%5cpasswd",
    "/app/static/ledger.sqlite",
    "/app/static/../private/ledger.sqlite",
    "/media/../../private/ledger.sqlite",
    "/media/ledger.sqlite",
    "/component/ui.web/../app.py",
    "/component/x/../../../../etc/passwd",
    "/_stcore/bidi-components/x/../../../etc/passwd",
    "/_stcore/upload_file/x/../../../etc/passwd",
    "//etc/passwd",
    "/\\\\server\\share",
    "/..\\..\\etc\\passwd",
    "/api/../../etc/passwd",
    "/marketplace.json",
    "/doors.sqlite3",
    "/.streamlit/secrets.toml",
    "/_stcore/metrics",
    "/_stcore/agent",
]


@pytest.mark.parametrize("role", [None, Role.SHOPPER])
def test_no_file_can_be_had(server: Server, role: Role | None) -> None:
    session = server.session(role) if role else ""
    private = [b"root:", b"SQLite format", b'"merchants"', b"[auth]", b"import streamlit"]
    for path in FILES:
        for method in ("GET", "POST", "PUT", "DELETE"):
            body = b"x" if method in ("POST", "PUT") else None
            status, _, data = server.ask(path, method, body, session)
            assert status != 500, path
            assert not [one for one in private if one in data], (path, method)
            if role is None and not path.startswith("/api/"):
                assert status in (400, 401, 403), (path, status)
    assert "Traceback" not in server.log.read_text()


def test_a_shopper_can_upload_nothing(server: Server) -> None:
    session = server.session(Role.SHOPPER)
    for token in ("", "2|aa|bb|1"):
        status, _, _ = server.ask(
            "/_stcore/upload_file/any/one",
            "PUT",
            b"x" * 1000,
            session,
            **{"X-Xsrftoken": token},
        )
        assert status == 403


def test_headers_cannot_be_split_nor_caches_filled(server: Server) -> None:
    session = server.session(Role.SHOPPER)
    for path in ("/?at=%0d%0aSet-Cookie:%20x=1", "/sign-in?x=%0d%0aX-Evil:1", "/%0d%0aX-Evil:%201"):
        status, headers, _ = server.ask(path, session=session, Accept="text/html")
        assert status < 500
        assert "x-evil" not in headers
        assert "x=1" not in headers.get("set-cookie", "")
        assert headers["cache-control"] == "no-store"
    # What a proxy might say about its client changes nothing.
    status, _, _ = server.ask("/", session=session, **{"X-Forwarded-Host": "evil.example"})
    assert status == 200
    status, headers, _ = server.ask("/sign-in", **{"X-Forwarded-Host": "evil.example"})
    assert "evil" not in str(headers)


def test_guessed_and_forged_cookies_open_nothing(server: Server) -> None:
    real = server.session(Role.MERCHANT)
    for guess in ("", "x", real[:-1], real + "x", real.swapcase(), "a" * 43, '"', "a" * 20_000):
        with contextlib.suppress(ConnectionError, http.client.HTTPException):
            status, _, _ = server.ask("/merchant", session=guess)
            assert status in (400, 401), guess
        with pytest.raises(websockets.exceptions.InvalidStatus):
            _heard(server, guess[:5000], [_rerun()])
    assert server.ask("/merchant", session=real)[0] == 200


def test_a_link_is_used_up_over_the_network_too(server: Server) -> None:
    link = link_to(server.doors, Role.SHOPPER, merchant=server.homes[SHOP].root)
    code = link.split("#")[1].encode()
    form = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Origin": f"http://{server.host}",
    }
    status, headers, _ = server.ask("/sign-in", "POST", b"code=" + code, **form)
    assert status == 303
    assert "HttpOnly" in headers["set-cookie"]
    status, headers, _ = server.ask("/sign-in", "POST", b"code=" + code, **form)
    assert status == 403
    assert "set-cookie" not in headers
    assert code.decode() not in server.log.read_text()


def test_the_api_answers_beside_the_pages(server: Server) -> None:
    home = server.homes[SHOP]
    key = KeyRing(home).new("tests", shoppers=True)
    shopper = str(load_shop(home, load_catalogue(home)).all.shopper_ids[0])
    body = b'{"shopper": "' + shopper.encode() + b'"}'
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    status, headers, data = server.ask("/api/recommend", "POST", body, **sent)
    assert (status, headers["cache-control"]) == (200, "no-store")
    assert b'"items"' in data
    assert server.ask("/api/recommend", "POST", body)[0] == 401
    # A session of the pages is no key.
    assert server.ask("/api/recommend", session=server.session(Role.MERCHANT))[0] == 401
    # A body that stops coming ends in an answer of its own, and holds nobody up.
    assert shopper not in server.log.read_text()


def test_sessions_outlive_a_restart_of_the_page(
    server: Server, manifest: Path, tmp_path: Path
) -> None:
    session = server.session(Role.MERCHANT)
    port = free_port()
    again = start_server(manifest, port, log=tmp_path / "again.log")
    try:
        wait_ready(port, process=again)
        other = Server(port, server.doors, server.log, server.homes)
        assert other.ask("/merchant", session=session)[0] == 200
    finally:
        stop_server(again)
