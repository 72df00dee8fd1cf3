"""What the audit can conclude of how a training went, where no rule fits."""

from __future__ import annotations

from edgeglass_diag.auditing.conclusion import Conclusion
from edgeglass_diag.records import Severity

GRADIENT_SPIKES = Conclusion(
    code="EG254",
    name="gradient-spikes",
    title="Gradient spikes",
    severity=Severity.WARNING,
    fix="Clip the gradient norm at about its usual size, and look at the batches of these steps.",
    summary="The gradient norm is many times its usual size in single rows.",
    source=(
        "derived: one gradient of r times the usual size adds (1 - 0.999) r^2 to Adam's second moment, as much as is "
        "there at r = 32, and the steps of this weight are smaller for a thousand steps"
    ),
)
RATE_ZERO = Conclusion(
    code="EG255",
    name="rate-is-zero",
    title="Learning rate 0 throughout",
    severity=Severity.CRITICAL,
    fix="Give the optimizer a rate: is the schedule's warm-up counted in other steps, or its total 0?",
    summary="Every logged learning rate is 0, so that no weight is moved.",
)
RESUMED = Conclusion(
    code="EG256",
    name="resumed-differently",
    title="Resumed with another state",
    severity=Severity.WARNING,
    fix="Load the optimizer and the scheduler with the weights when resuming, and keep the settings.",
    summary="The loss jumps where the learning rate or the step begins anew: a resumed run did not go on as it was.",
    source="derived: a training that goes on with its whole state has neither jump",
)
SLOWER = Conclusion(
    code="EG258",
    name="throughput-decays",
    title="Training slows down",
    severity=Severity.WARNING,
    fix="Look for what grows: lists of tensors with their graphs (append(loss)), data kept by workers, a full disk.",
    summary="The number of steps or samples per second falls over the training.",
    source="definition: a quarter less in the last third than in the first, beyond four standard errors",
)
OVERFITS = Conclusion(
    code="EG459",
    name="overfitting",
    title="Overfitting",
    severity=Severity.WARNING,
    fix="Take the checkpoint of the lowest validation loss; train for less long, or with more data or regularisation.",
    summary="The validation loss rises while the training loss goes on falling.",
    source="Prechelt, Early Stopping - But When? (1998): generalisation loss, here above 10 %",
)
TERM_CONSTANT = Conclusion(
    code="EG460",
    name="loss-term-constant",
    title="A term of the loss does not move",
    severity=Severity.WARNING,
    fix="Is this term part of the sum that is backpropagated, are its inputs attached, are all its labels the same?",
    summary="One term of the loss stays where it is while others fall.",
    source="definition: it varies by less than 1 % of itself in all rows, while another loss falls by a fifth",
)
NAN_TOLERATED = Conclusion(
    code="EG461",
    name="nan-tolerated",
    title="NaN in between",
    severity=Severity.WARNING,
    fix="Stop at the first NaN and look at its batch; what skips or replaces it (nan_to_num, nanmean) hides the cause.",
    summary="A loss or gradient is NaN or infinite in some rows, and the training goes on.",
    source="torch.amp.GradScaler doubles its scale every 2000 steps: an infinite gradient each time, some at first",
)
GUESSING = Conclusion(
    code="EG462",
    name="loss-at-guessing",
    title="Loss at the level of guessing",
    severity=Severity.WARNING,
    fix="Train on 20 samples alone: if that does not go to 0, labels, gradient path or learning rate are wrong.",
    summary="The loss stays at ln C, that of an equal guess among C classes, in all rows.",
)
WORSE = Conclusion(
    code="EG463",
    name="worse-than-baseline",
    title="Worse than the baseline",
    severity=Severity.WARNING,
    fix="Look at what differs first: the settings and rates that are listed, then data and code at this step.",
    summary="A loss or recall falls behind that of a given healthy log, and stays behind.",
    source="definition: a tenth, and four standard errors of both levels",
)
OTHER_SETTINGS = Conclusion(
    code="EG464",
    name="other-than-baseline",
    title="Other settings than the baseline",
    severity=Severity.INFO,
    fix="Intended, or the reason for what differs later.",
    summary="Settings, learning rates or gradient norms differ from those of a given healthy log.",
)
MAJORITY = Conclusion(
    code="EG608",
    name="accuracy-at-majority",
    title="Accuracy of always the same answer",
    severity=Severity.WARNING,
    fix="Count the predicted classes: weight or balance the classes, and check labels, rate and the frozen parts.",
    summary="The accuracy stays where it began, as that of a model that always predicts the most frequent class.",
    source="derived: a constant answer is right equally often in every evaluation of the same samples",
)
TIED_PAIRS = Conclusion(
    code="EG609",
    name="captions-as-pairs",
    title="Several captions of a picture counted as pairs of their own",
    severity=Severity.WARNING,
    fix="Evaluate with all captions of a picture as right (image_index of eval): R@1 cannot exceed 1 in K otherwise.",
    summary="R@K is K times R@1 and the next ranks get far less: K entries of the gallery are the same.",
    source="derived: K equal entries have the ranks 1 to K in any order, so R@1 = R@K / K",
)
RECALL_AT_CHANCE = Conclusion(
    code="EG610",
    name="recall-at-chance-throughout",
    title="Recall at chance in all evaluations",
    severity=Severity.WARNING,
    fix="Do the embeddings of different inputs differ at all, and are pairs still pairs behind the loader?",
    summary="R@1, R@5 and R@10 grow with K as those of random ranks do, in all evaluations.",
    source="derived: random ranks give K/N, with the deviation of a binomial count",
)
TRAININGS = (
    GRADIENT_SPIKES, RATE_ZERO, RESUMED, SLOWER, OVERFITS, TERM_CONSTANT, NAN_TOLERATED, GUESSING, WORSE,
    OTHER_SETTINGS, MAJORITY, TIED_PAIRS, RECALL_AT_CHANCE,
)  # fmt: skip
"""All of them."""
