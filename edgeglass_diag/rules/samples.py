"""EG510 and EG511: how many different samples the loader brings, and how often."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.inputs import alike, is_text
from edgeglass_diag.signals.batches import DATA_COPIES, DATA_DRAWN, DATA_NEW, DATA_REPEATED
from edgeglass_diag.sites import BatchSite

_CHANCE = 1e-3


@dataclass(frozen=True)
class DataSmallerThanBatch(Rule):
    """The loader knows fewer different samples than a batch holds.

    Why: an index that is taken modulo a small number, a subset meant for a trial, a file that was cut. Each batch holds
    copies, which tell the model nothing and are each other's negatives in a contrast, and a few samples are learned by
    heart within minutes.

    Formula: D different samples were seen in the recorded windows, fewer than the B of a batch, and there are no more:
    were there one more, the last m draws without a new one had a probability of (1 - 1 / (D + 1))^m, at most
    ``chance``. A sample is a row of all inputs together, so that classes which share a prompt are none, and a picture
    whose augmentation changes it is another one each time. Only where pictures, texts or sequences are among them: the
    states of a small world (a grid, a truth table) are few by nature. Silent where each batch holds all D: one batch
    that is fitted on purpose.
    """

    chance: float = _CHANCE
    windows: int = 4

    code = "EG510"
    name = "data-smaller-than-batch"
    title = "Fewer different samples than a batch holds"
    severity = Severity.WARNING
    page = "coverage"
    signals = (DATA_NEW, DATA_DRAWN, DATA_COPIES)
    source = "derived: a batch of B from D < B samples holds copies; the probability of missing one sample in m draws"
    fix = "Look at len(dataset) and at how an index becomes a sample: a subset or a modulo left from a trial."
    faulty = "Subset(data, [i % 32 for i in range(len(data))])"
    healthy = "data"
    brought_by = ("EG507",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        new, drawn, copies = (history.series(signal) for signal in (DATA_NEW, DATA_DRAWN, DATA_COPIES))
        if len(new) < self.windows or not all(map(isfinite, new.values)):
            return
        different, batch, quiet = sum(new.values), drawn.last, _quiet(new.values, drawn.values)
        recent = zip(copies.values[-self.windows :], drawn.values[-self.windows :], strict=True)
        held = [size * (1 - share) for share, size in recent]
        if different >= batch or (1 - 1 / (different + 1)) ** quiet > self.chance or min(held) >= different:
            return
        if not _has_content(history):
            return
        times = sum(drawn.values) / different
        yield self.finding(
            history,
            f"{different:.0f} different ones among the {sum(drawn.values):.0f} of the recorded batches, each "
            f"{times:.0f} times, and no new one among the last {quiet:.0f}; a batch has {batch:.0f}",
            evidence={"different": different, "batch": batch, "times": times},
        )


@dataclass(frozen=True)
class SamplesSeenOften(Rule):
    """The same samples have been seen so often that they have little left to teach.

    Why: of language models the value of repeated data is gone after some 40 epochs, and the loss that still falls is
    that of samples learned by heart. Pictures are trained on for longer with augmentation, which makes others of them.

    Formula: with N = D / (1 - p) samples, of which D were seen and a new one comes with probability p (Good and
    Turing: its share in the last ``windows`` recorded windows, at most ``unseen``), the steps so far have seen each
    at least ``epochs`` times, unchanged. A fact: small data sets are trained on like this with success.
    """

    epochs: int = 40
    unseen: float = 0.1
    windows: int = 4

    code = "EG511"
    name = "samples-seen-often"
    title = "Samples seen often"
    severity = Severity.INFO
    page = "coverage"
    signals = (DATA_NEW, DATA_DRAWN)
    source = (
        "Scaling Data-Constrained Language Models, https://arxiv.org/abs/2305.16264 (repeated data is worthless after "
        "some 40 epochs); Good, The Population Frequencies of Species, https://doi.org/10.2307/2333344"
    )
    fix = "Watch a loss on held-out samples; augment, or take more data, where it no longer falls."
    faulty = "400 samples for 5000 steps of 64"
    healthy = "400 samples for 100 steps of 64"
    brought_by = ("EG510",)

    def check(self, history: History) -> Iterable[Finding]:
        """Return at most one finding."""
        new, drawn = history.series(DATA_NEW), history.series(DATA_DRAWN)
        if len(new) < self.windows or not all(map(isfinite, new.values)):
            return
        looked_at = sum(drawn.values[-self.windows :])
        share = sum(new.values[-self.windows :]) / looked_at if looked_at else 1.0
        if share > self.unseen:
            return
        number = sum(new.values) / (1 - share)
        epochs = drawn.last * (history.last_step + 1) / number
        if epochs >= self.epochs and number > drawn.last:
            yield self.finding(
                history,
                f"about {number:.0f} different ones, each {epochs:.0f} times and the same to the last bit",
                evidence={"different": number, "epochs": epochs},
            )


def _quiet(new: Sequence[float], drawn: Sequence[float]) -> float:
    """Return how many samples were drawn since the last new one came."""
    quiet = 0.0
    for fresh, size in zip(reversed(new), reversed(drawn), strict=True):
        if fresh:
            break
        quiet += size
    return quiet


def _has_content(history: History) -> bool:
    """Return whether pictures, texts or sequences are among the inputs."""
    inputs = [site for site, _ in history.at(BatchSite, DATA_REPEATED) if not alike(history, site)]
    return any(len(site.shape) > 1 or is_text(history, site) for site in inputs)
