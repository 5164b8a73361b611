from __future__ import annotations

from html.parser import HTMLParser

import pandas as pd
import pytest

from recsys.data import Catalogue
from ui.web.cards import PHOTOS_VARIABLE, card, grid, strip, toy_of


def catalogue(**facts: object) -> Catalogue:
    row = {"item_id": "1", "title": "Train", "category_path": "Toys > Trains", **facts}
    return Catalogue(pd.DataFrame([row]))


def test_what_the_catalogue_does_not_say_is_left_out() -> None:
    html = card(toy_of(catalogue(), 0), reason="Because you like trains")
    assert "Train</div>" in html
    assert "Trains</div>" in html
    assert "tf-fact" not in html.replace("tf-facts", "")
    assert "nan" not in html
    assert "Because you like trains" in html


def test_facts_as_people_read_them() -> None:
    toy = toy_of(catalogue(price=1234.5, age_from=1.5, age_to=3.0, brand="Ravensburger"), 0)
    assert (toy.price, toy.age, toy.category) == ("1,234.50", "1.5–3 years", "Trains")
    assert toy_of(catalogue(age_from=3.0), 0).age == "3+ years"
    assert toy_of(catalogue(age_to=2.0), 0).age == "up to 2 years"
    assert "Trains · Ravensburger" in card(toy)


class Tags(HTMLParser):
    """Collects tags and attribute names, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_catalogues_stay_text(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "'\"><script>alert(1)</script><b onload=alert(1)"
    url = f"https://shop.example/{evil}"
    monkeypatch.setenv(PHOTOS_VARIABLE, "shop.example")
    toy = toy_of(catalogue(title=evil, brand=evil, category_path=evil, image_url=url), 0)
    seen = Tags(grid([card(toy, evil, evil)]) + strip([toy]))
    assert seen.tags == {"section", "article", "div", "span", "img"}
    facts = {"class", "title", "src", "alt", "loading", "referrerpolicy", "tabindex", "aria-label"}
    assert seen.attributes == facts


@pytest.mark.attack
def test_no_photograph_is_fetched_that_the_merchant_does_not_ask_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    theirs = toy_of(catalogue(image_url="https://shop.example/1.png"), 0)
    # Whoever sends the picture would see what this shopper bought.
    assert "https:" not in card(theirs) + strip([theirs])
    monkeypatch.setenv(PHOTOS_VARIABLE, "other.example shop.example")
    for url in (
        "http://shop.example/1.png",
        "https://shop.example.evil.example/1.png",
        "https://user@shop.example/1.png",
        "https://[/1.png",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "",
    ):
        assert "tf-photo" not in card(toy_of(catalogue(image_url=url), 0))
    html = card(theirs)
    assert 'referrerpolicy="no-referrer"' in html
    assert "data:image/svg+xml" in html  # the drawing lies beneath
