"""The ledger's entries in sentences, for the page and the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from datasites.merchant.ledger import Entry, Forecast, Period
from recsys.privacy import event_from_dict, spent

__all__ = ["cost_of", "forecast_in_words", "in_words", "when"]

_HASH = re.compile(r"[0-9a-f]{64}")
_LONGEST = 160

Body = Mapping[str, Any]


def when(at: str) -> str:
    """A time as people read it, UTC, to the minute."""
    return at[:16].replace("T", " ")


def cost_of(entry: Entry, delta: float) -> float | None:
    """Epsilon of this run by itself at `delta`; None for an entry that spends nothing."""
    if entry.kind != "reserved" or entry.note:
        return None
    return spent([event_from_dict(event) for event in entry.body["events"]], delta)


def forecast_in_words(ahead: Forecast, period: Period) -> str:
    """How long the budget lasts, in a sentence."""
    if ahead.more is None:
        room = [f"{count} of epsilon {size:g}" for size, count in ahead.fits.items() if count]
        if not room:
            return "no room for a study of epsilon 0.1"
        return f"no study has run yet; there is room for {', or '.join(room[-3:])}"
    so_far = "1 study" if ahead.studies == 1 else f"{ahead.studies} studies"
    text = f"{so_far} so far, of about epsilon {ahead.typical:.2g}; "
    if ahead.more == 0:
        return text + "no room for another like that"
    text += f"room for {ahead.more} more like that"
    if ahead.until is None:
        return text
    until = ahead.until.isoformat()
    if period.ends is not None and until >= period.ends[:10]:
        return f"{text}, at this pace enough until the period may be renewed"
    return f"{text}, at this pace until about {until}"


def in_words(entry: Entry) -> str:
    """What an entry says, in a sentence; hashes are in the export."""
    tell = _NOTES.get(entry.kind) if entry.note else _BOOKED.get(entry.kind)
    try:
        text = tell(entry.body) if tell else _plainly(entry.body)
    except (KeyError, TypeError, ValueError):
        text = _plainly(entry.body)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _created(body: Body) -> str:
    budget = body["budget"]
    days = body.get("period_days")
    text = (
        f"a budget of epsilon {budget['epsilon']:g} at delta {budget['delta']:g}, "
        f"{'for good' if days is None else f'per {days} days'}"
    )
    earlier = len(body.get("earlier", []))
    if earlier:
        text += f"; what {earlier} earlier datasite{'s' * (earlier != 1)} cost counts"
    return text


def _approved(body: Body) -> str:
    runs = body["rounds"]
    return f"{runs} run{'s' * (runs != 1)} until {when(body['expires'])[:10]}, by {body['by']}"


def _committed(body: Body) -> str:
    released = body["released"]
    arrays = ", ".join(
        f"{name} [{' x '.join(map(str, shape))}]" for name, shape in released["arrays"].items()
    )
    return f"{_phase(body['job'])}{arrays} may leave, {released['bytes']:,} bytes"


def _phase(job: str) -> str:
    return f"{job}: " if job else ""


_BOOKED: dict[str, Callable[[Body], str]] = {
    "created": _created,
    "requested": lambda body: f"asked by {body['sender']}",
    "approved": _approved,
    "rejected": lambda body: f"by {body['by']}: {body['reason']}",
    "revoked": lambda body: f"by {body['by']}; nothing of it runs or leaves any more",
    "reserved": lambda body: f"phase {body['phase']} may run once; its cost is spent",
    "committed": _committed,
    "failed": lambda body: f"{body['job']} ended without a release: {body['reason']}",
    "renewed": lambda body: f"period {body['period']} began, by {body['by']}",
    "restored": lambda body: (
        f"an older copy was accepted by {body['by']}; what the lost entries cost is booked"
    ),
}
_NOTES: dict[str, Callable[[Body], str]] = {
    "peer-approved": lambda body: f"{body['email']} is paired, by {body['by']}",
    "peer-revoked": lambda body: f"{body['email']} is not heard any more, by {body['by']}",
    "model": lambda body: f"the model of {body['study']} is served",
    "witness missing": lambda body: f"{body['place']} {body['problem']}",
    "head rebuilt": lambda body: f"the head file was made anew by {body['by']}",
}


def _plainly(body: Body) -> str:
    return ", ".join(
        f"{key.replace('_', ' ')} {_short(value)}"
        for key, value in body.items()
        if isinstance(value, str | int | float)
    )


def _short(value: str | int | float) -> str:
    text = str(value)
    return f"{text[:10]}…" if _HASH.fullmatch(text) else text
