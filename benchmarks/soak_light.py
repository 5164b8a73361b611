"""A study whose program only writes numbers of the declared shapes, for soaks on busy machines.

All else is as real: processes, sandbox, gate, ledger, share, coordinator.
"""

from __future__ import annotations

import json

from datasites.merchant import Ledger, desk
from datasites.simulation import Story
from datasites.study import Coordinator, StudySettings, new_study, parse_study, submit
from datasites.study.desk import compose
from recsys.files import atomic_write_text

__all__ = ["LightStory"]

_PROGRAM = '''"""Writes ones: nothing is read, so nothing is private."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LIKE = json.loads("""@LIKE@""")

phase = json.loads(Path("/inputs/job/job.json").read_text())["phase"]
known = LIKE.get(phase) or LIKE["als-1"]
save_file(
    {one["name"]: np.ones(one["shape"], one["dtype"]) for one in known["outputs"]},
    "/output/release.safetensors",
)
events = [event | {"what": event["what"].replace("als-1", phase)} for event in known["events"]]
Path("/output/release.json").write_text(json.dumps({"events": events}))
'''


class LightStory(Story):
    """The same story with a program that takes a fifth of the time of the recipe's own."""

    def submit_study(self) -> StudySettings:
        """study new with a program of our own, study submit."""
        settings = parse_study(
            {
                "study": {
                    "name": self.settings.study,
                    "recipe": "private-als",
                    "merchants": [home.settings.email for home in self.merchants.values()],
                },
                "privacy": {"epsilon": self.settings.epsilon, "delta": self.settings.delta},
                "model": {"rounds": self.settings.rounds, "seed": self.settings.seed},
                "federation": {"merge": "fedavg"},
            }
        )
        folder = new_study(self.scientist, settings)
        proposal = compose(self.scientist, self.settings.study)
        like = {
            name: proposal.phase(name).model_dump(mode="json")
            for name in ("counts", "als-1", "quality")
        }
        program = _PROGRAM.replace("@LIKE@", json.dumps(like))
        atomic_write_text(folder / "code" / "main.py", program)
        submit(self.scientist, self.link, self.settings.study)
        return settings

    def approve_study(self) -> None:
        """Every merchant has read the program and approves it."""
        study = self.settings.study
        for name, home in self.merchants.items():
            ledger = Ledger.open(home.ledger_path)
            self._until(
                f"the code request to reach {name}",
                lambda home=home, ledger=ledger: any(  # type: ignore[misc]
                    one.study == study for one in desk.requests(home, ledger)
                ),
            )
            desk.approve(home, ledger, study, by="soak", read_foreign_code=True)
        coordinator = Coordinator(self.scientist, self.link, study)
        self._until(
            "every approval to come back",
            lambda: all(status == "done" for status, _ in coordinator.answers().values()),
        )
