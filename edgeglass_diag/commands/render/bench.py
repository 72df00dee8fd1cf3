"""The result of a bench, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table


def bench_tables(result: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield one row for each run, then the counts."""
    table = Table("case", "seed", "expected", "found", "named", "located", "delay", "headlines")
    for row in result["cases"]:
        table.add_row(
            row["fault"], str(row["seed"]), " ".join(row["expected"]) or "nothing",
            *(_mark(row[key]) for key in ("found", "named", "located")),
            "-" if row["delay"] is None else str(row["delay"]), _headlines(row["findings"]),
        )  # fmt: skip
    yield table
    faults, delay, healthy = result["faults"], result["delay_steps"], result["healthy"]
    if faults["total"]:
        shares = ", ".join(
            f"{key} {faults[key]}/{faults['total']} ({faults[key] / faults['total']:.1%})"
            for key in ("found", "named", "located")
        )
        yield f"faults: {shares}; delay in steps: median {delay['median']}, 90 % within {delay['p90']}"
    yield (
        f"healthy: {healthy['runs']} runs, {healthy['false_critical']} with a critical finding, "
        f"{healthy['false_warning']} with a warning, {healthy['withdrawn']} with one that was withdrawn later"
    )


def _mark(value: bool) -> str:
    return "yes" if value else "-"


def _headlines(findings: list[dict[str, Any]]) -> str:
    loud = [f for f in findings if f["severity"] != "info"]
    codes = {f["code"] for f in loud}
    heads = [f for f in loud if f["because_of"] not in codes]
    return " ".join(dict.fromkeys(f"{f['code']}@{f['step']}" for f in heads))
