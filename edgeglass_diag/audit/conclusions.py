"""What the audit can conclude: rules of the catalogue where one fits, and conclusions that only logs allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from edgeglass_diag.audit.logged import Case, Series
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


NEVER_COMPUTED = Conclusion(
    "EG450", "value-never-computed", Severity.CRITICAL,
    "Look at how this value is made: is the term computed in evaluation mode, and averaged over what it counted?",
)  # fmt: skip
LOSS_REPEATS = Conclusion(
    "EG451", "loss-repeats-exactly", Severity.WARNING,
    "Nothing changes between these rows: is the optimizer stepped, does it hold the parameters, is the rate above 0?",
)  # fmt: skip
OTHER_BATCH = Conclusion(
    "EG452", "batch-size-contradicts-settings", Severity.WARNING,
    "Find out which batch the loss sees: another configuration ran, or batches were gathered over processes.",
)  # fmt: skip
IDENTICAL_LOSSES = Conclusion(
    "EG453", "identical-losses", Severity.INFO,
    "Different heads or prefixes cannot agree to all digits by learning: they get the same input, or are all constant.",
)  # fmt: skip
REDUCED_PRECISION = Conclusion(
    "EG454", "loss-in-reduced-precision", Severity.INFO,
    "Compute the loss in float32 (logits.float()) where its digits matter.",
)  # fmt: skip
SCALE_AT_CLAMP = Conclusion(
    "EG455",
    "scale-at-clamp",
    Severity.INFO,
    "Usual at the end of a long training; early it means a high rate.",
)
SCALE_AT_INIT = Conclusion(
    "EG456", "scale-at-init", Severity.INFO, "Right where the temperature is fixed; else: does the optimizer hold it?"
)
WARMUP_NEVER_ENDS = Conclusion(
    "EG250",
    "warmup-never-ends",
    Severity.WARNING,
    "Make the warm-up shorter than the run, in its own unit.",
)
RATE_RESTARTS = Conclusion(
    "EG251",
    "rate-restarts",
    Severity.INFO,
    "Intended with warm restarts; else a resumed run lost its schedule.",
)
RATE_ENDS_EARLY = Conclusion(
    "EG252", "schedule-ended-early", Severity.WARNING,
    "The schedule is stepped more often than it counts (per micro-batch?), or its horizon is too short.",
)  # fmt: skip
LOG_GOES_BACK = Conclusion(
    "EG253", "log-goes-back", Severity.INFO, "Two runs in one log, or a run resumed from before its last row."
)
NOT_MONOTONE = Conclusion(
    "EG650", "recall-not-monotone", Severity.CRITICAL, "R@K cannot fall with K: columns are mixed up, or miscounted."
)
OUT_OF_RANGE = Conclusion("EG651", "recall-out-of-range", Severity.CRITICAL, "A recall lies between 0 and 1 (100 %).")
NOT_A_MULTIPLE = Conclusion(
    "EG652", "recall-not-a-multiple", Severity.INFO,
    "Normal for means over batches, several captions an image, or ties shared out; else N is not what the log says.",
)  # fmt: skip
RECALL_BESIDE_CHANCE = Conclusion(
    "EG653", "recall-beside-chance-loss", Severity.CRITICAL,
    "Ties count as hits (a strict > over equal scores), or loss and recall are of different models.",
)  # fmt: skip


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
