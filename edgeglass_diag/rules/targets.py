"""EG311 to EG313 and EG420: outputs and the targets that a loss compares them with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import INPUTS, REACH, STEPS
from edgeglass_diag.rules.collapse import compared
from edgeglass_diag.rules.cures import SLOWER
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.training_state import MOVED, signal_growing
from edgeglass_diag.signals.embeddings import (
    EMBEDDING_DISTANCE,
    EMBEDDING_RANGE_EXCESS,
    EMBEDDING_SAMPLE_SIGNAL,
    EMBEDDING_SPREAD,
    EMBEDDING_VARIATION,
)
from edgeglass_diag.signals.losses import MODULE_BROADCAST
from edgeglass_diag.signals.pairings import PAIRING_DISTANCE
from edgeglass_diag.sites import EmbeddingSite, PairSite


@dataclass(frozen=True)
class PredictionsConstant(Rule):
    """The outputs hardly vary from sample to sample, while their targets do.

    Why: the mean of the targets is the best answer of a model that does not see what distinguishes the samples, and
    its loss falls to their variance and stays.

    Formula: variance of the outputs over that of their fixed targets (both normalised where a cosine compares them) at
    most ``share``, in every recorded window over at least ``steps`` steps and ``windows`` windows, in which the
    weights have moved by a fifth; and it does not grow just now. A calibrated answer explains no more than that share
    of the targets' variance. A fact (info) once they have varied ``varied`` times as much for as long: they began late.
    """

    share: float = 0.01
    varied: float = 10.0
    steps: int = 40
    windows: int = 5

    code = "EG311"
    name = "predictions-constant"
    title = "Predictions do not depend on the sample"
    severity = Severity.WARNING
    page = "signal"
    signals = (EMBEDDING_VARIATION, EMBEDDING_SPREAD)
    source = "derived: R^2 of a calibrated prediction is var E[y|x] / var y (law of total variance)"
    fix = "Follow the sample signal from the input to the output: the first module that loses it is where to look."
    cures = SLOWER[:2]
    faulty = "pooled = tokens.softmax(1).mean(1)"
    healthy = "pooled = tokens.mean(1)"
    brought_by = ("EG801", "EG420", *INPUTS, *STEPS, *REACH)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each pair of outputs and targets."""
        for pair, sides in compared(history):
            ratio = history.series(EMBEDDING_VARIATION, pair.path)
            low = ratio.streak(lambda _, value: value <= self.share)
            if low is None or not low.lasting(steps=self.steps, windows=self.windows) or signal_growing(ratio):
                continue
            if history.cumulated_update(low.since) >= MOVED:
                yield self.finding(
                    history,
                    f"in {pair.path} outputs have {ratio.last:.2g} of the variance of their targets since step "
                    f"{low.since}",
                    site=sides[0].module,
                    since=low.since,
                    evidence={"variance_over_targets": ratio.last},
                )

    def passed_since(self, history: History, finding: Finding) -> int | None:
        """Return since when the outputs vary with the sample."""
        pairs = [pair.path for pair, sides in compared(history) if sides[0].module == finding.site]
        states = [history.series(EMBEDDING_VARIATION, path).streak(self._varies) for path in pairs]
        lasting = [one for one in states if one is not None and one.lasting(steps=self.steps, windows=self.windows)]
        return max(one.since for one in lasting) if pairs and len(lasting) == len(pairs) else None

    def _varies(self, _: int, ratio: float) -> bool:
        return ratio >= self.varied * self.share


@dataclass(frozen=True)
class TargetsOutOfRange(Rule):
    """Targets lie where the output can never be: beyond the range of its sigmoid, tanh, ReLU or normalisation.

    Why: the loss has a floor that no training lowers, and the output is driven into saturation, where it has no
    gradient.

    Formula: the least mean squared error that the range leaves is at least ``share`` of the targets' variance (R^2 is
    at most 1 less that), in every recorded window over at least ``windows`` windows.
    """

    share: float = 0.05
    windows: int = 3

    code = "EG312"
    name = "targets-out-of-range"
    title = "Targets lie outside of what the output can be"
    severity = Severity.WARNING
    page = "signal"
    signals = (EMBEDDING_RANGE_EXCESS,)
    source = "derived: |y - t| >= the distance of t from the range of y; R^2 <= 1 - that, squared, over the variance"
    fix = (
        "Take away the last activation or normalisation, or bring the targets into its range (normalise or rescale "
        "them the same way)."
    )
    faulty = "mse_loss(torch.sigmoid(head(x)), targets)  # targets of mean 0 and variance 1"
    healthy = "mse_loss(head(x), targets)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each output."""
        for side, excess in history.at(EmbeddingSite, EMBEDDING_RANGE_EXCESS):
            beyond = excess.streak(lambda _, value: value >= self.share)
            if beyond is not None and beyond.windows >= self.windows:
                yield self.finding(
                    history,
                    f"{side.module} cannot come nearer to them than {excess.last:.2g} of their variance",
                    site=side.module,
                    since=beyond.since,
                    evidence={"floor_over_variance": excess.last},
                )


