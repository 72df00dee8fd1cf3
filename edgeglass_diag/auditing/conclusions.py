"""What the audit can conclude: rules of the catalogue where one fits, and conclusions that only logs allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edgeglass_diag.auditing.logged import Case, Series
from edgeglass_diag.records import Finding, Severity


class Verdict(Protocol):
    """A rule of the catalogue, or a conclusion of the audit alone."""

    @property
    def code(self) -> str:
        """Stable code."""

    @property
    def name(self) -> str:
        """Name in words."""

    @property
    def severity(self) -> Severity:
        """Default severity."""

    @property
    def fix(self) -> str:
        """What to do."""


@dataclass(frozen=True)
class Conclusion:
    """A conclusion that has no rule, since it needs nothing but logged numbers."""

    code: str
    name: str
    severity: Severity
    fix: str
    summary: str
    source: str = "derived"


NEVER_COMPUTED = Conclusion(
    "EG450", "value-never-computed", Severity.CRITICAL,
    "Look at how this value is made: is the term computed in evaluation mode, and averaged over what it counted?",
    "A logged value is the same placeholder throughout, or never a number.",
)  # fmt: skip
LOSS_REPEATS = Conclusion(
    "EG451", "loss-repeats-exactly", Severity.WARNING,
    "Nothing changes between these rows: is the optimizer stepped, does it hold the parameters, is the rate above 0?",
    "A loss is equal to all digits in row after row.",
)  # fmt: skip
OTHER_BATCH = Conclusion(
    "EG452", "batch-size-contradicts-settings", Severity.WARNING,
    "Find out which batch the loss sees: another configuration ran, or batches were gathered over processes.",
    "The loss is that of another batch size than the settings name.",
)  # fmt: skip
IDENTICAL_LOSSES = Conclusion(
    "EG453", "identical-losses", Severity.INFO,
    "Different heads or prefixes cannot agree to all digits by learning: they get the same input, or are all constant.",
    "Losses of different heads or prefixes agree to all digits.",
)  # fmt: skip
REDUCED_PRECISION = Conclusion(
    "EG454", "loss-in-reduced-precision", Severity.INFO,
    "Compute the loss in float32 (logits.float()) where its digits matter.",
    "The digits of a mean show that its losses were rounded to half precision.",
)  # fmt: skip
SCALE_AT_CLAMP = Conclusion(
    "EG455",
    "scale-at-clamp",
    Severity.INFO,
    "Usual at the end of a long training; early it means a high rate.",
    "The logit scale stands at its usual clamp of 100.",
)
SCALE_AT_INIT = Conclusion(
    "EG456",
    "scale-at-init",
    Severity.INFO,
    "Right where the temperature is fixed; else: does the optimizer hold it?",
    "The logit scale never leaves its usual initial value.",
)
WARMUP_NEVER_ENDS = Conclusion(
    "EG250",
    "warmup-never-ends",
    Severity.WARNING,
    "Make the warm-up shorter than the run, in its own unit.",
    "The learning rate only rises and the run ends below its peak.",
)
RATE_RESTARTS = Conclusion(
    "EG251",
    "rate-restarts",
    Severity.INFO,
    "Intended with warm restarts; else a resumed run lost its schedule.",
    "The learning rate falls and begins again.",
)
RATE_ENDS_EARLY = Conclusion(
    "EG252", "schedule-ended-early", Severity.WARNING,
    "The schedule is stepped more often than it counts (per micro-batch?), or its horizon is too short.",
    "The learning rate reaches its end while the run goes on.",
)  # fmt: skip
LOG_GOES_BACK = Conclusion(
    "EG253",
    "log-goes-back",
    Severity.INFO,
    "Two runs in one log, or a run resumed from before its last row.",
    "The step or epoch of a log goes back.",
)
NOT_MONOTONE = Conclusion(
    "EG650",
    "recall-not-monotone",
    Severity.CRITICAL,
    "R@K cannot fall with K: columns are mixed up, or miscounted.",
    "R@K falls while K rises.",
)
OUT_OF_RANGE = Conclusion(
    "EG651", "recall-out-of-range", Severity.CRITICAL, "A recall lies between 0 and 1 (100 %).",
    "A recall is below 0 or above 1.",
)  # fmt: skip
NOT_A_MULTIPLE = Conclusion(
    "EG652", "recall-not-a-multiple", Severity.INFO,
    "Normal for means over batches, several captions an image, or ties shared out; else N is not what the log says.",
    "A recall is not a number of hits over the logged number of queries.",
)  # fmt: skip
RECALL_BESIDE_CHANCE = Conclusion(
    "EG653", "recall-beside-chance-loss", Severity.CRITICAL,
    "Ties count as hits (a strict > over equal scores), or loss and recall are of different models.",
    "A recall far above chance stands beside the loss of a uniform softmax.",
)  # fmt: skip
SCALE_FLOOR = Conclusion(
    "EG457", "loss-below-scale-floor", Severity.WARNING,
    "Is the logged scale the one that the loss uses, the batch this one, and the loss a mean and not half of it?",
    "A loss is lower than its logit scale allows in a batch of this size.",
    "derived: all pairs at cosine 1 and all others at -1/(B-1) give ln(1 + (B-1) exp(-s B/(B-1)))",
)  # fmt: skip
ABOVE_ACCURACY = Conclusion(
    "EG458", "loss-above-its-accuracy", Severity.WARNING,
    "Loss and accuracy are not of the same logits: another temperature, label order, reduction (sum) or batch.",
    "A loss is higher than its in-batch accuracy allows at its logit scale.",
    "derived: a right answer has p >= 1/B and costs ln B at most, a wrong one ln(1 + (B-1) exp(2 s))",
)  # fmt: skip
CONCLUSIONS = (
    RATE_RESTARTS, RATE_ENDS_EARLY, LOG_GOES_BACK, WARMUP_NEVER_ENDS, NEVER_COMPUTED, LOSS_REPEATS, OTHER_BATCH,
    IDENTICAL_LOSSES, REDUCED_PRECISION, SCALE_AT_CLAMP, SCALE_AT_INIT, SCALE_FLOOR, ABOVE_ACCURACY, NOT_MONOTONE,
    OUT_OF_RANGE, NOT_A_MULTIPLE, RECALL_BESIDE_CHANCE,
)  # fmt: skip
"""All that only the audit concludes."""


def conclude(
    verdict: Verdict | type[Verdict],
    case: Case,
    series: Series,
    message: str,
    *,
    evidence: Mapping[str, object],
    severity: Severity | None = None,
    because_of: str | None = None,
) -> Finding:
    """A conclusion about one column of a history, at its last step."""
    return Finding(
        str(verdict.code),
        str(verdict.name),
        severity or Severity(str(verdict.severity)),
        f"{case.name}/{series.label}",
        series.last_step,
        f"{case.name}: {message}",
        {"history": case.name, "file": case.source, "column": series.label, **evidence},
        str(verdict.fix),
        because_of,
    )
