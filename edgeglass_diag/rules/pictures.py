"""EG512: what pictures show."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import hypot, inf, prod, sqrt

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.progress import answers_right
from edgeglass_diag.signals.batches import (
    DATA_DRAWN,
    DATA_MAX,
    DATA_MEAN,
    DATA_MIN,
    DATA_NEW,
    DATA_SHARED_FAR,
    DATA_SHARED_NEAR,
    DATA_STD,
)
from edgeglass_diag.sites import BatchSite

_DRAWN = {"randn": (0.0, 1.0, inf), "rand": (0.5, sqrt(1 / 12), 0.5)}
"""Mean and deviation of what torch draws, and how far from the mean it reaches."""
_WHITE, _SIDE = 2.5, 64
"""Energy in common that white noise of n values seems to have, times n^(1/2), and rows and columns that are looked at.

Measured on ``torch.randn`` and ``torch.rand`` from 16 to 224 pixels a side: 2.3 to 2.9 in the mean.
"""


@dataclass(frozen=True)
class PicturesOfNoise(Rule):
    """The pixels of the pictures have hardly anything in common with those around them: what is seen is noise.

    Why: noise added at a scale that is not that of the pixels, a cast to bytes of values that do not fit, a file read
    with another layout or type. What little the pictures show drowns.

    Formula: pixels 4 to 8 apart, and pictures at the same place, have at most ``far`` of their energy in common, beyond
    what white noise of as few pixels seems to have, and neighbours at most ``near``, in the last ``windows`` readings:
    the noise is ten times as strong as what lies beneath it. Neighbours that have more in common than that far apart
    are those of noise that was resized. In natural pictures neighbours share more than 0.9; of a batch with mixed
    levels of noise, as diffusion has them, one picture in ten has more. Dots on an even ground are no noise. Pixels
    with the mean and the deviation of ``torch.randn`` or ``torch.rand``, and none where ``torch.rand`` draws none, are
    drawn on purpose, for a trial or as what a generator starts from: a fact (info). So is it where nearly all
    answers to samples that no recorded window before has had are right: pixels without neighbours in common may show
    what is to be learned all the same, as patterns that are drawn at random for each class do. Samples that come again
    may be learned by heart, noise or not.
    """

    far: float = 0.1
    near: float = 0.5
    windows: int = 4
    slack: float = 0.02

    code = "EG512"
    name = "pictures-of-noise"
    title = "Pictures are noise"
    severity = Severity.WARNING
    page = "coverage"
    signals = (DATA_SHARED_FAR, DATA_SHARED_NEAR, DATA_MEAN, DATA_STD, DATA_MIN, DATA_MAX)
    source = (
        "Natural image statistics and neural representation, https://doi.org/10.1146/annurev.neuro.24.1.1193; derived: "
        "white noise of n pixels has about 2.5 / sqrt(n)"
    )
    fix = "Show some pictures as the model gets them: look for added noise, casts to bytes, a wrong layout or type."
    faulty = "pixels + torch.randn_like(pixels)  # pixels in [0, 1]"
    healthy = "pixels + 0.05 * torch.randn_like(pixels)"
    brought_by = ("EG507", "EG509")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        for site, far in history.at(BatchSite, DATA_SHARED_FAR):
            near = history.series(DATA_SHARED_NEAR, site.path)
            largest = [max(series.values[-self.windows :]) for series in (far, near)]
            least = self.far + _WHITE / sqrt(prod(min(size, _SIDE) for size in site.shape))
            if len(far) < self.windows or not (largest[0] <= least and largest[1] <= self.near):
                continue
            meant, told = self._is_drawn(history, site.path), answers_right(history) and self._is_new(history)
            yield self.finding(
                history,
                f"pixels of {site.path} have {max(0.0, far.last):.0%} of their energy in common with those 4 to 8 "
                f"apart, neighbours {near.last:.0%}"
                + (f"; they look drawn by torch.{meant}" if meant else "")
                + ("; the model learns from them all the same" if told and not meant else ""),
                site=site.path,
                severity=Severity.INFO if meant or told else Severity.WARNING,
                evidence={"far": far.last, "near": near.last},
            )

    def _is_new(self, history: History) -> bool:
        new, drawn = (sum(history.series(signal).values[-self.windows :]) for signal in (DATA_NEW, DATA_DRAWN))
        return drawn > 0 and new == drawn

    def _is_drawn(self, history: History, path: str) -> str:
        """Return by which function of torch the pixels may be drawn, empty where they have other moments."""
        known = [history.series(signal, path) for signal in (DATA_MEAN, DATA_STD, DATA_MIN, DATA_MAX)]
        if not all(known):
            return ""
        mean, deviation, low, high = (series.last for series in known)
        for name, (centre, spread, reach) in _DRAWN.items():
            inside = centre - reach <= low and high <= centre + reach
            if inside and hypot(mean - centre, deviation - spread) <= self.slack:
                return name
        return ""
