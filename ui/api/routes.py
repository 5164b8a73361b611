"""The API's addresses: a key, a limit, a checked question, an answer, a count.

They live in the pages' own process, so that both serve from one open shop: Streamlit 1.67 takes
further routes into its application (`st.App(routes=...)`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from datasites.merchant.home import MerchantHome
from recsys.errors import ToyFedError
from ui.api.answers import UnknownToyError, answer_basket, answer_popular, answer_similar
from ui.api.keys import ApiKey, KeyRing
from ui.api.metrics import Metrics
from ui.api.openapi import openapi
from ui.api.questions import Basket, Popular, Similar
from ui.api.requests import Refusal, question_in_address, question_in_body
from ui.limits import Buckets, Rate
from ui.web.served import served_shop

__all__ = ["OPEN_PATHS", "OPEN_PREFIXES", "Api", "api_routes"]

OPEN_PATHS = frozenset({"/healthz", "/metrics"})
OPEN_PREFIXES = ("/api/",)
GUESSES = Rate(per_second=1.0, burst=20)
COMPUTING = 2
MOST_WAITING = 64
ANSWER_SECONDS = 10.0
LOOK_SECONDS = 1.0
KEEP_SECONDS = 60
HEADERS_MOST_KEY = 200


@dataclass(frozen=True)
class Answer:
    """What goes back: JSON or text, and whether it is the same for everybody."""

    body: bytes
    media_type: str = "application/json"
    personal: bool = True


class Api:
    """All that the handlers share.

    Args:
        homes: the merchants of this installation, looked up again from time to time.
        open_metrics: whether /metrics answers without a key: where only this machine can ask.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        homes: Callable[[], Iterable[MerchantHome]],
        *,
        open_metrics: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._homes = homes
        self._clock = clock
        self._rings: list[KeyRing] = []
        self._looked = -math.inf
        self._guesses = Buckets(GUESSES, clock)
        self._questions = Buckets(Rate(50.0, 100.0), clock)
        self._workers = ThreadPoolExecutor(COMPUTING, thread_name_prefix="toyfed-api")
        self._waiting = 0
        self.open_metrics = open_metrics
        self.metrics = Metrics(path for path, _, _ in _ADDRESSES)

    def key(self, request: Request) -> tuple[KeyRing, ApiKey]:
        """The key that came, and whose it is. Raises Refusal."""
        sent = request.headers.getlist("authorization")
        scheme, _, key = (sent[0] if len(sent) == 1 else "").partition(" ")
        who = request.client.host if request.client else ""
        if scheme.lower() == "bearer" and 0 < len(key) <= HEADERS_MOST_KEY:
            for ring in self._known_rings():
                found = ring.find(key.strip())
                if found is not None:
                    self._limit(found)
                    return ring, found
        wait = self._guesses.wait(who)
        if wait > 0:
            raise _too_often(wait)
        raise Refusal(
            401,
            "the header Authorization: Bearer KEY with a key of this shop",
            "another key or none",
            "Make one with `toyfed web key new`, and send it in that header, never in an address.",
            {"WWW-Authenticate": "Bearer"},
        )

    def _limit(self, key: ApiKey) -> None:
        wait = self._questions.wait(key.id, Rate(key.per_second, 2 * key.per_second))
        if wait > 0:
            raise _too_often(wait)

    def _known_rings(self) -> list[KeyRing]:
        if self._clock() - self._looked > LOOK_SECONDS:
            known = {ring.home.root: ring for ring in self._rings}
            self._rings = [known.get(home.root) or KeyRing(home) for home in self._homes()]
            self._looked = self._clock()
        return self._rings

    async def compute(self, find: Callable[[], bytes]) -> bytes:
        """Run in a worker, so that pages go on; refuse what could only wait. Raises Refusal."""
        if self._waiting >= MOST_WAITING:
            raise Refusal(
                503,
                f"fewer than {MOST_WAITING} questions that wait",
                "that many",
                "Ask again in a second.",
                {"Retry-After": "1"},
            )
        self._waiting += 1
        done = asyncio.get_running_loop().run_in_executor(self._workers, find)
        done.add_done_callback(self._one_less)
        try:
            return await asyncio.wait_for(asyncio.shield(done), ANSWER_SECONDS)
        except TimeoutError:
            raise Refusal(
                503, f"an answer within {ANSWER_SECONDS:g} s", "none", "Ask again later."
            ) from None

    def _one_less(self, done: asyncio.Future[bytes]) -> None:
        self._waiting -= 1
        if not done.cancelled():
            done.exception()  # a late one is nobody's any more

    def close(self) -> None:
        """End the workers."""
        self._workers.shutdown(wait=False, cancel_futures=True)


Handler = Callable[[Api, Request], Awaitable[Answer]]


