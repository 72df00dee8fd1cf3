"""EG7xx: Matryoshka heads."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.embeddings import EMBEDDING_NORM, EMBEDDING_NORM_SPREAD
from edgeglass_diag.signals.losses import LOSS_WEIGHT
from edgeglass_diag.sites import EmbeddingSite


@dataclass(frozen=True)
class PrefixWithoutWeight(Rule):
    """A loss is computed and has no part in what is trained.

    Why: a weight of zero, a detach, or a term that is left out of the sum: the prefix, or whatever the term was meant
    for, is not trained, although its loss is logged.

    Formula: the weight of a loss function in the whole loss, read off the gradient that reaches it, is exactly 0 in
    every recorded window so far, over at least ``windows`` windows, while another's is not. A fact (info) until the
    training has come to its end: a term may be faded in at any time.
    """

    windows: int = 3

    code = "EG701"
    name = "term-without-weight"
    title = "Loss term without weight"
    severity = Severity.WARNING
    page = "retrieval"
    signals = (LOSS_WEIGHT,)
    source = "derived: a weight of 0 passes a gradient of 0; open_clip PR #419 (a term logged and never trained)"
    fix = "Give the term a weight, or take it out."
    faulty = "loss = full + 0.0 * prefix"
    healthy = "loss = full + prefix"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all such losses."""
        silent = [
            site
            for site, series in history.of(LOSS_WEIGHT)
            if len(series) >= self.windows and all(value == 0 for value in series.values)
        ]
        if silent and any(series.last != 0 for _, series in history.of(LOSS_WEIGHT)):
            yield self.finding(
                history,
                f"{listed(silent, 'has', 'have')} weight 0 in the whole loss "
                + ("from beginning to end" if history.ended else "so far"),
                site=silent[0],
                severity=Severity.WARNING if history.ended else Severity.INFO,
                evidence={"losses": silent},
            )


@dataclass(frozen=True)
class NormalisedBeforeSlicing(Rule):
    """Prefixes are cut from an embedding that was normalised before.

    Why: a slice of a unit vector is shorter than 1, differently for each sample, so that its products are no cosines:
    the temperature is another one at every width.

    Formula: of one side all widest embeddings have the same length to ``slack`` (std / mean), 1 or the scale that they
    were multiplied by, and a narrower one is shorter by ``short`` at least, in every recorded window over at least
    ``windows`` windows.
    """

    slack: float = 0.01
    short: float = 0.05
    windows: int = 3

    code = "EG702"
    name = "normalised-before-slicing"
    title = "Embeddings normalised before they are cut"
    severity = Severity.WARNING
    page = "retrieval"
    signals = (EMBEDDING_NORM, EMBEDDING_NORM_SPREAD)
    source = "derived: prefixes of CLIP features have lengths .565 / .377 / .255 at 256 / 128 / 64; semantic-router"
    fix = "Slice first, then normalise each prefix by itself."
    cures = (Intervention("loss.normalised"),)
    faulty = "normalize(z)[:, :64]"
    healthy = "normalize(z[:, :64])"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per side."""
        sides: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for site, _ in history.at(EmbeddingSite, EMBEDDING_NORM):
            sides[site.module][site.width] = site.path
        for side, widths in sides.items():
            widest = max(widths)
            spread = history.series(EMBEDDING_NORM_SPREAD, widths[widest]).values[-self.windows :]
            if not spread or max(spread) > self.slack:
                continue
            whole = history.series(EMBEDDING_NORM, widths[widest])
            cuts = {width: history.series(EMBEDDING_NORM, site) for width, site in widths.items() if width < widest}
            short = {width: cut.last / whole.last for width, cut in cuts.items() if self._is_short(cut, whole)}
            if short:
                lengths = ", ".join(f"{length:.2f} at {width}" for width, length in sorted(short.items()))
                yield self.finding(
                    history,
                    f"prefixes of {side} have lengths of {lengths}, where the whole has 1",
                    site=side,
                    evidence={"lengths": {str(width): length for width, length in short.items()}},
                )

    def _is_short(self, cut: Series, whole: Series) -> bool:
        lengths = [(value, whole.at(step)) for step, value in cut.newest(self.windows)]
        recent = [value / length if length else math.inf for value, length in lengths]  # 0: what overflowed its norm
        return len(recent) >= self.windows and max(recent) < 1 - self.short
