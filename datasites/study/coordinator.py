"""Rounds of a study: distribute, let merchants train, merge with FedAvg, repeat.

    for phase in proposal.phases:
        publish the state that the phase starts from      (encrypted, one copy per merchant)
        send one job to every merchant that approved
        wait until all answered, or until patience ends   (drop-outs are left out of this round)
        state = recipe.merge(updates)                     (FedAvg)
        checkpoint                                        (a crash resumes here)

Everything the coordinator holds has left a datasite noised and booked: it is trusted with nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from datasites.errors import (
    DatasiteError,
    PeerError,
    ReviewError,
    SettingsError,
    TransportError,
)
from datasites.pace import Pace
from datasites.protocol import Result, Round, StateRef
from datasites.recipes import recipe_named
from datasites.study import files as study_files
from datasites.study.home import ScientistHome
from datasites.study.journal import Progress, recorded
from datasites.study.settings import StudySettings
from recsys.data import read_catalogue
from recsys.errors import ModelError
from recsys.federation import Update
from recsys.files import atomic_write_bytes, atomic_write_text, sweep_leftovers

if TYPE_CHECKING:
    import numpy as np

    from datasites.syftbox import ScientistLink

__all__ = ["Coordinator", "Progress"]

T = TypeVar("T")
_KEPT_UPDATES = 20  # phases whose updates a scientist may still look at


class Coordinator:
    """Runs one approved study from its last checkpoint to its artefact."""

    def __init__(
        self,
        home: ScientistHome,
        link: ScientistLink,
        study: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.home = home
        self.link = link
        self.folder = home.study(study)
        self.settings = StudySettings.read(self.folder / "study.toml")
        self.proposal = study_files.read_proposal(self.folder)
        self.recipe = recipe_named(self.proposal.recipe).of_study(self.folder)
        self._clock = clock
        self._away = 0.0

    # -- what a study looks like from outside -----------------------------------------------

    def answers(self) -> dict[str, tuple[str, str]]:
        """What each merchant said to the proposal: e-mail -> (waiting|done|refused, message)."""
        self.link.sync()
        found = {}
        for merchant in self.settings.study.merchants:
            reply = self.link.reply(merchant, proposal_job(self.proposal.study))
            found[merchant] = (reply.status, reply.message)
        return found

    def checkpoint(self) -> dict[str, Any]:
        """The last checkpoint: finished phases and who contributed to each."""
        return study_files.read_checkpoint(self.folder)

    # -- the study itself ---------------------------------------------------------------------

    def run(self) -> Iterator[Progress]:
        """Run every phase that is left, then deliver the model. Yields progress as it happens.

        Raises ReviewError if no merchant approved, DatasiteError if a phase got no update at all
        or if another process runs this study.
        """
        with _only_one(self.folder):
            # Only one process works on a study, so these are a killed one's.
            sweep_leftovers(self.folder)
            yield from recorded(self.folder, self._run())

    def _run(self) -> Iterator[Progress]:
        answers = yield from self._reach(self.answers)
        merchants = [name for name, (status, _) in answers.items() if status == "done"]
        if not merchants:
            raise ReviewError(
                f"expected at least one merchant to have approved '{self.proposal.study}', found "
                "none. `toyfed study status` shows what each of them said."
            )
        done = self.checkpoint()
        state = self._load_state(done)
        if done["finished"]:
            yield from self._tidy(done, merchants)  # a crash may have come before it
        for phase in self.proposal.phases:
            if phase.name in done["finished"]:
                continue
            refused = yield from self._send(phase.name, state, merchants)
            yield Progress("phase", phase.name)
            updates, dropped = yield from self._collect(phase.name, merchants, refused)
            if not updates and phase.name not in self.recipe.optional_phases:
                raise DatasiteError(
                    f"expected updates in phase '{phase.name}', no merchant sent one: "
                    f"{'; '.join(f'{name}: {why}' for name, why in dropped.items())}. "
                    "A phase runs once at each merchant, so this study has ended: start a new one."
                )
            updates.sort(key=lambda update: update.merchant)
            state = self.recipe.merge(
                phase.name, updates, state, self.proposal.settings, self.settings.federation.merge
            )
            done["finished"].append(phase.name)
            done["contributors"][phase.name] = [update.merchant for update in updates]
            done["dropped"][phase.name] = dropped
            self._save_state(done, state)
            yield from self._tidy(done, merchants)
            yield Progress("merged", phase.name, detail=f"{len(updates)} of {len(merchants)}")
        yield from self._deliver(state, merchants)

    def _reach(self, act: Callable[[], T]) -> Generator[Progress, None, T]:
        """Do something with the share; while it cannot be reached, say so and try again.

        The time that this takes is not taken from the merchants' patience.
        """
        since: float | None = None
        while True:
            try:
                found = act()
            except TransportError as error:
                if since is None:
                    since = self._clock()
                    yield Progress("away", detail=str(error))
                time.sleep(self.home.settings.poll_seconds)
                continue
            if since is not None:
                self._away += self._clock() - since
                yield Progress("back")
            return found

    def _waited(self) -> float:
        """Seconds by the clock without those in which the share was away."""
        return self._clock() - self._away

    def _send(
        self, phase: str, state: dict[str, np.ndarray], merchants: list[str]
    ) -> Generator[Progress, None, dict[str, str]]:
        """Publish the phase's state and send one job per merchant; what was sent stays sent.

        Returns whom nothing could be sent, and why: one merchant's key must not stop the others.
        """
        sent_file = self.folder / "sent" / f"{phase}.json"
        sent = study_files.read_sent(sent_file)
        arrays = self.recipe.state_for(phase, state)
        files = {"state.safetensors": save_arrays(arrays)} if arrays else {}
        name = f"{self.proposal.study}-{phase}"

        def order(reference: StateRef | None) -> Round:
            return Round(
                study=self.proposal.study,
                phase=phase,
                proposal_sha256=self.proposal.sha256,
                state=reference,
            )

        refused: dict[str, str] = {}
        for merchant in merchants:
            if merchant in sent:
                continue
            try:
                yield from self._submit(merchant, name, files, order)
            except PeerError as error:
                refused[merchant] = str(error)
                continue
            sent[merchant] = True
            atomic_write_text(sent_file, json.dumps(sent))
        return refused

    def _submit(
        self,
        merchant: str,
        name: str,
        files: dict[str, bytes],
        message: Callable[[StateRef | None], Round | Result],
    ) -> Iterator[Progress]:
        """Publish files for one merchant, if there are any, and send the job that names them."""
        reference: StateRef | None = None
        if files:
            digest = yield from self._reach(
                lambda: self.link.publish_state(name, files, [merchant])
            )
            reference = StateRef(name=name, sha256=digest)
        words = message(reference).model_dump(mode="json")
        yield from self._reach(
            lambda: self.link.submit(merchant, name, self.folder / "code", words)
        )

    def _collect(
        self, phase: str, merchants: list[str], refused: dict[str, str]
    ) -> Generator[Progress, None, tuple[list[Update], dict[str, str]]]:
        """Take answers as they come until patience ends: the updates, and why others are left out.

        What lies there already is taken before patience is looked at, so that a coordinator that
        was stopped for long, or that could not reach the share, leaves nobody out for that.
        """
        updates: list[Update] = []
        dropped = dict(refused)
        for merchant, reason in refused.items():
            yield Progress("dropped", phase, merchant, reason)
        pace = Pace(self.home.settings.poll_seconds, self._clock)
        deadline = self._waited() + self.settings.federation.patience_seconds
        while True:
            yield from self._reach(self.link.sync)
            for merchant in merchants:
                if merchant in dropped or any(one.merchant == merchant for one in updates):
                    continue
                reply = self.link.reply(merchant, f"{self.proposal.study}-{phase}")
                update, why = None, reply.message or reply.status
                if reply.status == "done":
                    update, why = self._read_update(phase, merchant, reply.files)
                elif reply.status == "waiting":
                    if self._waited() <= deadline:
                        continue
                    why = "no answer within the study's patience"
                if update is None:
                    dropped[merchant] = why
                    yield Progress("dropped", phase, merchant, why)
                else:
                    updates.append(update)
                    yield Progress("answer", phase, merchant)
            if len(updates) + len(dropped) == len(merchants):
                return updates, dropped
            time.sleep(pace.seconds())

    def _read_update(
        self, phase: str, merchant: str, files: dict[str, bytes]
    ) -> tuple[Update | None, str]:
        """Check an update against what the phase declares: a merchant is not trusted either."""
        try:
            arrays = load_arrays(files["release.safetensors"])
        except Exception:
            return None, "sent an update that is not readable as safetensors"
        for spec in self.proposal.phase(phase).outputs:
            array = arrays.get(spec.name)
            if array is None or array.shape != spec.shape or str(array.dtype) != spec.dtype:
                return None, f"sent an update whose array '{spec.name}' is not the declared one"
        names = [spec.name for spec in self.proposal.phase(phase).outputs]
        try:
            update = Update(
                arrays={name: arrays[name] for name in names},
                weight=1.0,
                events=self.proposal.phase(phase).privacy_events(),
                merchant=merchant,
            )
        except ModelError:
            return None, "sent an update with numbers that are not finite"
        kept = self.folder / "updates" / phase / f"{merchant.replace('@', '_at_')}.safetensors"
        atomic_write_bytes(kept, files["release.safetensors"])
        return update, ""

    # -- checkpoint and result -----------------------------------------------------------------

    def _load_state(self, done: dict[str, Any]) -> dict[str, np.ndarray]:
        if not done["finished"]:
            return self._first_state()
        return study_files.read_state(self.folder / str(done.get("state")))

    def _first_state(self) -> dict[str, np.ndarray]:
        catalogue, _ = read_catalogue(self.home.catalogue)
        if catalogue.digest != self.proposal.catalogue:
            raise SettingsError(
                f"expected the catalogue that '{self.proposal.study}' was submitted with in "
                f"{self.home.catalogue}, found another one. Put it back, or start a new study."
            )
        settings = self.proposal.settings
        state = self.recipe.initial_state(settings, self.proposal.n_items)
        return state | self.recipe.public_arrays(settings, catalogue)

    def _save_state(self, done: dict[str, Any], state: dict[str, np.ndarray]) -> None:
        """Arrays first, then the small file that names them: the checkpoint is the latter."""
        old = done.get("state")
        done["state"] = f"state-{len(done['finished'])}.safetensors"
        atomic_write_bytes(self.folder / done["state"], save_arrays(state))
        atomic_write_text(self.folder / "checkpoint.json", json.dumps(done))
        if old and old != done["state"]:
            (self.folder / old).unlink(missing_ok=True)

    def _tidy(self, done: dict[str, Any], merchants: list[str]) -> Iterator[Progress]:
        """Remove what a finished phase leaves in the share and here, so that nothing adds up."""
        last = done["finished"][-1]
        yield from self._reach(lambda: self.link.delete_state(f"{self.proposal.study}-{last}"))
        for merchant in merchants:
            self.link.forget(merchant, f"{self.proposal.study}-{last}")
        for phase in done["finished"][:-_KEPT_UPDATES]:
            shutil.rmtree(self.folder / "updates" / phase, ignore_errors=True)

    def _deliver(self, state: dict[str, np.ndarray], merchants: list[str]) -> Iterator[Progress]:
        """Write artefact and model card, send them to every merchant, wait until they serve it."""
        from datasites.study.result import write_result

        artefact = self.folder / "artefact"
        if not study_files.is_whole(artefact):
            write_result(self, state)
        yield Progress("model", detail=str(artefact))
        name = f"{self.proposal.study}-result"
        sent_file = self.folder / "sent" / "result.json"
        sent = study_files.read_sent(sent_file)
        files = {path.name: path.read_bytes() for path in sorted(artefact.iterdir())}

        def message(reference: StateRef | None) -> Result:
            assert reference is not None
            return Result(
                study=self.proposal.study,
                proposal_sha256=self.proposal.sha256,
                state=reference,
            )

        waiting: list[str] = []
        for merchant in merchants:
            try:
                if merchant not in sent:
                    yield from self._submit(merchant, name, files, message)
                    sent[merchant] = True
                    atomic_write_text(sent_file, json.dumps(sent))
                waiting.append(merchant)
            except PeerError as error:
                yield Progress("dropped", "result", merchant, str(error))
        delivered: list[str] = []
        pace = Pace(self.home.settings.poll_seconds, self._clock)
        deadline = self._waited() + self.settings.federation.patience_seconds
        while waiting and self._waited() <= deadline:
            yield from self._reach(self.link.sync)
            for merchant in list(waiting):
                reply = self.link.reply(merchant, name)
                if reply.status != "waiting":
                    waiting.remove(merchant)
                    what = "delivered" if reply.status == "done" else "dropped"
                    delivered.append(merchant)
                    yield Progress(what, "result", merchant, reply.message)
            if waiting:
                time.sleep(pace.seconds())
        for merchant in waiting:
            yield Progress("dropped", "result", merchant, "has not taken up the model yet")
        if not waiting:
            yield from self._reach(lambda: self.link.delete_state(name))
        for phase in self.proposal.phases:
            for merchant in merchants:  # answers that came too late for their round
                self.link.forget(merchant, f"{self.proposal.study}-{phase.name}")
        done = self.checkpoint()
        done["delivered"] = sorted(delivered)
        atomic_write_text(self.folder / "checkpoint.json", json.dumps(done))


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Refuse a second `study run` beside this one; the lock ends with its process."""
    with (folder / "run.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DatasiteError(
                f"expected the study in {folder} to be idle; another process runs it. Wait for it."
            ) from None
        yield


def proposal_job(study: str) -> str:
    """The name of the job that carries a study's proposal."""
    return f"{study}-proposal"
