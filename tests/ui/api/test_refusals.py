"""Questions that the API refuses: readably, without repeating them, and within bounds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ui.api.world import World, problem

BAD_QUERIES = [
    "n=0",
    "n=101",
    "n=x",
    "n=",
    "n=1&n=2",
    "n=1e3",
    "price_max=nan",
    "price_max=inf",
    "price_max=-1",
    "age=-1",
    "age=1e9",
    "category=",
    "category=" + "a" * 301,
    "unknown=1",
    "shopper=S-1",
    "basket=B1",
    "n",
    "&&&=",
    "%ff=1",
    "a=1&" * 30 + "n=1",
]


@pytest.mark.attack
@pytest.mark.parametrize("query", BAD_QUERIES)
def test_wrong_parameters_are_refused_readably(world: World, query: str) -> None:
    answer = world.get(f"/api/recommend?{query}")
    assert answer.status_code in (400, 422)
    problem(answer)


BAD_BODIES: list[Any] = [
    [],
    1,
    {"basket": "B1"},
    {"basket": [1]},
    {"basket": [""]},
    {"basket": ["a" * 201]},
    {"basket": ["a"] * 201},
    {"shopper": ""},
    {"shopper": 5},
    {"shopper": ["a"]},
    {"n": 0},
    {"n": "5"},
    {"n": 10**400},
    {"n": True},
    {"price_max": -1},
    {"price_max": True},
    {"price_max": 10**400},
    {"together": "yes"},
    {"categories": ["a"] * 51},
    {"secret-of-S-77": 1},
]


@pytest.mark.attack
@pytest.mark.parametrize("body", BAD_BODIES, ids=range(len(BAD_BODIES)))
def test_wrong_bodies_are_refused_and_not_repeated(world: World, body: Any) -> None:
    answer = world.post(body, world.full_key)
    assert answer.status_code in (400, 422)
    assert "S-77" not in problem(answer)


@pytest.mark.attack
@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[" * 50_000, b'{"n": NaN}', b'{"a":' * 9000, b"1" * 60_000]
)
def test_bodies_that_are_no_json(world: World, data: bytes) -> None:
    headers = {"authorization": f"Bearer {world.key}", "content-type": "application/json"}
    answer = world.client.post("/api/recommend", content=data, headers=headers)
    assert answer.status_code in (400, 422)
    problem(answer)


@pytest.mark.attack
def test_sizes_and_kinds_of_bodies_are_bounded(world: World) -> None:
    def send(content: Any, **headers: str) -> int:
        sent = {"authorization": f"Bearer {world.key}", "content-type": "application/json"}
        answer = world.client.post("/api/recommend", content=content, headers=sent | headers)
        if answer.status_code != 200:
            problem(answer)
        return int(answer.status_code)

    assert send(b" " * 70_000) == 413
    assert send(b"{}", **{"content-length": "99999999999999999999999"}) == 413
    assert send(iter([b" " * 40_000, b" " * 40_000])) == 413
    assert send(b"{}", **{"content-type": "text/plain"}) == 415
    assert send(b"{}", **{"content-encoding": "gzip"}) == 415
    assert send(b"{}", **{"content-type": "application/json; charset=utf-8"}) == 200
    assert world.post({}, path="/api/recommend?shopper=S-1").status_code == 400
    assert world.get("/api/recommend?category=" + "a" * 3000).status_code == 414


@pytest.mark.attack
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"])
def test_other_methods_are_refused(world: World, method: str) -> None:
    for path in ("/api/recommend", "/api/similar", "/healthz", "/metrics", "/api/openapi.json"):
        answer = world.client.request(method, path)
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        problem(answer)


@pytest.mark.attack
@pytest.mark.parametrize("path", ["/api/", "/api/x", "/api/../etc/passwd", "/api/recommend/x"])
def test_other_addresses_are_told_so(world: World, path: str) -> None:
    answer = world.client.get(path)
    assert answer.status_code == 404


def test_a_toy_that_is_not_there(world: World) -> None:
    answer = world.get("/api/similar?item=%0d%0aSet-Cookie:x=1")
    assert answer.status_code == 404
    assert "Set-Cookie" not in problem(answer)
    assert "set-cookie" not in answer.headers


def test_too_many_at_once_are_sent_away(world: World) -> None:
    world.api._waiting = 64
    answer = world.post({})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
