"""EG220 to EG223: modules in the wrong mode, and BatchNorm whose running statistics do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.series import Series, Streak
from edgeglass_diag.signals.activations import DROPOUT_P
from edgeglass_diag.signals.modes import (
    BATCHNORM_MISMATCH,
    BATCHNORM_SAMPLES,
    BATCHNORM_STILL,
    BATCHNORM_UNTOUCHED,
    MODE_TRAINING,
)
from edgeglass_diag.signals.parameters import GRADIENT_NORM


def _switched(history: History, to: float, steps: int, windows: int) -> Iterator[tuple[str, Streak]]:
    """Yield what began in the other mode and has lastingly run in this one: 1 for training, 0 for evaluation."""
    for site, modes in history.of(MODE_TRAINING):
        state = modes.streak(lambda _, value: value == 1) if to else modes.streak(lambda _, value: value == 0)
        if modes.first == 1 - to and state is not None and state.lasting(steps=steps, windows=windows):
            yield site, state


@dataclass(frozen=True)
class LeftInEvaluation(Rule):
    """The model was trained in training mode and goes on in evaluation mode.

    Why: an evaluation calls ``model.eval()``, and nothing calls ``model.train()`` after it. From then on there is no
    dropout, and BatchNorm neither takes the statistics of the batch nor follows them.

    Formula: a model that ran in training mode at first is called with gradients in evaluation mode, over at least
    ``steps`` steps and ``windows`` recorded windows up to now, and has a dropout or BatchNorm. BatchNorm alone that is
    put into evaluation mode, as to freeze it, is silent.
    """

    steps: int = 10
    windows: int = 5

    code = "EG220"
    name = "left-in-evaluation"
    title = "Training goes on in evaluation mode"
    severity = Severity.WARNING
    page = "coverage"
    signals = (MODE_TRAINING, DROPOUT_P)
    source = "derived; torch.nn.Module.eval; an evaluation between steps takes less than five recorded windows"
    fix = "Call model.train() after each evaluation, before the next training step."
    faulty = "model.eval(); evaluate(model)  # once per epoch, and nothing after it"
    healthy = "model.eval(); evaluate(model); model.train()"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per model."""
        norms = {site for site, _ in history.of(BATCHNORM_MISMATCH)}
        if not norms and not history.has(DROPOUT_P):
            return
        for site, state in _switched(history, 0.0, self.steps, self.windows):
            if site not in norms:
                yield self.finding(
                    history,
                    f"{site or 'the model'} is in evaluation mode since step {state.since}, and was in training mode "
                    "before",
                    site=site,
                    since=state.since,
                    evidence={"windows": state.windows},
                )


@dataclass(frozen=True)
class FrozenNormUndone(Rule):
    """A BatchNorm that began in evaluation mode runs in training mode by now.

    Why: BatchNorm is frozen by ``.eval()``, and a ``model.train()`` later on undoes it: it takes the statistics of
    each small batch from then on, and those it was loaded with are lost.

    Formula: a BatchNorm ran with gradients in evaluation mode at first, and has run in training mode over at least
    ``steps`` steps and ``windows`` recorded windows up to now.
    """

    steps: int = 10
    windows: int = 5

    code = "EG221"
    name = "frozen-norm-undone"
    title = "BatchNorm left its evaluation mode"
    severity = Severity.WARNING
    page = "coverage"
    signals = (MODE_TRAINING,)
    source = "derived: .train() sets the mode of all modules below; lightly #1438"
    fix = "Put BatchNorm into evaluation mode again after each model.train(), best by overriding train() of the model."
    cures = (Intervention("module.batch_norm_eval"),)
    faulty = "for m in norms: m.eval(); ...; model.train()  # after the first evaluation"
    healthy = "def train(self, mode=True): super().train(mode); self.norm.eval()"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all."""
        norms = {site for site, _ in history.of(BATCHNORM_SAMPLES)}
        found = {site: state for site, state in _switched(history, 1.0, self.steps, self.windows) if site in norms}
        if found:
            since = min(state.since for state in found.values())
            yield self.finding(
                history,
                f"{listed([*found], 'runs', 'run')} in training mode since step {since}, and ran in evaluation mode "
                "before",
                site=next(iter(found)),
                since=since,
                evidence={"modules": list(found)[:20]},
            )


@dataclass(frozen=True)
class NormUntouched(Rule):
    """A BatchNorm runs in evaluation mode with the statistics that it was made with.

    Why: with a mean of 0 and a variance of 1 it normalises nothing. So it is of a model that is in evaluation mode
    from the beginning without having been loaded, and of a momentum encoder whose parameters are averaged while its
    buffers are not copied.

    Formula: in evaluation mode, running mean exactly 0 and variance exactly 1, over at least ``steps`` steps and
    ``windows`` recorded windows up to now. A fact (info) where no BatchNorm has run in training mode meanwhile, while
    some are trained in this mode, or were trained before: what is trained then sees what evaluation will see.
    """

    steps: int = 10
    windows: int = 5

    code = "EG222"
    name = "norm-untouched"
    title = "BatchNorm in evaluation mode has no statistics"
    severity = Severity.WARNING
    page = "coverage"
    signals = (BATCHNORM_UNTOUCHED,)
    source = "derived: what BatchNorm is made with; lightly #1438, moco: buffers of a momentum encoder"
    fix = "Copy the buffers too where weights are averaged into this module, or call .train() on it."
    faulty = "for p, q in zip(teacher.parameters(), student.parameters()): ...  # teacher.eval(), buffers stay 0 and 1"
    healthy = "for b, c in zip(teacher.buffers(), student.buffers()): b.copy_(c)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all."""
        found = {}
        for site, untouched in history.of(BATCHNORM_UNTOUCHED):
            state = untouched.streak(lambda _, value: value == 1)
            if state is not None and state.lasting(steps=self.steps, windows=self.windows):
                found[site] = state
        if found:
            since = min(state.since for state in found.values())
            yield self.finding(
                history,
                f"{listed([*found], 'normalises', 'normalise')} by mean 0 and variance 1, as when made",
                site=next(iter(found)),
                since=since,
                severity=Severity.INFO if self._as_evaluated(history, list(found), since) else None,
                evidence={"modules": list(found)[:20]},
            )

    def _as_evaluated(self, history: History, found: list[str], since: int) -> bool:
        """Return whether what has been trained since a step has seen the outputs that evaluation gives."""
        trained = [series.steps for _, series in history.of(BATCHNORM_STILL)]
        if any(steps[-1] >= since for steps in trained):
            return False
        return bool(trained) or any(len(history.series(GRADIENT_NORM, f"{site}.weight")) for site in found)


