"""What is told of the API to whoever watches it: health, counts and logs, nothing personal."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette

from tests.ui.api.world import Homes, World
from tests.ui.asgi import TestClient
from tests.ui.web.market import SHOP
from ui.api import Api, api_routes


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
