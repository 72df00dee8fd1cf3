"""EG613: pictures of an evaluation that are prepared otherwise than those of the training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.evaluations import is_judged
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.batches import DATA_MAX, DATA_MEAN, DATA_MIN, DATA_STD
from edgeglass_diag.signals.evaluation import (
    EVALUATION_MAX,
    EVALUATION_MEAN,
    EVALUATION_MIN,
    EVALUATION_SAMPLES,
    EVALUATION_STD,
)
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import BatchSite

_TRAINING = (DATA_MEAN, DATA_STD, DATA_MIN, DATA_MAX)
_EVALUATION = (EVALUATION_MEAN, EVALUATION_STD, EVALUATION_MIN, EVALUATION_MAX)


class _Values(NamedTuple):
    """How the values of pictures lie."""

    mean: float
    std: float
    low: float
    high: float

    @property
    def width(self) -> float:
        return self.high - self.low

    @property
    def middle(self) -> float:
        return (self.high + self.low) / 2


@dataclass(frozen=True)
class EvaluationInputsDiffer(Rule):
    """Pictures of an evaluation lie in another range of values than those of the training.

    Why: the model is asked about pictures such as it has never seen, by another Normalize, by one that is missing, or
    by pixels that are not divided by 255; recalls and losses are those of that fault.

    Formula: standard deviation and width from the least to the greatest value are both at least ``scale`` times those
    of training or both at most one ``scale``-th of them; ``far`` in place of ``scale`` where values lie beyond
    ``normalised``, which no pixel reaches behind a published normalisation, so that nothing bounds them. Or mean and
    middle of that range are both at least ``shift`` standard deviations away, in the same direction. Of an evaluation
    it is the newest one, with at least ``samples`` pictures, that led to a loss, a recall or another answer: samples
    drawn by a model that runs the other way round do not. Of training it is the median of the last ``windows`` recorded
    windows up to there. Other content moves mean and deviation but not the ends, which nearly every batch reaches; so
    do masks and augmentation, which clamp to them. Pictures of one value are none: a pass that takes the time.
    """

    scale: float = 2.0
    far: float = 3.0
    normalised: float = 3.0
    shift: float = 1.0
    samples: int = 16
    windows: int = 8

    code = "EG613"
    name = "evaluation-inputs-differ"
    title = "Evaluation prepares pictures otherwise than training"
    severity = Severity.WARNING
    page = "coverage"
    signals = (EVALUATION_STD, EVALUATION_MEAN, EVALUATION_MIN, EVALUATION_MAX)
    source = (
        "derived: 0.5 / 0.5 in place of ImageNet's normalisation is a factor of 0.5 / 0.226 = 2.2, none a factor of 4 "
        "(3.3 for the largest published deviation, 0.3); (1 - 0.406) / 0.225 = 2.64 is the largest value behind one; "
        "255 not divided by one of 255; a mean of two pictures has at least 1 / 2^(1/2) of their deviation, so that "
        "mixup (https://arxiv.org/abs/1710.09412) stays below 2; the mean of n independent pictures deviates by at "
        "most 1 / n^(1/2) of the standard deviation of all pixels (law of total variance), a quarter of the shift at 16"
    )
    fix = "Give the evaluation the preprocessing of the training: the same Normalize, without its augmentation."
    faulty = "Compose([Resize(224), CenterCrop(224), ToTensor()])  # training has Normalize(mean, std) behind it"
    healthy = "Compose([Resize(224), CenterCrop(224), ToTensor(), Normalize(mean, std)])"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        for site, counts in history.at(BatchSite, EVALUATION_SAMPLES):
            at = counts.steps[-1]
            trained = self._values(history, site.path, _TRAINING, at, self.windows)
            asked = self._values(history, site.path, _EVALUATION, at, 1)
            if trained is None or asked is None or counts.last < self.samples or not asked.std > 0:
                continue
            if not is_judged(history, at):
                continue
            if self._is_scaled(trained, asked) or self._is_shifted(trained, asked):
                yield self.finding(
                    history,
                    f"{site.path} has values from {asked.low:.3g} to {asked.high:.3g}, mean {asked.mean:.3g} and std "
                    f"{asked.std:.3g} in the evaluation at step {counts.steps[-1]}; in training from {trained.low:.3g} "
                    f"to {trained.high:.3g}, mean {trained.mean:.3g} and std {trained.std:.3g}",
                    site=site.path,
                    since=counts.steps[-1],
                    evidence={"evaluation": asked._asdict(), "training": trained._asdict()},
                )

    def _values(self, history: History, path: str, signals: Iterable[Signal], at: int, windows: int) -> _Values | None:
        all_series = [history.series(signal, path) for signal in signals]
        until = [[value for step, value in series.since(history.begun) if step <= at] for series in all_series]
        return _Values(*(median(values[-windows:]) for values in until)) if all(until) else None

    def _is_scaled(self, trained: _Values, asked: _Values) -> bool:
        ends = max(map(abs, (trained.low, trained.high, asked.low, asked.high)))
        scale = self.scale if ends <= self.normalised else self.far
        larger = asked.std >= scale * trained.std > 0 and asked.width >= scale * trained.width
        smaller = trained.std >= scale * asked.std > 0 and trained.width >= scale * asked.width
        return larger or smaller

    def _is_shifted(self, trained: _Values, asked: _Values) -> bool:
        least = self.shift * trained.std
        moved, middle = asked.mean - trained.mean, asked.middle - trained.middle
        return trained.std > 0 and min(abs(moved), abs(middle)) >= least and moved * middle > 0
