"""EG520 to EG522: what probes of the first forward pass show."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgeglass_diag.probe_sites import ProbedChange, ProbeSite
from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.probes import PROBE_LOSS, PROBE_OUTPUT_CHANGE, PROBE_REFERENCE, PROBE_ROUNDING
from edgeglass_diag.signals.signal import Signal


@dataclass(frozen=True)
class InputWithoutEffect(Rule):
    """The loss is the same when all samples are given one input: the model cannot learn from it.

    Why: what does not reach the loss has no gradient. A language model that never sees its image features, a tower
    whose output is replaced, a batch whose index is wrong train all the same, on what is left.

    Formula: ``check --probes`` gives each sample the input of the first, on a copy of the process whose weights
    are moved a little first (by 1 %, or by 0.1 where they are zero), so that gates and adapters that begin at zero
    count. The loss changes by at most ``units``
    units of rounding: machine epsilon of the outputs times the larger of |loss| and 1.

    Threshold: a sum of B terms in another order differs by some sqrt(B) units of rounding (Higham, Accuracy and
    Stability of Numerical Algorithms, 4.2): 64 for batches of up to 4096.
    """

    units: float = 64.0

    code = "EG520"
    name = "input-without-effect"
    title = "An input has no effect on the loss"
    severity = Severity.CRITICAL
    page = "coverage"
    signals = (PROBE_LOSS, PROBE_REFERENCE, PROBE_ROUNDING)
    source = "derived: rounding of a sum of B terms, Higham, Accuracy and Stability of Numerical Algorithms, 4.2"
    fix = "Follow the input through forward(): it is overwritten, detached from the output, or not used."
    faulty = "return self.head(torch.zeros_like(images).mean((2, 3)))"
    healthy = "return self.head(images.mean((2, 3)))"
    stages = (Stage.INIT,)

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return one finding per input."""
        for site, loss, reference, rounding in _probed(history, ProbedChange.INPUT_SHARED):
            if abs(loss - reference) <= self.units * rounding * max(abs(reference), 1):
                shape = "x".join(map(str, site.shape))
                main = len(site.shape) > 2 or not site.dtype.startswith("float")
                yield self.finding(
                    history,
                    f"{site.argument} ({shape} {site.dtype}): with that of the first sample for all, the loss stays "
                    f"{reference:.6g}",
                    site=site.argument,
                    severity=Severity.CRITICAL if main else Severity.WARNING,
                    evidence={"loss": reference, "loss_shared": loss, "shape": shape},
                )


@dataclass(frozen=True)
class PaddingChangesResult(Rule):
    """What stands at masked positions of a text changes the loss: the mask does not reach all that reads the text.

    Why: padding enters the pooled embedding, so that a text means something else beside longer ones, in training and
    in evaluation.

    Formula: ``check --probes`` puts the first token of each text where its mask is 0, on a copy of the process, with
    models in evaluation mode. The loss changes by more than the square root of machine epsilon times the larger of
    |loss| and 1: masking by large negative numbers leaves nothing, masking by the kernels some units of rounding.
    """

    code = "EG521"
    name = "padding-changes-result"
    title = "Padding changes the result"
    severity = Severity.WARNING
    page = "coverage"
    signals = (PROBE_LOSS, PROBE_REFERENCE, PROBE_ROUNDING)
    source = "derived: half of the digits"
    fix = (
        "Pass the mask to attention and to the pooling: (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)."
    )
    faulty = "hidden.mean(1)"
    healthy = "(hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)"
    stages = (Stage.INIT,)

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return a finding."""
        for _, loss, reference, rounding in _probed(history, ProbedChange.PADDING_FILLED):
            if not abs(loss - reference) <= math.sqrt(rounding) * max(abs(reference), 1):
                yield self.finding(
                    history,
                    f"with other tokens at masked positions the loss is {loss:.6g} in place of {reference:.6g}",
                    evidence={"loss": reference, "loss_changed": loss},
                )


@dataclass(frozen=True)
class SampleDependsOnBatch(Rule):
    """In evaluation mode, a sample has another output alone than in its batch.

    Why: a reshape or a softmax over the wrong dimension, statistics over the batch that evaluation mode does not end:
    samples tell of each other, the training loss is lower than it can be in use, and an evaluation depends on its
    batch size.

    Formula: ``check --probes`` calls the models with the first sample alone, on a copy of the process in evaluation
    mode. An output of the same shape changes by more than the square root of machine epsilon of its norm; kernels
    for other batch sizes differ by some units of rounding.
    """

    code = "EG522"
    name = "sample-depends-on-batch"
    title = "A sample's output depends on the others in its batch"
    severity = Severity.WARNING
    page = "coverage"
    signals = (PROBE_OUTPUT_CHANGE, PROBE_ROUNDING)
    source = "derived: half of the digits"
    fix = "Look for a softmax, mean or reshape over dimension 0; x.transpose(0, 1) where batch_first is not set."
    faulty = "scores.softmax(0)"
    healthy = "scores.softmax(-1)"
    stages = (Stage.INIT,)

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return a finding."""
        for site in _sites(history, ProbedChange.SAMPLE_ALONE):
            change, rounding = _last(history, PROBE_OUTPUT_CHANGE, site), _last(history, PROBE_ROUNDING, site)
            if change > math.sqrt(rounding):
                yield self.finding(
                    history,
                    f"alone it changes by {change:.2g} of its norm, in evaluation mode",
                    evidence={"output_change": change},
                )


def _probed(history: History, change: ProbedChange) -> Iterator[tuple[ProbeSite, float, float, float]]:
    """Yield sites whose changed loss is known, with that loss, the unchanged one, and the unit of rounding."""
    for site in _sites(history, change):
        loss = _last(history, PROBE_LOSS, site)
        if not math.isnan(loss):
            yield site, loss, _last(history, PROBE_REFERENCE, site), _last(history, PROBE_ROUNDING, site)


def _sites(history: History, change: ProbedChange) -> Iterator[ProbeSite]:
    return (site for site in history.sites_of(ProbeSite) if site.change is change and site.is_observed)


def _last(history: History, signal: Signal, site: ProbeSite) -> float:
    series = history.series(signal, site.path)
    return series.last if len(series) else math.nan
