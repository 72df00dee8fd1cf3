"""EG5xx: what the model is fed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, log

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.embeddings import constant_since
from edgeglass_diag.rules.history import History, Series
from edgeglass_diag.rules.learning import is_paired, no_better_than_chance
from edgeglass_diag.rules.loss import guessing


@dataclass(frozen=True)
class RepeatedBatches(Rule):
    """The same batches come again, in the same composition and order.

    Why: a sampler whose epoch is never set, a loader made anew at each step, or no shuffling. Every pair meets the
    same negatives for ever, and a single batch is learned by heart.

    Formula: the fingerprint of a batch (of all its samples, in order) equals that of an earlier step in at least
    ``times`` recorded windows, at an input whose samples differ from each other. Beside an input that is new each time
    it must be half of a pair, with the labels of a loss on the diagonal: what images are classified with, the prompts
    of all classes, is the same in every step.
    """

    times: float = 2

    code = "EG501"
    name = "repeated-batches"
    severity = Severity.WARNING
    source = "derived: with a shuffle the same B samples in the same order have no chance; pytorch #31771 (set_epoch)"
    fix = "Shuffle, call sampler.set_epoch(epoch), and make the loader's iterator once per epoch."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding for all inputs."""
        inputs = [(site, s, _again(s)) for site, s in history.of("data/fingerprint") if not _alike(history, site)]
        fresh = any(len(series) >= 3 and len(again) < self.times for _, series, again in inputs)
        for site, series, again in inputs:
            if len(again) >= self.times and len(series) >= 3 and (not fresh or is_paired(history)):
                step, first = again[-1]
                yield self.finding(
                    history,
                    f"{site}: the batch of step {step} is that of step {first}; {len(again)} of {len(series)} recorded "
                    "batches were seen before",
                    site=site,
                    evidence={"again": len(again), "recorded": len(series), "step": step, "first": first},
                )
                return


@dataclass(frozen=True)
class Duplicates(Rule):
    """A batch holds copies, and the loss takes them for strangers.

    Why: a pair with m copies of its caption in the batch cannot be told from them: the loss has a floor of
    sum (m / B) ln m, and what is right is counted as wrong.

    Formula: the share r of samples that equal an earlier one of their batch, on average over the last ``windows``
    recorded windows, at an input of a contrast between two sides, lifts the floor to at least ``floor`` of the chance
    level: 2 r ln 2 >= ``floor`` x ln B. A few copies among many pairs are usual and silent, and so are targets that
    give copies their part: their entropy is at least half of that floor. A fact (info) where no loss shows its targets.
    """

    floor: float = 0.05
    windows: float = 4

    code = "EG502"
    name = "duplicates-in-batch"
    severity = Severity.WARNING
    source = "derived: a share r of copies in twos lifts the floor by 2 r ln 2; sentence-transformers #3189, LAVIS #285"
    fix = "Keep copies out of a batch, or give all of them a part of the target."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per input."""
        if not _is_contrast(history):
            return
        targets = list(history.of("loss/target_entropy"))
        for site, series in history.of("data/repeated"):
            recent = series.values[-int(self.windows) :]
            share = sum(recent) / len(recent)
            counts = history.series("data/samples", site)
            batch = max(2.0, counts.last) if len(counts) else 2.0
            lifted = 2 * share * log(2) >= self.floor * log(batch)
            shared = max((s.last for _, s in targets), default=0.0) >= min(share, 0.5) * log(2)
            if len(recent) >= self.windows and lifted and not shared and not _alike(history, site):
                yield self.finding(
                    history,
                    f"{site}: {share:.0%} of the samples equal another one of their batch: the loss cannot fall below "
                    f"about {2 * min(share, 0.5) * log(2):.2f}",
                    site=site,
                    severity=Severity.WARNING if targets else Severity.INFO,
                    evidence={"share": share},
                )


@dataclass(frozen=True)
class PairsDoNotMatch(Rule):
    """The model sees varied images and texts, its embeddings are healthy, and the pairs cannot be learned.

    Why: captions that belong to other images leave everything healthy but the recall: embeddings vary, gradients flow,
    and the in-batch accuracy is that of guessing.

    Formula: the loss is no more than ``tolerance`` (relative) better than chance, the hits since then are within three
    standard deviations of guessing, both sides vary (sample signal above ``signal``), over at least ``steps`` steps
    and ``windows`` windows in which the median weight matrix moved by ``moved`` of its norm in all.
    """

    tolerance: float = 0.01
    signal: float = 0.02
    steps: float = 40
    windows: float = 8
    moved: float = 0.5

    code = "EG503"
    name = "pairs-do-not-match"
    severity = Severity.WARNING
    source = (
        "derived: mispaired data has a healthy effective rank, a collapse has not; half of a weight is 500 usual steps "
        "of 1e-3"
    )
    fix = "Look at some images beside their captions, as the model gets them; check both loaders' order and shuffling."

    def check(self, history: History) -> Iterable[Finding]:
        """At most one finding."""
        state = no_better_than_chance(history, self.tolerance)
        if state is None or not state.lasting(steps=int(self.steps), windows=int(self.windows)):
            return
        signals = [series.last for _, series in history.of("embedding/sample_signal")]
        moved = history.cumulated_update(state.since)
        if not signals or min(signals) <= self.signal or moved < self.moved or not guessing(history, state.since):
            return
        yield self.finding(
            history,
            f"since step {state.since} nothing is learned, although both sides vary (sample signal "
            f"{min(signals):.2g} and more) and the weights moved by {moved:.1f} of their norm: the pairs do not match",
            evidence={"since": state.since, "sample_signal": min(signals), "moved": moved},
        )


@dataclass(frozen=True)
class ImageRange(Rule):
    """Images reach the model in a range that no pretrained or usual model takes.

    Why: pixels of 0 to 255, or divided by 255 twice, put the first layer far out of what it was made for.

    Formula: an input of 1 or 3 channels has values above ``largest`` in magnitude, or a standard deviation below
    ``flat`` while its samples differ, in at least ``windows`` recorded windows in a row. Small shifts, 0 to 1 instead
    of normalised, and other means do no harm and are silent, and so is a model that normalises its pixels itself: no
    layer with a weight matrix is given such images.
    """

    largest: float = 20.0
    flat: float = 0.02
    windows: float = 3

    code = "EG504"
    name = "image-range"
    severity = Severity.WARNING
    source = (
        "derived: ImageNet's and CLIP's normalisation give -2.2 to 2.7, 0.5 / 0.5 gives -1 to 1; 1/255 of an image has "
        "a deviation near .001; UMLAUT and SageMaker check the range; open_clip #204"
    )
    fix = "Use the model's own preprocessing: ToTensor once, then Normalize with its mean and std."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per input."""
        for site, high in history.of("data/max"):
            if not _is_image(history, site):
                continue
            low, spread = history.series("data/min", site), history.series("data/std", site)
            count = int(self.windows)
            tops = [max(abs(a), abs(b)) for a, b in zip(low.values[-count:], high.values[-count:], strict=True)]
            widths = spread.values[-count:]
            flat = max(widths) < self.flat and not _alike(history, site)
            large = min(tops) > self.largest and not self._normalised_inside(history)
            if len(tops) >= count and (large or flat):
                yield self.finding(
                    history,
                    f"{site}: images from {low.last:.3g} to {high.last:.3g} with std {spread.last:.3g}",
                    site=site,
                    evidence={"min": low.last, "max": high.last, "std": spread.last},
                )

    def _normalised_inside(self, history: History) -> bool:
        layers = [series.last for _, series in history.of("data/layer_absmax")]
        return bool(layers) and max(layers) <= self.largest


