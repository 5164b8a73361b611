"""Figures of several models over several merchants, as JSON and as a table of text."""

from __future__ import annotations

import contextlib
import json
import math
import resource
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from recsys.errors import DataError
from recsys.evaluation.bootstrap import intervals
from recsys.evaluation.protocol import Evaluation, combine

__all__ = ["ModelFigures", "Report", "measured"]

_WITH_INTERVAL = ("hr", "ndcg", "recall", "mrr")
_COLUMNS = ("hr@5", "ndcg@5", "hr@10", "ndcg@10", "coverage@10", "novelty@10")


@dataclass(frozen=True)
class ModelFigures:
    """One model's means: over all shoppers, with intervals, and at each merchant.

    Args:
        overall: metric to mean over all shoppers of all merchants; `n` is their number.
        ci: metric to (low, high), bootstrap over shoppers.
        merchants: merchant to metric to mean.

    Privacy: exact where the evaluations were; for a simulation or the merchant's own pages.
    """

    overall: dict[str, float]
    ci: dict[str, tuple[float, float]]
    merchants: dict[str, dict[str, float]]


def measured(evaluations: Mapping[str, Evaluation], rng: np.random.Generator) -> ModelFigures:
    """Sum up one model's evaluations at disjoint shoppers, merchant by merchant.

    Args:
        evaluations: merchant to its evaluation; at least one.
        rng: source of the bootstrap.

    Raises:
        ModelError: no evaluation, or evaluations with other metrics.
    """
    whole = combine(list(evaluations.values()))
    wanted = {
        name: values
        for name, values in whole.per_shopper.items()
        if name.partition("@")[0] in _WITH_INTERVAL
    }
    return ModelFigures(
        whole.overall(),
        intervals(wanted, rng),
        {name: found.overall() for name, found in evaluations.items()},
    )


@dataclass
class Report:
    """What was run, what came out, what it cost in privacy, time and memory.

    Args:
        settings: JSON-ready facts about the run.
        results: model to its figures.
        privacy: merchant to epsilon, delta, number of events.
        cost: phase to seconds and peak_mb (largest resident size so far of this process or of one
            that it waited for, MB).
        gain: what joining adds to ndcg@10, paired over shoppers: mean, low, high, n;
            `taken_up_by`, how many merchants' blends give weight to what was shared.
        groups: kind of grouping to group to ndcg@10 `alone` and `together`, their paired
            difference `gain` with `low` and `high`, and `n`.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    results: dict[str, ModelFigures] = field(default_factory=dict)
    privacy: dict[str, dict[str, float]] = field(default_factory=dict)
    cost: dict[str, dict[str, float]] = field(default_factory=dict)
    gain: dict[str, float] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Book the seconds and the peak memory of what happens inside."""
        started = time.perf_counter()
        yield
        peak = max(
            resource.getrusage(who).ru_maxrss / 1024
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        seconds = time.perf_counter() - started
        self.cost[name] = {"seconds": round(seconds, 3), "peak_mb": round(peak, 1)}

    def to_json(self) -> str:
        """Return one JSON document; a figure that could not be measured is null."""
        return json.dumps(_without_nan(asdict(self)), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read what `to_json` wrote.

        Raises:
            DataError: text that is not such a report.
        """
        try:
            facts = json.loads(text)
            results = {
                model: ModelFigures(
                    _with_nan(figures["overall"]),
                    {name: _bounds(pair) for name, pair in figures["ci"].items()},
                    {name: _with_nan(found) for name, found in figures["merchants"].items()},
                )
                for model, figures in facts["results"].items()
            }
            parts = [dict(facts[name]) for name in ("settings", "privacy", "cost")]
            gain = _with_nan(facts.get("gain", {}))
            groups = {
                kind: {name: _with_nan(found) for name, found in members.items()}
                for kind, members in facts.get("groups", {}).items()
            }
        except (AttributeError, KeyError, TypeError, ValueError):
            raise DataError(
                "Expected a report with settings, results, privacy and cost, found another "
                "document. Give a file that --report wrote."
            ) from None
        return cls(parts[0], results, parts[1], parts[2], gain, groups)

    def table(self) -> str:
        """Return the models' overall figures as lines of text."""
        width = max([len("model"), *(len(name) for name in self.results)])
        lines = [f"{'model':<{width}}" + "".join(f"{name:>13}" for name in _COLUMNS)]
        for name, figures in self.results.items():
            cells = (figures.overall.get(column, math.nan) for column in _COLUMNS)
            shown = ("-" if math.isnan(value) else f"{value:.4f}" for value in cells)
            lines.append(f"{name:<{width}}" + "".join(f"{value:>13}" for value in shown))
        return "\n".join(lines) + "\n"


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _with_nan(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else float(value) for name, value in figures.items()}


def _bounds(pair: list[float | None]) -> tuple[float, float]:
    low, high = (math.nan if value is None else float(value) for value in pair)
    return low, high
