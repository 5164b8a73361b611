"""Figures for people: quality over privacy, and what joining adds over the size of a market."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from recsys.files import atomic_path

__all__ = ["privacy_utility", "size_curve"]

_STYLES = {"own": "-", "secure_sum": "--"}
_WORDS = {"own": "own noise", "secure_sum": "secure sum"}
_COLOURS = ("#1b6ca8", "#c8553d", "#588157", "#8d5a97")
# Without privacy is drawn at the right end, as far from 8 as 8 is from 1.
_WITHOUT_PRIVACY = 64.0

Row = dict[str, str]


def privacy_utility(table: Path, baselines: Path, out: Path, merchants: int) -> None:
    """Draw NDCG@10 over epsilon from the rows of `benchmarks.quality`: quality.png.

    Args:
        table, baselines: the CSV files; of `table` the rows of this number of merchants.
        out: folder.
        merchants: number of the official partition.
    """
    rows = [row for row in _read(table) if row["merchants"] == str(merchants)]
    if not rows:
        return
    usual = {(row["model"], row["merchants"]): float(row["ndcg"]) for row in _read(baselines)}
    figure, axes = _figure()
    for colour, recipe in zip(_COLOURS, _distinct(rows, "recipe"), strict=False):
        for noise, style in _STYLES.items():
            points = sorted(
                (_place(row["epsilon"]), float(row["ndcg_federated"]))
                for row in rows
                if row["recipe"] == recipe and row["noise"] == noise
            )
            if points:
                label = f"{recipe}, {_WORDS[noise]}"
                axes.plot(*zip(*points, strict=True), style, color=colour, marker="o", label=label)
    for key, label, style in (
        (("alone", str(merchants)), "each alone", ":"),
        (("alone", "1"), "pooled, no privacy", "-."),
    ):
        if key in usual:
            axes.axhline(usual[key], color="#555555", linestyle=style, label=label)
    places = sorted({_place(row["epsilon"]) for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, ["none" if p == _WITHOUT_PRIVACY else f"{p:g}" for p in places])
    axes.set_xlabel("epsilon of one shopper at one merchant (none: without privacy)")
    axes.set_ylabel("NDCG@10, test")
    axes.set_title(f"{merchants} merchants")
    _finish(figure, axes, out / "quality.png")


def size_curve(table: Path, out: Path) -> None:
    """Draw what joining adds over the number of shoppers from `benchmarks.size`: size.png."""
    rows = _read(table)
    if not rows:
        return
    figure, (left, right) = _figure(2)
    columns: tuple[tuple[Any, str, Callable[[Row], float]], ...] = (
        (left, "gain of joining, NDCG@10", lambda row: float(row["gain"])),
        (right, "share of the pooled ceiling", lambda row: float(row["share_federated"])),
    )
    for axes, title, value in columns:
        for colour, recipe in zip(_COLOURS, _distinct(rows, "recipe"), strict=False):
            for noise, style in _STYLES.items():
                points = sorted(
                    (int(row["shoppers"]), value(row))
                    for row in rows
                    if row["recipe"] == recipe and row["noise"] == noise
                )
                if points:
                    label = f"{recipe}, {_WORDS[noise]}"
                    axes.plot(
                        *zip(*points, strict=True), style, color=colour, marker="o", label=label
                    )
        axes.set_xscale("log")
        axes.set_xlabel("shoppers of all merchants together")
        axes.set_title(title)
    alone = sorted({(int(row["shoppers"]), float(row["share_alone"])) for row in rows})
    right.plot(*zip(*alone, strict=True), ":", color="#555555", marker="o", label="each alone")
    left.axhline(0.0, color="#555555", linewidth=0.8)
    _finish(figure, right, out / "size.png")


def _figure(columns: int = 1) -> tuple[Any, Any]:
    # The object interface draws without a display and leaves nothing behind in the process.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0 if columns == 1 else 11.0, 4.2), layout="constrained")
    return figure, figure.subplots(1, columns)


def _finish(figure: Any, axes: Any, path: Path) -> None:
    axes.legend(fontsize=8)
    for each in figure.axes:
        each.grid(alpha=0.3)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _place(epsilon: str) -> float:
    return _WITHOUT_PRIVACY if epsilon == "inf" else float(epsilon)


def _distinct(rows: Iterable[Row], column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _read(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