@dataclass(frozen=True)
class TextsCut(Rule):
    """Long texts are cut in front of their end token.

    Why: a model that reads a text at its end token reads it elsewhere where that is lost: CLIP's argmax falls on
    another word, or on BOS.

    Formula: at least ``share`` of the texts fill the context and do not end with the token with which the padded texts
    of the batch end, on average over the last ``windows`` recorded windows.
    """

    share: float = 0.05
    windows: float = 4

    code = "EG505"
    name = "texts-cut"
    severity = Severity.WARNING
    source = "derived: one text in twenty; open_clip #1151, transformers #24650 (EOS absent, BOS pooled)"
    fix = "Cut before the end token is added, or set the last position to it."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per input."""
        for site, series in history.of("data/cut_texts"):
            count = int(self.windows)
            known = [value for value in series.values[-4 * count :] if isfinite(value)][-count:]
            if len(known) >= self.windows and sum(known) / len(known) >= self.share:
                share = sum(known) / len(known)
                yield self.finding(
                    history,
                    f"{site}: {share:.0%} of the texts fill the context and have no end token",
                    site=site,
                    evidence={"share": share},
                )


@dataclass(frozen=True)
class MostlyPadding(Rule):
    """Nearly all tokens are padding.

    Why: the context is far longer than the texts; time and memory go into padding, and what averages over tokens sees
    little else.

    Formula: the share of padding is at least ``share`` on average over the last ``windows`` recorded windows.
    """

    share: float = 0.95
    windows: float = 4

    code = "EG506"
    name = "mostly-padding"
    severity = Severity.INFO
    source = "SageMaker Debugger's padding ratio; captions of ten tokens in CLIP's context of 77 give 0.87"
    fix = "Cut the context to the longest text of the batch."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per input."""
        for site, series in history.of("data/padding"):
            recent = series.values[-int(self.windows) :]
            share = sum(recent) / len(recent)
            if len(recent) >= self.windows and share >= self.share:
                yield self.finding(history, f"{site}: {share:.0%} padding", site=site, evidence={"share": share})


