"""From a request to a checked question: sizes, kinds and names, each refused readably."""

from __future__ import annotations

import asyncio
import json
from typing import TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from ui.api.questions import Problem

__all__ = ["Refusal", "question_in_address", "question_in_body"]

MOST_ADDRESS = 2048
MOST_BODY = 64 * 1024
BODY_SECONDS = 10.0
Q = TypeVar("Q", bound=BaseModel)


class Refusal(Exception):
    """A request that is not answered: status, why, and headers that go with it."""

    def __init__(
        self,
        status: int,
        expected: str,
        found: str,
        what_to_do: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"expected {expected}, found {found}. {what_to_do}")
        self.status = status
        self.problem = Problem(expected=expected, found=found, what_to_do=what_to_do)
        self.headers = headers or {}


def question_in_address(request: Request, kind: type[Q]) -> Q:
    """The question in the query parameters. Raises Refusal."""
    raw = request.scope["query_string"]
    if len(raw) > MOST_ADDRESS:
        raise Refusal(
            414,
            f"at most {MOST_ADDRESS} characters of parameters",
            "more",
            "Ask by POST, with the basket in the body.",
        )
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(raw),
            errors="strict",
            max_num_fields=20,
        )
    except ValueError:
        raise Refusal(
            400,
            "parameters as name=value, joined by &",
            "something else",
            "Encode them as URLs do.",
        ) from None
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise Refusal(400, "each parameter once", "one of them again", "Leave the second out.")
    return _checked(kind, dict(pairs))


async def question_in_body(request: Request, kind: type[Q]) -> Q:
    """The question in a JSON body. Raises Refusal."""
    kind_of_body = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind_of_body != "application/json":
        raise Refusal(
            415,
            "a body of the type application/json",
            "another type or none",
            "Send the header Content-Type: application/json.",
        )
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "a body as it is", "a packed one", "Leave Content-Encoding out.")
    if request.scope["query_string"]:
        raise Refusal(
            400,
            "everything in the body",
            "parameters in the address",
            "Move them into the body, so that they are in no log.",
        )
    data = await _body(request)
    try:
        values = json.loads(data)
    except (ValueError, RecursionError):
        raise Refusal(
            400, "JSON in the body", "something else", "Send one JSON object in UTF-8."
        ) from None
    if not isinstance(values, dict):
        raise Refusal(400, "one JSON object", "another kind of JSON", "Send {...}.")
    return _checked(kind, values)


async def _body(request: Request) -> bytes:
    too_large = Refusal(
        413, f"at most {MOST_BODY} bytes", "more", "Send a smaller basket: at most 200 toys."
    )
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length[:20]) > MOST_BODY:
        raise too_large
    data = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                data += part
                if len(data) > MOST_BODY:
                    raise too_large
    except TimeoutError:
        raise Refusal(
            408, f"the whole body within {BODY_SECONDS:g} s", "less", "Send it at once."
        ) from None
    except ClientDisconnect:
        raise Refusal(400, "a whole body", "a part of it", "Send it again.") from None
    return data


def _checked(kind: type[Q], values: dict[str, object]) -> Q:
    try:
        return kind.model_validate(values)
    except (ValidationError, RecursionError) as error:
        if isinstance(error, RecursionError):
            raise Refusal(400, "flat JSON", "deeply nested JSON", "Send a flat object.") from None
        wrong = error.errors(include_input=False, include_url=False, include_context=False)[0]
        known = set(kind.model_fields)
        name = str(wrong["loc"][0]) if wrong["loc"] else ""
        # A name that was sent is repeated only if it is one of ours.
        if name not in known:
            raise Refusal(
                422,
                f"parameters out of {', '.join(sorted(known))}",
                "another one",
                "Leave it out; /api/openapi.json lists them all.",
            ) from None
        raise Refusal(
            422,
            f"{name}: {wrong['msg']}",
            "a value that is not",
            "Correct it; /api/openapi.json says what each may be.",
        ) from None
