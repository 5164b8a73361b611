"""The same targets under atheris, which looks for inputs that reach new code.

    python -m tests.fuzz --engine atheris --target job --inputs 20000

Each target has a process of its own. What only `mutate` watches, memory and harm that ends a
process, libFuzzer watches here by itself.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

_MOST_BYTES = 65536


def main(wanted: Sequence[str] | None, inputs: int, seed: int) -> int:
    """Run targets one after the other; 1 if any came to harm."""
    from tests.fuzz.targets import TARGETS

    harmed = 0
    for name in wanted or list(TARGETS):
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz.guided", name, str(inputs), str(seed)],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("harm:")]
        covered = [line for line in done.stderr.splitlines() if " cov: " in line]
        reached = covered[-1].split(" cov: ")[1].split()[0] if covered else "?"
        ended = "" if done.returncode == 0 else f"  ended with status {done.returncode}"
        print(
            f"{name:20} {inputs:8} inputs  {reached:>6} edges  {len(lines)} harm{ended}", flush=True
        )
        for line in lines:
            print(f"    {line.removeprefix('harm: ')[:300]}")
        harmed += bool(lines) or done.returncode != 0
    return 1 if harmed else 0


def _guide(name: str, inputs: int, seed: int) -> None:
    import atheris

    # Instrumented on import: our own code, not the libraries below it.
    with atheris.instrument_imports(include=["recsys", "datasites", "ui"]):
        from tests.fuzz.engine import protected
        from tests.fuzz.targets import TARGETS

    target, seen = TARGETS[name], set()

    def once(data: bytes) -> None:
        what, _ = protected(target, data)
        if what and what not in seen:
            seen.add(what)
            print(f"harm: {what}: {data[:120]!r}", flush=True)

    with tempfile.TemporaryDirectory() as corpus:
        for place, found in enumerate(target.seeds):
            (Path(corpus) / str(place)).write_bytes(found)
        words = [sys.argv[0], f"-runs={inputs}", f"-seed={seed + 1}", f"-max_len={_MOST_BYTES}"]
        atheris.Setup([*words, "-rss_limit_mb=3072", "-timeout=60", corpus], once)
        atheris.Fuzz()


if __name__ == "__main__":
    _guide(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
