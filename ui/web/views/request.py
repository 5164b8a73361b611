"""One code request: what it is, what it would release and cost, its code, and the decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import streamlit as st

from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from recsys.errors import ToyFedError
from recsys.privacy import Tally
from ui.web.plain import plain, plain_error
from ui.web.views.decision import show_decision

if TYPE_CHECKING:
    from datasites.merchant.desk import Request, Review

__all__ = ["release_table", "show_request"]

COLOURS: dict[str, Any] = {
    "pending": "orange",
    "approved": "green",
    "rejected": "red",
    "revoked": "red",
    "expired": "gray",
}
LANGUAGES = {".py": "python", ".toml": "toml", ".json": "json", ".md": "markdown"}


def show_request(home: MerchantHome, ledger: Ledger, request: Request) -> None:
    """A card that is open while the request waits for a decision."""
    from datasites.merchant import desk

    title = f"**{plain(request.study)}** from {plain(request.sender)} · {request.status}"
    with st.expander(title, expanded=request.status == "pending", icon=":material/description:"):
        try:
            review = desk.review(home, ledger, request.study)
        except ToyFedError as error:
            st.error(plain_error(error))
            return
        _head(review)
        show_decision(home, ledger, review)
        released, code, difference, findings, settings = st.tabs(
            [
                "What would leave",
                "Code",
                "Difference",
                f"Findings ({len(review.findings)})",
                "Settings",
            ],
            key=f"tabs-{request.study}",
        )
        with released:
            _released(request)
        with code:
            _code(request)
        with difference:
            _difference(review)
        with findings:
            _findings(review)
        with settings:
            st.json(request.proposal.settings)
            st.caption(f"code sha256 `{request.code_sha256}`")
            st.caption(f"proposal sha256 `{request.proposal.sha256}`")


def _head(review: Review) -> None:
    request = review.request
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(request.status, color=COLOURS.get(request.status, "gray"))
        if review.noised_here:
            st.badge(
                "ToyFed itself adds the noise",
                color="green",
                icon=":material/verified_user:",
                help="The program says what one shopper adds, and sees nothing of any other. "
                "Whatever it returns is cut, added up and noised outside its sandbox.",
            )
        elif review.shipped:
            st.badge(
                "Byte-identical to a recipe of this release",
                color="green",
                icon=":material/verified:",
            )
        else:
            st.badge(
                "Not a recipe of this release: read the code",
                color="orange",
                icon=":material/warning:",
            )
        if review.findings:
            count = len(review.findings)
            st.badge(
                f"{count} finding{'' if count == 1 else 's'}",
                color="orange",
                icon=":material/search:",
            )
    st.caption(
        f"Received {request.received_at[:16].replace('T', ' ')} · recipe "
        f"{plain(request.proposal.recipe)} · {plain(request.status_text)}"
    )
    if request.status == "pending":
        cost, held, after = st.columns(3)
        cost.metric("Costs", f"ε {review.cost_epsilon:.3g}", border=True)
        held.metric("Spent or promised already", f"ε {review.spent_epsilon:.3g}", border=True)
        after.metric(
            "Together",
            f"ε {review.after_epsilon:.3g} of {review.budget.epsilon:g}",
            border=True,
            help=f"At delta {review.budget.delta:g}. Epsilons of parts add up to more than the "
            "whole: several small releases together tell less than their sum.",
        )
    for problem in review.problems:
        st.warning(f"Cannot be approved: {plain_error(problem)}", icon=":material/block:")


def _released(request: Request) -> None:
    st.write(
        f"{len(request.proposal.phases)} runs. Each releases only these arrays, noised before they "
        "leave the sandbox; anything else is stopped at the gate."
    )
    st.dataframe(release_table(request), hide_index=True)


def release_table(request: Request) -> pd.DataFrame:
    """Each phase: the arrays that it releases, its noise and its share of the study's cost.

    Shares are of mu^2, which adds up over Gaussian releases; a phase with subsampled steps counts
    as the Gaussian release that costs as much by itself.
    """
    proposal = request.proposal
    squares = [
        Tally.of(phase.privacy_events()).mu(proposal.delta) ** 2 for phase in proposal.phases
    ]
    whole = sum(squares)
    rows = []
    for phase, square in zip(proposal.phases, squares, strict=True):
        events = phase.privacy_events()
        arrays = [
            f"{one.name} [{' × '.join(f'{n:,}' for n in one.shape)}]" for one in phase.outputs
        ]
        share = square / whole if whole else 0.0
        rows.append(
            {
                "run": phase.name,
                "releases": ", ".join(arrays),
                "noise": ", ".join(event.in_words() for event in events),
                "share of the cost": f"{share:.0%}",
            }
        )
    return pd.DataFrame(rows)


def _code(request: Request) -> None:
    from datasites.merchant.code import read_code

    try:
        files = read_code(request.code)
    except ToyFedError as error:
        st.error(plain_error(error))
        return
    name = st.selectbox("File", list(files), key=f"file-{request.study}")
    suffix = name[name.rfind(".") :]
    st.code(
        files[name].decode(),
        language=LANGUAGES.get(suffix),
        line_numbers=True,
        height=_height(files[name].decode()),
    )


def _height(text: str) -> Literal["content"] | int:
    """Long files scroll, short ones take no more room than they need."""
    return 460 if text.count("\n") > 20 else "content"


def _difference(review: Review) -> None:
    if review.shipped:
        st.success("None: every byte is that of the recipe in your own installation.")
    elif review.difference:
        st.code(review.difference, language="diff", height=_height(review.difference))
    else:
        st.info("There is no recipe of that name here to compare with. Read the code itself.")


def _findings(review: Review) -> None:
    if not review.findings:
        st.success("The scan found nothing that reaches outside the sandbox.")
        return
    st.caption("Hints, not proof: the sandbox stops what the scan only suspects.")
    rows = [
        {
            "attention": finding.severity.name.lower(),
            "where": f"{finding.file}:{finding.line}",
            "what": finding.what,
            "why it matters": finding.why,
        }
        for finding in review.findings
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
