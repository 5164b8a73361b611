"""What a recipe is: remote code that merchants approve, and the scientist's side of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import numpy as np

    from datasites.protocol import Phase
    from recsys.data import Catalogue
    from recsys.federation import Update
    from recsys.models import Recommender
    from recsys.privacy import Budget

__all__ = ["Recipe"]


class Recipe(ABC):
    """One way to train a shared model.

    `code` is the folder that travels to the merchants and runs in their sandboxes; everything
    else runs at the data scientist (merge) or in a merchant's own trusted release (phases, model).
    Merchants compute `phases` themselves, so a declared cost is never taken on trust.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    code: ClassVar[Path]
    model_arrays: ClassVar[tuple[str, ...]]  # the arrays of the state that make up the model
    learns_from: ClassVar[str] = "`train` split: all but the last two purchases of a shopper"
    takes_out_own: ClassVar[bool] = False  # whether `of_others` needs what a merchant released
    optional_phases: ClassVar[tuple[str, ...]] = ()  # the model is complete without their updates
    study_files: ClassVar[Path | None] = None  # files of the scientist's own for a new study

    def of_study(self, folder: Path) -> Recipe:
        """The recipe with what a study's folder adds to it; nothing for most recipes."""
        return self

    @abstractmethod
    def complete(self, model: dict[str, Any]) -> dict[str, Any]:
        """All settings with their defaults filled in. Raises SettingsError on a bad one."""

    @abstractmethod
    def phases(self, settings: dict[str, Any], budget: Budget, n_items: int) -> tuple[Phase, ...]:
        """What each phase releases and costs; all phases together cost at most `budget`."""

    @abstractmethod
    def initial_state(self, settings: dict[str, Any], n_items: int) -> dict[str, np.ndarray]:
        """The public state that the first phase starts from."""

    def public_arrays(
        self, settings: dict[str, Any], catalogue: Catalogue
    ) -> dict[str, np.ndarray]:
        """What the first state holds of the public catalogue; nothing for most recipes."""
        return {}

    @abstractmethod
    def state_for(self, phase: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The part of the state that a phase needs at the merchants; {} if none."""

    @abstractmethod
    def merge(
        self,
        phase: str,
        updates: list[Update],
        state: dict[str, np.ndarray],
        settings: dict[str, Any],
        rule: str,
    ) -> dict[str, np.ndarray]:
        """The state after a phase, from the updates that came. Post-processing: costs nothing.

        `rule` is one of `recsys.federation.merge_names()`. All that a merge has to remember from
        round to round goes into the state, so that a coordinator that was killed goes on exactly.
        """

    @abstractmethod
    def model(
        self, arrays: dict[str, np.ndarray], settings: dict[str, Any]
    ) -> dict[str, Recommender]:
        """The shared components that the finished arrays give a merchant's blend, by name."""

    def of_others(
        self, components: dict[str, Recommender], own: dict[str, dict[str, np.ndarray]]
    ) -> dict[str, Recommender]:
        """The components without what this merchant released itself, phase -> arrays.

        For recipes that add up sums: a merchant knows its own part exactly and without noise.
        """
        return components
