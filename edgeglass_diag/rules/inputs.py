"""EG504 to EG509: what a single input holds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, isfinite, isnan

from edgeglass_diag.intervention import Intervention
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.embeddings import constant_since
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.parameter_groups import listed
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.batches import (
    DATA_CUT_TEXTS,
    DATA_LAYER_ABSMAX,
    DATA_MAX,
    DATA_MEAN,
    DATA_MIN,
    DATA_PADDING,
    DATA_REPEATED,
    DATA_SAMPLES,
    DATA_STD,
)
from edgeglass_diag.signals.modes import BATCHNORM_SAMPLES, MODE_TRAINING
from edgeglass_diag.sites import BatchSite, ModuleSite


@dataclass(frozen=True)
class ImageRange(Rule):
    """Images reach the model in a range that no pretrained or usual model takes.

    Why: pixels of 0 to 255, or divided by 255 twice, put the first layer far out of what it was made for.

    Formula: an input of 1 or 3 channels has values above ``largest`` in magnitude, or a standard deviation below
    ``flat`` while its samples differ, in at least ``windows`` recorded windows in a row. Small shifts, 0 to 1 instead
    of normalised, and other means do no harm and are silent, and so is a model that normalises its pixels itself: no
    layer with a weight matrix is given such images. Large ones are a fact (info) where BatchNorm by the batch's own
    statistics alone takes what each such layer gives out: a factor of the pixels changes neither what comes out of it
    nor the step of the layer in relation to its weights. Their mean is at most ``offset`` deviations from 0 then: one
    further away moves with each step by more than the running statistics, some ten steps behind, follow.
    """

    largest: float = 20.0
    flat: float = 0.02
    offset: float = 10.0
    windows: int = 3

    code = "EG504"
    name = "image-range"
    title = "Image values out of range"
    severity = Severity.WARNING
    page = "coverage"
    signals = (DATA_MAX, DATA_MIN, DATA_STD)
    source = (
        "derived: ImageNet's and CLIP's normalisation give -2.2 to 2.7, 0.5 / 0.5 gives -1 to 1; 1/255 of an image has "
        "a deviation near .001; UMLAUT and SageMaker check the range; open_clip #204; offset derived: at updates of "
        "1 % of a weight and a memory of 10 steps (momentum 0.1) ten deviations of offset leave one of mismatch, as "
        "EG223 has it; pixels of 0 to 255 have about two"
    )
    fix = "Use the model's own preprocessing: ToTensor once, then Normalize with its mean and std."
    cures = (Intervention("data.pixels_standardised"), Intervention("data.pixels_scaled", 1 / 255))
    faulty = "torch.as_tensor(pixels).float()  # 0 to 255"
    healthy = "Normalize(mean, std)(to_tensor(pixels))"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        for site, high in history.at(BatchSite, DATA_MAX):
            if not site.is_picture:
                continue
            low, spread = history.series(DATA_MIN, site.path), history.series(DATA_STD, site.path)
            count = self.windows
            tops = [max(abs(a), abs(b)) for a, b in zip(low.values[-count:], high.values[-count:], strict=True)]
            widths = spread.values[-count:]
            flat = max(widths) < self.flat and not alike(history, site)
            large = min(tops) > self.largest and not self._normalised_inside(history)
            if len(tops) >= count and (large or flat):
                behind = [] if flat or not self._is_near(history, site) else self._normalised_behind(history)
                told = f", and {listed(behind, 'takes', 'take')} the factor out" if behind else ""
                yield self.finding(
                    history,
                    f"{site.path} has values from {low.last:.3g} to {high.last:.3g} with std {spread.last:.3g}{told}",
                    site=site.path,
                    severity=Severity.INFO if behind else None,
                    evidence={"min": low.last, "max": high.last, "std": spread.last},
                )

    def _normalised_inside(self, history: History) -> bool:
        layers = [series.last for _, series in history.of(DATA_LAYER_ABSMAX)]
        return bool(layers) and max(layers) <= self.largest

    def _is_near(self, history: History, site: BatchSite) -> bool:
        centre, spread = history.series(DATA_MEAN, site.path), history.series(DATA_STD, site.path)
        return len(centre) > 0 and abs(centre.last) <= self.offset * spread.last

    def _normalised_behind(self, history: History) -> list[str]:
        """Return the BatchNorms that alone take what layers make of such images; none where others do as well."""
        layers = {path for path, series in history.of(DATA_LAYER_ABSMAX) if series.last > self.largest}
        takers = {layer: [s.path for s in history.sites_of(ModuleSite) if layer in s.parents] for layer in layers}
        found = list(dict.fromkeys(path for paths in takers.values() for path in paths))
        whole = all(takers.values()) and all(len(history.series(BATCHNORM_SAMPLES, path)) for path in found)
        by_batch = whole and all(history.series(MODE_TRAINING, path).last == 1 for path in found)
        return found if by_batch else []


@dataclass(frozen=True)
class TextsCut(Rule):
    """Long texts are cut in front of their end token.

    Why: a model that reads a text at its end token reads it elsewhere where that is lost: CLIP's argmax falls on
    another word, or on BOS.

    Formula: at least ``share`` of the texts fill the context and do not end with the token with which the padded texts
    of the batch end, on average over the last ``windows`` recorded windows.
    """

    share: float = 0.05
    windows: int = 4

    code = "EG505"
    name = "texts-cut"
    title = "Texts cut before their end token"
    severity = Severity.WARNING
    page = "coverage"
    signals = (DATA_CUT_TEXTS,)
    source = "derived: one text in twenty; open_clip #1151, transformers #24650 (EOS absent, BOS pooled)"
    fix = "Cut before the end token is added, or set the last position to it."
    faulty = "tokens = ids[:77]"
    healthy = "tokens = [*ids[:76], eos]"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        for site, series in history.of(DATA_CUT_TEXTS):
            count = self.windows
            known = [value for value in series.values[-4 * count :] if isfinite(value)][-count:]
            if len(known) >= self.windows and sum(known) / len(known) >= self.share:
                share = sum(known) / len(known)
                yield self.finding(
                    history,
                    f"{share:.0%} of the texts of {site} fill the context and have no end token",
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
    windows: int = 4

    code = "EG506"
    name = "mostly-padding"
    title = "Mostly padding"
    severity = Severity.INFO
    page = "coverage"
    signals = (DATA_PADDING,)
    source = "SageMaker Debugger's padding ratio; captions of ten tokens in CLIP's context of 77 give 0.87"
    fix = "Cut the context to the longest text of the batch."
    faulty = "context 512 for captions of 10 tokens"
    healthy = "context 77 for captions of 10 tokens"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        for site, series in history.of(DATA_PADDING):
            recent = series.values[-self.windows :]
            share = sum(recent) / len(recent)
            if len(recent) >= self.windows and share >= self.share:
                yield self.finding(
                    history, f"{share:.0%} of the tokens of {site}", site=site, evidence={"share": share}
                )


@dataclass(frozen=True)
class ConstantInput(Rule):
    """All samples of a batch are the same.

    Why: a loader that returns one item, a broadcast, an empty text: nothing can be learned from it.

    Formula: all samples equal the first one in every recorded window over at least ``windows`` windows, at images, at
    texts, or at other real inputs. Rows of numbers (sizes, weights, masks as numbers) next to an input of the same call
    whose samples differ, and a text (an instruction to the model) where there are other texts that differ, are a fact
    (info) as long as no side's embeddings are constant. Masks, positions and other integers that come with other
    inputs of the same kind are silent.
    """

    windows: int = 3

    code = "EG507"
    name = "constant-input"
    title = "Input is constant"
    severity = Severity.CRITICAL
    page = "coverage"
    signals = (DATA_REPEATED,)
    source = "TheDeepChecker: constant inputs"
    fix = "Look at a batch as the model gets it: index, collate function, tokenizer."
    faulty = "def __getitem__(self, i): return self.pairs[0]"
    healthy = "return self.pairs[i]"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        for site, series in history.at(BatchSite, DATA_REPEATED):
            if _constant(history, site, series, self.windows) and self._matters(history, site):
                yield self.finding(
                    history,
                    f"all samples of {site.path} are the same",
                    site=site.path,
                    severity=Severity.INFO if self._may_be_meant(history, site) else Severity.CRITICAL,
                    evidence={"repeated": series.last},
                )

    def _may_be_meant(self, history: History, site: BatchSite) -> bool:
        """Return whether it goes along with samples that differ, as a row of numbers or as a text among texts."""
        if constant_since(history) is not None:
            return False
        real = len(history.series(DATA_STD, site.path)) > 0
        varied = any(
            other.path != site.path
            and not _constant(history, other, series, 1)
            and (other.module == site.module if real else is_text(history, other))
            for other, series in history.at(BatchSite, DATA_REPEATED)
        )
        return varied and len(site.shape) <= 1

    def _matters(self, history: History, site: BatchSite) -> bool:
        if len(history.series(DATA_STD, site.path)):
            return True
        inputs = (other for other, _ in history.at(BatchSite, DATA_PADDING))
        texts = [other for other in inputs if is_text(history, other) and other.module == site.module]
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
    title = "Input is not finite"
    severity = Severity.CRITICAL
    page = "coverage"
    signals = (DATA_MAX, DATA_MIN)
    source = "IEEE 754"
    fix = "Find the sample: check files and augmentations (a division by a deviation of zero, a logarithm)."
    faulty = "(image - image.mean()) / image.std()  # a black image"
    healthy = "(image - mean) / std"
    brought_by = ("EG827",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        for site, series in history.of(DATA_MAX):
            low = history.series(DATA_MIN, site)
            broken = isnan(series.last) or isnan(low.last)
            if broken or series.last == inf:
                yield self.finding(
                    history,
                    f"{site} has {'NaN' if broken else 'infinite values'} at step {series.steps[-1]}",
                    site=site,
                    evidence={"max": series.last, "min": low.last},
                )


def alike(history: History, site: BatchSite) -> bool:
    """Return whether an input's samples are all the same, or it is a mask or a table of positions."""
    series = history.series(DATA_REPEATED, site.path)
    recent, counts = series.values[-4:], history.series(DATA_SAMPLES, site.path)
    samples = max(2.0, counts.last) if len(counts) else 2.0
    if not recent or sum(recent) / len(recent) >= 1 - 1.5 / samples or "mask" in site.argument.lower():
        return True
    padding = history.series(DATA_PADDING, site.path)
    integers = not len(history.series(DATA_STD, site.path))
    return integers and not (len(padding) and isfinite(padding.last))


def is_text(history: History, site: BatchSite) -> bool:
    """Return whether an input is a batch of texts, as tokens."""
    return any(isfinite(value) for value in history.series(DATA_PADDING, site.path).values)


def _constant(history: History, site: BatchSite, series: Series, windows: int) -> bool:
    samples = history.series(DATA_SAMPLES, site.path)
    return len(series) >= windows and all(
        n >= 2 and value >= 1 - 1.5 / n
        for value, n in zip(series.values[-windows:], samples.values[-windows:], strict=False)
    )
