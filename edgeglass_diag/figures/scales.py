"""How a signal is drawn in a run: what the registry says of it, its colours, and where the rules call it healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeglass_diag.records import Bounds, ConfiguredRule
from edgeglass_diag.signals import Drawing, Palette, Signal, registered

SHARE = [
    [0.0, "#00224e"], [0.17, "#213b6e"], [0.33, "#4c556c"], [0.5, "#7c7b78"], [0.67, "#a69d75"], [0.83, "#d3c164"],
    [1.0, "#fee838"],
]  # fmt: skip
"""Shares in [0, 1]: Cividis, even for every colour vision (https://doi.org/10.1371/journal.pone.0199239)."""

SIZE = [
    [0.0, "#440154"], [0.17, "#443983"], [0.33, "#31688e"], [0.5, "#21918c"], [0.67, "#35b779"], [0.83, "#90d743"],
    [1.0, "#fde725"],
]  # fmt: skip
"""Sizes by their power of ten: Viridis."""

DEVIATION = [
    [0.0, "#053061"], [0.17, "#2166ac"], [0.33, "#67a9cf"], [0.5, "#f7f7f7"], [0.67, "#fdb863"], [0.83, "#e08214"],
    [1.0, "#7f3b08"],
]  # fmt: skip
"""Too little (blue) and too much (orange) around what is usual (white)."""


COLORS: Mapping[Palette, list[list[Any]]] = {
    Palette.SHARE: SHARE,
    Palette.SIZE: SIZE,
    Palette.DEVIATION: DEVIATION,
}
DRAWN: tuple[Signal, ...] = tuple(signal for signal in registered() if signal.drawing is not None)
"""The signals that are drawn over sites and steps."""
NO_BOUND = "no bound is known"


@dataclass(frozen=True, slots=True)
class Scale:
    """How a signal is drawn in a run.

    ``low`` and ``high`` bound what is healthy, None where there is no bound; ``bounds`` says them with their source.
    ``extent`` fixes the ends of the colours (powers of ten where ``logarithmic``), None takes those of the data.
    ``component`` is what a cell shows of several heads, ``extreme`` which end of a stretch of steps.
    """

    label: str
    unit: str
    colors: list[list[Any]]
    bounds: str
    meaning: str
    logarithmic: bool = False
    low: float | None = None
    high: float | None = None
    extent: tuple[float, float] | None = None
    component: str = "mean"
    extreme: str = "high"

    @property
    def is_bounded(self) -> bool:
        """Whether a bound is known."""
        return self.low is not None or self.high is not None

    def is_healthy(self, value: float) -> bool:
        """Return whether a value lies within the bounds; NaN and infinities never do.

        >>> from edgeglass_diag.signals.attention import ATTENTION_LOGIT_MAX
        >>> scale = scale_of(ATTENTION_LOGIT_MAX, {})
        >>> scale.is_healthy(12.0), scale.is_healthy(1e5), scale.is_healthy(float("nan"))
        (True, False, False)
        """
        low = float("-inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        return abs(value) != float("inf") and low <= value <= high


def scale_of(signal: Signal, rules: Mapping[str, ConfiguredRule]) -> Scale:
    """Return how a signal is drawn where these rules, by their codes, judge it.

    Bounds are those of the first rule that has some for the signal; an end that it leaves open is the published one.

    Raises:
        ValueError: for a signal that is not drawn.
    """
    drawing = signal.drawing
    if drawing is None:
        raise ValueError(f"{signal} is not drawn over sites and steps; drawn are: {', '.join(DRAWN)}")
    bounds, sources = _bounds(signal, rules)
    return Scale(
        label=drawing.label,
        unit=drawing.caption,
        colors=COLORS[drawing.palette],
        bounds=bounds_text(drawing, bounds, sources),
        meaning=drawing.meaning,
        logarithmic=drawing.logarithmic,
        low=bounds.low,
        high=bounds.high,
        extent=drawing.extent,
        component=drawing.component,
        extreme=drawing.extreme,
    )


def bounds_text(drawing: Drawing, bounds: Bounds, sources: Sequence[str]) -> str:
    """Return what is known of healthy values, with where that comes from: codes of rules and publications.

    >>> from edgeglass_diag.signals.attention import ATTENTION_TOP1, ATTENTION_LOGIT_MAX
    >>> bounds_text(ATTENTION_LOGIT_MAX.drawing, Bounds(high=50.0), ["EG104"])
    'above 50 every training diverged (EG104)'
    >>> bounds_text(ATTENTION_TOP1.drawing, Bounds(), [])
    'no bound is known'
    """
    try:
        words = drawing.bounds.format(low=bounds.low, high=bounds.high)
    except TypeError:  # the sentence speaks of a bound that no rule of this run has
        return NO_BOUND
    return f"{words} ({'; '.join(sources)})" if sources else words


def _bounds(signal: Signal, rules: Mapping[str, ConfiguredRule]) -> tuple[Bounds, list[str]]:
    """Return the bounds of a signal and their sources."""
    rule = next((rule for rule in rules.values() if signal in rule.bounds), None)
    judged = Bounds() if rule is None else rule.bounds[signal]
    sources = [] if rule is None else [rule.code]
    usual = signal.usual
    if usual is None:
        return judged, sources
    low = usual.low if judged.low is None else judged.low
    high = usual.high if judged.high is None else judged.high
    is_used = (low, high) != (judged.low, judged.high)
    return Bounds(low, high), [*sources, usual.source] if is_used else sources
