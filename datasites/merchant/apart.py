"""This installation's own heavy work in a process of its own, so that the service stays small.

The service is up for months beside the merchant's shop. Whatever reads tables or fits models takes
hundreds of megabytes of libraries and arrays, so it is done by a child that ends with its task.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from datasites.errors import DatasiteError
from datasites.merchant.home import MerchantHome
from datasites.merchant.lifeline import end_with_parent
from recsys.errors import ArtifactError

__all__ = ["make_mock", "verify_artefact"]

_OUT_OF_TIME = 600


def make_mock(home: MerchantHome) -> tuple[dict[str, bytes], str]:
    """The mock over this merchant's public catalogue, and that catalogue's digest.

    Privacy: made from the public catalogue alone; releases nothing.
    Raises DatasiteError.
    """
    found = _ask("mock", str(home.root))
    return {name: text.encode() for name, text in found["files"].items()}, found["digest"]


def verify_artefact(home: MerchantHome, folder: Path) -> None:
    """Whether an arrived model is whole and about this merchant's catalogue.

    Raises ArtifactError if a byte is wrong or the catalogue is another, DatasiteError if it could
    not be looked at.
    """
    found = _ask("verify", str(home.root), str(folder))
    if found["wrong"]:
        raise ArtifactError(found["wrong"])


def _ask(*task: str) -> dict[str, Any]:
    done: subprocess.CompletedProcess[bytes] | None = None
    with contextlib.suppress(subprocess.TimeoutExpired, ValueError):
        done = subprocess.run(
            [sys.executable, "-m", "datasites.merchant.apart", *task],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_OUT_OF_TIME,
            check=False,
        )
        if done.returncode == 0:
            found: dict[str, Any] = json.loads(done.stdout)
            return found
    # What it printed may quote a file: it is not repeated.
    status = "no answer in time" if done is None else f"status {done.returncode}"
    raise DatasiteError(
        f"expected the task '{task[0]}' to end well in its own process, found {status}. Is there "
        "enough memory? The next pass tries again."
    )


def _answer(task: str, home: MerchantHome, *more: str) -> dict[str, Any]:
    from datasites.merchant import fit, store

    if task == "mock":
        catalogue = store.load_catalogue(home)
        files = {name: data.decode() for name, data in store.mock_files(catalogue).items()}
        return {"files": files, "digest": catalogue.digest}
    try:
        fit.verify_artefact(home, Path(more[0]))
    except ArtifactError as error:
        return {"wrong": str(error)}
    return {"wrong": ""}


if __name__ == "__main__":
    end_with_parent()
    print(json.dumps(_answer(sys.argv[1], MerchantHome.open(Path(sys.argv[2])), *sys.argv[3:])))
