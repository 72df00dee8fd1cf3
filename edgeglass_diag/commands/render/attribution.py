"""The attribution of a run, for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

_WORDS = 5


def attribution_tables(result: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield the information test in words and as a table, then each pair with the units that carry it most."""
    test = result["information"]
    low, high = test["pairs"]["ci95"]["information"]
    said = "the pictures matter" if test["informed"] else "THE SCORE CARRIES NO VISUAL INFORMATION"
    yield f"{said}: information {test['pairs']['information']:.3f} ({low:.3f} to {high:.3f}) of at most 1"
    yield _information(test)
    yield _pairs(result)
    error = f"{result['largest_error']:.1e} of cosine, {result['steps']} steps"
    yield f"largest error of an integral: {error} (more --steps make it smaller)"


def _information(test: dict[str, Any]) -> Table:
    title = f"information test, {test['n']} pairs"
    table = Table("visual side", "information", "95 % interval", "mean cosine", "R@1", "information lost", title=title)
    for name, entry in _shown(test):
        low, high = entry["ci95"]["information"]
        lost = "" if entry["share"] is None else f"{100 * entry['share']:.1f} %"
        numbers = (f"{entry['information']:.3f}", f"{low:.3f} to {high:.3f}", f"{entry['score']:.3f}")
        table.add_row(name, *numbers, f"{entry['R@1']:.3f}", lost)
    return table


def _shown(test: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield all entries but the single units, and of those the one whose removal costs most."""
    entries = {name: entry for name, entry in test.items() if isinstance(entry, dict)}
    single = [name for name in entries if name.split()[-1].isdecimal()]
    costly = min(single, key=lambda name: entries[name]["information"], default=None)
    for name, entry in entries.items():
        if name not in single:
            yield name, entry
        elif name == costly:
            yield f"{name} of {len(single)}, which costs most", entry


def _pairs(result: dict[str, Any]) -> Table:
    table = Table("pair", "cosine", "patch with most", f"words with most (of {_WORDS})", title="pairs")
    for number, entry in enumerate(result["pairs"]):
        table.add_row(str(number), f"{entry['similarity']:.3f}", _patch(entry), escape(_words(entry)))
    return table


def _patch(entry: dict[str, Any]) -> str:
    """Return row and column of the patch with the largest attribution, of the first view with a grid."""
    for name, view in entry["views"].items():
        if view["grid"] is not None:
            rows, columns = view["grid"]
            values = view["integrated_gradients"][-rows * columns :]
            row, column = divmod(max(range(len(values)), key=values.__getitem__), columns)
            return f"{name}: row {row + 1}, column {column + 1} of {rows} x {columns}"
    return ""


def _words(entry: dict[str, Any]) -> str:
    values = entry["views"].get("words", {}).get("integrated_gradients", [0.0])[1:]
    order = sorted(range(len(values)), key=lambda k: -abs(values[k]))[:_WORDS]
    return ", ".join(f"{entry['words'][k]} {values[k]:+.3f}" for k in order)
