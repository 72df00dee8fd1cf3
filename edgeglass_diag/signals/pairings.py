"""Signals of pairings: whether what the labels call a pair is more alike than other fixed pairings of the batch."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Reduction, Signal
from edgeglass_diag.sites import Kind

PAIRING_LABELLED = register(
    Signal(
        "pairing/labelled",
        Kind.PAIR,
        "By how much the labelled pairs are more alike than the mean of their rows, in standard deviations of a row.",
    )
)
PAIRING_OTHER = register(
    Signal(
        "pairing/other",
        Kind.PAIR,
        "The same of the most alike other fixed pairing: shifted, neighbours, reversed, or each with itself.",
    )
)
PAIRING_ADVANTAGE = register(
    Signal(
        "pairing/advantage",
        Kind.PAIR,
        "Paired t statistic of that other pairing against the labelled one, over the rows.",
    )
)
PAIRING_NUMBER = register(
    Signal(
        "pairing/number",
        Kind.PAIR,
        "Which other pairing: row i with column i + number; -1 neighbours (0 with 1), -2 the batch reversed.",
        reduction=Reduction.MAX,
    )
)
PAIRING_DISTANCE = register(
    Signal(
        "pairing/distance",
        Kind.PAIR,
        "Mean squared distance of the labelled pairs over that of strangers: 0 where both are the same tensor.",
        low=0,
    )
)
