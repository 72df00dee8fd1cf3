"""Where the time of the traced steps goes, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table


def profile_tables(summary: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield phases, operators, and how to open the traces."""
    few = f" of {summary['asked']} asked for" if summary["steps"] < summary["asked"] else ""
    title = f"{summary['name']}: {summary['steps']} steps{few}, {1e3 * summary['step_seconds']:.2f} ms each"
    phases = Table("phase", "ms", "share", title=title)
    for name, entry in summary["phases"].items():
        phases.add_row(name, f"{1e3 * entry['seconds']:.2f}", f"{100 * entry['share']:.1f} %")
    yield phases
    if not summary["data_seen"]:
        yield "no DataLoader was seen: time of other loaders is in other, or behind record_function('data_wait')"
    operators = Table("operator", "calls", "own ms", "of the step", title="operators, in a step")
    for entry in summary["operators"]:
        operators.add_row(
            entry["name"], f"{entry['calls']:g}", f"{1e3 * entry['seconds']:.2f}", f"{100 * entry['share']:.1f} %"
        )
    yield operators
    yield f"traces: {', '.join(summary['traces'])}"
    yield f"tensorboard --logdir {summary['out']}   (with torch-tb-profiler), or open a trace at https://ui.perfetto.dev"
