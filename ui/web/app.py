"""Entry script that Streamlit runs: settings of the page, navigation, and the chosen page."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from recsys.errors import ToyFedError
from ui.web.manifest import current_manifest
from ui.web.views import insights, merchant, recipes, shop

HERE = Path(__file__).parent


def main() -> None:
    st.set_page_config(page_title="ToyFed", page_icon="🧸", layout="wide")
    st.html(HERE / "style.css")
    st.logo(HERE / "logo.svg", size="large")
    page = st.navigation(
        [
            st.Page(shop.page, title="Shop", icon=":material/toys:", default=True),
            st.Page(
                merchant.page, title="Merchant", icon=":material/storefront:", url_path="merchant"
            ),
            st.Page(
                insights.page, title="Insights", icon=":material/insights:", url_path="insights"
            ),
            st.Page(recipes.page, title="Recipes", icon=":material/menu_book:", url_path="recipes"),
        ],
        position="top",
    )
    try:
        current_manifest()
    except ToyFedError as error:
        st.title("Nothing to show yet")
        st.info(str(error))
        return
    page.run()


main()
