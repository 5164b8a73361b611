"""The API's OpenAPI document against its handlers, both ways."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from tests.ui.api.world import World
from ui.api import api_routes, openapi
from ui.api.questions import Basket, Popular, Similar


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
