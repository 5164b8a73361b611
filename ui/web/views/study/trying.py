"""A study tried on mock purchases, on this machine, before anything is sent.

It is worked out in a thread, because this part of the page is drawn anew every two seconds: the
page looks in, and the one who asked may leave and come back.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streamlit as st

from datasites.study.home import ScientistHome
from recsys.errors import ToyFedError
from ui.web.doors import Action, demand
from ui.web.plain import plain, plain_error

__all__ = ["show_tried", "try_study"]

MOST = 32
"""Studies whose last try is remembered until this process ends."""

Row = dict[str, Any]


@dataclass
class _Try:
    """One try, as far as it has come. Nobody's purchases are in it: all may see it."""

    rows: list[Row] = field(default_factory=list)
    ended: bool = False
    problem: ToyFedError | None = None


_tries: dict[tuple[Path, str], _Try] = {}
_turn = threading.Lock()


def try_study(home: ScientistHome, name: str) -> None:
    """Start to run every phase; a study that is being tried is not started again."""
    demand(Action.COMPOSE_STUDY)
    key = (home.root, name)
    found = _tries.get(key)
    if found is not None and not found.ended:
        return
    while len(_tries) >= MOST:
        _tries.pop(next(iter(_tries)))
    _tries[key] = started = _Try()
    threading.Thread(target=_run, args=(home, name, started), daemon=True).start()


def show_tried(home: ScientistHome, name: str) -> None:
    """How far the last try has come, or what came of it; nothing where there was none."""
    found = _tries.get((home.root, name))
    if found is None:
        return
    if found.problem is not None:
        st.error(f"On mock purchases it did not go well: {plain_error(found.problem)}")
    elif not found.ended:
        went_well = ", ".join(plain(row["phase"]) for row in found.rows)
        st.info(
            "Trying it on mock purchases …" + (f" Went well: {went_well}." if went_well else ""),
            icon=":material/hourglass_top:",
        )
    else:
        st.success("On mock purchases it went well. Nothing was sent.", icon=":material/check:")
    if found.rows:
        st.dataframe([*found.rows], hide_index=True)
        st.caption("On a few invented shoppers: real runs take longer.")


def _run(home: ScientistHome, name: str, into: _Try) -> None:
    try:
        with _turn:
            _fill(home, name, into.rows)
    except ToyFedError as error:
        into.problem = error
    except BaseException:
        into.problem = ToyFedError(
            f"expected every phase to run, found an error of ours. `toyfed study try {name}` says "
            "more"
        )
        raise
    finally:
        into.ended = True


def _fill(home: ScientistHome, name: str, rows: list[Row]) -> None:
    from datasites.study import rehearsal, trial
    from datasites.study.desk import compose

    if compose(home, name).recipe == "custom":
        for tried in trial.try_program(home, name):
            rows.append(
                {
                    "phase": tried.phase,
                    "rows": tried.rows,
                    "failed": tried.failed,
                    "median length": tried.median_norm,
                    "cut at": tried.clip,
                    "rows cut": tried.clipped,
                    "ms each": tried.milliseconds,
                    "said": tried.said,
                }
            )
        return
    for one in rehearsal.rehearse(home, name):
        rows.append(
            {
                "phase": one.phase,
                "each merchant would send": ", ".join(one.arrays),
                "bytes": one.sends_bytes,
                "seconds": round(one.seconds, 1),
                "peak MB": round(one.peak_mb),
            }
        )
