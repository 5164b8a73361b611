"""One party in a process of its own: reads pickled calls on stdin, answers on stdout.

Anything else on stdout would break the protocol, so this also proves that PySyft prints nothing.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

from datasites.syftbox import MerchantLink, ScientistLink


def answer_everything(link: MerchantLink, size: int) -> None:
    """Serve for ever: answer each job with its own parameters and some binary."""
    while True:
        link.sync()
        for job in link.submissions():
            code = (job.code / "main.py").read_bytes()
            link.reply(job.job, "done", str(job.params["n"]), {"a.bin": code + b"\xff" * size})


def main() -> None:
    role, email, home, share = sys.argv[1:5]
    link = {"merchant": MerchantLink, "scientist": ScientistLink}[role](email, Path(home), share)
    out = sys.stdout.buffer
    pickle.dump(("ready", link.own_fingerprint), out)
    out.flush()
    while True:
        try:
            method, args, kwargs = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            if method == "answer_everything":
                answer_everything(link, *args)
            result = ("value", getattr(link, method)(*args, **kwargs))
        except Exception as error:
            result = ("error", (type(error).__name__, str(error)))
        pickle.dump(result, out)
        out.flush()


if __name__ == "__main__":
    main()
