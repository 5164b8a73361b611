"""Everything that recsys raises on purpose.

ToyFedError
├── DataError          purchases or catalogue that cannot be used
├── ModelError         a model asked for something that it cannot do
├── PrivacyError       a privacy setting that would not give the promised guarantee
└── ArtifactError      a model file that is damaged, foreign or of another catalogue

Messages say what was expected, what was found and what to do; they never hold a shopper's value.
"""

from __future__ import annotations

__all__ = ["ArtifactError", "DataError", "ModelError", "PrivacyError", "ToyFedError"]


class ToyFedError(Exception):
    """Base of every error that ToyFed raises on purpose; safe to show to its user."""


class DataError(ToyFedError):
    """Purchases or a catalogue cannot be used as they are."""


class ModelError(ToyFedError):
    """A model was asked for something that it cannot do."""


class PrivacyError(ToyFedError):
    """A privacy setting would not give the guarantee that was asked for."""


class ArtifactError(ToyFedError):
    """A model file is damaged, foreign, or belongs to another catalogue."""
