"""EG501 to EG503: batches that come again, copies in a batch, pairs that do not match."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import log

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.causality import DIVERGENCE, INPUTS, OBJECTIVE, REACH, STEPS
from edgeglass_diag.rules.embeddings import constant_since
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.inputs import alike
from edgeglass_diag.rules.loss import guessing
from edgeglass_diag.rules.series import Series
from edgeglass_diag.rules.training_state import MOVED, is_paired, no_better_than_chance
from edgeglass_diag.signals.batches import (
    DATA_COPY_FLOOR,
    DATA_FINGERPRINT,
    DATA_REPEATED,
    DATA_SAME_TENSOR,
    DATA_SAMPLES,
)
from edgeglass_diag.signals.embeddings import EMBEDDING_ALIGNMENT, EMBEDDING_SAMPLE_SIGNAL
from edgeglass_diag.signals.losses import LOSS_ACCURACY, LOSS_LOGIT_STD, LOSS_TARGET_ENTROPY
from edgeglass_diag.sites import BatchSite


@dataclass(frozen=True)
class RepeatedBatches(Rule):
    """The same batches come again, in the same composition and order.

    Why: a sampler whose epoch is never set, a loader made anew at each step, or no shuffling. Every pair meets the
    same negatives for ever, and a single batch is learned by heart.

    Formula: the fingerprint of a batch (of all its samples, in order) equals that of an earlier step in at least
    ``times`` recorded windows, at an input whose samples differ from each other. Beside an input that is new each time
    it must be half of a pair, with the labels of a loss on the diagonal: what images are classified with, the prompts
    of all classes, is the same in every step. Of several trainings in one run, as of a teacher and of a student, each
    is judged by itself: with one seed they have the same batches; so is what follows where a program was started again,
    which takes the batches behind its checkpoint once more. Where the program gives the very same tensor again in
    each window, of at least ``whole`` samples, it has no loader that could shuffle: the batch is the whole data set, or
    meant to be learned by heart, which is a fact (info).
    """

    times: int = 2
    whole: int = 50

    code = "EG501"
    name = "repeated-batches"
    title = "Batches repeat"
    severity = Severity.WARNING
    page = "coverage"
    signals = (DATA_FINGERPRINT,)
    source = (
        "derived: with a shuffle the same B samples in the same order have no chance; pytorch #31771 (set_epoch); "
        "fewer than 50 samples are no data set by EG601's measure"
    )
    fix = "Shuffle, call sampler.set_epoch(epoch), and make the loader's iterator once per epoch."
    cures = (Intervention("data.batches_redrawn"),)
    faulty = "batch = next(iter(loader)) in each step"
    healthy = "for batch in loader"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all inputs."""
        found = history.at(BatchSite, DATA_FINGERPRINT)
        seen = [(site, series.since(history.goes_on_since)) for site, series in found if not alike(history, site)]
        inputs = [(site.path, batches, _again(batches)) for site, batches in seen]
        fresh = any(len(batches) >= 3 and len(again) < self.times for _, batches, again in inputs)
        for site, batches, again in inputs:
            if len(again) >= self.times and len(batches) >= 3 and (not fresh or is_paired(history)):
                step, first = again[-1]
                whole = self._is_whole(history, site)
                yield self.finding(
                    history,
                    f"{len(again)} of {len(batches)} recorded batches of {site} were seen before; that of step {step} "
                    f"is that of step {first}" + (", and the very same tensor" if whole else ""),
                    site=site,
                    severity=Severity.INFO if whole else Severity.WARNING,
                    fix=_WHOLE if whole else "",
                    evidence={"again": len(again), "recorded": len(batches), "step": step, "first": first},
                )
                return

    def _is_whole(self, history: History, site: str) -> bool:
        """Return whether one tensor is given in all steps, of enough samples to be the whole data set."""
        same, samples = history.series(DATA_SAME_TENSOR, site), history.series(DATA_SAMPLES, site)
        return len(same) > 1 and all(same.values[1:]) and samples.last >= self.whole


_WHOLE = "Nothing, where the batch is the whole data set; otherwise take another batch in each step."


