"""The API over a shop that really serves: answers, limits, refusals, and what stays private."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonschema
import pytest
from starlette.applications import Starlette

from datasites.merchant import MerchantHome
from datasites.merchant.serving import open_shop
from datasites.merchant.store import load_catalogue, load_shop
from tests.ui.asgi import TestClient
from tests.ui.web.market import BARE, SHOP
from ui.api import Api, KeyRing, answers, api_routes, openapi
from ui.api.questions import Basket, Popular, Similar

Homes = dict[str, MerchantHome]


class World:
    def __init__(self, homes: Homes) -> None:
        self.now = 100.0
        self.home = homes[SHOP]
        self.ring = KeyRing(self.home)
        self.api = Api(homes.values, open_metrics=True, clock=lambda: self.now)
        self.client = TestClient(Starlette(routes=api_routes(self.api)))
        self.catalogue = load_catalogue(self.home)
        self.shop = load_shop(self.home, self.catalogue).all
        self.key = self.ring.new("tests", per_second=1000)
        self.full_key = self.ring.new("tests", per_second=1000, shoppers=True)

    def ids(self, *items: int) -> list[str]:
        return [str(self.catalogue.item_ids[item]) for item in items]

    def get(self, path: str, key: str | None = None, **headers: str) -> Any:
        sent = {"authorization": f"Bearer {self.key if key is None else key}"}
        return self.client.get(path, headers=sent | headers)

    def post(self, body: Any, key: str | None = None, path: str = "/api/recommend") -> Any:
        sent = {"authorization": f"Bearer {self.key if key is None else key}"}
        return self.client.post(path, json=body, headers=sent)


@pytest.fixture
def world(homes: Homes) -> World:
    return World(homes)


def problem(answer: Any) -> str:
    """The refusal's words, after a look at its form."""
    found = answer.json()
    assert found.keys() == {"expected", "found", "what_to_do"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    return " ".join(found.values())


@pytest.mark.attack
def test_toys_for_a_basket(world: World) -> None:
    basket = world.ids(3, 9)
    answer = world.post({"basket": basket, "n": 5})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    found = answer.json()
    assert found["shop"] == SHOP
    ids = [one["item_id"] for one in found["items"]]
    assert len(ids) == 5
    assert not set(ids) & set(basket)
    assert all(one["title"] and one["reason"] for one in found["items"])
    # A score is a number of purchases in disguise: the order is all that is told.
    assert all("score" not in one for one in found["items"])
    assert ids != [one["item_id"] for one in world.post({"basket": world.ids(20)}).json()["items"]]


def test_filters_and_toys_that_are_not_known(world: World) -> None:
    answer = world.post({"basket": ["no-such-toy"], "price_max": 20, "exclude": ["neither"]}).json()
    assert answer["unknown"] == 2
    assert all(one["price"] is None or one["price"] <= 20 for one in answer["items"])
    category = answer["items"][0]["category"]
    narrow = world.post({"categories": [category]}).json()
    assert {one["category"] for one in narrow["items"]} == {category}


def test_popular_and_similar_may_be_kept(world: World) -> None:
    for path in (
        "/api/recommend?n=4&price_max=30",
        f"/api/similar?item={world.ids(5)[0]}&n=4",
    ):
        first = world.get(path)
        assert first.status_code == 200
        assert len(first.json()["items"]) == 4
        assert first.headers["cache-control"] == "private, max-age=60"
        assert first.headers["vary"] == "Authorization"
        again = world.get(path, **{"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert world.get(path).content == first.content


def test_answers_are_kept_up_to_so_many_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_KEPT_BYTES", 6000)
    for _ in range(2):
        for item in world.ids(*range(9)):
            assert world.get(f"/api/similar?item={item}&n=4").status_code == 200
    kept = [one for one in answers._prepared.values() if one.kept]
    assert kept
    for one in kept:
        assert one.kept_bytes == sum(answers._size(*pair) for pair in one.kept.items()) <= 6000


@pytest.mark.attack
def test_long_questions_count_as_well_as_their_answers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "MOST_KEPT_BYTES", 20_000)
    for number in range(30):
        category = f"{number:03}" + "\N{TEDDY BEAR}" * 90
        assert world.get(f"/api/recommend?n=1&category={quote(category)}").status_code == 200
    kept = [one for one in answers._prepared.values() if one.kept_bytes]
    assert kept
    assert all(len(one.kept) < 12 for one in kept if one.kept_bytes > 10_000)


def test_a_shoppers_history_needs_a_key_for_it(world: World) -> None:
    row = int(world.shop.lengths.argmax())
    shopper = str(world.shop.shopper_ids[row])
    history = [int(item) for item in world.shop.history(row)]
    refused = world.post({"shopper": shopper})
    assert refused.status_code == 403
    assert shopper not in refused.text
    shop = open_shop(world.home)
    for own_history, answer in (
        (True, world.post({"shopper": shopper}, world.full_key)),
        # Whoever may fill a basket with anything is told only what several shoppers stand behind.
        (False, world.post({"basket": world.ids(*history)})),
        (False, world.post({"basket": world.ids(*history)}, world.full_key)),
    ):
        best = shop.recommend(history, own_history=own_history)
        told = [one["item_id"] for one in answer.json()["items"]]
        assert told[: len(best)] == world.ids(*[one.item for one in best])
    # Nor does what is put beside a shopper's own purchases, to find out what goes with it.
    both = world.post({"shopper": shopper, "basket": world.ids(9)}, world.full_key)
    told = [one["item_id"] for one in both.json()["items"]]
    best = shop.recommend([*history, 9])
    assert told[: len(best)] == world.ids(*[one.item for one in best])


@pytest.mark.attack
def test_an_unknown_shopper_looks_like_a_new_one(world: World) -> None:
    new = world.post({}, world.full_key)
    unknown = world.post({"shopper": "nobody-of-that-name"}, world.full_key)
    assert (unknown.status_code, unknown.json()) == (200, new.json())


@pytest.mark.attack
@pytest.mark.parametrize(
    "sent",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic abc",
        "Bearer tfk_00000000_x",
        "bearer\tx",
        "Bearer " + "a" * 5000,
    ],
)
def test_without_a_key_nothing_is_answered(world: World, sent: str) -> None:
    for path in ("/api/recommend", f"/api/similar?item={world.ids(1)[0]}"):
        answer = world.client.get(path, headers={"authorization": sent} if sent else {})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        problem(answer)
    secret = world.key
    assert world.client.get(f"/api/recommend?key={secret}").status_code == 401


@pytest.mark.attack
def test_two_keys_in_one_request_are_none(world: World) -> None:
    headers = [("authorization", f"Bearer {world.key}"), ("authorization", "Bearer x")]
    assert world.client.get("/api/recommend", headers=headers).status_code == 401


@pytest.mark.attack
def test_guessing_keys_is_slowed_down_and_hurts_nobody_else(world: World) -> None:
    found = [world.get("/api/recommend", "tfk_00000000_guess").status_code for _ in range(30)]
    assert found[:20] == [401] * 20
    assert set(found[20:]) == {429}
    assert world.get("/api/recommend").status_code == 200


@pytest.mark.attack
def test_a_revoked_key_is_refused_from_the_next_question_on(world: World) -> None:
    assert world.get("/api/recommend").status_code == 200
    world.ring.revoke(world.key.split("_")[1])
    assert world.get("/api/recommend").status_code == 401


@pytest.mark.attack
def test_each_key_has_its_rate(world: World) -> None:
    slow = world.ring.new("slow", per_second=2)
    found = [world.get("/api/recommend", slow) for _ in range(6)]
    assert [one.status_code for one in found] == [200] * 4 + [429] * 2
    assert found[-1].headers["retry-after"] == "1"
    problem(found[-1])
    assert world.get("/api/recommend").status_code == 200
    world.now += 0.5
    assert world.get("/api/recommend", slow).status_code == 200


@pytest.mark.attack
def test_a_key_of_one_shop_answers_for_that_shop(world: World, homes: Homes) -> None:
    other = KeyRing(homes[BARE]).new("harbour", shoppers=True)
    shopper = str(world.shop.shopper_ids[0])
    world.now += 5
    answer = world.post({"shopper": shopper}, other)
    assert answer.status_code == 503  # nothing is served there; nothing of the other shop leaks
    assert str(homes[BARE].root) not in answer.text
    problem(answer)


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


def test_health_needs_no_key(world: World) -> None:
    assert world.client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.attack
def test_metrics_count_requests_and_nothing_else(world: World, homes: Homes) -> None:
    shopper = str(world.shop.shopper_ids[0])
    for _ in range(3):
        world.post({"shopper": shopper, "basket": world.ids(7)}, world.full_key)
    world.client.get("/api/secret-path")
    world.client.request("FOO", "/healthz")
    text = world.client.get("/metrics").text
    assert 'toyfed_requests_total{path="/api/recommend",method="POST",status="200"} 3' in text
    assert 'path="other",method="GET",status="404"} 1' in text
    assert 'toyfed_request_seconds_count{path="/api/recommend"} 3' in text
    for private in (shopper, world.ids(7)[0], SHOP, "secret-path", "FOO", world.key, "castle"):
        assert private not in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if line[0] != "#"}
    assert names == {
        "toyfed_requests_total",
        "toyfed_request_seconds_bucket",
        "toyfed_request_seconds_sum",
        "toyfed_request_seconds_count",
        "toyfed_start_time_seconds",
    }
    closed = Api(homes.values, open_metrics=False)
    client = TestClient(Starlette(routes=api_routes(closed)))
    assert client.get("/metrics").status_code == 401
    sent = {"authorization": f"Bearer {world.key}"}
    assert client.get("/metrics", headers=sent).status_code == 200


