"""Every recipe tells people what it is for."""

from __future__ import annotations

from datasites.recipes import recipe_names
from datasites.recipes.pages import recipe_pages


def test_every_recipe_has_a_page() -> None:
    assert [page.name for page in recipe_pages()] == recipe_names()
    for page in recipe_pages():
        assert page.learns in page.markdown()
        assert page.releases in page.markdown()
        assert page.choose in page.markdown()