@dataclass(frozen=True)
class Duplicates(Rule):
    """A batch holds copies, and the loss takes them for strangers.

    Why: a pair with m copies of its caption in the batch cannot be told from them: the loss has a floor of
    sum (m / B) ln m, and what is right is counted as wrong. Where a few captions are all there are, as the names of
    classes, the model learns all the same, and the loss does not tell: it stays at that floor.

    Formula: that floor, on average over the last ``windows`` recorded windows, at an input of a contrast between two
    sides, is at least ``floor`` of the chance level ln B. A few copies among many pairs are usual and silent, and so
    are targets that give copies their part: their entropy is at least half of it. Where all inputs have the same
    floor, whole pairs come again, as draws with replacement bring them: B of 2 B pairs have about ln(2) / 2, below
    which they are silent. A fact (info) where no loss shows its targets.
    """

    floor: float = 0.05
    windows: int = 4

    code = "EG502"
    name = "duplicates-in-batch"
    title = "Duplicates within a batch"
    severity = Severity.WARNING
    page = "coverage"
    signals = (DATA_COPY_FLOOR, DATA_REPEATED, LOSS_TARGET_ENTROPY)
    source = "derived: m copies share one probability; sentence-transformers #3189, LAVIS #285, Chinese-CLIP #240"
    fix = "Keep copies out of a batch (a sampler without duplicates), or mask each one's twins out of its candidates."
    faulty = "five captions of one image in a batch"
    healthy = "one caption of each image in a batch"
    brought_by = ("EG507",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        if not _is_contrast(history):
            return
        targets = list(history.of(LOSS_TARGET_ENTROPY))
        entropy = max((series.last for _, series in targets), default=0.0)
        for site, series in history.at(BatchSite, DATA_COPY_FLOOR):
            floor, batch, copies = (
                _mean(history.series(signal, site.path), self.windows)
                for signal in (DATA_COPY_FLOOR, DATA_SAMPLES, DATA_REPEATED)
            )
            if len(series) < self.windows or floor < self.floor * log(max(2.0, batch)) or alike(history, site):
                continue
            if floor < log(2) / 2 and _of_whole_pairs(history, site, floor, self.windows):
                continue
            if entropy < floor / 2:
                different = batch * (1 - copies)
                finding = self.finding(
                    history,
                    f"{copies:.0%} of the samples of {site.path} equal another one of their batch, so that the loss "
                    f"cannot fall below about {floor:.2f} ({different:.0f} different ones among {batch:.0f})",
                    site=site.path,
                    severity=Severity.WARNING if targets else Severity.INFO,
                    evidence={"share": copies, "floor": floor, "different": different},
                )
                yield replace(finding, fix=self._fix(batch, different))

    def _fix(self, batch: float, different: float) -> str:
        if batch < _FEW * different:
            return self.fix
        return (
            f"Let each of the {different:.0f} different samples stand once among the candidates, its number being the "
            "label: a cross-entropy that can fall to 0. Targets shared by all copies keep the floor."
        )


@dataclass(frozen=True)
class PairsDoNotMatch(Rule):
    """The model sees varied images and texts, its embeddings are healthy, and the pairs cannot be learned.

    Why: captions that belong to other images leave everything healthy but the recall: embeddings vary, gradients flow,
    and the in-batch accuracy is that of guessing. What a loss asks for then is to say nothing, and with time the model
    does: the logits of all pairs become alike, and the loss rests at exactly its chance level.

    Formula: the loss is no more than ``tolerance`` (relative) better than chance, the hits since then are within three
    standard deviations of guessing, over at least ``steps`` steps and ``windows`` windows. Either both sides vary
    (sample signal above ``signal``) and the median weight matrix moved by ``moved`` of its norm in all; or both did
    vary, none is constant, the spread of the logits has fallen to ``said`` of what it was by steps that moved that
    matrix by a fifth, and the loss lies within ``tolerance`` of chance on both sides of it.
    """

    tolerance: float = 0.01
    signal: float = 0.02
    steps: int = 40
    windows: int = 8
    moved: float = 0.5
    said: float = 0.1

    code = "EG503"
    name = "pairs-do-not-match"
    title = "Images and texts do not match"
    severity = Severity.WARNING
    page = "coverage"
    signals = (LOSS_ACCURACY, EMBEDDING_SAMPLE_SIGNAL, LOSS_LOGIT_STD)
    source = (
        "derived: mispaired data has a healthy effective rank, a collapse has not; without information about the pair "
        "the cross-entropy is least for uniform logits; half of a weight is 500 usual steps of 1e-3"
    )
    fix = (
        "Look at some pairs as the model gets them (images with captions, or two views of one picture); check the "
        "order and the shuffling of both sides, and how strong the augmentation is."
    )
    refuted_by_learning = True
    faulty = "zip(images, sorted(captions))"
    healthy = "zip(images, captions)"
    brought_by = ("EG301", *INPUTS, "EG512", *OBJECTIVE, *DIVERGENCE, *STEPS, "EG209", *REACH)

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        state = no_better_than_chance(history, self.tolerance)
        if state is None or not state.lasting(steps=self.steps, windows=self.windows):
            return
        moved = history.cumulated_update(state.since)
        how = self._varied(history) if moved >= self.moved else ""
        if not how and moved >= MOVED:
            how = self._resigned(history, state.since)
        if how and guessing(history, state.since):
            yield self.finding(
                history,
                f"nothing is learned since step {state.since}, although {how} and the weights moved by {moved:.1f} of "
                "their norm",
                since=state.since,
                evidence={"moved": moved},
            )

    def _varied(self, history: History) -> str:
        """Return in words that both sides vary, empty where they do not."""
        signals = [series.last for _, series in history.of(EMBEDDING_SAMPLE_SIGNAL)]
        if not signals or min(signals) <= self.signal:
            return ""
        return f"both sides vary (sample signal {min(signals):.2g} and more)"

    def _resigned(self, history: History, since: int) -> str:
        """Return in words that the model has learned to say nothing, empty where it has not."""
        sides = [[v for step, v in series.newest(len(series)) if step >= since] for _, series in _sides(history)]
        spread = [v for step, v in history.logit_spread.newest(len(history.logit_spread)) if step >= since]
        resting = max(map(abs, history.relative_loss.values[-self.windows :])) <= self.tolerance
        varied = bool(sides) and all(values and max(values) > self.signal for values in sides)
        if not (resting and varied and spread) or constant_since(history) is not None:
            return ""
        if max(spread[-self.windows :]) > self.said * max(spread):
            return ""
        return (
            f"both sides varied at first: the logits of all pairs became alike (spread {max(spread):.2g}, now "
            f"{spread[-1]:.2g}), which is the best answer where one side tells nothing of the other,"
        )


_FEW = 4
"""Copies of each sample, in the mean, from which on a batch cannot be rid of them."""


def _mean(series: Series, windows: int) -> float:
    recent = series.values[-windows:]
    return sum(recent) / len(recent) if recent else 0.0


def _of_whole_pairs(history: History, site: BatchSite, floor: float, windows: int) -> bool:
    """Return whether all inputs whose samples differ have the same copies, and there are at least two."""
    others = [
        _mean(series, windows)
        for other, series in history.at(BatchSite, DATA_COPY_FLOOR)
        if other.path != site.path and not alike(history, other)
    ]
    return bool(others) and all(abs(other - floor) <= 1e-6 for other in others)


def _again(batches: Iterable[tuple[int, float]]) -> list[tuple[int, int]]:
    """Return the steps at which a fingerprint came again, each with the step at which it was first seen."""
    seen: dict[float, int] = {}
    return [(step, seen[value]) for step, value in batches if seen.setdefault(value, step) != step]


def _sides(history: History) -> Iterable[tuple[str, Series]]:
    """Return the sample signals of the sides that are compared, where they are still measured."""
    sides = history.of(EMBEDDING_SAMPLE_SIGNAL)
    return ((site, series) for site, series in sides if series.steps[-1] == history.last_step)


def _is_contrast(history: History) -> bool:
    return history.has(EMBEDDING_ALIGNMENT)
