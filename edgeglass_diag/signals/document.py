"""Writes ``docs/signals.md``: every signal of the registry, by family."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby

from edgeglass_diag.signals.registry import registered
from edgeglass_diag.signals.signal import Components, Signal

_HEADS = ("signal", "what it measures", "unit", "range", "within a window", "components", "sites", "former names")
_BEGINNING = """# Signals

Every signal that a run can hold: `run.signals` lists those that it holds, and `run.frame(path)`, `run.matrix(path)` and
`run.readings(path)` read one. This page is made from the registry, `edgeglass_diag/signals`, by
`python -m edgeglass_diag.signals.document > docs/signals.md`.

*Unit* is 1 for a number without one. *Within a window* says how several occurrences in one window (accumulation,
several forward passes) become one number. *Sites* is the kind of site at which a signal is measured; *run* stands for
the whole model, an optimizer or a parameter group. A former name is the path under which older runs hold a signal: it
is listed under its path of today and can be asked for under both. A name in a store that no signal has or had is left
out.

What a training logs itself, by `watch.log` or through a logger, is recorded as `metric/NAME`, in its own unit and
without a site.
"""


def signals_document() -> str:
    """Return the page of all signals as Markdown."""
    ordered = sorted(registered(), key=lambda signal: signal.family)
    tables = [_table(family, signals) for family, signals in groupby(ordered, key=lambda signal: signal.family)]
    return "\n".join([_BEGINNING, *tables])


def _table(family: str, signals: Iterable[Signal]) -> str:
    rows = [_HEADS, ("---",) * len(_HEADS), *(_cells(signal) for signal in signals)]
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join([f"## {family}", "", *lines, ""])


def _cells(signal: Signal) -> tuple[str, ...]:
    return (
        f"`{signal}`",
        signal.sentence.replace("|", "\\|"),
        signal.unit,
        signal_range(signal.low, signal.high),
        signal.reduction,
        "heads" if signal.components is Components.HEADS else "one",
        "run" if signal.kind is None else signal.kind,
        ", ".join(f"`{path}`" for path in signal.former),
    )


def signal_range(low: float, high: float) -> str:
    """Return a range in words.

    >>> signal_range(0, 1), signal_range(0, math.inf), signal_range(-math.inf, math.inf)
    ('0 to 1', 'from 0', 'any')
    """
    if math.isfinite(low) and math.isfinite(high):
        return f"{low:g} to {high:g}"
    if math.isfinite(low):
        return f"from {low:g}"
    return f"up to {high:g}" if math.isfinite(high) else "any"


if __name__ == "__main__":
    print(signals_document(), end="")
