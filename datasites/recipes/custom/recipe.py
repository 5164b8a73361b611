"""The scientist's side of a program of one's own: phases with their cost, sums, the model."""

from __future__ import annotations

import types
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from datasites.errors import SettingsError
from datasites.protocol import Phase
from datasites.recipes.base import Recipe
from datasites.recipes.custom.settings import CustomSettings
from recsys.errors import ModelError

if TYPE_CHECKING:
    from recsys.data import Catalogue
    from recsys.federation import Update
    from recsys.models import Recommender
    from recsys.privacy import Budget

__all__ = ["CustomRecipe"]

# A merchant is not trusted either: no update may make the sum of all of them overflow.
_MOST = 1e9


class CustomRecipe(Recipe):
    """A program says what one shopper contributes; ToyFed clips, sums and noises.

    What the sums become is the scientist's own `server.py`, which never leaves her machine:
    `initial_state(settings, catalogue)` and `merge(phase, sums, state, settings)`. Both return
    arrays; in the end the state must hold `item_embeddings`, float [n_items, d], and may hold
    `item_counts`, float [n_items].
    """

    name: ClassVar[str] = "custom"
    title: ClassVar[str] = "A program of one's own"
    code: ClassVar[Path] = Path(__file__).parent / "code"
    study_files: ClassVar[Path | None] = Path(__file__).parent / "study"
    model_arrays: ClassVar[tuple[str, ...]] = ("item_embeddings", "item_counts")
    learns_from: ClassVar[str] = "`train` split: all but the last two purchases of a shopper"

    def __init__(self) -> None:
        self._server: types.ModuleType | None = None

    def of_study(self, folder: Path) -> Self:
        """The recipe with a study's own server.py. Raises SettingsError if it does not load."""
        found = type(self)()
        file = folder / "server.py"
        module = types.ModuleType("server")
        try:
            text = file.read_text(encoding="utf-8")
            exec(compile(text, str(file), "exec"), module.__dict__)  # noqa: S102 - her own file
        except Exception as error:
            raise SettingsError(
                f"expected {file} to load, found {type(error).__name__}: {error}"
            ) from None
        for name in ("initial_state", "merge"):
            if not callable(getattr(module, name, None)):
                raise SettingsError(f"expected {file} to define {name}, found no such function")
        found._server = module
        return found

    def complete(self, model: dict[str, Any]) -> dict[str, Any]:
        return CustomSettings.read(model).model_dump(mode="json")

    def phases(self, settings: dict[str, Any], budget: Budget, n_items: int) -> tuple[Phase, ...]:
        return CustomSettings.read(settings).phases_for(budget, n_items)

    def initial_state(self, settings: dict[str, Any], n_items: int) -> dict[str, np.ndarray]:
        return {"item_counts": np.zeros(n_items, dtype=np.float32)}

    def public_arrays(
        self, settings: dict[str, Any], catalogue: Catalogue
    ) -> dict[str, np.ndarray]:
        found = self._own("initial_state", settings["program"], catalogue)
        return {str(name): np.ascontiguousarray(array) for name, array in found.items()}

    def state_for(self, phase: str, state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return state

    def merge(
        self,
        phase: str,
        updates: list[Update],
        state: dict[str, np.ndarray],
        settings: dict[str, Any],
        rule: str,
    ) -> dict[str, np.ndarray]:
        """Add up the merchants' sums, s = sum_k s_k, whatever `rule` says, and hand them on."""
        names = list(updates[0].arrays)
        sums = {
            name: np.sum(
                [np.clip(one.arrays[name].astype(np.float64), -_MOST, _MOST) for one in updates],
                axis=0,
            )
            for name in names
        }
        merged = self._own("merge", phase, sums, dict(state), settings["program"])
        state = state | {name: np.ascontiguousarray(array) for name, array in merged.items()}
        last = CustomSettings.read(settings).phases[-1].name
        if phase == last:
            from recsys.models.fold_in import MOST_FACTORS

            embeddings = state.get("item_embeddings")
            counts = state["item_counts"]
            if embeddings is None or embeddings.ndim != 2 or len(embeddings) != len(counts):
                raise SettingsError(
                    "expected server.py to leave item_embeddings with one row a toy in the state, "
                    "found none or another shape"
                )
            if embeddings.shape[1] > MOST_FACTORS:
                raise SettingsError(
                    f"expected item_embeddings of at most {MOST_FACTORS} factors, found "
                    f"{embeddings.shape[1]}: no merchant would serve them"
                )
            for name in self.model_arrays:
                if not np.isfinite(state[name]).all():
                    raise SettingsError(f"expected finite numbers in {name}, found others")
                state[name] = state[name].astype(np.float32)
        return state

    def model(
        self, arrays: dict[str, np.ndarray], settings: dict[str, Any]
    ) -> dict[str, Recommender]:
        from recsys.models import Popularity, SharedEmbeddings

        chosen = CustomSettings.read(settings)
        counts = arrays["item_counts"]
        if counts.ndim != 1 or not np.isfinite(counts).all():
            raise ModelError("Expected one finite count a toy, found others.")
        found: dict[str, Recommender] = {
            "shared": SharedEmbeddings(
                arrays["item_embeddings"],
                alpha=chosen.alpha,
                regularization=chosen.regularization,
            )
        }
        if counts.any():
            found["shared_popularity"] = Popularity(np.clip(counts, 0.0, _MOST))
        return found

    def _own(self, name: str, *arguments: Any) -> dict[str, np.ndarray]:
        if self._server is None:
            raise SettingsError("expected a study with a server.py of its own, found none")
        found = getattr(self._server, name)(*arguments)
        if not isinstance(found, dict) or not all(
            isinstance(array, np.ndarray) for array in found.values()
        ):
            raise SettingsError(f"expected {name} of server.py to return arrays by name")
        return found
