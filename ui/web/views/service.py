"""Whether the merchant's service runs, as its heartbeat file says."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import streamlit as st

from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from ui.web.plain import plain

__all__ = ["ServiceState", "service_state", "show_service"]

SILENT_SECONDS = 30.0


@dataclass(frozen=True)
class ServiceState:
    """What to tell the merchant about the service."""

    text: str
    colour: Literal["green", "orange", "red", "gray"]
    detail: str = ""


def service_state(home: MerchantHome, busy: bool) -> ServiceState:
    """Read the heartbeat.

    Args:
        home: the merchant's home.
        busy: whether a run is under way; the service does not beat while it waits for one.
    """
    how = "Start it with `toyfed datasite serve`."
    try:
        beat = json.loads(home.heartbeat.read_text(encoding="utf-8"))
        state, pid, at = beat["state"], int(beat["pid"]), datetime.fromisoformat(beat["at"])
        detail = str(beat.get("detail", ""))
    except FileNotFoundError:
        return ServiceState("Service never started", "gray", how)
    except (OSError, ValueError, KeyError, TypeError):
        return ServiceState("Service state not readable", "orange", how)
    if state == "stopped":
        return ServiceState("Service stopped", "gray", how)
    if not _alive(pid):
        return ServiceState("Service ended unexpectedly", "red", how)
    if busy:
        return ServiceState("Running approved code", "green")
    if state == "troubled":
        return ServiceState("Service has trouble", "orange", detail)
    silent = (datetime.now(UTC) - at).total_seconds()
    if silent > SILENT_SECONDS + 10 * home.settings.poll_seconds:
        return ServiceState("Service is silent", "orange", f"Last sign {silent / 60:.0f} min ago.")
    return ServiceState("Service is running", "green")


def show_service(home: MerchantHome, ledger: Ledger) -> None:
    """A badge, and what to do where something is wrong."""
    from datasites.merchant.desk import has_data

    state = service_state(home, busy=bool(ledger.open_reservations()))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(state.text, color=state.colour, icon=":material/sensors:")
        if has_data(home):
            st.badge("Purchases added", color="green", icon=":material/database:")
        else:
            st.badge("No purchases yet", color="orange", icon=":material/database:")
        st.badge("Ledger verified", color="green", icon=":material/verified:")
    if state.detail:
        st.caption(plain(state.detail))
    if not has_data(home):
        st.caption(
            "Add purchases with `toyfed datasite add-data purchases.csv --catalogue items.csv`."
        )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