@dataclass(frozen=True)
class StatisticsDoNotFit(Rule):
    """The running statistics of a BatchNorm are far from those of the batches: evaluation sees another model.

    Why: training normalises by the batch, evaluation by the running average. Where each batch comes from one source
    (one domain, one class, one camera), or the average is too slow or never moves, the two differ, and a model that is
    good in training fails in evaluation.

    Formula: with mean m and variance v of a batch, and n and r those that evaluation would take,
    ((v / r)^(1/2) - 1)^2 + (m - n)^2 / r, averaged over channels, is what evaluation changes of a signal of variance 1.
    Its median over the newest ``windows`` recorded windows is at least ``ratio``, after ``settle`` steps, and at least
    twice what B independent samples give by chance, 3 / (2 B).
    """

    ratio: float = 1.0
    windows: int = 8
    settle: int = 50

    code = "EG223"
    name = "statistics-do-not-fit"
    title = "BatchNorm's running statistics do not fit the batches"
    severity = Severity.WARNING
    page = "coverage"
    signals = (BATCHNORM_MISMATCH, BATCHNORM_SAMPLES)
    source = (
        "derived: at 1 the change is as large as the signal; with momentum 0.1 the average forgets its start to "
        "0.9^50 = 0.5 %; pytorch #4741, Person_reID #218"
    )
    fix = (
        "Mix the sources within each batch (shuffle), or use GroupNorm or LayerNorm; before evaluation the statistics "
        "can be taken anew with torch.optim.swa_utils.update_bn."
    )
    faulty = "each batch from one domain: loader = cycle([photos, sketches])"
    healthy = "loader = DataLoader(ConcatDataset([photos, sketches]), shuffle=True)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all."""
        if history.last_step < self.settle:
            return
        known = history.of(BATCHNORM_MISMATCH)
        found = {site: far for site, series in known if (far := self._far(history, site, series))}
        if found:
            worst = max(found, key=found.__getitem__)
            yield self.finding(
                history,
                f"evaluation would change the output of {worst} by {found[worst] ** 0.5:.1f} of its standard deviations"
                + (f", and that of {len(found) - 1} more" if len(found) > 1 else ""),
                site=worst,
                evidence={"mismatch": found[worst], "modules": list(found)[:20]},
            )

    def _far(self, history: History, site: str, series: Series) -> float:
        """Return the median of the newest windows where it is too large, else 0."""
        newest = series.newest(self.windows)
        samples = history.series(BATCHNORM_SAMPLES, site)
        if len(newest) < self.windows or series.steps[-1] < history.last_step or not samples.last > 1:
            return 0.0
        value = median(value for _, value in newest)
        return value if value >= max(self.ratio, 3 / samples.last) else 0.0
