"""One run of approved remote code: its inputs, its isolation, its release.

runs/JOB/inputs/job/job.json          phase and settings, as approved
runs/JOB/inputs/state/…               the arrays that the phase starts from
runs/JOB/output/                      what the code wrote (looked at by the gate only)
runs/JOB/room-*                       room on the disk that the run is sure of
runs/JOB/release.safetensors|json     what passed the gate: exactly this may leave
runs/JOB/held.json                    until when the answer of a program's run is held back
runs/JOB/log.txt, outcome.json        stay at the merchant
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from datasites.errors import GateError, ReviewError, SandboxError
from datasites.merchant import gate, sandbox
from datasites.merchant.contributions import held
from datasites.merchant.contributions.apart import is_program, run_apart
from datasites.merchant.contributions.held import note_hold
from datasites.merchant.home import MerchantHome
from datasites.merchant.room import free_room, note_room, outputs_room, start_room, take_room
from datasites.merchant.slots import heavy_work
from datasites.protocol import Phase, Proposal
from recsys.files import atomic_write_bytes, atomic_write_text

__all__ = [
    "check_state",
    "discard",
    "execute",
    "has_release",
    "prepare",
    "release_facts",
    "release_files",
    "room_taken",
    "wait_until_due",
]

_ARRAYS, _FACTS = "release.safetensors", "release.json"


def _folder(home: MerchantHome, job: str) -> Path:
    return home.runs / job


def prepare(home: MerchantHome, job: str, proposal: Proposal, phase: Phase) -> Path:
    """Lay out what the code may read, all of it public, and return the inputs' folder."""
    folder = _folder(home, job)
    shutil.rmtree(folder, ignore_errors=True)
    inputs = folder / "inputs"
    (inputs / "job").mkdir(parents=True)
    (inputs / "state").mkdir()
    (folder / "output").mkdir()
    order = {
        "study": proposal.study,
        "recipe": proposal.recipe,
        "phase": phase.name,
        "settings": proposal.settings,
        "epsilon": proposal.epsilon,
        "delta": proposal.delta,
        "n_items": proposal.n_items,
    }
    atomic_write_text(inputs / "job" / "job.json", json.dumps(order))
    return inputs


def check_state(home: MerchantHome, job: str, expected: Sequence[gate.DeclaredArray]) -> None:
    """Whether a round's state is what its phase starts from. Raises ReviewError if not.

    Nothing is reserved yet and nothing of a shopper was read, so the reason may be told.
    """
    try:
        gate.check_state(_folder(home, job) / "inputs" / "state", expected)
    except GateError as error:
        raise ReviewError(
            f"the state of this round is not what its phase starts from: {error}"
        ) from None


@contextlib.contextmanager
def room_taken(home: MerchantHome, job: str, phase: Phase) -> Iterator[None]:
    """Hold the room that a run will need while its cost is reserved; kept unless that fails.

    Raises OSError if the disk has not so much: before anything is spent.
    """
    folder = _folder(home, job)
    take_room(folder, _declaration(phase).nbytes)
    try:
        yield
    except BaseException:
        free_room(folder)
        raise


def _declaration(phase: Phase) -> gate.Declaration:
    return gate.Declaration(
        arrays=tuple(gate.ArraySpec(one.name, one.shape, one.dtype) for one in phase.outputs),
        events=phase.events,
    )


