"""EG218 and EG219: trainings in which no gradient reaches any weight, and losses that no target is left for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isnan

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.losses import LOSS_ROWS, LOSS_TOTAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, OPTIMIZER_MOVING, STANDING_GRADIENT
from edgeglass_diag.sites import Coverage, LossSite, ParameterSite


@dataclass(frozen=True)
class NothingLearns(Rule):
    """No weight that an optimizer holds gets any gradient.

    Why: the loss may well be computed and logged, and every step is taken; but nothing changes, or only by weight
    decay. The loss is exactly 0, is multiplied by 0, or does not depend on what the optimizer holds.

    Formula: over at least ``steps`` steps and ``windows`` recorded windows, up to now, the norm of all gradients is
    exactly 0, or none of the tensors that the optimizers hold has a gradient although a loss goes backward. A loss of
    exactly 0 that was not so in the beginning is silent: a loss with a margin ends there.
    """

    steps: int = 10
    windows: int = 5

    code = "EG218"
    name = "nothing-learns"
    title = "Nothing is trained"
    severity = Severity.CRITICAL
    page = "gradients"
    signals = (GRADIENT_NORM, OPTIMIZER_MOVING, LOSS_TOTAL)
    stages = (Stage.INIT, Stage.RUN)
    source = "derived: a step is a function of the gradient; exactly 0 in every weight is no rounding; LLaVA #1166"
    fix = "Look for a factor of 0, for units that are dead, and for layers in series that all start at zero."
    cures = (Intervention("gradient.kept"), Intervention("optimizer.include"))
    faulty = "loss = F.cross_entropy(logits, labels) * mask.sum()  # and the mask is all zeros"
    healthy = "loss = F.cross_entropy(logits, labels)"
    brought_by = ("EG219", "EG009", "EG214", "EG802", "EG106", "EG103", "EG003", "EG204", "EG202")

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        loss, norms, moving = (history.series(s) for s in (LOSS_TOTAL, GRADIENT_NORM, OPTIMIZER_MOVING))
        since = self._since(moving, history) if len(loss) and loss.steps[-1] == history.last_step else None
        if since is not None:
            finding = self.finding(
                history,
                f"a loss goes backward, and no tensor that an optimizer holds has a gradient since step {since}",
                since=since,
                evidence={"loss": loss.last},
            )
            yield replace(finding, fix=_DETACHED)
            return
        since = self._since(norms, history)
        zero = len(loss) > 0 and loss.last == 0
        if since is None or (zero and since > norms.steps[0]):
            return
        said = f", and the loss is {loss.last:.3g}" if len(loss) else ""
        finding = self.finding(
            history,
            f"all gradients are exactly 0 since step {since}{said}",
            since=since,
            evidence={"loss": loss.last if len(loss) else None},
        )
        yield replace(finding, fix=_ZERO_LOSS) if zero else finding

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return a finding where all gradients of the first batch are exactly 0."""
        given = [series.last for _, series in history.of(STANDING_GRADIENT)]
        trained = [site for site in history.sites_of(ParameterSite) if site.coverage is not Coverage.FROZEN]
        if given and trained and not any(given):
            yield self.finding(
                history,
                f"the gradients of all {len(given)} parameters are exactly 0 with the first batch",
                severity=Severity.WARNING,
                evidence={"parameters": len(given)},
            )

    def _since(self, series: Series, history: History) -> int | None:
        """Return since when a series has been 0 up to now; None where it is not, or not for long enough."""
        state = series.streak(lambda _, value: value == 0)
        if state is None or not state.lasting(steps=self.steps, windows=self.windows):
            return None
        return state.since if series.steps[-1] == history.last_step else None


_DETACHED = (
    "Look for detach, torch.no_grad, .data or .item between the weights and the loss, and give the optimizer the "
    "parameters that the loss is computed with."
)
_ZERO_LOSS = "Look at what makes the loss 0: targets that are all ignored, a mask of zeros, or a weight of 0."


@dataclass(frozen=True)
class NoTargetLeft(Rule):
    """All targets of a loss are ignored.

    Why: prompts are masked over their answers, texts are cut before them, or the index that is ignored is that of a
    class. Their sum is 0 and their mean 0 / 0 = NaN; either way nothing is learned from these batches.

    Formula: no row of a loss counts, in the last ``windows`` recorded windows; at once where the loss is NaN by it.
    Critical where that is so of every loss function that runs.
    """

    windows: int = 5

    code = "EG219"
    name = "no-target-left"
    title = "All targets are ignored"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (LOSS_ROWS, LOSS_TOTAL)
    stages = (Stage.INIT, Stage.RUN)
    source = (
        "derived: a batch without target by chance, one in ten, comes five times in a row once in 1e5; LLaVA #1166, "
        "#1706; torch.nn.functional.cross_entropy: ignore_index"
    )
    fix = "Look at how the targets are made: masking that covers the answer, a text cut before it, ignore_index."
    faulty = "labels[:, :len(prompt) + len(answer)] = -100"
    healthy = "labels[:, :len(prompt)] = -100"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each loss, or one for all."""
        running = {s.path: rows for s, rows in history.at(LossSite, LOSS_ROWS) if rows.steps[-1] == history.last_step}
        total = history.series(LOSS_TOTAL)
        broken = len(total) > 0 and isnan(total.last) and total.steps[-1] == history.last_step
        least = 1 if broken and all(rows.last == 0 for rows in running.values()) else self.windows
        yield from self._judge(history, running, least)

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return a finding where no row of any loss counts in the first batch."""
        running = {site.path: rows for site, rows in history.at(LossSite, LOSS_ROWS)}
        if running and all(rows.last == 0 for rows in running.values()):
            yield from self._judge(history, running, 1)

    def _judge(self, history: History, running: dict[str, Series], least: int) -> Iterable[Finding]:
        since: dict[str, int] = {}
        for path, rows in running.items():
            state = rows.streak(lambda _, value: value == 0)
            if state is not None and state.windows >= least:
                since[path] = state.since
        if since and len(since) == len(running):
            first = min(since.values())
            yield self.finding(
                history,
                f"none is left for {', '.join(since)} since step {first}, so that no batch says what is right",
                site=next(iter(since)) if len(since) == 1 else "",
                since=first,
                evidence={"losses": list(since)},
            )
            return
        for path, first in since.items():
            yield self.finding(
                history,
                f"none is left for {path} since step {first}",
                site=path,
                severity=Severity.WARNING,
                since=first,
                evidence={"losses": [path]},
            )
