"""Slow and oversized heads: the server hangs up on them, and goes on for everybody else."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from ui.web import patience
from ui.web.patience import PatientProtocol

pytestmark = pytest.mark.attack
LIMIT = 0.4
LONG = 32 << 20
"""Bytes of a long answer: more than the buffers of both sockets hold."""


async def _application(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    body = bytes(LONG) if scope["path"] == "/long" else b"ok"
    length = str(len(body)).encode()
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
    )
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(patience, "HEAD_SECONDS", LIMIT)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            _application,
            http=PatientProtocol,
            lifespan="off",
            log_level="critical",
            timeout_keep_alive=60,
            h11_max_incomplete_event_size=4096,
        )
    )
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()
    listening.close()


def _is_hung_up(connection: socket.socket, seconds: float = 5.0) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(4096) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def _ask(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while not answer.endswith(b"ok"):
        answer += connection.recv(4096)
    return answer


def test_who_does_not_read_is_hung_up_on(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "READ_SECONDS", LIMIT)
    with socket.create_connection(("127.0.0.1", port)) as deaf:
        deaf.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
        # The first byte is here, so the answer is on its way; the rest lies unread.
        assert deaf.recv(1) == b"H"
        deadline = time.monotonic() + 20
        hung_up = False
        while not hung_up and time.monotonic() < deadline:
            try:
                deaf.sendall(b"G")  # a socket that was closed answers this with a reset
            except ConnectionError:
                hung_up = True
            time.sleep(0.05)
        assert hung_up
    with socket.create_connection(("127.0.0.1", port)) as other:
        assert b"200" in _ask(other)


def test_who_says_nothing_is_hung_up_on(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as silent:
        assert _is_hung_up(silent)


def test_a_head_that_never_ends_is_hung_up_on_and_others_are_served(port: int) -> None:
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    try:
        for one in slow:
            one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", port)) as other:
            assert b"200 OK" in _ask(other)
        ended = set()
        while len(ended) < len(slow) and time.monotonic() - began < 10:
            for number, one in enumerate(slow):
                try:
                    one.sendall(b"X-A: b\r\n")
                except ConnectionError:
                    ended.add(number)
            time.sleep(0.05)
        assert len(ended) == len(slow)
    finally:
        for one in slow:
            one.close()


def test_the_next_head_on_the_same_connection_has_the_same_limit(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        assert b"200 OK" in _ask(connection)
        assert b"200 OK" in _ask(connection)
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert _is_hung_up(connection)


def test_a_head_that_is_too_large_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000)
        connection.settimeout(5)
        assert b"400" in connection.recv(4096).split(b"\r\n")[0]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n X: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX\x00Y: z\r\n\r\n",
        b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
)
def test_heads_that_two_readers_could_read_differently(port: int, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(5)
        connection.sendall(head + b"12345")
        try:
            first = connection.recv(4096)
        except ConnectionError:
            first = b""
        # Refused, hung up on, or read in one way only: the rest is never a request of its own.
        assert first.count(b"HTTP/1.1") <= 1