@dataclass(frozen=True)
class ConstantInput(Rule):
    """All samples of a batch are the same.

    Why: a loader that returns one item, a broadcast, an empty text: nothing can be learned from it.

    Formula: all samples equal the first one in every recorded window over at least ``windows`` windows, at images, at
    texts, or at other real inputs. Rows of numbers (sizes, weights, masks as numbers) beside an input of the same call
    whose samples differ, and a text (an instruction to the model) where there are other texts that differ, are a fact
    (info) as long as no side's embeddings are constant. Masks, positions and other integers that come beside other
    inputs of the same kind are silent.
    """

    windows: float = 3

    code = "EG507"
    name = "constant-input"
    severity = Severity.CRITICAL
    source = "TheDeepChecker: constant inputs"
    fix = "Look at a batch as the model gets it: index, collate function, tokenizer."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per input."""
        for site, series in history.of("data/repeated"):
            if _constant(history, site, series, int(self.windows)) and self._matters(history, site):
                yield self.finding(
                    history,
                    f"{site}: all samples are the same",
                    site=site,
                    severity=Severity.INFO if self._may_be_meant(history, site) else Severity.CRITICAL,
                    evidence={"repeated": series.last},
                )

    def _may_be_meant(self, history: History, site: str) -> bool:
        """Whether it goes along with samples that differ, as a row of numbers or as a text beside the texts."""
        if constant_since(history) is not None:
            return False
        real, call = len(history.series("data/std", site)) > 0, site.rpartition(".")[0]
        beside = any(
            other != site
            and not _constant(history, other, series, 1)
            and (other.rpartition(".")[0] == call if real else _is_text(history, other))
            for other, series in history.of("data/repeated")
        )
        known = history.sites.get((site, "data"))
        return beside and known is not None and "x" not in known.label.split(" ")[0]

    def _matters(self, history: History, site: str) -> bool:
        if len(history.series("data/std", site)):
            return True
        texts = [
            other
            for other, _ in history.of("data/padding")
            if _is_text(history, other) and other.rpartition(".")[0] == site.rpartition(".")[0]
        ]
        return texts == [site]


@dataclass(frozen=True)
class InputNotFinite(Rule):
    """A batch brings NaN or infinity with it.

    Why: one such pixel makes the whole step worthless.

    Formula: smallest or largest value of an input is not finite in a recorded window. Inputs of minus infinity, as
    additive masks are, are silent.
    """

    code = "EG509"
    name = "input-not-finite"
    severity = Severity.CRITICAL
    source = "IEEE 754"
    fix = "Find the sample: check files and augmentations (a division by a deviation of zero, a logarithm)."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per input."""
        for site, series in history.of("data/max"):
            low = history.series("data/min", site)
            if series.last != series.last or series.last == float("inf") or low.last != low.last:
                yield self.finding(
                    history,
                    f"{site}: not finite at step {series.steps[-1]}",
                    site=site,
                    evidence={"max": series.last, "min": low.last},
                )


def _again(series: Series) -> list[tuple[int, int]]:
    """Steps at which a fingerprint came again, each with the step at which it was first seen."""
    seen: dict[float, int] = {}
    pairs = zip(series.steps, series.values, strict=True)
    return [(step, seen[value]) for step, value in pairs if seen.setdefault(value, step) != step]


def _alike(history: History, site: str) -> bool:
    """Whether an input's samples are all the same, or it is a mask or a table of positions."""
    series = history.series("data/repeated", site)
    recent, counts = series.values[-4:], history.series("data/samples", site)
    samples = max(2.0, counts.last) if len(counts) else 2.0
    if not recent or sum(recent) / len(recent) >= 1 - 1.5 / samples or "mask" in site.lower():
        return True
    padding = history.series("data/padding", site)
    integers = not len(history.series("data/std", site))
    return integers and not (len(padding) and isfinite(padding.last))


def _is_text(history: History, site: str) -> bool:
    return any(isfinite(value) for value in history.series("data/padding", site).values)


def _constant(history: History, site: str, series: Series, windows: int) -> bool:
    samples = history.series("data/samples", site)
    return len(series) >= windows and all(
        n >= 2 and value >= 1 - 1.5 / n
        for value, n in zip(series.values[-windows:], samples.values[-windows:], strict=False)
    )


def _is_contrast(history: History) -> bool:
    return any(True for _ in history.of("embedding/alignment"))


def _is_image(history: History, site: str) -> bool:
    known = history.sites.get((site, "data"))
    shape = known.label.split(" ")[0].split("x") if known is not None else []
    return len(shape) == 3 and (shape[0] in ("1", "3") or shape[-1] in ("1", "3"))
