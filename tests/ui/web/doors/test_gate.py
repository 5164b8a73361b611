"""The gate and the sign-in pages as an attacker meets them, before a plain application."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tests.ui.asgi import TestClient
from ui.limits import Buckets, Rate
from ui.web.doors.gate import MOST_PAGES, STREAM, Gate, GateSettings
from ui.web.doors.pages import OPEN_PATHS, door_routes
from ui.web.doors.roles import Role
from ui.web.doors.store import DoorStore

pytestmark = pytest.mark.attack
HOST = "127.0.0.1:8501"
HERE = {"host": HOST, "origin": f"http://{HOST}"}
TAB = "tab-of-a-merchant"


class World:
    """An application behind the gate that tells what reached it."""

    def __init__(self, folder: Path) -> None:
        self.now = 1_000_000.0
        self.reached: list[str] = []
        self.store = DoorStore(folder / "gate.sqlite3", lambda: self.now)
        settings = GateSettings(
            hosts=frozenset({"127.0.0.1", "localhost"}),
            open_paths=OPEN_PATHS | {"/healthz"},
            open_prefixes=("/api/",),
        )
        app = Starlette(
            routes=[
                *door_routes(self.store, settings),
                WebSocketRoute(STREAM, self._stream),
                Mount("/", routes=[Route("/{rest:path}", self._anything, methods=["GET", "PUT"])]),
            ],
            middleware=[Middleware(Gate, store=self.store, settings=settings)],
        )
        self.client = TestClient(app, base_url=f"http://{HOST}", follow_redirects=False)

    async def _anything(self, request: Request) -> PlainTextResponse:
        self.reached.append(request.url.path)
        return PlainTextResponse("private", headers={"cache-control": "public, max-age=9"})

    async def _stream(self, websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="streamlit")
        self.reached.append("stream:" + ",".join(websocket.scope.get("subprotocols", [])))
        begun = ForwardMsg()
        begun.new_session.initialize.session_id = TAB
        await websocket.send_bytes(begun.SerializeToString())
        with contextlib.suppress(WebSocketDisconnect):
            while True:
                asked = BackMsg()
                asked.ParseFromString(await websocket.receive_bytes())
                self.reached.append(str(asked.WhichOneof("type")))
                await websocket.send_bytes(b"")

    def sign_in(self, role: Role = Role.MERCHANT) -> str:
        session = self.store.begin(role)
        self.client.cookies.set("toyfed_session", session)
        return session


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def asking(**fields: Any) -> bytes:
    message = BackMsg(**{name: value for name, value in fields.items() if name != "rerun"})
    if "rerun" in fields:
        message.rerun_script.query_string = "x=1"
        message.rerun_script.is_auto_rerun = fields["rerun"] == "by itself"
    return message.SerializeToString()


PATHS = [
    "/",
    "/merchant",
    "/index.html",
    "/static/js/main.js",
    "/media/0123.csv",
    "/_stcore/host-config",
    "/_stcore/health",
    "/_stcore/metrics",
    "/_stcore/upload_file/tab/file",
    "/app/static/../../etc/passwd",
    "/api",
    "/apix",
    "/sign-in/",
    "/sign-in/../merchant",
    "/healthz/x",
    "//etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/oauth2callback",
    "/auth/login",
]


@pytest.mark.parametrize("path", PATHS)
def test_without_a_session_nothing_is_reached(world: World, path: str) -> None:
    for headers in ({}, {"accept": "text/html"}, {"cookie": "toyfed_session=" + "a" * 43}):
        answer = world.client.get(path, headers=HERE | headers)
        assert answer.status_code in (303, 401)
        assert "private" not in answer.text
    assert world.client.put(path, headers=HERE).status_code == 401
    assert world.reached == []


@pytest.mark.parametrize(
    "others",
    ['prefs={"a":1}; ', "a@b=1; ", "version=1; ", "my key=1; ", "word; ", 'q="open; ', "k=\xe4; "],
)
def test_cookies_of_others_shut_nobody_out(world: World, others: str) -> None:
    session = world.store.begin(Role.MERCHANT)
    for cookie in (f"{others}toyfed_session={session}", f"toyfed_session={session}; {others}"):
        answer = world.client.get("/merchant", headers=HERE | {"cookie": cookie.encode("latin-1")})
        assert answer.status_code == 200


@pytest.mark.attack
def test_of_two_sessions_in_one_request_none_is_believed(world: World) -> None:
    mine, theirs = world.store.begin(Role.SHOPPER), world.store.begin(Role.MERCHANT)
    cookie = f"toyfed_session={mine}; toyfed_session={theirs}"
    assert world.client.get("/merchant", headers=HERE | {"cookie": cookie}).status_code == 401


def test_people_are_led_to_the_door(world: World) -> None:
    answer = world.client.get("/merchant?at=x", headers=HERE | {"accept": "text/html"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


@pytest.mark.parametrize(
    "host", ["rebound.example", "127.0.0.1.evil.example", "", "127.0.0.1@evil.example", "[", "a:b"]
)
def test_foreign_names_open_nothing(world: World, host: str) -> None:
    world.sign_in()
    for path in ("/", "/sign-in", "/healthz"):
        assert world.client.get(path, headers={"host": host}).status_code == 403
    assert world.reached == []


def test_what_is_personal_is_kept_by_no_cache_and_framed_by_nobody(world: World) -> None:
    world.sign_in()
    answer = world.client.get("/media/ledger.csv", headers=HERE)
    assert answer.text == "private"
    assert answer.headers.get_list("cache-control") == ["no-store"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("role", list(Role))
def test_developers_doors_are_closed_to_all(world: World, role: Role) -> None:
    world.sign_in(role)
    for path in ("/_stcore/metrics", "/_stcore/script-health-check", "/_stcore/agent/run"):
        assert world.client.get(path, headers=HERE).status_code == 403
    assert world.reached == []


def test_uploads_only_by_who_may_and_only_into_the_own_page(world: World) -> None:
    def put(tab: str) -> int:
        return world.client.put(f"/_stcore/upload_file/{tab}/f", headers=HERE).status_code

    world.sign_in(Role.MERCHANT)
    with world.client.websocket_connect(STREAM, headers=HERE) as page:
        page.receive_bytes()
    assert put(TAB) == 200
    assert put("another-tab") == 403
    world.sign_in(Role.MERCHANT)
    assert put(TAB) == 403  # another session of the same role
    world.sign_in(Role.SHOPPER)
    assert put(TAB) == 403


class TestSignIn:
    def post(self, world: World, code: str, **headers: str) -> Any:
        return world.client.post("/sign-in", data={"code": code}, headers=HERE | headers)

    def test_a_link_gives_a_session_out_of_reach_of_scripts(self, world: World) -> None:
        secret = world.store.new_link(Role.ANALYST)
        answer = self.post(world, secret)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert secret.lower() not in cookie
        assert world.client.get("/", headers=HERE).text == "private"
        assert self.post(world, secret).status_code == 403  # not twice

    def test_another_site_cannot_sign_anybody_in(self, world: World) -> None:
        secret = world.store.new_link(Role.ANALYST)
        for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", ""):
            assert self.post(world, secret, origin=origin).status_code == 403
        assert self.post(world, secret).status_code == 303  # none of them used it up

    def test_the_secret_is_in_no_address(self, world: World) -> None:
        secret = world.store.new_link(Role.ANALYST)
        answer = world.client.get(f"/sign-in?code={secret}", headers=HERE)
        assert answer.status_code == 200
        assert secret not in answer.text
        assert "set-cookie" not in answer.headers
        assert world.store.use_link(secret)

    def test_the_page_needs_nothing_from_anywhere(self, world: World) -> None:
        answer = world.client.get("/sign-in", headers=HERE)
        assert not re.findall(r"""(?:src|href)=|url\(|@import|https?:""", answer.text)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"

    def test_an_old_session_ends_when_another_begins(self, world: World) -> None:
        before = world.sign_in(Role.MERCHANT)
        self.post(world, world.store.new_link(Role.SHOPPER))
        assert world.store.person(before) is None

    def test_guessing_is_slowed_down(self, world: World) -> None:
        found = [self.post(world, "guess").status_code for _ in range(40)]
        assert found[:30] == [403] * 30
        assert set(found[30:]) == {429}

    @pytest.mark.parametrize(
        "body",
        [b"", b"code=", b"code=a&code=b", b"\xff\xfe", b"code=" + b"a" * 100_000, b"&" * 4000],
    )
    def test_other_bodies_open_nothing(self, world: World, body: bytes) -> None:
        form = {"content-type": "application/x-www-form-urlencoded"}
        answer = world.client.post("/sign-in", content=body, headers=HERE | form)
        assert answer.status_code == 403

    def test_what_was_sent_is_not_shown(self, world: World) -> None:
        assert "<script>alert" not in self.post(world, "<script>alert(1)</script>").text


class TestSignOut:
    def test_it_ends_the_session_everywhere(self, world: World) -> None:
        session = world.sign_in()
        answer = world.client.post("/sign-out", headers=HERE)
        assert answer.headers["location"] == "/sign-in?signed-out"
        assert world.store.person(session) is None

    def test_another_site_cannot_sign_out(self, world: World) -> None:
        session = world.sign_in()
        for headers in ({"sec-fetch-site": "cross-site"}, {}):
            assert world.client.get("/sign-out", headers=HERE | headers).status_code == 200
            assert world.store.person(session)
        evil = HERE | {"origin": "http://evil.example"}
        assert world.client.post("/sign-out", headers=evil).status_code == 200
        assert world.store.person(session)


class TestOpenPage:
    def test_not_without_a_session_nor_from_elsewhere(self, world: World) -> None:
        for headers in (HERE, {"host": HOST}, {"host": HOST, "origin": "http://evil.example"}):
            with (
                pytest.raises(WebSocketDisconnect),
                world.client.websocket_connect(STREAM, headers=headers),
            ):
                pass
            if headers is HERE:
                world.sign_in()
        assert world.reached == []

    def test_signing_out_ends_a_page_that_is_open(self, world: World) -> None:
        session = world.sign_in()
        with world.client.websocket_connect(STREAM, headers=HERE) as page:
            page.receive_bytes()
            page.send_bytes(asking(rerun="by hand"))
            page.receive_bytes()
            world.store.end(session)
            page.send_bytes(asking(rerun="by hand"))
            with pytest.raises(WebSocketDisconnect):
                page.receive_bytes()
        assert world.reached.count("rerun_script") == 1

    def test_a_page_that_refreshes_itself_is_nobody(self, world: World) -> None:
        world.sign_in()
        with world.client.websocket_connect(STREAM, headers=HERE) as page:
            page.receive_bytes()
            world.now += 20 * 60
            page.send_bytes(asking(rerun="by itself"))
            page.receive_bytes()
            world.now += 20 * 60
            page.send_bytes(asking(rerun="by itself"))
            with pytest.raises(WebSocketDisconnect):
                page.receive_bytes()
        assert world.reached.count("rerun_script") == 1

    def test_developers_messages_do_not_arrive(self, world: World) -> None:
        world.sign_in(Role.SHOPPER)
        with world.client.websocket_connect(STREAM, headers=HERE) as page:
            page.receive_bytes()
            page.send_bytes(asking(clear_cache=True))
            page.send_bytes(asking(load_git_info=True))
            page.send_bytes(asking(debug_shutdown_runtime=True))
            page.send_bytes(asking(set_run_on_save=True))
            upload = BackMsg()
            upload.file_urls_request.request_id = "x"
            page.send_bytes(upload.SerializeToString())
            page.send_bytes(asking(stop_script=True))
            page.receive_bytes()
        assert world.reached[1:] == ["stop_script"]

    def test_nobody_takes_up_anothers_page(self, world: World) -> None:
        world.sign_in(Role.MERCHANT)
        asked = ["streamlit", "xsrf", TAB]
        with world.client.websocket_connect(STREAM, subprotocols=asked, headers=HERE) as page:
            page.receive_bytes()
        with world.client.websocket_connect(STREAM, subprotocols=asked, headers=HERE) as page:
            page.receive_bytes()
        world.sign_in(Role.SHOPPER)
        with world.client.websocket_connect(STREAM, subprotocols=asked, headers=HERE) as page:
            page.receive_bytes()
        assert world.reached == [
            "stream:streamlit,xsrf",  # unknown yet
            f"stream:streamlit,xsrf,{TAB}",  # its own
            "stream:streamlit,xsrf",  # another's
        ]

    def test_one_session_cannot_take_all_pages(self, world: World) -> None:
        world.sign_in(Role.SHOPPER)
        with contextlib.ExitStack() as pages:
            for _ in range(MOST_PAGES):
                pages.enter_context(world.client.websocket_connect(STREAM, headers=HERE))
            with (
                pytest.raises(WebSocketDisconnect),
                world.client.websocket_connect(STREAM, headers=HERE),
            ):
                pass
            world.sign_in(Role.MERCHANT)
            pages.enter_context(world.client.websocket_connect(STREAM, headers=HERE))
        world.sign_in(Role.SHOPPER)
        with world.client.websocket_connect(STREAM, headers=HERE) as page:
            assert page.receive_bytes()

    def test_a_flood_of_messages_waits(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        waited: list[float] = []

        async def sleep(seconds: float) -> None:
            waited.append(seconds)
            clock[0] += seconds

        clock = [0.0]
        slow = Buckets(Rate(per_second=20, burst=3), lambda: clock[0])
        monkeypatch.setattr("ui.web.doors.gate.Buckets", lambda _rate: slow)
        monkeypatch.setattr("ui.web.doors.gate.asyncio.sleep", sleep)
        world.sign_in(Role.SHOPPER)
        with world.client.websocket_connect(STREAM, headers=HERE) as page:
            page.receive_bytes()
            for _ in range(5):
                page.send_bytes(asking(stop_script=True))
                page.receive_bytes()
        assert waited == [pytest.approx(0.05)] * 2