async def _recommend(api: Api, request: Request) -> Answer:
    ring, key = api.key(request)
    if request.method != "POST":
        popular = question_in_address(request, Popular)
        return Answer(
            await api.compute(lambda: answer_popular(_shop(ring), popular)), personal=False
        )
    basket = await question_in_body(request, Basket)
    if basket.shopper is not None and not key.shoppers:
        raise Refusal(
            403,
            "a key that may ask for shoppers by id",
            "one that may not",
            "Send the basket alone, or make a key with `toyfed web key new --shoppers`.",
        )
    return Answer(await api.compute(lambda: answer_basket(_shop(ring), basket)))


async def _similar(api: Api, request: Request) -> Answer:
    ring, _ = api.key(request)
    question = question_in_address(request, Similar)
    try:
        found = await api.compute(lambda: answer_similar(_shop(ring), question))
    except UnknownToyError:
        raise Refusal(
            404,
            "the id of a toy of this shop's catalogue",
            "another id",
            "Use the catalogue's item_id.",
        ) from None
    return Answer(found, personal=False)


async def _health(_api: Api, _request: Request) -> Answer:
    return Answer(b'{"status": "ok"}')


async def _metrics(api: Api, request: Request) -> Answer:
    if not api.open_metrics:
        api.key(request)
    return Answer(api.metrics.text().encode(), "text/plain; version=0.0.4; charset=utf-8")


async def _openapi(_api: Api, _request: Request) -> Answer:
    return Answer(json.dumps(openapi()).encode(), personal=False)


async def _nothing(_api: Api, _request: Request) -> Answer:
    raise Refusal(
        404,
        "an address of the API",
        "another one",
        "/api/openapi.json lists them.",
    )


_ADDRESSES: tuple[tuple[str, Handler, tuple[str, ...]], ...] = (
    ("/api/recommend", _recommend, ("GET", "HEAD", "POST")),
    ("/api/similar", _similar, ("GET", "HEAD")),
    ("/api/openapi.json", _openapi, ("GET", "HEAD")),
    ("/healthz", _health, ("GET", "HEAD")),
    ("/metrics", _metrics, ("GET", "HEAD")),
)


def api_routes(api: Api) -> list[BaseRoute]:
    """Routes for all addresses, and one for everything else below /api/."""
    known: list[BaseRoute] = [
        Route(path, _Endpoint(api, handler, methods)) for path, handler, methods in _ADDRESSES
    ]
    return [*known, Route("/api/{rest:path}", _Endpoint(api, _nothing, ()))]


class _Endpoint:
    """One address as an ASGI application: every method arrives here, and is refused in JSON."""

    def __init__(self, api: Api, handler: Handler, methods: tuple[str, ...]) -> None:
        self._api, self._handler, self._methods = api, handler, methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request = Request(scope, receive)
        response = await self._respond(request)
        await response(scope, receive, send)
        self._api.metrics.count(
            scope["path"], scope["method"], response.status_code, time.perf_counter() - began
        )

    async def _respond(self, request: Request) -> Response:
        try:
            if self._methods and request.method not in self._methods:
                raise Refusal(
                    405,
                    f"one of {', '.join(self._methods)}",
                    "another method",
                    "/api/openapi.json says which.",
                    {"Allow": ", ".join(self._methods)},
                )
            answer = await self._handler(self._api, request)
        except Refusal as refusal:
            return _problem(refusal)
        except ToyFedError:
            # Its text may name files of this machine.
            return _problem(
                Refusal(
                    503,
                    "a shop that is open, and readable keys",
                    "one that is not",
                    "Its owner sees why on the merchant's page; ask again later.",
                    {"Retry-After": "60"},
                )
            )
        return _response(request, answer)


def _response(request: Request, answer: Answer) -> Response:
    if answer.personal:
        headers = {"Cache-Control": "no-store"}
        return Response(answer.body, media_type=answer.media_type, headers=headers)
    tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
    headers = {
        "Cache-Control": f"private, max-age={KEEP_SECONDS}",
        "ETag": tag,
        "Vary": "Authorization",
    }
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(answer.body, media_type=answer.media_type, headers=headers)


def _problem(refusal: Refusal) -> Response:
    return Response(
        refusal.problem.model_dump_json().encode(),
        status_code=refusal.status,
        media_type="application/json",
        headers={"Cache-Control": "no-store", **refusal.headers},
    )


def _too_often(wait: float) -> Refusal:
    return Refusal(
        429,
        "fewer questions in a second",
        "more",
        "Wait as long as Retry-After says.",
        {"Retry-After": str(max(1, math.ceil(wait)))},
    )


def _shop(ring: KeyRing):  # type: ignore[no-untyped-def]
    return served_shop(ring.home, within=LOOK_SECONDS)
