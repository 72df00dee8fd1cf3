"""EG7xx: Matryoshka heads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History, Series


@dataclass(frozen=True)
class PrefixWithoutWeight(Rule):
    """A loss is computed and has no part in what is trained.

    Why: a weight of zero, a detach, or a term that is left out of the sum: the prefix, or whatever the term was meant
    for, is not trained, although its loss is logged.

    Formula: the weight of a loss function in the whole loss, read off the gradient that reaches it, is exactly 0 in
    every recorded window so far, over at least ``windows`` windows, while another's is not. A fact (info) until the
    training has come to its end: a term may be faded in at any time.
    """

    windows: float = 3

    code = "EG701"
    name = "term-without-weight"
    severity = Severity.WARNING
    source = "derived: a weight of 0 passes a gradient of 0; open_clip PR #419 (a term logged and never trained)"
    fix = "Give the term a weight, or take it out."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding for all such losses."""
        silent = [
            site
            for site, series in history.of("loss/weight")
            if len(series) >= self.windows and all(value == 0 for value in series.values)
        ]
        if silent and any(series.last != 0 for _, series in history.of("loss/weight")):
            yield self.finding(
                history,
                f"{', '.join(silent[:4])}: computed, but with weight 0 in the loss "
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
    windows: float = 3

    code = "EG702"
    name = "normalised-before-slicing"
    severity = Severity.WARNING
    source = "derived: prefixes of CLIP features have lengths .565 / .377 / .255 at 256 / 128 / 64; semantic-router"
    fix = "Slice first, then normalise each prefix by itself."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per side."""
        sides: defaultdict[str, dict[int, str]] = defaultdict(dict)
        for site, _ in history.of("embedding/norm"):
            side, _, width = site.rpartition("[:")
            sides[side][int(width.rstrip("]"))] = site
        for side, widths in sides.items():
            widest = max(widths)
            spread = history.series("embedding/norm_spread", widths[widest]).values[-int(self.windows) :]
            if not spread or max(spread) > self.slack:
                continue
            whole = history.series("embedding/norm", widths[widest])
            short = {
                width: history.series("embedding/norm", site).last / whole.last
                for width, site in widths.items()
                if width < widest and self._is_short(history.series("embedding/norm", site), whole)
            }
            if short:
                lengths = ", ".join(f"{length:.2f} at {width}" for width, length in sorted(short.items()))
                yield self.finding(
                    history,
                    f"{side}: lengths of prefixes {lengths}, of the whole 1: normalised before it was cut",
                    site=side,
                    evidence={"lengths": {str(width): length for width, length in short.items()}},
                )

    def _is_short(self, cut: Series, whole: Series) -> bool:
        count = int(self.windows)
        newest = zip(cut.steps[-count:], cut.values[-count:], strict=True)
        recent = [value / whole.at(step) for step, value in newest]
        return len(recent) >= self.windows and max(recent) < 1 - self.short
