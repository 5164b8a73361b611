"""The API's description, made from the models that check it (OpenAPI 3.1)."""

from __future__ import annotations

import importlib.metadata
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ui.api.questions import Basket, Found, Popular, Problem, Similar

__all__ = ["openapi"]

_REFERENCE = "#/components/schemas/{model}"


@lru_cache(maxsize=1)
def openapi() -> dict[str, Any]:
    """The whole document."""
    kinds: list[type[BaseModel]] = [Basket, Found, Problem]
    _, schemas = models_json_schema(
        [(kind, "validation") for kind in kinds], ref_template=_REFERENCE
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ToyFed",
            "version": importlib.metadata.version("toyfed"),
            "description": (
                "Recommendations of one toy shop, out of its own purchases and of what all shops "
                "learned together under privacy. Every shop has keys of its own. What a shopper "
                "chose travels in bodies only, never in an address."
            ),
        },
        "paths": {
            "/api/recommend": {
                "get": _operation(
                    "popular",
                    "What many families choose, for somebody of whom nothing is known.",
                    _parameters(Popular),
                    keeps=True,
                ),
                "post": _operation(
                    "recommend",
                    "Toys for a basket or for a shopper of this shop. Baskets are kept nowhere.",
                    body=Basket,
                    refused=("403", "408", "413", "415"),
                ),
            },
            "/api/similar": {
                "get": _operation(
                    "similar",
                    "Toys that go with one toy.",
                    _parameters(Similar),
                    keeps=True,
                    refused=("404",),
                ),
            },
            "/api/openapi.json": {
                "get": {
                    "operationId": "description",
                    "summary": "This document.",
                    "security": [],
                    "responses": {
                        "200": {
                            "description": "OpenAPI 3.1.",
                            "content": {"application/json": {"schema": {"type": "object"}}},
                        }
                    },
                }
            },
            "/healthz": {
                "get": {
                    "operationId": "health",
                    "summary": "Whether the process answers.",
                    "security": [],
                    "responses": {
                        "200": {
                            "description": "It does.",
                            "content": {
                                "application/json": {
                                    "schema": {
                                        "type": "object",
                                        "required": ["status"],
                                        "properties": {"status": {"const": "ok"}},
                                    }
                                }
                            },
                        }
                    },
                }
            },
            "/metrics": {
                "get": {
                    "operationId": "metrics",
                    "summary": "Counters for Prometheus; no key needed where only this machine "
                    "can ask.",
                    "responses": {
                        "200": {
                            "description": "Exposition format 0.0.4.",
                            "content": {"text/plain": {"schema": {"type": "string"}}},
                        },
                        **_refusals(("401", "429")),
                    },
                }
            },
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


_MEANS = {
    "304": "The same as before (If-None-Match).",
    "400": "Not readable as a question.",
    "401": "No key, or none of this shop.",
    "403": "This key may not ask that.",
    "404": "No such toy.",
    "408": "The body came too slowly.",
    "413": "The body is too large.",
    "414": "The address is too long.",
    "415": "The body is of another type.",
    "422": "A value that is not allowed.",
    "429": "Too often; Retry-After says how long to wait.",
    "503": "The shop is not open, or too busy; Retry-After says when to ask again.",
}


def _operation(
    name: str,
    summary: str,
    parameters: list[dict[str, Any]] | None = None,
    body: type[BaseModel] | None = None,
    keeps: bool = False,
    refused: tuple[str, ...] = (),
) -> dict[str, Any]:
    answers: dict[str, Any] = {
        "200": {
            "description": "The best toys first.",
            "content": {"application/json": {"schema": _reference(Found)}},
        }
    }
    if keeps:
        answers["304"] = {"description": _MEANS["304"]}
    usual = ("400", "401", *(() if body else ("414",)), "422", "429", "503")
    answers |= _refusals(tuple(sorted({*usual, *refused})))
    operation: dict[str, Any] = {"operationId": name, "summary": summary, "responses": answers}
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _reference(body)}},
        }
    return operation


def _refusals(statuses: tuple[str, ...]) -> dict[str, Any]:
    return {
        status: {
            "description": _MEANS[status],
            "content": {"application/json": {"schema": _reference(Problem)}},
        }
        for status in statuses
    }


def _reference(kind: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=kind.__name__)}


def _parameters(kind: type[BaseModel]) -> list[dict[str, Any]]:
    schema = kind.model_json_schema()
    required = set(schema.get("required", ()))
    found = []
    for name, facts in schema["properties"].items():
        # A parameter that is not sent is what None stands for.
        options = [one for one in facts.get("anyOf", [facts]) if one.get("type") != "null"]
        detail = dict(options[0])
        detail.pop("title", None)
        about = detail.pop("description", facts.get("description", ""))
        one: dict[str, Any] = {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": detail,
        }
        if about:
            one["description"] = about
        found.append(one)
    return found
