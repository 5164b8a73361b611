"""`make bench ARGS="[--data DIR] [part ...]"`: run the parts asked for, the short ones by default.

Short: privacy (what the well-known formula really gives), speed (a private sweep and lists for many
shoppers beside implicit's), memory (time and peak up to 10 million purchases), landmarks (real
toys, needs --data).

Long, alone and with options of their own: `quality --data DIR` (every recipe, budget and number of
merchants), `size` (what joining adds as a market grows); both go on where they were stopped.
`federation` (merges side by side where merchants are unequal) and `pairs --data DIR` (the list of
pairs as a catalogue grows) take minutes. `api` asks a web
shop's questions at a fixed rate. `pages` (in Chromium) says what people wait for at the screens.
`soak` (hundreds of rounds, dozens of merchants) says whether anything grows or slows down.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import (
    api,
    federation,
    landmarks,
    memory,
    pages,
    pairs,
    privacy,
    quality,
    size,
    soak,
    speed,
)

PARTS = ("privacy", "speed", "memory", "landmarks")
LONG = {
    "api": api.main,
    "federation": federation.main,
    "pages": pages.main,
    "pairs": pairs.main,
    "quality": quality.main,
    "size": size.main,
    "soak": soak.main,
}


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in LONG:
        LONG[sys.argv[1]](sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all if left out")
    parser.add_argument("--data", type=Path, help="a marketplace folder with real toys")
    chosen = parser.parse_args()
    unknown = sorted(set(chosen.parts) - set(PARTS))
    if unknown:
        parser.error(
            f"expected parts of {', '.join(PARTS)}, or first of all one of {', '.join(LONG)}; "
            f"found {', '.join(unknown)}"
        )
    parts = chosen.parts or PARTS
    if "privacy" in parts:
        privacy.run()
    if "speed" in parts:
        speed.run(chosen.data)
    if "memory" in parts:
        memory.run()
    if "landmarks" in parts:
        if chosen.data is None:
            print("landmarks: left out, they need --data DIR with the real toys")
        else:
            landmarks.run(chosen.data)


if __name__ == "__main__":
    main()
