"""The privacy budget as a gauge: spent, promised, left."""

from __future__ import annotations

import streamlit as st

from datasites.merchant.ledger import Ledger, forecast
from recsys.privacy import mu_of
from ui.ledger_words import forecast_in_words

__all__ = ["gauge", "show_budget"]


def show_budget(ledger: Ledger) -> None:
    """The gauge and its figures.

    mu^2 is what adds up, exactly over Gaussian releases and roughly with subsampled steps among
    them, so that is what the bar's lengths are; what is promised gets what it adds to the spent.
    """
    budget, spent, promised = ledger.budget, ledger.spent(), ledger.promised()
    whole = mu_of(budget.epsilon, budget.delta) ** 2
    used, held = spent.mu**2 / whole, ledger.held().mu(budget.delta) ** 2 / whole
    st.html(
        gauge(
            ("spent", used, spent.epsilon),
            ("promised", max(0.0, held - used), promised.epsilon),
            ("left", max(0.0, 1 - held), ledger.available().epsilon),
        )
    )
    st.caption(
        f"Privacy budget of every shopper here, {_how_long(ledger)}: ε {budget.epsilon:g} at "
        f"δ {budget.delta:g}. Lengths show shares of the budget; the epsilons of parts add up to "
        "more than the whole, because several small releases together tell less than their sum."
    )
    _ahead(ledger)


def _ahead(ledger: Ledger) -> None:
    """What fits beside all that is spent and promised."""
    ahead = forecast(ledger)
    with st.container(horizontal=True, vertical_alignment="center"):
        words = forecast_in_words(ahead, ledger.period())
        st.caption(f":material/trending_up: {words[0].upper()}{words[1:]}.")
        with st.popover("Studies that still fit", icon=":material/calculate:", type="tertiary"):
            st.dataframe(
                {"each of ε": [*ahead.fits], "how many fit": [*ahead.fits.values()]},
                hide_index=True,
            )
            st.caption("Of one size or another, not of all. What is promised is kept free.")


def _how_long(ledger: Ledger) -> str:
    period = ledger.period()
    if period.ends is None:
        return "for good"
    most = period.lifetime_epsilon
    cap = "" if most is None else f" of at most {most:g}"
    return (
        f"in period {period.number} (renewed after {period.ends[:10]} by a person; "
        f"over all periods so far ε {ledger.spent_ever().epsilon:.3g}{cap})"
    )


def gauge(*parts: tuple[str, float, float]) -> str:
    """A bar of parts (name, share of 1, epsilon) with a key beneath, as HTML."""
    bars = "".join(
        f'<i class="tf-{name}" style="width:{max(0.0, min(1.0, share)):.4%}"></i>'
        for name, share, _ in parts
    )
    keys = "".join(
        f'<span class="tf-key-{name}">{name}: <b>ε {epsilon:.3g}</b> ({share:.0%})</span>'
        for name, share, epsilon in parts
    )
    return f'<div class="tf-gauge">{bars}</div><div class="tf-keys">{keys}</div>'
