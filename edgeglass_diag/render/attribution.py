"""What an attribution says, in words and cells: made here for the terminal and the dashboard."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

INFORMATION_COLUMNS = ("visual side", "information", "95 % interval", "mean cosine", "R@1", "information lost")
_WORDS = 5


def information_words(test: dict[str, Any]) -> str:
    """Return whether the score tells pictures apart, in a sentence."""
    low, high = test["pairs"]["ci95"]["information"]
    said = "the pictures matter" if test["informed"] else "THE SCORE CARRIES NO VISUAL INFORMATION"
    return f"{said}: information {test['pairs']['information']:.3f} ({low:.3f} to {high:.3f}) of at most 1"


def information_cells(test: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the cells of ``INFORMATION_COLUMNS`` for the pairs as they are, shuffled, and each ablation."""
    for name, entry in _shown(test):
        low, high = entry["ci95"]["information"]
        lost = "" if entry["share"] is None else f"{100 * entry['share']:.1f} %"
        numbers = (f"{entry['information']:.3f}", f"{low:.3f} to {high:.3f}", f"{entry['score']:.3f}")
        yield (name, *numbers, f"{entry['R@1']:.3f}", lost)


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


def error_words(result: dict[str, Any]) -> str:
    """Return how exact the integrals of the gradients are."""
    error = f"{result['largest_error']:.1e} of cosine, {result['steps']} steps"
    return f"largest error of an integral: {error} (more --steps make it smaller)"


def patch_words(entry: dict[str, Any]) -> str:
    """Return row and column of the patch with the largest attribution, of the first view with a grid."""
    for name, view in entry["views"].items():
        if view["grid"] is not None:
            rows, columns = view["grid"]
            values = view["integrated_gradients"][-rows * columns :]
            row, column = divmod(max(range(len(values)), key=values.__getitem__), columns)
            return f"{name}: row {row + 1}, column {column + 1} of {rows} x {columns}"
    return ""


def strongest_words(entry: dict[str, Any]) -> str:
    """Return the words of the caption with most attribution, with its sign."""
    values = word_values(entry)
    order = sorted(range(len(values)), key=lambda k: -abs(values[k]))[:_WORDS]
    return ", ".join(f"{entry['words'][k]} {values[k]:+.3f}" for k in order)


def word_values(entry: dict[str, Any]) -> list[float]:
    """Return the integrated gradients of each word of the caption, without the token before the first."""
    values: list[float] = entry["views"].get("words", {}).get("integrated_gradients", [0.0])[1:]
    return values[: len(entry["words"])]
