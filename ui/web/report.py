"""A report file as tables: figures per model and merchant, privacy, cost."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from datasites.errors import SettingsError

__all__ = ["ALL", "MODEL_TITLES", "Gain", "Report", "dearest_privacy", "read_report"]

ALL = "all merchants"
MODEL_TITLES = {
    "popularity": "Best sellers of all shops",
    "content": "What the toys are",
    "own_popularity": "Best sellers of each shop",
    "local": "Each shop's own model",
    "alone": "Alone: best without sharing",
    "shared": "Only what was shared",
    "federated": "Together: the blend",
    "pooled": "All data in one place",
}
"""Models in the order in which charts show them; others follow under their own names."""


@dataclass(frozen=True)
class Gain:
    """NDCG@10 together minus alone, paired over `n` shoppers, with its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Report:
    """One report. Tables are in long form, one row per figure.

    Args:
        raw: the file's text, for download as it is.
        settings: what was run.
        figures: columns model, title, merchant (`ALL` for overall), metric, value, low, high
            (the interval; NaN where there is none).
        privacy: columns merchant and whatever the report says of each: epsilon, delta, events.
        cost: columns phase, seconds, peak_mb.
        gain: what joining adds over all shoppers; None where the report does not say.
        groups: columns kind, group, alone, together, gain, low, high, n of ndcg@10, groups in the
            report's order.
    """

    raw: str
    settings: dict[str, Any]
    figures: pd.DataFrame
    privacy: pd.DataFrame
    cost: pd.DataFrame
    gain: Gain | None
    groups: pd.DataFrame

    def metrics(self) -> list[str]:
        """Names of the metrics, in the report's order."""
        return list(dict.fromkeys(self.figures["metric"]))

    def overall(self, metric: str) -> pd.DataFrame:
        """Rows of one metric over all merchants, models in the charts' order."""
        figures = self.figures
        return figures[(figures["metric"] == metric) & (figures["merchant"] == ALL)]

    def of_merchants(self, metric: str, models: tuple[str, ...]) -> pd.DataFrame:
        """One row per merchant, one column per model, of one metric; merchants with all of them."""
        figures = self.figures
        rows = figures[
            (figures["metric"] == metric)
            & (figures["merchant"] != ALL)
            & figures["model"].isin(models)
        ]
        table = rows.pivot_table(index="merchant", columns="model", values="value")
        if not set(models) <= set(table.columns):
            return pd.DataFrame(columns=["merchant", *models])
        return table[list(models)].dropna().reset_index()

    def csv(self) -> str:
        """All figures as CSV."""
        text: str = self.figures.drop(columns="title").to_csv(index=False)
        return text


def read_report(path: Path) -> Report:
    """Read a report file.

    Raises: SettingsError if it is missing or not a report.
    """
    path = Path(path)
    try:
        raw = path.read_text(encoding="utf-8")
        values = json.loads(raw)
        return Report(
            raw=raw,
            settings=dict(values.get("settings", {})),
            figures=_figures(values["results"]),
            privacy=_rows(values.get("privacy", {}), "merchant", ["epsilon", "delta", "events"]),
            cost=_rows(values.get("cost", {}), "phase", ["seconds", "peak_mb"]),
            gain=_gain(values.get("gain")),
            groups=_groups(values.get("groups", {})),
        )
    except FileNotFoundError:
        raise SettingsError(
            f"expected a report in {path}, found none yet. `toyfed demo --report FILE` writes one."
        ) from None
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        OverflowError,
        RecursionError,
    ) as error:
        raise SettingsError(
            f"{path} is not a report ({type(error).__name__}: {error}). "
            "Write it anew with `toyfed demo --report FILE`."
        ) from None


def _gain(found: dict[str, Any] | None) -> Gain | None:
    if not found:
        return None
    mean, low, high = (float(found[name]) for name in ("ndcg@10", "low", "high"))
    return Gain(mean, low, high, int(found["n"]))


def _groups(found: dict[str, dict[str, dict[str, float]]]) -> pd.DataFrame:
    names = ["alone", "together", "gain", "low", "high", "n"]
    rows = [
        {"kind": kind, "group": group} | {name: float(facts[name]) for name in names}
        for kind, members in found.items()
        for group, facts in members.items()
    ]
    return pd.DataFrame(rows, columns=["kind", "group", *names])


def _figures(results: dict[str, Any]) -> pd.DataFrame:
    known = [model for model in MODEL_TITLES if model in results]
    rows = []
    for model in [*known, *(model for model in results if model not in MODEL_TITLES)]:
        found = results[model]
        intervals = found.get("ci", {})
        parts = {ALL: found.get("overall", {})} | found.get("merchants", {})
        for merchant, metrics in parts.items():
            for metric, value in metrics.items():
                if metric == "n" or value is None or isinstance(value, str | list | dict):
                    continue
                low, high = intervals.get(metric, (None, None)) if merchant == ALL else (None, None)
                rows.append(
                    {
                        "model": model,
                        "title": MODEL_TITLES.get(model, model.replace("_", " ")),
                        "merchant": merchant,
                        "metric": metric,
                        "value": float(value),
                        "low": low,
                        "high": high,
                    }
                )
    names = ["model", "title", "merchant", "metric", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=names)
    return table.astype({"value": float, "low": float, "high": float})


def _rows(values: dict[str, dict[str, Any]], key: str, first: list[str]) -> pd.DataFrame:
    """One row per name; a figure that is a list is shown as its length."""
    rows = [
        {key: name}
        | {what: len(one) if isinstance(one, list | dict) else one for what, one in facts.items()}
        for name, facts in values.items()
    ]
    table = pd.DataFrame(rows)
    for name in [key, *first]:
        if name not in table.columns:
            table[name] = pd.Series(dtype=object)
    return table[[key, *first, *(name for name in table.columns if name not in {key, *first})]]


def dearest_privacy(report: Report) -> tuple[float, float]:
    """The largest epsilon that any merchant's shoppers paid, and the largest delta; 0 if none."""
    spent = pd.to_numeric(report.privacy["epsilon"], errors="coerce").dropna()
    delta = pd.to_numeric(report.privacy["delta"], errors="coerce").dropna()
    return (float(spent.max()) if len(spent) else 0.0, float(delta.max()) if len(delta) else 0.0)
