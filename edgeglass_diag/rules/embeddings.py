"""EG3xx: geometry of the embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edgeglass_diag.compared import Compared
from edgeglass_diag.intervention import AT_FINDING, Intervention
from edgeglass_diag.records import Bounds, Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.causality import INPUTS
from edgeglass_diag.rules.cures import SLOWER
from edgeglass_diag.rules.flow import upstream
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.patience import no_gradient
from edgeglass_diag.rules.remedies import constant_remedy, rate_remedy
from edgeglass_diag.rules.series import Streak
from edgeglass_diag.rules.training_state import GROWTH, MOVED, matrices, signal_growing
from edgeglass_diag.signals.activations import ACTIVATION_RMS, ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.embeddings import EMBEDDING_EFFECTIVE_RANK, EMBEDDING_SAMPLE_SIGNAL, EMBEDDING_SCALE
from edgeglass_diag.signals.losses import LOSS_ROWS
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.site_paths import parent
from edgeglass_diag.sites import EmbeddingSite, ModuleSite, PairSite, Side


@dataclass(frozen=True)
class ConstantEmbeddings(Rule):
    """One side of the contrast gives (nearly) the same embedding for every sample.

    Why: the logits of the other side's queries are then the same for every candidate, the softmax is uniform and
    the loss is ln B whatever the pairs are. Recall is exactly K/N.

    Formula: with unit embeddings and logit scale s the side can add a variance of at most s^2 x signal to a row
    of logits, and by expansion lower the loss by about half of that: s^2 x signal / 2 <= ``nats``, in every
    recorded window over at least ``steps`` steps and ``windows`` windows. Signal is mean_b |u_b - mean|^2.
    A cosine of 0.99 between random-init embeddings is normal; so the side must also have had its chance: its
    signal fell to a tenth of what it was (a collapse), or the weights have moved by a fifth since, and it does not
    grow just now, as behind gates that start at zero. And the signal itself must be at most ``signal``: where it is
    not, the scale is too small (EG403).

    The place is found by walking upstream from the embedding through modules without signal to the one whose
    inputs still depend on the sample. Where the raw output of the side varies in length only, there is none.
    """

    nats: float = 0.005
    signal: float = 0.01
    steps: int = 20
    windows: int = 4
    dead_signal: float = 1e-4

    code = "EG301"
    name = "constant-embeddings"
    title = "Embeddings are constant"
    severity = Severity.CRITICAL
    page = "signal"
    signals = (EMBEDDING_SAMPLE_SIGNAL, ACTIVATION_SAMPLE_SIGNAL, EMBEDDING_SCALE)
    source = "derived: L = ln B - s (positive - mean) + s^2 Var / 2 for small logits, Var <= signal (Cauchy-Schwarz)"
    fix = (
        "Lower the learning rate by 10 and add warm-up, then look at the named module: does its input still depend "
        "on the image or text?"
    )
    cures = (*SLOWER[:2], Intervention("module.norm_before", site=AT_FINDING))
    refuted_by_learning = True
    faulty = "every cosine is 1.000 and the loss is ln B"
    healthy = "every cosine is 0.99 at init"
    stages = (Stage.RUN, Stage.LOG)
    brought_by = ("EG801", "EG802", *INPUTS, "EG002", "EG207", "EG204", "EG210", "EG202", "EG104", "EG303", "EG413")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per side, at its widest embedding."""
        for side, widest in widest_embeddings(history).items():
            signal, scale = history.series(EMBEDDING_SAMPLE_SIGNAL, widest.path), _scale(history, widest.path)
            constant = signal.streak(self.is_constant(scale))
            if constant is None or not constant.lasting(steps=self.steps, windows=self.windows):
                continue
            before = max(signal.values)
            moved = history.cumulated_update(constant.since) >= MOVED
            if signal_growing(signal) or not (before >= 10 * signal.last or moved):
                continue
            dead = self._where_it_dies(history, side)
            name = side if widest.side is Side.UNKNOWN else f"the {widest.side} side ({side})"
            yield self.finding(
                history,
                f"{name} gives the same for every sample since step {constant.since}: sample signal {signal.last:.2g}, "
                f"{scale * scale * signal.last / 2:.2g} nats at scale {scale:.3g}{_place(history, side, dead)}",
                site=side,
                since=constant.since,
                focus=dead or "",
                evidence={
                    "side": widest.side.value, "embedding": widest.path, "sample_signal": signal.last,
                    "largest_before": before, "scale": scale, "first_dead_module": dead,
                },
                fix=constant_remedy(history, constant.since, collapsed=before >= 10 * signal.last, dead=dead),
            )  # fmt: skip

    def can_be_outgrown(self, history: History, finding: Finding) -> bool:
        """Return whether the side may come to vary: not where no weight on the way to it has a gradient."""
        above = upstream(history, finding.site)
        behind = [name for name in matrices(history) if parent(name) in above]
        return super().can_be_outgrown(history, finding) and not no_gradient(history, behind)

    @classmethod
    def nominated(cls, finding: Finding) -> list[Intervention]:
        """Return the rate's changes last where the side was constant from the first step on: none had been taken."""
        made = super().nominated(finding)
        return [*made[2:], *made[:2]] if finding.since == 0 else made

    def bounds(self) -> Mapping[Signal, Bounds]:
        """Return the sample signal below which a module's output is the same for every sample."""
        return {ACTIVATION_SAMPLE_SIGNAL: Bounds(low=self.dead_signal)}

    def is_constant(self, scale: float) -> Callable[[int, float], bool]:
        """Return the condition on a sample signal by which a side is constant, at a logit scale."""
        limit = min(self.signal, 2 * self.nats / max(scale * scale, 1e-30))
        return lambda _, value: value <= limit

    def _where_it_dies(self, history: History, side: str) -> str | None:
        """Walk upstream from the side through modules without signal, up to the one whose input still has some."""
        found, path = None, side
        for _ in history.sites_of(ModuleSite):
            signal, module = history.series(ACTIVATION_SAMPLE_SIGNAL, path), history.site(ModuleSite, path)
            if module is None or not len(signal) or not signal.last <= self.dead_signal:
                return found
            found = path
            known = [history.site(ModuleSite, parent) for parent in module.parents]
            above = {site: history.series(ACTIVATION_SAMPLE_SIGNAL, site.path) for site in known if site is not None}
            fed = {site: series.last for site, series in above.items() if len(series)}
            if not fed or any(value > self.dead_signal for value in fed.values()):
                return found
            path = max(fed, key=lambda site: site.order).path
        return found


