"""Recipes: what a study can learn, what leaves the datasites for it, and when to choose it."""

from __future__ import annotations

import streamlit as st

from datasites.recipes.pages import recipe_pages
from recsys.federation import merge_named, merge_names

__all__ = ["page"]


def page() -> None:
    """Render the page."""
    st.title("Recipes", anchor=False)
    st.caption(
        "A recipe is the code that a data scientist asks merchants to run, and the way in which "
        "their updates become one model. Every merchant reads and approves it first."
    )
    for recipe in recipe_pages():
        with st.container(border=True):
            st.subheader(recipe.title, anchor=False)
            st.code(f"toyfed study new NAME --recipe {recipe.name}", language=None)
            st.markdown(recipe.markdown())
    st.subheader("How updates become one model", anchor=False)
    st.caption("The *merge* of a study. It changes nothing about privacy.")
    st.table(
        {
            "merge": [f"`{name}`" for name in merge_names()],
            "what it does": [merge_named(name).about for name in merge_names()],
        }
    )
