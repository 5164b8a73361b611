"""The gate before the pages: without a session nothing behind it answers, not even its files.

It looks at every request and at every message of an open page, so that signing out or running
out of time ends a page that is open, at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ui.limits import Buckets, Rate
from ui.web.doors.roles import Action, Person, may
from ui.web.doors.store import DoorStore

__all__ = ["Gate", "GateSettings"]

Message = MutableMapping[str, Any]
STREAM = "/_stcore/stream"
UPLOAD = "/_stcore/upload_file/"
PAGES_OF_STREAMLIT = ("/_stcore/host-config", "/_stcore/health")
CLOSED_TO_ALL = ("/_stcore/metrics", "/_stcore/script-health-check", "/_stcore/agent")
KINDS = frozenset(
    {
        "rerun_script",
        "stop_script",
        "file_urls_request",
        "app_heartbeat",
        "backend_operation_request",
    }
)
"""What a page may send. The others are for developers; one of them empties everybody's cache."""
CHECK_SECONDS = 1.0
MOST_TABS = 4096
MOST_PAGES = 24
"""Pages that one session keeps open at once."""
MESSAGES = Rate(per_second=20, burst=200)
"""Of one session; what comes faster waits."""
CONTENT_POLICY = (
    "default-src 'self'; "
    "script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:; "
    "worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "img-src 'self' data: blob:{photos}; connect-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
"""Pictures alone may come from elsewhere, and only from where the merchant says: whoever sends them
sees which toys a visitor is shown."""


@dataclass(frozen=True)
class GateSettings:
    """How the gate tells friend from foe.

    Args:
        hosts: names under which the page is reached, without ports; others are refused, so that a
            foreign name that is pointed at this machine opens nothing.
        cookie: name of the session cookie.
        secure: whether the page is reached by https.
        open_paths: paths that answer without a session, each with a check of its own.
        newcomer: called for a navigation without a session; may let somebody in by another door.
        photo_hosts: where photographs of toys may come from.
    """

    hosts: frozenset[str]
    cookie: str = "toyfed_session"
    secure: bool = False
    open_paths: frozenset[str] = frozenset()
    open_prefixes: tuple[str, ...] = ()
    newcomer: Callable[[Scope], Response | None] = field(default=lambda _scope: None)
    photo_hosts: frozenset[str] = frozenset()

    @property
    def content_policy(self) -> str:
        """What a page may load."""
        photos = "".join(f" https://{host}" for host in sorted(self.photo_hosts))
        return CONTENT_POLICY.format(photos=photos)


class Gate:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, store: DoorStore, settings: GateSettings) -> None:
        self._app = app
        self._store = store
        self._settings = settings
        # Which session a page's own run belongs to, so that nobody takes up another's.
        self._tabs: OrderedDict[str, str] = OrderedDict()
        self._pages: Counter[str] = Counter()
        self.messages = Buckets(MESSAGES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        send = _with_headers(send, scope["path"], self._settings)
        answer: Response | None = None
        if not self._known_host(scope):
            answer = _refusal(403, "expected this page's own address, found another name for it")
        elif not self._is_open(scope["path"]):
            secret = self._secret(scope)
            person = self._store.person(secret, active=True)
            if person is None:
                answer = self._turned_away(scope)
            elif not self._may_ask(scope, person):
                answer = _refusal(403, "expected something that this session may do")
        if answer is not None:
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _turned_away(self, scope: Scope) -> Response:
        navigates = scope["method"] == "GET" and b"text/html" in _header(scope, b"accept")
        if not navigates:
            return _refusal(401, "expected a session, found none. Open /sign-in first")
        return self._settings.newcomer(scope) or RedirectResponse("/sign-in", status_code=303)

    def _may_ask(self, scope: Scope, person: Person) -> bool:
        path = scope["path"]
        if path.startswith(CLOSED_TO_ALL):
            return False
        if path.startswith(UPLOAD):
            tab = path.removeprefix(UPLOAD).split("/")[0]
            return may(person, Action.UPLOAD) and self._tabs.get(tab) == person.session
        return True

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        secret = self._secret(scope)
        person = self._store.person(secret, active=True)
        if (
            scope["path"] != STREAM
            or person is None
            or not self._same_origin(scope)
            or self._pages[person.session] >= MOST_PAGES
        ):
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        page = _OpenPage(self, secret, person, receive, send)
        self._pages[person.session] += 1
        try:
            await self._app(self._without_foreign_run(scope, person), page.receive, page.send)
        finally:
            self._pages[person.session] -= 1
            if not self._pages[person.session]:
                del self._pages[person.session]

    def _same_origin(self, scope: Scope) -> bool:
        if not self._known_host(scope):
            return False
        origin = _header(scope, b"origin").decode("latin-1")
        # Browsers always send one; what does not is a program, which has keys of its own.
        return bool(origin) and urlsplit(origin).netloc == _header(scope, b"host").decode("latin-1")

    def _known_host(self, scope: Scope) -> bool:
        try:
            parts = urlsplit("//" + _header(scope, b"host").decode("latin-1"))
            _ = parts.port
        except ValueError:
            return False
        return (parts.hostname or "").rstrip(".") in self._settings.hosts and not parts.path

    def _is_open(self, path: str) -> bool:
        return path in self._settings.open_paths or path.startswith(self._settings.open_prefixes)

    def _secret(self, scope: Scope) -> str | None:
        # Not Python's own reader, which gives up at the first cookie of somebody else's that it
        # dislikes. Of several of our name none is believed.
        name, found = self._settings.cookie, set()
        for key, value in scope["headers"]:
            if key == b"cookie":
                for part in value.decode("latin-1").split(";"):
                    left, _, right = part.partition("=")
                    if left.strip() == name:
                        found.add(right.strip().strip('"'))
        return found.pop() if len(found) == 1 else None

    def _without_foreign_run(self, scope: Scope, person: Person) -> Scope:
        """The handshake, without a run to take up again unless it is this session's own."""
        name = b"sec-websocket-protocol"
        parts = [part.strip() for part in _header(scope, name).split(b",")]
        if len(parts) < 3 or self._tabs.get(parts[2].decode("latin-1")) == person.session:
            return scope
        asked = b", ".join(parts[:2])
        headers = [(key, asked if key == name else value) for key, value in scope["headers"]]
        return {**scope, "headers": headers, "subprotocols": scope.get("subprotocols", [])[:2]}

    def still(self, secret: str | None, *, active: bool) -> bool:
        """Whether the session goes on."""
        return self._store.person(secret, active=active) is not None

    def remember(self, tab: str, person: Person) -> None:
        """A page's own run began: it is this session's."""
        self._tabs[tab] = person.session
        self._tabs.move_to_end(tab)
        while len(self._tabs) > MOST_TABS:
            self._tabs.popitem(last=False)


class _OpenPage:
    """One open page's messages, each looked at on its way."""

    def __init__(
        self, gate: Gate, secret: str | None, person: Person, receive: Receive, send: Send
    ) -> None:
        self._gate, self._secret, self._person = gate, secret, person
        self._receive, self._send = receive, send
        self._over = False
        self._tab = ""
        self._checked = time.monotonic()

    async def receive(self) -> Message:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive" or message.get("bytes") is None:
                return message
            while (wait := self._gate.messages.wait(self._person.session)) > 0:
                await asyncio.sleep(wait)
            asked = BackMsg()
            try:
                asked.ParseFromString(message["bytes"])
            except Exception:
                # Streamlit closes the page for that.
                return message
            kind = asked.WhichOneof("type")
            # A page that looks again by itself is not somebody who is there.
            by_itself = kind == "app_heartbeat" or (
                kind == "rerun_script" and asked.rerun_script.is_auto_rerun
            )
            if not self._gate.still(self._secret, active=not by_itself):
                await self._close()
                return {"type": "websocket.disconnect", "code": 1008}
            allowed = kind in KINDS and (
                kind != "file_urls_request" or may(self._person, Action.UPLOAD)
            )
            if allowed:
                return message

    async def send(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            if time.monotonic() - self._checked > CHECK_SECONDS:
                self._checked = time.monotonic()
                if not self._gate.still(self._secret, active=False):
                    await self._close()
            if self._over:
                return
            if not self._tab:
                self._learn_tab(message.get("bytes") or b"")
        elif self._over:
            return
        await self._send(message)

    def _learn_tab(self, data: bytes) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        told = ForwardMsg()
        try:
            told.ParseFromString(data)
        except Exception:
            return
        if told.WhichOneof("type") == "new_session":
            self._tab = told.new_session.initialize.session_id
            self._gate.remember(self._tab, self._person)

    async def _close(self) -> None:
        if not self._over:
            self._over = True
            await self._send({"type": "websocket.close", "code": 1008})


def _with_headers(
    send: Send, path: str, settings: GateSettings
) -> Callable[[Message], Awaitable[None]]:
    """Add what browsers need to be told; only files that are the same for all are kept by them."""
    keeps = path.startswith("/static/")
    added = {
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
        b"referrer-policy": b"same-origin",
        b"cross-origin-opener-policy": b"same-origin",
        b"cross-origin-resource-policy": b"same-origin",
        b"permissions-policy": b"camera=(), microphone=(), geolocation=()",
    }
    if settings.secure:
        added[b"strict-transport-security"] = b"max-age=31536000"

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = [(key.lower(), value) for key, value in message.get("headers", [])]
            names = {key for key, _ in given}
            extra = dict(added)
            if b"content-security-policy" not in names:
                extra[b"content-security-policy"] = settings.content_policy.encode()
            if not keeps and not path.startswith("/api/"):
                given = [(key, value) for key, value in given if key != b"cache-control"]
                extra[b"cache-control"] = b"no-store"
            given = [
                (key, value)
                for key, value in given
                if key not in extra and not key.startswith(b"access-control-")
            ]
            message = {**message, "headers": given + list(extra.items())}
        await send(message)

    return wrapped


def _header(scope: Scope, name: bytes) -> bytes:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    found = [value for key, value in headers if key == name]
    # Of a header that may come once only, a second one makes both void.
    return found[0] if len(found) == 1 or (found and name != b"host") else b""


def _refusal(status: int, text: str) -> Response:
    return PlainTextResponse(f"{text}.\n", status_code=status)