@dataclass(frozen=True)
class RankCollapse(Rule):
    """The embeddings of one side vary along hardly more than one direction.

    Why: logits of rank r can order B candidates only along r directions; with one left every image gets the same
    ranking or its reverse.

    Formula: effective rank (exp of the entropy of the normalised singular values, Roy & Vetterli) at most
    ``rank`` and half of the width, with a batch of at least 16, over at least ``steps`` steps and ``windows``
    windows, while the side is not (yet) constant and the weights have moved by a fifth.
    """

    rank: float = 2.0
    steps: int = 40
    windows: int = 5

    code = "EG302"
    name = "rank-collapse"
    title = "Embeddings collapsed to a low rank"
    severity = Severity.WARNING
    page = "embeddings"
    signals = (EMBEDDING_EFFECTIVE_RANK,)
    source = "RankMe (https://arxiv.org/abs/2210.02885) gives no absolute threshold; 2 is one direction and the mean"
    fix = "Look at the pooling before the head: does it average the sample away? Then lower the learning rate."
    cures = SLOWER[:2]
    refuted_by_learning = True
    faulty = "effective rank 1.0 of 128 at step 200"
    healthy = "effective rank 30 of 128"
    brought_by = ("EG301", "EG309", "EG802", *INPUTS, "EG002", "EG207", "EG204", "EG210", "EG202")

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per side."""
        rows = max((series.last for _, series in history.of(LOSS_ROWS)), default=0.0)
        for site, series in history.at(EmbeddingSite, EMBEDDING_EFFECTIVE_RANK):
            low = series.streak(self._is_low(site.width))
            if rows < 16 or low is None or not low.lasting(steps=self.steps, windows=self.windows):
                continue
            if history.cumulated_update(0) < MOVED:
                continue
            yield self.finding(
                history,
                f"{rows:.0f} samples of {site.module} have an effective rank of {series.last:.2f} since step "
                f"{low.since}",
                site=site.module,
                since=low.since,
                evidence={"effective_rank": series.last, "batch": rows, "embedding": site.path},
                fix=rate_remedy(history, low.since),
            )

    def bounds(self) -> Mapping[Signal, Bounds]:
        """Return the effective rank at which embeddings have collapsed."""
        return {EMBEDDING_EFFECTIVE_RANK: Bounds(low=self.rank)}

    def _is_low(self, width: int) -> Callable[[int, float], bool]:
        limit = min(self.rank, width / 2)  # two dimensions have no more than two
        return lambda _, value: value <= limit


def constant_since(history: History) -> Streak | None:
    """Return since when some side is constant by the rule's thresholds, without what else it asks of a finding."""
    rule, found = history.rule(ConstantEmbeddings), []
    for site, signal in history.at(EmbeddingSite, EMBEDDING_SAMPLE_SIGNAL):
        if site.compared is not Compared.LOGITS:
            continue
        state = signal.streak(rule.is_constant(_scale(history, site.path)))
        if state is not None:
            found.append(state)
    return max(found, key=lambda state: state.span, default=None)


def side_wakes(history: History) -> bool:
    """Return whether the embeddings of some side are about to tell samples apart, or began to a few readings ago."""
    asleep = history.rule(ConstantEmbeddings).signal
    sides = (signal for _, signal in history.of(EMBEDDING_SAMPLE_SIGNAL))
    return any(min(signal.values[-GROWTH:]) <= asleep and signal_growing(signal) for signal in sides)


def widest_embeddings(history: History) -> dict[str, EmbeddingSite]:
    """Return the widest embedding of each side, by the module that it comes from."""
    sides: dict[str, EmbeddingSite] = {}
    for site, _ in history.at(EmbeddingSite, EMBEDDING_SAMPLE_SIGNAL):
        if site.compared is not Compared.LOGITS:
            continue
        if site.module not in sides or site.width > sides[site.module].width:
            sides[site.module] = site
    return sides


def _place(history: History, side: str, dead: str | None) -> str:
    """Return the words for where a side dies; where nothing does, how what it is normalised from varies."""
    raw = history.series(ACTIVATION_SAMPLE_SIGNAL, side)
    if dead is not None:
        lost = history.series(ACTIVATION_SAMPLE_SIGNAL, dead).last
        return f"; the first module that loses it is {dead} (sample signal {lost:.2g})"
    if not len(raw):
        return ""
    size = history.series(ACTIVATION_RMS, side).last
    return f"; before normalisation it still varies, at rms {size:.1e} (sample signal {raw.last:.2g})"


def _scale(history: History, embedding: str) -> float:
    """Return the largest recent logit scale of the products in which an embedding takes part."""
    pairs = [series for pair, series in history.at(PairSite, EMBEDDING_SCALE) if embedding in pair.sides]
    # Where all embeddings are zero there is no scale to read; the last one that was read holds.
    finite = [next((v for v in reversed(series.values) if math.isfinite(v)), 1.0) for series in pairs]
    return max(finite, default=1.0)
