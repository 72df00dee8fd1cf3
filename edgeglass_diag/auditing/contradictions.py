"""What the audit can conclude of numbers that contradict each other or the settings, where no rule fits."""

from __future__ import annotations

from edgeglass_diag.auditing.conclusion import Conclusion
from edgeglass_diag.records import Severity

NEVER_COMPUTED = Conclusion(
    code="EG450",
    name="value-never-computed",
    title="Value never computed",
    severity=Severity.CRITICAL,
    fix="Look at how this value is made: is the term computed in evaluation mode, and averaged over what it counted?",
    summary="A logged value is the same placeholder throughout, or never a number.",
)
LOSS_REPEATS = Conclusion(
    code="EG451",
    name="loss-repeats-exactly",
    title="Loss repeats exactly",
    severity=Severity.WARNING,
    fix="Nothing changes between these rows: does the optimizer step, hold the parameters, and is the rate above 0?",
    summary="A loss is equal to all digits in row after row.",
)
OTHER_BATCH = Conclusion(
    code="EG452",
    name="batch-size-contradicts-settings",
    title="Batch size contradicts the settings",
    severity=Severity.WARNING,
    fix="Find out which batch the loss sees: another configuration ran, or batches were gathered over processes.",
    summary="The loss is that of another batch size than the settings name.",
)
IDENTICAL_LOSSES = Conclusion(
    code="EG453",
    name="identical-losses",
    title="Identical losses",
    severity=Severity.INFO,
    fix="Different heads or prefixes cannot agree to all digits by learning: they get the same input, or are constant.",
    summary="Losses of different heads or prefixes agree to all digits.",
)
REDUCED_PRECISION = Conclusion(
    code="EG454",
    name="loss-in-reduced-precision",
    title="Loss in reduced precision",
    severity=Severity.INFO,
    fix="Compute the loss in float32 (logits.float()) where its digits matter.",
    summary="The digits of a mean show that its losses were rounded to half precision.",
)
SCALE_AT_CLAMP = Conclusion(
    code="EG455",
    name="scale-at-clamp",
    title="Logit scale at its clamp",
    severity=Severity.INFO,
    fix="Usual at the end of a long training; early it means a high rate.",
    summary="The logit scale stands at its usual clamp of 100.",
)
SCALE_AT_INIT = Conclusion(
    code="EG456",
    name="scale-at-init",
    title="Logit scale at its initial value",
    severity=Severity.INFO,
    fix="Right where the temperature is fixed; else: does the optimizer hold it?",
    summary="The logit scale never leaves its usual initial value.",
)
RATE_RESTARTS = Conclusion(
    code="EG251",
    name="rate-restarts",
    title="Learning rate restarts",
    severity=Severity.INFO,
    fix="Intended with warm restarts; else a resumed run lost its schedule.",
    summary="The learning rate falls and begins again.",
)
LOG_GOES_BACK = Conclusion(
    code="EG253",
    name="log-goes-back",
    title="Log goes back",
    severity=Severity.INFO,
    fix="Two runs in one log, or a run resumed from before its last row.",
    summary="The step or epoch of a log goes back.",
)
OUT_OF_RANGE = Conclusion(
    code="EG651",
    name="recall-out-of-range",
    title="Recall out of range",
    severity=Severity.CRITICAL,
    fix="A recall lies between 0 and 1 (100 %).",
    summary="A recall is below 0 or above 1.",
)
NOT_A_MULTIPLE = Conclusion(
    code="EG652",
    name="recall-not-a-multiple",
    title="Recall is no whole number of queries",
    severity=Severity.INFO,
    fix="Normal for means over batches, several captions an image, or shared ties; else N is not what the log says.",
    summary="A recall is not a number of hits over the logged number of queries.",
)
RECALL_AT_CHANCE_LOSS = Conclusion(
    code="EG653",
    name="recall-beside-chance-loss",
    title="Recall above chance with a loss at chance",
    severity=Severity.CRITICAL,
    fix="Ties count as hits (a strict > over equal scores), or loss and recall are of different models.",
    summary="A recall is far above chance, while the loss is that of a uniform softmax.",
)
SCALE_FLOOR = Conclusion(
    code="EG457",
    name="loss-below-scale-floor",
    title="Loss lower than its logit scale allows",
    severity=Severity.WARNING,
    fix="Is the logged scale the one that the loss uses, the batch this one, and the loss a mean and not half of it?",
    summary="A loss is lower than its logit scale allows in a batch of this size.",
    source="derived: all pairs at cosine 1 and all others at -1/(B-1) give ln(1 + (B-1) exp(-s B/(B-1)))",
)
ABOVE_ACCURACY = Conclusion(
    code="EG458",
    name="loss-above-its-accuracy",
    title="Loss higher than its accuracy allows",
    severity=Severity.WARNING,
    fix="Loss and accuracy are not of the same logits: another temperature, label order, reduction (sum) or batch.",
    summary="A loss is higher than its in-batch accuracy allows at its logit scale.",
    source="derived: a right answer has p >= 1/B and costs ln B at most, a wrong one ln(1 + (B-1) exp(2 s))",
)
CONTRADICTIONS = (
    RATE_RESTARTS, LOG_GOES_BACK, NEVER_COMPUTED, LOSS_REPEATS, OTHER_BATCH, IDENTICAL_LOSSES, REDUCED_PRECISION,
    SCALE_AT_CLAMP, SCALE_AT_INIT, SCALE_FLOOR, ABOVE_ACCURACY, OUT_OF_RANGE, NOT_A_MULTIPLE, RECALL_AT_CHANCE_LOSS,
)  # fmt: skip
"""All of them."""
