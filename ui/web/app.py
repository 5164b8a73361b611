"""Entry script that Streamlit runs: who is here, the pages of their role, and the chosen page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from recsys.errors import ToyFedError
from ui.errors import NotAllowedError, SignInError
from ui.web.doors import PAGES, PageName, Person, Role, signed_in
from ui.web.manifest import current_manifest
from ui.web.plain import plain_error
from ui.web.views import insights, merchant, recipes, shop, study

HERE = Path(__file__).parent
WHO = {
    Role.SHOPPER: "shopper",
    Role.MERCHANT: "merchant",
    Role.SCIENTIST: "data scientist",
    Role.ANALYST: "analyst",
    Role.DEMO: "visitor of the demo, who sees everything",
}


def main() -> None:
    st.set_page_config(page_title="ToyFed", page_icon="🧸", layout="wide")
    st.html(HERE / "style.css")
    st.logo(HERE / "logo.svg", size="large")
    try:
        person = signed_in()
    except SignInError as error:
        _nobody(error)
        return
    _start_anew_for(person)
    page = st.navigation(_pages(person), position="top")
    try:
        current_manifest()
        page.run()
    except (SignInError, NotAllowedError) as error:
        st.error(plain_error(error), icon=":material/lock:")
    except ToyFedError as error:
        st.title("Nothing to show yet")
        if person.role in (Role.SHOPPER, Role.ANALYST):
            # Its text may name files of this machine.
            st.info("This page cannot be shown just now. Whoever runs it sees why on their own.")
        else:
            st.info(plain_error(error))
    st.html(
        f'<p class="tf-who">Signed in as {WHO[person.role]} · '
        '<a href="/sign-out" target="_self">Sign out</a></p>'
    )


def _pages(person: Person) -> list[st.Page]:
    """The pages of a role; no others exist for it, whatever address is typed."""
    made = {
        PageName.SHOP: st.Page(shop.page, title="Shop", icon=":material/toys:", url_path="shop"),
        PageName.CONSOLE: st.Page(
            merchant.page, title="Merchant", icon=":material/storefront:", url_path="merchant"
        ),
        PageName.STUDY: st.Page(
            study.page, title="Study desk", icon=":material/science:", url_path="study"
        ),
        PageName.INSIGHTS: st.Page(
            insights.page, title="Insights", icon=":material/insights:", url_path="insights"
        ),
        PageName.RECIPES: st.Page(
            recipes.page, title="Recipes", icon=":material/menu_book:", url_path="recipes"
        ),
    }
    return [made[name] for name in PAGES[person.role]]


def _nobody(error: SignInError) -> None:
    st.navigation([st.Page(lambda: None, title="Sign in")], position="hidden").run()
    st.title("Please sign in", anchor=False)
    st.info(plain_error(error))
    st.html('<p><a href="/sign-in" target="_self">Sign in</a></p>')


def _start_anew_for(person: Person) -> None:
    """What one person typed and chose is not there for the next one in the same tab."""
    if st.session_state.setdefault("person", person.session) != person.session:
        st.session_state.clear()
        st.session_state["person"] = person.session


main()