class TestDescription:
    """The OpenAPI document against the handlers, both ways."""

    def test_it_is_served_and_points_to_what_it_defines(self, world: World) -> None:
        served = world.client.get("/api/openapi.json").json()
        assert served == json.loads(json.dumps(openapi()))
        text = json.dumps(served)
        for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
            jsonschema.Draft202012Validator.check_schema(served["components"]["schemas"][name])

    def test_every_address_and_method_is_described_and_no_other(self, world: World) -> None:
        described = {
            (path, method.upper())
            for path, operations in openapi()["paths"].items()
            for method in operations
        }
        routed = {
            (route.path, method)  # type: ignore[attr-defined]
            for route in api_routes(world.api)
            for method in getattr(route, "app", None)._methods  # type: ignore[union-attr]
            if method != "HEAD"
        }
        assert described == routed

    def test_parameters_are_those_that_are_checked(self) -> None:
        paths = openapi()["paths"]
        for path, kind in (("/api/recommend", Popular), ("/api/similar", Similar)):
            named = {one["name"] for one in paths[path]["get"]["parameters"]}
            assert named == set(kind.model_fields)
        assert set(openapi()["components"]["schemas"]["Basket"]["properties"]) == set(
            Basket.model_fields
        )

    @pytest.mark.parametrize("outside", [False, True])
    def test_values_made_from_it_are_answered_as_it_says(self, world: World, outside: bool) -> None:
        """Each parameter at and beyond the bounds that the document names."""
        document = openapi()
        for path, operations in document["paths"].items():
            for parameter in operations["get"].get("parameters", ()):
                for value in _values(parameter["schema"], outside):
                    others = {} if path != "/api/similar" else {"item": world.ids(1)[0]}
                    answer = world.client.get(
                        path,
                        params=others | {parameter["name"]: value},
                        headers={"authorization": f"Bearer {world.key}"},
                    )
                    told = operations["get"]["responses"]
                    assert str(answer.status_code) in told
                    is_other_toy = parameter["name"] == "item" and not outside
                    wanted = {422, 400, 414} if outside else {404 if is_other_toy else 200}
                    assert answer.status_code in wanted, (path, parameter["name"], value)
                    _fits(document, told[str(answer.status_code)], answer.json())

    @pytest.mark.parametrize("outside", [False, True])
    def test_bodies_made_from_it_are_answered_as_it_says(self, world: World, outside: bool) -> None:
        document = openapi()
        told = document["paths"]["/api/recommend"]["post"]["responses"]
        for name, schema in document["components"]["schemas"]["Basket"]["properties"].items():
            options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
            for value in _values(options[0], outside):
                answer = world.post({name: value}, world.full_key)
                wanted = {422} if outside else {200}
                assert answer.status_code in wanted, (name, value)
                _fits(document, told[str(answer.status_code)], answer.json())


