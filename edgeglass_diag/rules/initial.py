"""EG0xx: setup and initialisation."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.intervention import AT_FINDING, Intervention
from edgeglass_diag.records import Finding, ParameterOrigin, ParameterWrite, Severity, SourceLine
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.parameters import UPDATE_RATIO, WEIGHT_NORM, WEIGHT_ROW_SIGNAL
from edgeglass_diag.sites import ParameterSite


@dataclass(frozen=True)
class OverwrittenInit(Rule):
    """A parameter is drawn at random by the model's own code and then drawn again, so that the first draw is lost.

    Why: two places decide on one initial value and only the last one counts; a reader of the first is misled.
    The defaults of torch's layers, placeholders (empty, zeros, ones) and loaded checkpoints are meant to be
    overwritten and are silent. Whether the surviving scale matters is another question, to be answered by the
    attention logits: behind a norm it does not.

    Formula: a whole write by a random operation, followed by another one at another place, both outside of
    torch, whose standard deviations differ by more than a factor of ``factor``.
    """

    factor: float = 1.5

    code = "EG001"
    name = "overwritten-init"
    title = "Initial values overwritten"
    severity = Severity.INFO
    page = "coverage"
    source = "derived: draws of one scale are equal in distribution; 1.5 is beyond sampling error from 16 values on"
    fix = "Delete the write that is lost, and keep the scale you want in one place."
    faulty = "latents = Parameter(torch.randn(64, 512)); nn.init.normal_(latents, std=0.02)"
    healthy = "latents = Parameter(0.02 * torch.randn(64, 512))"
    stages = (Stage.INIT, Stage.RUN)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per pair of places, however many parameters pass through it."""
        places: defaultdict[tuple[ParameterWrite, ParameterWrite], list[ParameterOrigin]] = defaultdict(list)
        for origin in history.origins:
            pair = self._lost(origin.writes)
            if pair is not None:
                key = next((known for known in places if _lines(known) == _lines(pair)), pair)
                places[key].append(origin)
        for (first, last), origins in places.items():
            yield self.finding(
                history,
                f"{listed([origin.name for origin in origins], 'is', 'are')} drawn by {first.op} with std "
                f"{first.std:.3g} at {first.place}, then by {last.op} with std {last.std:.3g} at {last.place}",
                site=origins[0].name,
                place=last.place,
                evidence={
                    "parameters": [o.name for o in origins],
                    "first": _as_evidence(first),
                    "last": _as_evidence(last),
                },
            )

    def _lost(self, writes: tuple[ParameterWrite, ...]) -> tuple[ParameterWrite, ParameterWrite] | None:
        own = [w for w in writes if w.random and not w.default and not w.partial and w.std > 0]
        if len(own) < 2 or any(w.is_loaded for w in writes):
            return None
        first, last = own[0], own[-1]
        apart = abs(math.log(first.std / last.std)) > math.log(self.factor)
        return (first, last) if apart and first.place != last.place else None


@dataclass(frozen=True)
class IdenticalRows(Rule):
    """All rows of a weight are equal and stay so under training, as with latents that all start alike.

    Why: units that start equal and receive equal gradients stay equal for ever; K latents act as one.

    Formula: share of the weight's energy that differs between rows, sum |w_i - mean|^2 / sum |w_i|^2, at most
    ``share`` in every recorded window over at least ``steps`` optimizer steps, while the weight is not zero and
    moves. A zero-initialised matrix gets different rows with its first update and is silent. Rows that began
    equal by design, as gains of ones, may move by less than a float's rounding under warm-up: the weight must have
    moved by at least ``moved`` of itself, after which broken symmetry shows as about ``moved``^2.
    """

    share: float = 1e-10
    steps: int = 3
    moved: float = 1e-3

    code = "EG002"
    name = "identical-rows"
    title = "Identical rows in a weight"
    severity = Severity.CRITICAL
    page = "coverage"
    signals = (WEIGHT_ROW_SIGNAL, UPDATE_RATIO, WEIGHT_NORM)
    source = "derived: rounding of float32 leaves (6e-8)^2 = 4e-15 per entry; the symmetry is exact or broken"
    fix = "Break the symmetry: draw the rows independently, e.g. nn.init.trunc_normal_(weight, std=0.02)."
    cures = (Intervention("initial.rows", site=AT_FINDING), Intervention("initial.rows", 0.02, AT_FINDING))
    faulty = "latents = Parameter(torch.ones(64, 512))"
    healthy = "latents = Parameter(torch.randn(64, 512))"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per weight."""
        for site, series in history.at(ParameterSite, WEIGHT_ROW_SIGNAL):
            if not series.last <= self.share:
                continue
            alike = series.streak(lambda _, value: value <= self.share)
            moving = history.series(UPDATE_RATIO, site.path)
            size = history.series(WEIGHT_NORM, site.path)
            if alike is None or alike.span < self.steps or not len(moving) or moving.last == 0 or size.last == 0:
                continue
            if _way(moving) < self.moved:
                continue
            yield self.finding(
                history,
                f"all rows of {site.path} ({'x'.join(map(str, site.shape))}) are equal since step {alike.since}, "
                "although it is trained",
                site=site.path,
                since=alike.since,
                evidence={"row_signal": series.last, "shape": list(site.shape)},
            )


def _way(ratios: Series) -> float:
    """Return the sum over steps of the relative updates of one weight, between recorded windows interpolated."""
    reach = [-1, *ratios.steps[:-1]]
    gaps = zip(ratios.steps, reach, ratios.values, strict=True)
    return sum(value * (step - before) for step, before, value in gaps if math.isfinite(value))


def _lines(pair: tuple[ParameterWrite, ParameterWrite]) -> tuple[SourceLine, SourceLine]:
    return pair[0].place, pair[1].place


def _as_evidence(write: ParameterWrite) -> dict[str, object]:
    return {"op": write.op, "file": write.file, "line": write.line, "std": write.std}