@dataclass(frozen=True)
class ComparedWithItself(Rule):
    """Both sides of a comparison are the same numbers: student and teacher, or two views, are one tensor.

    Why: their distance is 0 and so is its gradient, whatever the model is. A contrast of a tensor with itself finds
    each sample in the one candidate that equals it, and learns to tell samples apart by anything.

    Formula: the squared distance of partners, or of the pairs that labels name, is at most ``share`` of that of
    strangers in every recorded window, from the first one on and over at least ``windows`` windows, and the sides are
    not constant (sample signal above ``varied``, ten times the rounding of float32): of a constant both distances are
    rounding.
    """

    share: float = 1e-9
    windows: int = 3
    varied: float = 1e-6

    code = "EG313"
    name = "compared-with-itself"
    title = "Both sides of the loss are the same tensor"
    severity = Severity.CRITICAL
    page = "signal"
    signals = (EMBEDDING_DISTANCE, PAIRING_DISTANCE)
    source = "derived: float32 computations of one thing differ by some (2^-24)^2 = 4e-15 of its energy"
    fix = "Compare two different views or models: a copy (copy.deepcopy) as teacher, and an augmentation drawn twice."
    faulty = "teacher = student"
    healthy = "teacher = copy.deepcopy(student)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for each pair of sides."""
        partners = [(pair, history.series(EMBEDDING_DISTANCE, pair.path)) for pair, _ in compared(history)]
        for pair, ratio in (*partners, *history.at(PairSite, PAIRING_DISTANCE)):
            same = ratio.streak(lambda _, value: value <= self.share)
            if same is not None and same.windows == len(ratio) >= self.windows and self._varies(history, pair):
                side = history.site(EmbeddingSite, pair.left)
                yield self.finding(
                    history,
                    f"{pair.path} differ by {ratio.last:.2g} of what strangers differ by, since step {same.since}",
                    site=pair.path if side is None else side.module,
                    since=same.since,
                    evidence={"partners_over_strangers": ratio.last},
                )

    def _varies(self, history: History, pair: PairSite) -> bool:
        """Return whether no side of the pair is known to be constant."""
        sides = [history.series(EMBEDDING_SAMPLE_SIGNAL, side) for side in pair.sides]
        return all(signal.last > self.varied for signal in sides if len(signal))


@dataclass(frozen=True)
class TargetsBroadcast(Rule):
    """Outputs and targets are broadcast: each output is compared with the targets of all samples.

    Why: of outputs (N, 1) and targets (N,) torch makes a table (N, N). The least mean over it is that of giving each
    sample the mean of all targets, and the loss falls to their variance: the model learns little or nothing of its
    input. ``mse_loss`` warns of it, and a difference does not.

    Formula: an output with gradients and a target that no module has given have the shapes (N, 1) and (N,), with N of 2
    or more, in ``windows`` recorded windows. Differences between outputs, as of a ranking, are silent, and so are those
    between targets.
    """

    windows: int = 2

    code = "EG420"
    name = "targets-broadcast"
    title = "Outputs and targets are broadcast against each other"
    severity = Severity.CRITICAL
    page = "overview"
    signals = (MODULE_BROADCAST,)
    source = (
        "derived: sum_ij (y_i - t_j)^2 is least at y_i = mean t; UMLAUT (CHI 2021) and Humbatova et al. (ICSE 2020): "
        "wrong shape of labels; warning of torch.nn.functional.mse_loss"
    )
    fix = "Give both the same shape: output.squeeze(-1), or target.unsqueeze(-1)."
    faulty = "((model(x) - y) ** 2).mean()  # (N, 1) and (N,)"
    healthy = "((model(x).squeeze(-1) - y) ** 2).mean()"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per module."""
        for module, seen in history.of(MODULE_BROADCAST):
            if len(seen) >= self.windows:
                yield self.finding(
                    history,
                    f"what {module or 'the model'} gives and its targets have the shapes (N, 1) and (N,), so that each "
                    f"of N outputs is compared with N targets, since step {seen.steps[0]}",
                    site=module,
                    since=seen.steps[0],
                    evidence={"windows": len(seen)},
                )