def _values(schema: dict[str, Any], outside: bool) -> list[Any]:
    """Values at the bounds of a schema, or just beyond them."""
    kind = schema["type"]
    if kind in ("integer", "number"):
        low, high = schema["minimum"], schema["maximum"]
        return [low - 1, high + 1, "x"] if outside else [low, high]
    if kind == "string":
        low, high = schema["minLength"], schema["maxLength"]
        return ["a" * (high + 1), "" if low else 5] if outside else ["a" * low, "a" * high]
    if kind == "array":
        most, inner = schema["maxItems"], _values(schema["items"], False)[0]
        return [[inner] * (most + 1), inner] if outside else [[], [inner] * most]
    assert kind == "boolean"
    return ["yes", 1] if outside else [True, False]


def _fits(document: dict[str, Any], told: dict[str, Any], answer: Any) -> None:
    (content,) = told["content"].values()
    whole = {**content["schema"], "components": document["components"]}
    jsonschema.Draft202012Validator(whole).validate(answer)


def test_nothing_personal_is_logged(
    world: World,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    caplog.set_level(0)
    shopper = str(world.shop.shopper_ids[0])
    world.post({"shopper": shopper, "basket": world.ids(7)}, world.full_key)
    out, err = capfd.readouterr()
    told = (
        out
        + err
        + "".join(
            record.getMessage() for record in caplog.records if not record.name.startswith("httpx")
        )
    )
    assert shopper not in told
    assert world.ids(7)[0] not in told
