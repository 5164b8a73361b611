"""The merchant's own blend: fitted here, measured here, served from here. Releases nothing.

Trusted code of this installation, run when a model arrives:

    weights  fitted on `valid`, with components that saw `train` only
    quality  measured on `test`, with components that saw `train` + `valid`  (exact; stays here)
    serving  components that saw everything

`alone` blends what this merchant knows by itself. `federated` starts from those very weights and
takes up a shared component only where its gain on `valid` exceeds its standard error, or, for one
whose scores say by themselves how sure they are, where it exceeds half of that. So joining does
not make a shop worse beyond the noise of its own validation split.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import load as load_arrays

from datasites.errors import DatasiteError, SettingsError
from datasites.merchant import runs
from datasites.merchant.forget import finish_forgetting
from datasites.merchant.home import MerchantHome
from datasites.merchant.ledger import Ledger
from datasites.merchant.lifeline import end_with_parent
from datasites.merchant.slots import heavy_work
from datasites.merchant.stale import data_turn, purchases_stamp, stale_study, take_mark_away, turn
from datasites.merchant.store import load_catalogue, load_shop
from datasites.merchant.trouble import DISK_TROUBLES
from datasites.recipes import recipe_named
from recsys.artifact import load_model
from recsys.errors import ArtifactError, ModelError, PrivacyError, ToyFedError
from recsys.files import atomic_path, atomic_write_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from recsys.data import Catalogue, Shop
    from recsys.evaluation import Evaluation
    from recsys.models import Recommender

__all__ = [
    "LEAST_SHOPPERS",
    "Mix",
    "fit",
    "own_components",
    "own_releases",
    "refit",
    "run_in_own_process",
    "shared_components",
    "verify_artefact",
]

LEAST_SHOPPERS = 3
"""Behind whatever is shown to somebody who may ask about any toy: see docs/privacy.md."""

_OUT_OF_TIME = 3600
_REFUSED = 40  # how the process ends that was told so in words
_DISK = 64  # plus the error's number: how the process ends that could not write
_MOST_LOG_BYTES = 256 * 1024
_MOST_CHANGES = 5
_REFIT_LOCK = "refit.lock"
_MOST_JUDGED = 50_000  # of a larger shop, so many at even distances: minutes instead of hours


@dataclass(frozen=True)
class Mix:
    """Weights of the two blends, and the unit of each component's scores that they refer to."""

    alone: Mapping[str, float]
    federated: Mapping[str, float]
    units: Mapping[str, float]


def verify_artefact(home: MerchantHome, folder: Path) -> None:
    """Whether an arrived model is whole and about this merchant's catalogue.

    Raises ArtifactError if a byte is wrong or the catalogue is another.
    """
    from recsys.data import Interactions

    catalogue = load_catalogue(home)
    model = load_model(folder, catalogue_digest=catalogue.digest)
    try:
        recipe = recipe_named(model.recipe)
        for component in recipe.model(dict(model.arrays), model.settings["model"]).values():
            component.fit(Interactions.from_lists([], catalogue.n_items), catalogue)
    except (ModelError, SettingsError, PrivacyError) as error:
        raise ArtifactError(f"expected a model that fits this datasite: {error}") from None
    except Exception as error:
        # Its settings and arrays come from outside: whatever they set off is a refusal of the
        # model. Anything else would be tried again for ever.
        raise ArtifactError(
            "expected a model that fits this datasite, found one that cannot be used "
            f"({type(error).__name__})"
        ) from None


def run_in_own_process(home: MerchantHome, study: str, *, again: bool = False) -> None:
    """Fit in a process of its own, so that the service stays small. Args: as `fit`.

    Raises DatasiteError if it cannot be fitted, OSError while the disk is full or read-only.
    """
    log = home.private / "fit.log"
    # Of several fits, but not of all there ever were.
    long = log.exists() and log.stat().st_size > _MOST_LOG_BYTES
    with log.open("wb" if long else "ab") as file, contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "datasites.merchant.fit", str(home.root), study),
                *(["again"] if again else []),
            ],
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=_OUT_OF_TIME,
            check=False,
        )
        if done.returncode == 0:
            return
        if (number := done.returncode - _DISK) in DISK_TROUBLES:
            raise OSError(number, "the blend could not be written")
        if done.returncode == _REFUSED:
            raise DatasiteError(f"the blend for '{study}' could not be fitted: {_last_line(log)}")
    raise DatasiteError(
        f"the merchant's blend for '{study}' could not be fitted; the reason is in private/fit.log"
    )


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 2000))
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing was said"


