"""Runs side by side, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table


def comparison_tables(comparison: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield a table with a column for each run, their findings, and where their losses part."""
    runs = comparison["runs"]
    table = Table("", *(escape(run["name"]) for run in runs))
    for label, cells in _comparison_rows(runs):
        table.add_row(label, *cells)
    yield table
    for run in runs:
        for finding in run["findings"]:
            because = f", because of {finding['because_of']}" if finding["because_of"] else ""
            head = f"{run['name']}: {finding['severity']} {finding['code']} {finding['name']}"
            yield escape(f"{head} (step {finding['step']}{because}): {finding['message']}")
    apart = comparison["first_divergence"]
    if apart is not None:
        values = ", ".join(f"{name} {value:.3g}" for name, value in apart["loss_over_chance"].items())
        yield f"the losses part at step {apart['step']} (loss / chance: {escape(values)})"


def _comparison_rows(runs: list[dict[str, Any]]) -> Iterator[tuple[str, list[str]]]:
    yield "status", [run["status"] for run in runs]
    for key in ("train_loss", "val_loss"):
        yield key.replace("_", " "), [_number(run.get(key)) for run in runs]
    for way in ("i2t", "t2i"):
        for k in ("R@1", "R@5", "R@10"):
            yield f"{way} {k}", [_number((run.get(way) or {}).get(k)) for run in runs]
    yield "chance t2i R@1", [_number((run.get("chance") or {}).get("R@1")) for run in runs]
    for severity in ("critical", "warning", "info"):
        yield severity, [str(sum(f["severity"] == severity for f in run["findings"])) for run in runs]


def _number(value: float | str | None) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.4f}"
