"""Keys of the API: none, wrong, revoked, hurried, and of another shop."""

from __future__ import annotations

import pytest

from tests.ui.api.world import Homes, World, problem
from tests.ui.web.market import BARE
from ui.api import KeyRing


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
