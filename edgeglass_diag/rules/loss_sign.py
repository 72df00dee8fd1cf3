"""EG418: a loss that is maximised."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isfinite, nan

from edgeglass_diag.compared import Compared
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.flow import upstream
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.signals.embeddings import EMBEDDING_DISTANCE, EMBEDDING_PULL, EMBEDDING_VARIATION
from edgeglass_diag.signals.losses import LOSS_LEVEL, LOSS_PART, LOSS_TOTAL, LOSS_VALUE
from edgeglass_diag.site_paths import first_call
from edgeglass_diag.sites import EmbeddingSite, PairSite


@dataclass(frozen=True)
class LossMaximised(Rule):
    """The loss has the wrong sign: training raises its error, and drives apart what belongs together.

    Why: an optimizer minimises. A loss with a minus too many, or one too few before a similarity, is lowered for ever
    by being as wrong as possible. It is a fine curve that falls.

    Formula: in each of the last ``windows`` recorded windows and over at least ``steps`` steps every term of the loss
    whose function is known has a negative part in the whole, nothing of more than ``other`` of it is added, and the
    error of a term is by now ``worse`` times what it was at first and what knowing nothing would cost. Where no term
    is known: the gradient draws none of the rows that are compared together, and partners are by now ``worse`` times
    as far apart (squared) as strangers, or the loss, made of distances to fixed targets, is below 0 and ``worse`` times
    as far below it as at first. A term that is maximised beside another that is minimised, as of a
    discriminator, a domain or an entropy, is silent, and so is a policy whose sampled actions cost what its entropy
    is. What began better than that may be meant to be forgotten and is a warning. A predictor that is made of what it
    is compared with by a cosine, as of SimSiam, is a mere fact (info): its last layer learns the other sign, and all
    that lies before it learns as it would.
    """

    worse: float = 1.1
    other: float = 0.05
    steps: int = 10
    windows: int = 5

    code = "EG418"
    name = "loss-maximised"
    title = "Loss has the wrong sign"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_PART, EMBEDDING_PULL, LOSS_VALUE, EMBEDDING_DISTANCE)
    source = (
        "derived: d loss / d term < 0 for every term; DeepCrime (ISSTA 2021), wrong loss; a tenth is beyond noise; "
        "-cos(W h, z) = cos(-W h, z), and W and -W are drawn alike (predictor: https://arxiv.org/abs/2011.10566)"
    )
    fix = "Take away the minus before the loss; minimise a distance or a cross-entropy, and 1 - a similarity."
    faulty = "loss = -F.cross_entropy(logits, labels)"
    healthy = "loss = F.cross_entropy(logits, labels)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per term, or per pair of sides."""
        newest = history.series(LOSS_TOTAL).steps[-self.windows :]
        if len(newest) < self.windows:
            return
        parts = {site: part for site, part in history.of(LOSS_PART) if part.steps[-1] >= newest[0]}
        if parts:
            yield from self._terms(history, parts, newest)
        else:
            yield from self._pairs(history, newest[0])

    def _terms(self, history: History, parts: dict[str, Series], newest: Sequence[int]) -> Iterable[Finding]:
        states = {site: self._lasting(part, newest[0], lambda _, value: value < 0) for site, part in parts.items()}
        if any(state is None for state in states.values()) or self._is_mixed(history, parts, newest[-1]):
            return
        for site, state in states.items():
            costs, known = history.series(LOSS_VALUE, site), history.series(LOSS_LEVEL, site)
            costs = costs if len(costs) else parts[site]
            level = known.last if len(known) else 0.0
            first, last = abs(costs.at(state.since)) if state else 0.0, _mean(costs, 3)
            if state is None or not last >= self.worse * max(first, level):
                continue
            meant = first < level * (2 - self.worse)
            yield self.finding(
                history,
                f"{site} is maximised: it went from {first:.4g} to {abs(costs.last):.4g}"
                + (f" (knowing nothing costs {level:.4g})" if level else "")
                + f", while the loss fell to {history.series(LOSS_TOTAL).last:.4g}, since step {state.since}",
                site=site,
                since=state.since,
                severity=Severity.WARNING if meant else None,
                evidence={"first": first, "last": last, "level": level, "part": parts[site].last},
                fix=_MEANT if meant else "",
            )

    def _is_mixed(self, history: History, parts: dict[str, Series], step: int) -> bool:
        """Return whether something is minimised as well: a negative term, or what is added to the known ones."""
        if any(series.last < 0 for site, series in history.of(LOSS_VALUE) if site in parts):
            return True
        known = sum(part.at(step) for part in parts.values() if part.steps[-1] == step)
        return not (isfinite(known) and history.series(LOSS_TOTAL).last - known <= self.other * abs(known))

    def _pairs(self, history: History, begin: int) -> Iterable[Finding]:
        pulls = [(pair, s) for pair, s in history.at(PairSite, EMBEDDING_PULL) if s.steps[-1] >= begin]
        states = [self._lasting(series, begin, lambda _, share: share == 0) for _, series in pulls]
        if any(state is None for state in states):
            return
        for (pair, _), state in zip(pulls, states, strict=True):
            ratio = history.series(EMBEDDING_DISTANCE, pair.path)
            first = ratio.at(state.since) if state else 0.0
            if state is None:
                continue
            further = _mean(ratio, 3) >= self.worse * max(1.0, first)
            if not further and not self._sinks(history, pair, state.since):
                continue
            meant = not further and first < 2 - self.worse
            side, absorbed = history.site(EmbeddingSite, pair.left), _takes_the_sign(history, pair)
            yield self.finding(
                history,
                f"the gradient drives the two sides of each pair of {pair.path} apart: their squared distance is "
                f"{ratio.last:.2f} times that of strangers, {first:.2f} at first, since step {state.since}",
                site=pair.path if side is None else side.module,
                since=state.since,
                severity=Severity.INFO if absorbed else Severity.WARNING if meant else None,
                evidence={"partners_over_strangers": ratio.last, "first": first},
                fix=_ABSORBED if absorbed else _MEANT if meant else "",
            )

    def _sinks(self, history: History, pair: PairSite, since: int) -> bool:
        """Return whether the loss is less than 0 and sinks, where outputs are compared with fixed targets by distances.

        Outputs that have left their targets far behind are as far from all of them.
        """
        side, total = history.site(EmbeddingSite, pair.left), history.series(LOSS_TOTAL)
        if (
            side is None
            or side.compared is not Compared.DISTANCE
            or not len(history.series(EMBEDDING_VARIATION, pair.path))
        ):
            return False
        values = [value for _, value in total.since(since)]
        return all(value < 0 for value in values) and _mean(total, 3) >= self.worse * abs(values[0])

    def _lasting(self, series: Series, begin: int, condition: Callable[[int, float], bool]) -> Streak | None:
        """Return the streak of a condition that holds since ``begin`` or longer, and for long enough."""
        state = series.streak(condition)
        if state is None or state.since > begin or not state.lasting(steps=self.steps, windows=self.windows):
            return None
        return state


_MEANT = (
    "Take away the minus before the loss, unless what the model knew is meant to be forgotten; then stop where it "
    "knows nothing."
)


_ABSORBED = (
    "Take away the minus before the loss. The encoder learns all the same, as the predictor learned the opposite sign; "
    "only the loss and the predictor's outputs are upside down."
)


def _takes_the_sign(history: History, pair: PairSite) -> bool:
    """Return whether a side is predicted, by a module of its own, from outputs of the one it is compared with.

    Cosines only: a distance grows with the length of what is predicted.
    """
    sides = [side for path in pair.sides if (side := history.site(EmbeddingSite, path)) is not None]
    if len(sides) < 2 or any(side.compared is not Compared.SIMILARITY for side in sides):
        return False
    made, target = (upstream(history, side.module) for side in sides)
    first, second = (first_call(side.module) for side in sides)
    return (second in made) != (first in target)


def _mean(series: Series, count: int) -> float:
    """Return the mean size of the newest values, NaN without any."""
    values = series.values[-count:]
    return sum(abs(value) for value in values) / len(values) if values else nan