def execute(
    home: MerchantHome,
    job: str,
    code_folder: Path,
    code_sha256: str,
    phase: Phase,
    *,
    cancelled: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Run one phase in the sandbox, pass its outputs through the gate and keep the release.

    Returns the facts that the ledger books: names, shapes and sha256 of what may leave. When
    `cancelled` says yes the run ends within a second.

    Privacy: costs what `phase` declares; the caller has reserved it. Nothing leaves here.
    Raises SandboxError or GateError with the reason for the merchant's eyes.
    """
    folder = _folder(home, job)
    try:
        return _execute(home, folder, job, code_folder, code_sha256, phase, cancelled)
    finally:
        for part in ("inputs", "output"):
            shutil.rmtree(folder / part, ignore_errors=True)


def _execute(
    home: MerchantHome,
    folder: Path,
    job: str,
    code_folder: Path,
    code_sha256: str,
    phase: Phase,
    cancelled: Callable[[], bool] | None,
) -> dict[str, Any]:
    declared = _declaration(phase)
    limits = sandbox.Limits(
        memory_mb=home.settings.memory_mb,
        wall_seconds=home.settings.wall_seconds,
        cpu_seconds=home.settings.wall_seconds,
        output_mb=max(sandbox.Limits.output_mb, (declared.nbytes >> 20) + 2),
    )
    recipe = json.loads((folder / "inputs" / "job" / "job.json").read_text())["recipe"]
    with heavy_work(cancelled=cancelled), contextlib.ExitStack() as broken_off:
        broken_off.callback(free_room, folder)
        start_room(folder)
        if is_program(recipe):
            outcome = run_apart(home, job, code_folder, code_sha256, cancelled)
        else:
            outcome = sandbox.run(
                code_folder,
                inputs={
                    "data": home.data,
                    "job": folder / "inputs" / "job",
                    "state": folder / "inputs" / "state",
                },
                output=folder / "output",
                log=folder / "log.txt",
                limits=limits,
                expected_digest=code_sha256,
                unsafe_no_sandbox=home.settings.unsafe_no_sandbox,
                cancelled=cancelled,
                before_outputs=lambda: outputs_room(folder),
            )
        broken_off.pop_all()
    if is_program(recipe):
        note_room(folder)
        note_hold(folder, outcome.seconds, cancelled or (lambda: False))
    facts = {
        "ok": outcome.ok,
        "reason": outcome.reason,
        "seconds": outcome.seconds,
        "peak_mb": outcome.peak_mb,
    }
    if not outcome.ok:
        _note_outcome(folder, facts)
        # An error's own text may quote a purchase: it stays in outcome.json and log.txt, while
        # this reason goes into the service's log and the ledger.
        failed = outcome.ending is sandbox.Ending.FAILED
        raise SandboxError("the code ended with an error" if failed else outcome.reason)
    try:
        # Encoded afresh: nothing of the code's own file layout leaves.
        released = gate.read_release(folder / "output", declared).array_bytes()
    except GateError as error:
        _note_outcome(folder, facts | {"ok": False, "reason": str(error)})
        raise
    booked = {
        "arrays": {spec.name: list(spec.shape) for spec in phase.outputs},
        "sha256": hashlib.sha256(released).hexdigest(),
        "bytes": len(released),
    }
    free_room(folder)
    atomic_write_bytes(folder / _ARRAYS, released)
    atomic_write_text(folder / _FACTS, json.dumps(booked))
    _note_outcome(folder, facts)
    return booked


def discard(home: MerchantHome, job: str) -> None:
    """Remove what was prepared for a run that did not begin."""
    shutil.rmtree(_folder(home, job), ignore_errors=True)


def wait_until_due(home: MerchantHome, job: str, given_up: Callable[[], bool]) -> bool:
    """Wait until the answer to a run may be given; False if it is `given_up` before that.

    Privacy: how long a program's run took is told coarsely; see `contributions.held`.
    """
    return held.wait_until_due(_folder(home, job), given_up)


def _note_outcome(folder: Path, facts: dict[str, Any]) -> None:
    """Write down how a run ended, to look at; a full disk costs the note, not the run."""
    free_room(folder)
    with contextlib.suppress(OSError):
        atomic_write_text(folder / "outcome.json", json.dumps(facts), mode=0o600)


def has_release(home: MerchantHome, job: str) -> bool:
    """Whether this run's release passed the gate and was kept whole."""
    try:
        return bool(release_files(home, job))
    except ReviewError:
        return False


def release_facts(home: MerchantHome, job: str) -> dict[str, Any]:
    """What the ledger books about a kept release. Raises ReviewError if that is damaged."""
    try:
        facts: dict[str, Any] = json.loads((_folder(home, job) / _FACTS).read_bytes())
        if not isinstance(facts["sha256"], str):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError):
        raise ReviewError(
            f"expected what is known of the release of '{job}' in {_FACTS}, found a missing or "
            "damaged file. It is not sent."
        ) from None
    return facts


def release_files(home: MerchantHome, job: str) -> dict[str, bytes]:
    """The bytes that may leave. Raises ReviewError if they are gone or changed since booked."""
    try:
        released = (_folder(home, job) / _ARRAYS).read_bytes()
    except FileNotFoundError:
        raise ReviewError(
            f"the release of '{job}' is no longer kept: it was delivered before. It is not sent "
            "again; the data scientist has it."
        ) from None
    except (IsADirectoryError, PermissionError):
        raise ReviewError(
            f"expected the release of '{job}' in {_ARRAYS}, found a damaged file. It is not sent."
        ) from None
    if hashlib.sha256(released).hexdigest() != release_facts(home, job)["sha256"]:
        raise ReviewError(
            f"the release of '{job}' is not the one that was booked: its file was changed on this "
            "machine. It is not sent."
        )
    return {_ARRAYS: released}
