"""A data scientist's side: study.toml, code requests, the coordinator, the model card."""

from datasites.study.coordinator import Coordinator
from datasites.study.desk import compose, new_study, submit
from datasites.study.home import ScientistHome, ScientistSettings
from datasites.study.journal import Progress
from datasites.study.settings import StudySettings, parse_study

__all__ = [
    "Coordinator",
    "Progress",
    "ScientistHome",
    "ScientistSettings",
    "StudySettings",
    "compose",
    "new_study",
    "parse_study",
    "submit",
]
