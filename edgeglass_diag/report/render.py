"""Numbers put into words, so that a report says what they mean and how sure it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WAYS = {"i2t": "image to text", "t2i": "text to image"}
KEPT = 0.95
"""Share of the full width's recall that counts as kept. A mark for readers; the table has every number."""


def number(value: object, digits: int = 3) -> str:
    """A number for a table: a dash for none, ``not finite`` for NaN and infinities.

    Example:
        >>> number(0.83912), number(None), number(float("nan")), number("nan"), number(12)
        ('0.839', '–', 'not finite', 'not finite', '12')
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return "not finite" if value in ("nan", "inf", "-inf") else value
    if isinstance(value, float):
        return f"{value:.{digits}f}" if math.isfinite(value) else "not finite"
    return str(value)


def small(value: float) -> str:
    """A number of any size in four figures.

    Example:
        >>> small(0.0000123), small(1425.7), small(float("inf"))
        ('1.23e-05', '1426', 'not finite')
    """
    return f"{value:.4g}" if math.isfinite(value) else "not finite"


def duration(seconds: float | None) -> str:
    """How long, in the units that people use.

    Example:
        >>> duration(None), duration(8.2), duration(754), duration(8100)
        ('–', '8.2 s', '12 min 34 s', '2 h 15 min')
    """
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def retrieval_sentence(name: str, result: Mapping[str, Any]) -> str:
    """Return recall@1 with its chance level, and whether the interval leaves it."""
    parts = []
    for way, words in WAYS.items():
        recall, chance = result[way]["R@1"], result["chance"][way]["R@1"]
        low, high = result["ci95"][way]["R@1"]
        beyond = "not told from chance" if _within(chance, low, high) else f"{recall / chance:.3g} times chance"
        parts.append(f"{words} {recall:.3f} (95 % interval {low:.3f} to {high:.3f}; {beyond}, which is {chance:.4f})")
    return f"{name}: R@1 {' and '.join(parts)}, over {result['n_images']} images and {result['n_texts']} captions."


def not_finite_sentence(name: str, result: Mapping[str, Any]) -> str:
    """How many embeddings are not finite; empty where all are."""
    bad = result["nonfinite"]
    if not any(bad.values()):
        return ""
    counts = f"{bad['image']} of {result['n_images']} images and {bad['text']} of {result['n_texts']} captions"
    return (
        f"{name}: the embeddings of {counts} are not finite; as queries they are misses, as candidates they come last."
    )


def prefix_sentences(name: str, result: Mapping[str, Any]) -> list[str]:
    """What the prefixes keep: the narrowest width that keeps 95 %, the eighth, the knee, and the untrained control."""
    if all_at_chance(result):
        return [f"{name} retrieves no better than chance at any width: there is nothing that a prefix could keep."]
    full = max(map(int, result["mrl"]))
    means = {int(dim): mean_recall(entry) for dim, entry in result["mrl"].items()}
    kept = min(dim for dim, recall in means.items() if recall >= KEPT * means[full])
    said = [
        f"{name}: {kept} of {full} dims ({full / kept:.3g}x less storage) are the narrowest measured prefix that keeps "
        f"{KEPT:.0%} of the mean R@1: {means[kept]:.3f} beside {means[full]:.3f} at full width."
    ]
    if full // 8 in means and kept != full // 8:
        said.append(f"An eighth of the width ({full // 8} dims) keeps {means[full // 8] / means[full]:.1%}.")
    return said + _control(result, kept) + _knee(result)


def mean_recall(entry: Mapping[str, Any], k: str = "R@1") -> float:
    """The mean of both directions."""
    return float(entry["i2t"][k] + entry["t2i"][k]) / 2


def all_at_chance(result: Mapping[str, Any]) -> bool:
    """Whether at every width the intervals of R@1 of both directions hold chance."""
    chance = result["chance"]
    bounds = [(entry["ci95"][way]["R@1"], chance[way]["R@1"]) for entry in result["mrl"].values() for way in WAYS]
    return all(_within(level, low, high) for (low, high), level in bounds)


def divergence_sentence(apart: Mapping[str, Any] | None, runs: int) -> str:
    """Where the losses of several runs part."""
    if runs < 2:
        return ""
    if apart is None:
        return "Each loss divided by its chance level, no two runs part by more than 0.05 at a step that all recorded."
    values = ", ".join(f"{name} {small(float(value))}" for name, value in apart["loss_over_chance"].items())
    return f"The losses part at step {apart['step']} (loss divided by chance: {values})."


def _within(level: float, low: float, high: float) -> bool:
    """Whether an interval holds a level; a constant side's interval is that level itself, up to rounding."""
    return low - 1e-9 <= level <= high + 1e-9


def _control(result: Mapping[str, Any], dims: int) -> list[str]:
    rows: Sequence[Mapping[str, Any]] = result.get("curve", {}).get("rows", ())
    found = {row["way"]: mean_recall(row) for row in rows if row["dims"] == dims}
    if "untrained" not in found:
        return []
    gain = found["prefix"] - found["untrained"]
    words = "so the head orders its dims" if gain > 0.02 else "so the order of the dims adds little at this width"
    return [f"Truncation that was not trained for gives {found['untrained']:.3f} at {dims} dims, {words}."]


def _knee(result: Mapping[str, Any]) -> list[str]:
    knee = result.get("curve", {}).get("knee")
    return [f"The knee of the curve is at {knee['dims']} dims ({knee['saved']:.3g}x less storage)."] if knee else []