def own_components() -> dict[str, Recommender]:
    """What a merchant knows by itself: public catalogue, own purchases. Nothing is released."""
    from recsys.models import ContentSimilarity, ItemNeighbours, LocalALS, Popularity

    return {
        "content": ContentSimilarity(),
        "neighbours": ItemNeighbours(),
        "local": LocalALS(),
        "popularity": Popularity(),
    }


def shared_components(home: MerchantHome, study: str) -> dict[str, Recommender]:
    """What the study's model adds, by name. Post-processing of releases: costs nothing."""
    model = load_model(home.models / study)
    recipe = recipe_named(model.recipe)
    components = recipe.model(dict(model.arrays), model.settings["model"])
    if not recipe.takes_out_own:
        return components
    return recipe.of_others(components, own_releases(home, study))


def own_releases(home: MerchantHome, study: str) -> dict[str, dict[str, np.ndarray]]:
    """What this merchant released in a study, phase -> arrays, as its ledger has it.

    Privacy: released already; nothing is booked again.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    if not home.ledger_path.exists():
        return found  # nothing leaves without a ledger
    with Ledger.open(home.ledger_path) as ledger:
        entries = ledger.entries()
    committed = {entry.body["job"] for entry in entries if entry.kind == "committed"}
    for entry in entries:
        if entry.kind == "reserved" and entry.study == study and entry.body["job"] in committed:
            job, phase = entry.body["job"], entry.body["phase"]
            found[phase] = load_arrays(runs.release_files(home, job)["release.safetensors"])
    return found


def refit(home: MerchantHome, *, wait: bool = True) -> bool:
    """Fit the served blend again if purchases were taken away since; whether that was needed.

    Where somebody does so already, that is waited for, or with `wait` False left to them.

    Raises as `run_in_own_process`; nothing is served then until it succeeds.
    """
    with turn(home, _REFIT_LOCK, wait=wait) as mine:
        study = stale_study(home) if mine else None
        if study is None:
            return False
        run_in_own_process(home, study, again=True)
        return True


def fit(home: MerchantHome, study: str, *, again: bool = False) -> None:
    """Fit weights, measure quality, prepare serving; writes `quality/STUDY.*` and `serving/`.

    With `again` it is the fit of a study that was served before: nothing is written if another one
    has taken its place meanwhile. What was learned from purchases that were taken away meanwhile is
    thrown away, and it begins anew. Raises DatasiteError if that goes on and on.

    Privacy: reads every purchase of this merchant and stays here.
    """
    for _ in range(_MOST_CHANGES):
        finish_forgetting(home)
        stamp = purchases_stamp(home)
        fitted = _fit(home, study)
        with data_turn(home):
            if again and stale_study(home) != study:
                return
            if purchases_stamp(home) == stamp:
                _write(home, study, fitted)
                take_mark_away(home)
                return
    raise DatasiteError("expected purchases that stay for the time of a fit, found them changed")


@dataclass(frozen=True, eq=False, repr=False)
class _Fitted:
    """All that a fit found, before any of it is written."""

    mix: Mix
    measured: Mapping[str, Evaluation]
    purchases: NDArray[np.int64]
    components: Mapping[str, Recommender]
    of_many: Mapping[str, Recommender]


def _fit(home: MerchantHome, study: str) -> _Fitted:
    catalogue = load_catalogue(home)
    shop = load_shop(home, catalogue)
    mix = _fit_weights(home, study, shop, catalogue)
    measured = _measure(home, study, shop, catalogue, mix)
    judged = shop.split.before_test().lengths[_judged(shop)]
    everything = shop.split.everything()
    own = own_components()
    for component in own.values():
        component.fit(everything, catalogue)
    of_many = {name: one.of_many(everything, LEAST_SHOPPERS) for name, one in own.items()}
    return _Fitted(mix, measured, judged, own, of_many)


def _write(home: MerchantHome, study: str, fitted: _Fitted) -> None:
    from datasites.merchant.serving import write_bundle

    mix, measured = fitted.mix, fitted.measured
    facts = {
        "study": study,
        "split": "test",
        "n": measured["alone"].n,
        "test": {name: _plain(found.overall()) for name, found in measured.items()},
        "weights": {"alone": mix.alone, "federated": mix.federated},
    }
    folder = home.private / "quality"
    _write_per_shopper(folder / f"{study}.npz", measured, fitted.purchases)
    atomic_write_text(folder / f"{study}.json", json.dumps(facts), mode=0o600)
    write_bundle(home, study, fitted.components, fitted.of_many, mix)


def _fit_weights(home: MerchantHome, study: str, shop: Shop, catalogue: Catalogue) -> Mix:
    from recsys.models import Blend

    train, valid = shop.split.train, shop.split.valid
    blend = Blend(own_components()).fit(train, catalogue).fit_weights(train, valid)
    alone = dict(blend.weights)
    shared = shared_components(home, study)
    for component in shared.values():
        component.fit(train, catalogue)
    wide = blend.extend(shared).fit_weights(train, valid)
    return Mix(alone, dict(wide.weights), dict(wide.units))


def _measure(
    home: MerchantHome,
    study: str,
    shop: Shop,
    catalogue: Catalogue,
    mix: Mix,
) -> dict[str, Evaluation]:
    from recsys.evaluation import evaluate
    from recsys.models import Blend

    history, targets = shop.split.before_test(), shop.split.test
    judged = _judged(shop)
    own = own_components()
    shared = shared_components(home, study)
    for component in (own | shared).values():
        component.fit(history, catalogue)
    models: dict[str, Recommender] = {
        "content": own["content"],
        "local": own["local"],
        "own_popularity": own["popularity"],
        "shared": shared["shared"],
        "alone": Blend(own, mix.alone, mix.units),
        "federated": Blend(own | shared, mix.federated, mix.units),
    }
    known, wanted = history.rows(judged), targets.rows(judged)
    return {name: evaluate(model, known, wanted) for name, model in models.items()}


def _judged(shop: Shop) -> NDArray[np.int64]:
    """Rows of the shoppers that figures are taken from, evenly over all that have a target."""
    from recsys.models.blend_weights import evenly

    return evenly(np.flatnonzero(shop.split.test.lengths > 0), _MOST_JUDGED)


def _write_per_shopper(
    path: Path, measured: Mapping[str, Evaluation], purchases: NDArray[np.int64]
) -> None:
    """Exact figures per judged shopper, for intervals; only this merchant's own pages read them.

    Args:
        purchases: int64 [n_judged], how many each of them had bought before.
    """
    arrays: dict[str, NDArray[Any]] = {"purchases": purchases}
    for model, found in measured.items():
        arrays |= {f"{model}|{metric}": one for metric, one in found.per_shopper.items()}
        arrays[f"{model}|lists"] = found.lists
    path.parent.mkdir(mode=0o700, exist_ok=True)
    with atomic_path(path, mode=0o600) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _plain(figures: Mapping[str, float]) -> dict[str, Any]:
    return {
        name: (None if np.isnan(value) else round(float(value), 6))
        for name, value in figures.items()
    }


if __name__ == "__main__":
    end_with_parent()
    try:
        with heavy_work():
            fit(MerchantHome.open(Path(sys.argv[1])), sys.argv[2], again="again" in sys.argv[3:])
    except ToyFedError as error:
        print(str(error).replace("\n", " "))  # such a text holds nothing of a shopper
        sys.exit(_REFUSED)
    except OSError as error:
        if error.errno not in DISK_TROUBLES:
            raise
        sys.exit(_DISK + error.errno)
