"""One phase of a program, in a process of its own that ends with the service.

    python -m datasites.merchant.contributions.apart HOME JOB CODE DIGEST

reads the merchant's purchases, runs the program for each shopper, and leaves the noised sums where
the release gate looks for the outputs of any run.
"""

from __future__ import annotations

import ctypes
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datasites.errors import ReviewError, SandboxError
from datasites.merchant.home import MerchantHome
from datasites.merchant.room import outputs_room
from datasites.merchant.sandbox import Ending, RunOutcome
from datasites.protocol import Phase
from datasites.recipes.custom.settings import CustomSettings
from recsys.files import atomic_write_bytes, atomic_write_text

__all__ = ["check_loads", "is_program", "run_apart"]

_POLL_SECONDS = 0.1
_REFUSED, _FAILED = 3, 4
_UNWANTED = "was ended because it is no longer wanted"


def is_program(recipe: str) -> bool:
    """Whether a recipe's code says what one shopper contributes, and ToyFed adds the noise."""
    return recipe == "custom"


def check_loads(home: MerchantHome, job: str, code: Path, digest: str) -> None:
    """Whether the program can be loaded at all; called before anything is reserved.

    Privacy: no shopper's data is read, so the reason may be told. Raises ReviewError with it.
    """
    done = _start(home, job, code, digest, "load")
    out, _ = done.communicate()
    if done.returncode == _REFUSED:
        raise ReviewError(out.decode(errors="replace").strip()[:600])
    if done.returncode != 0:
        raise SandboxError("programs cannot be run on this machine; see `toyfed doctor`")


def run_apart(
    home: MerchantHome,
    job: str,
    code: Path,
    digest: str,
    cancelled: Callable[[], bool] | None = None,
) -> RunOutcome:
    """Run one phase for all shoppers.

    There is no limit on the whole: each shopper's limits bound it, so that no shopper's time
    decides whether a run ends well.

    Privacy: the noised sums are in the run's outputs, everything else stays at the merchant.
    """
    begun = time.monotonic()
    process = _start(home, job, code, digest, "run")
    try:
        while process.poll() is None:
            if cancelled is not None and cancelled():
                return _outcome(home, job, begun, Ending.CANCELLED, _UNWANTED)
            time.sleep(_POLL_SECONDS)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if process.returncode == 0:
        return _outcome(home, job, begun, Ending.FINISHED, "finished")
    return _outcome(home, job, begun, Ending.FAILED, "the sandbox for programs broke off")


def _outcome(home: MerchantHome, job: str, begun: float, ending: Ending, text: str) -> RunOutcome:
    return RunOutcome(
        ok=ending is Ending.FINISHED,
        reason=text,
        seconds=time.monotonic() - begun,
        peak_mb=0.0,
        log=home.runs / job / "log.txt",
        ending=ending,
    )


def _start(
    home: MerchantHome, job: str, code: Path, digest: str, task: str
) -> subprocess.Popen[bytes]:
    me = "datasites.merchant.contributions.apart"
    return subprocess.Popen(
        [sys.executable, "-m", me, str(home.root), job, str(code), digest, task],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if task == "load" else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _work(home: MerchantHome, job: str, code: Path, digest: str, task: str) -> None:
    from datasites.merchant.contributions.nest import Nest

    folder = home.runs / job
    order: dict[str, Any] = json.loads((folder / "inputs" / "job" / "job.json").read_text())
    settings = CustomSettings.read(order["settings"])
    n_items, name = order["n_items"], order["phase"]
    state = folder / "inputs" / "state" / "state.safetensors"
    with Nest(
        code,
        state if state.exists() else None,
        {"phase": name, "n_items": n_items, "program": settings.program},
        settings.arrays(name, n_items),
        settings.limits(),
        digest,
    ) as nest:
        if task == "run":
            _release(home, folder, nest, settings, order)


def _release(
    home: MerchantHome, folder: Path, nest: Any, settings: CustomSettings, order: dict[str, Any]
) -> None:
    import numpy as np
    from safetensors.numpy import save

    from datasites.merchant.contributions.total import noised_sums
    from datasites.merchant.store import load_catalogue, load_shop
    from recsys.privacy import Budget, SecureNoise

    budget = Budget(order["epsilon"], order["delta"])
    phases = {one.name: one for one in settings.phases_for(budget, order["n_items"])}
    phase: Phase = phases[order["phase"]]
    (event,) = phase.privacy_events()
    arrays = settings.arrays(phase.name, order["n_items"])
    train = load_shop(home, load_catalogue(home)).split.train
    sums, facts = noised_sums(nest, train, arrays, event, SecureNoise())  # type: ignore[arg-type]
    outputs_room(folder)
    out = folder / "output"
    atomic_write_bytes(
        out / "release.safetensors",
        save({name: values.astype(np.float32) for name, values in sums.items()}),
    )
    atomic_write_text(out / "release.json", json.dumps({"events": list(phase.events)}))
    atomic_write_text(folder / "log.txt", facts.in_words(), mode=0o600)


def main(argv: list[str]) -> int:
    """Do one task; the status says whether a refusal may be told."""
    # The service may be killed in the middle: this process, and the sandbox with it, must not stay.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
    home, job, code, digest, task = argv
    try:
        _work(MerchantHome.open(Path(home)), job, Path(code), digest, task)
    except ReviewError as error:
        print(str(error))
        return _REFUSED
    except SandboxError:
        return _FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
