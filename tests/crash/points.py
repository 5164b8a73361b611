"""Every place where the service, the coordinator, the page and `study submit` are killed.

A point names a function of the product and whether the process dies before or after it. `{job}` in
`match` stands for the job that is under way.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["COORDINATOR", "PAGE", "PROPOSAL", "RESULT", "ROUND", "SUBMIT", "Point", "targets"]

_LINK = "datasites.syftbox.merchant_link:MerchantLink"
_SHELF = "datasites.syftbox.shelf:JobShelf"
_SHARE = "datasites.syftbox.transport:ObjectStoreConnection"
_LEDGER = "datasites.merchant.ledger.ledger:Ledger"
_BOOKS = "datasites.merchant.ledger.store:Store"
_FIT = "datasites.merchant.fit"
_FILES = "recsys.files"
_ADA = "datasites.syftbox.scientist_link:ScientistLink"
_WATCHER = "datasites.syftbox.hardening:StrictWatcherSyncer"
_STUDY = "datasites.study.coordinator"


@dataclass(frozen=True)
class Point:
    """One place to die.

    Attributes:
        words: Where it is, for people; also its name.
        match: What the arguments must hold; `{job}`, `{study}` and `{phase}` are filled in.
        loses: Whether the run under way may be lost there (between RESERVE and a kept release).
        armed: Only while the job `{job}` is out: for places that every pass goes through.
        process: "service", "fit" (the service's child), "ada" or "page".
        parent: Kill the service while its child is at this place, and leave the child alone.
        renew: Remove the mark of a published mock first, so that it is published again.
        garbage: Put a message that nobody signed in the inbox first.
        only: The phase in which this place is met; "" for any.
    """

    words: str
    target: str
    when: str
    match: tuple[str, ...] = ()
    loses: bool = False
    armed: bool = False
    process: str = "service"
    parent: bool = False
    renew: bool = False
    garbage: bool = False
    only: str = ""


def _both(words: str, target: str, **facts: object) -> tuple[Point, Point]:
    return (
        Point(f"before {words}", target, "before", **facts),  # type: ignore[arg-type]
        Point(f"after {words}", target, "after", **facts),  # type: ignore[arg-type]
    )


# In the order in which a service goes through them.
PROPOSAL = (
    Point("before a sync", f"{_LINK}.sync", "before", armed=True),
    Point("before a message is taken in", f"{_SHELF}.accept", "before", ("{job}",)),
    Point("a job taken in, its message still in the share", f"{_SHELF}.accept", "after",
          ("{job}",)),
    Point("its message deleted", f"{_SHARE}.delete_file_by_id", "after", ("msgv2",), armed=True),
    Point("after a sync", f"{_LINK}.sync", "after", armed=True),
    *_both("a request is filed", "datasites.merchant.desk:file_request", match=("{job}",)),
    *_both("a request is booked", f"{_LEDGER}.request", match=("{job}",)),
    *_both("a decision is answered", f"{_LINK}.reply", match=("{job}",)),
    *_both("booked peers are carried out", "datasites.merchant.peers:carry_out", armed=True),
    *_both("the mock is published", f"{_LINK}.publish_mock", armed=True, renew=True),
    *_both("a bad message is put aside", "datasites.quarantine:Quarantine.put",
           match=("ada@",), garbage=True),
)  # fmt: skip

ROUND = (
    Point("before a sync, a round waits", f"{_LINK}.sync", "before", armed=True),
    Point("a round taken in, its message still in the share", f"{_SHELF}.accept", "after",
          ("{job}",)),
    *_both("the approval is checked", "datasites.merchant.desk:check_round", match=("{job}",)),
    *_both("the run's folder is laid out", "datasites.merchant.runs:prepare", match=("{job}",)),
    *_both("the state is fetched", f"{_LINK}.download_state", match=("{job}",), only="als-1"),
    Point("before RESERVE", f"{_LEDGER}.reserve", "before", ("{job}",)),
    Point("RESERVE written, not on disk", f"{_BOOKS}._insert", "after",
          ("'reserved'", "{job}")),
    Point("after RESERVE", f"{_LEDGER}.reserve", "after", ("{job}",), loses=True),
    Point("before the run starts", "datasites.merchant.runs:execute", "before", ("{job}",),
          loses=True),
    Point("the code runs", "datasites.merchant.sandbox.runner:_follow", "before", ("{job}",),
          loses=True),
    Point("the code has ended", "datasites.merchant.sandbox.runner:_follow", "after", ("{job}",),
          loses=True),
    Point("before the gate", "datasites.merchant.gate:read_release", "before", ("{job}",),
          loses=True),
    Point("after the gate", "datasites.merchant.gate:read_release", "after", ("{job}",),
          loses=True),
    Point("the released arrays kept, not yet their facts", f"{_FILES}:atomic_write_bytes", "after",
          ("{job}/release.",), loses=True),
    Point("the release kept whole", f"{_FILES}:atomic_write_text", "after",
          ("{job}/release.json",)),
    *_both("the answer is due", "datasites.merchant.runs:wait_until_due", match=("{job}",)),
    Point("before COMMIT", f"{_LEDGER}.commit", "before", ("{job}",)),
    Point("COMMIT written, not on disk", f"{_BOOKS}._insert", "after", ("'committed'", "{job}")),
    Point("after COMMIT", f"{_LEDGER}.commit", "after", ("{job}",)),
    Point("before the reply is kept", f"{_SHELF}.answer", "before", ("{job}",)),
    Point("the reply kept, not delivered", f"{_SHELF}.answer", "after", ("{job}",)),
    Point("before the reply is in the outbox", f"{_SHARE}.owner_write_raw_bytes_to_outbox",
          "before", ("{job}",)),
    Point("the reply in the outbox, not noted", f"{_SHARE}.owner_write_raw_bytes_to_outbox",
          "after", ("{job}",)),
    Point("the reply noted, the job not yet cleared away", f"{_SHELF}._forget", "before",
          ("{job}",)),
    Point("after the reply", f"{_LINK}.reply", "after", ("{job}",)),
    *_both("a heartbeat", "datasites.merchant.heartbeat:Heartbeat.beat", armed=True),
)  # fmt: skip

RESULT = (
    *_both("a result is checked", "datasites.merchant.desk:check_result", match=("{job}",)),
    *_both("the model is fetched", f"{_LINK}.download_state", match=("{job}",)),
    *_both("the model is verified", "datasites.merchant.apart:verify_artefact", match=("{job}",)),
    *_both("the model is noted", f"{_LEDGER}.note", match=("'model'", "{study}")),
    Point("before the own blend is fitted", f"{_FIT}:run_in_own_process", "before", ("{study}",)),
    Point("the fit itself killed while it measures", "recsys.evaluation.protocol:evaluate",
          "before", process="fit"),
    Point("the service killed while the fit measures", "recsys.evaluation.protocol:evaluate",
          "after", process="fit", parent=True),
    Point("the fit killed, its figures written", f"{_FILES}:atomic_write_text", "after",
          ("quality",), process="fit"),
    Point("the fit killed, the bundle written, not in use", f"{_FILES}:atomic_write_bytes",
          "after", ("{study}-", ".npz"), process="fit"),
    Point("the fit killed, the bundle in use", f"{_FILES}:atomic_write_text", "after",
          ("current.json",), process="fit"),
    Point("after the own blend is fitted", f"{_FIT}:run_in_own_process", "after", ("{study}",)),
    Point("before a result is answered", f"{_LINK}.reply", "before", ("{job}",)),
    Point("after a result is answered", f"{_LINK}.reply", "after", ("{job}",)),
)  # fmt: skip

SUBMIT = (
    *_both("the proposal is written", f"{_FILES}:atomic_write_text", match=("proposal.json",),
           process="ada"),
    *_both("the proposal is sent to a merchant", f"{_ADA}.submit", match=("{job}",),
           process="ada"),
    Point("the proposal in a merchant's inbox, not noted",
          f"{_SHARE}.watcher_send_raw_bytes_to_inbox", "after", ("msgv2",), process="ada"),
    Point("the first merchant noted as asked", f"{_FILES}:atomic_write_text", "after",
          ("sent/proposal-",), process="ada"),
)  # fmt: skip

COORDINATOR = (
    *_both("the answers are read", f"{_STUDY}:Coordinator.answers", process="ada"),
    *_both("the state is published", f"{_ADA}.publish_state", match=("{study}-als-1",),
           process="ada"),
    Point("the state published for one merchant of two", "datasites.syftbox.exchange:publish",
          "after", ("{study}-als-1",), process="ada"),
    *_both("a round is sent to a merchant", f"{_ADA}.submit", match=("{study}-als-1",),
           process="ada"),
    Point("a round in a merchant's inbox, not noted",
          f"{_SHARE}.watcher_send_raw_bytes_to_inbox", "after", ("msgv2",), armed=True,
          process="ada"),
    *_both("a round is noted as sent", f"{_FILES}:atomic_write_text",
           match=("{study}/sent/als-1.json",), process="ada"),
    *_both("a sync", f"{_ADA}.sync", armed=True, process="ada"),
    *_both("an answer is taken in", f"{_WATCHER}._apply", armed=True, process="ada"),
    *_both("an answer is noted", f"{_ADA}._finished", armed=True, process="ada"),
    *_both("what was read is noted", "datasites.syftbox.receipts:ReadMarks.write", armed=True,
           process="ada"),
    *_both("an answer is signed for", f"{_SHARE}.write_receipt", armed=True, process="ada"),
    Point("before an update is read", f"{_STUDY}:Coordinator._read_update", "before", ("als-1",),
          process="ada"),
    Point("an update kept", f"{_FILES}:atomic_write_bytes", "after", ("{study}/updates/als-1",),
          process="ada"),
    *_both("the merge", "datasites.recipes.private_als.recipe:PrivateALSRecipe.merge",
           match=("'als-1'",), armed=True, process="ada"),
    *_both("the state is written", f"{_FILES}:atomic_write_bytes", match=("{study}/state-2",),
           process="ada"),
    *_both("the checkpoint is written", f"{_FILES}:atomic_write_text",
           match=("{study}/checkpoint.json", "als-1"), armed=True, process="ada"),
    *_both("the published state is deleted", f"{_ADA}.delete_state", match=("{study}-als-1",),
           process="ada"),
    Point("before the artefact is begun", "datasites.study.result:write_result", "before",
          process="ada"),
    Point("the artefact's arrays written", f"{_FILES}:atomic_write_bytes", "after",
          ("{study}/artefact/tensors",), process="ada"),
    Point("the artefact's manifest written", f"{_FILES}:atomic_write_bytes", "after",
          ("{study}/artefact/manifest",), process="ada"),
    *_both("the model card is written", f"{_FILES}:atomic_write_text",
           match=("{study}/artefact/MODEL_CARD",), process="ada"),
    *_both("the result is published", f"{_ADA}.publish_state", match=("{study}-result",),
           process="ada"),
    *_both("the result is sent to a merchant", f"{_ADA}.submit", match=("{study}-result",),
           process="ada"),
    *_both("a result is noted as sent", f"{_FILES}:atomic_write_text",
           match=("{study}/sent/result.json",), process="ada"),
    *_both("deliveries are noted", f"{_FILES}:atomic_write_text",
           match=("{study}/checkpoint.json", "delivered"), process="ada"),
)  # fmt: skip

PAGE = (
    Point("while a request is shown", "datasites.merchant.desk:review", "after", process="page"),
    *_both("an approval is booked", f"{_LEDGER}.approve", process="page"),
    Point("an approval written, not on disk", f"{_BOOKS}._insert", "after", ("'approved'",),
          process="page"),
    *_both("a rejection is booked", f"{_LEDGER}.reject", process="page"),
    Point("a rejection written, not on disk", f"{_BOOKS}._insert", "after", ("'rejected'",),
          process="page"),
    *_both("a revocation is booked", f"{_LEDGER}.revoke", process="page"),
    Point("a revocation written, not on disk", f"{_BOOKS}._insert", "after", ("'revoked'",),
          process="page"),
)  # fmt: skip


def targets() -> list[str]:
    """Every function at which some process is killed."""
    every = (*PROPOSAL, *ROUND, *RESULT, *SUBMIT, *COORDINATOR, *PAGE)
    return sorted({point.target for point in every})
