"""Signals of the loss and of its functions."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Reduction, Signal
from edgeglass_diag.sites import Kind

LOSS_TOTAL = register(
    Signal(
        "loss/total",
        None,
        "The number that goes backward, summed over the passes of the step: of accumulation that does not divide, the "
        "sum of what its parts print.",
        reduction=Reduction.SUM,
        unit="nats",
    )
)
LOSS_PASSES = register(
    Signal("loss/passes", None, "Backward passes that the loss is summed over.", reduction=Reduction.SUM, low=0)
)
LOSS_CHANCE = register(
    Signal(
        "loss/chance",
        None,
        "What the loss would be of a model that knows nothing: sum of weight x chance level of each loss function.",
        reduction=Reduction.SUM,
        unit="nats",
    )
)
LOSS_EXPLAINED = register(
    Signal(
        "loss/explained",
        None,
        "Sum of weight x value of each loss function: the part of the loss that is understood.",
        reduction=Reduction.SUM,
        unit="nats",
    )
)
LOSS_VALUE = register(
    Signal("loss/value", Kind.LOSS, "Mean over rows, or entries, of what the loss function gives.", unit="nats")
)
LOSS_WIDTH = register(
    Signal(
        "loss/width",
        Kind.PAIR,
        "Mean value of the loss functions that take the logits of these embeddings: one site for each width of a "
        "Matryoshka head.",
        unit="nats",
    )
)
LOSS_WEIGHT = register(
    Signal(
        "loss/weight",
        Kind.LOSS,
        "Weight of this loss function in the whole loss, read off its gradient.",
        reduction=Reduction.SUM,
    )
)
LOSS_PART = register(
    Signal(
        "loss/part",
        Kind.LOSS,
        "This loss function's part of the whole loss: weight x value.",
        reduction=Reduction.SUM,
        unit="nats",
    )
)
LOSS_ROWS = register(Signal("loss/rows", Kind.LOSS, "Rows of logits that count.", low=0))
LOSS_CANDIDATES = register(
    Signal("loss/candidates", Kind.LOSS, "Candidates among which a row chooses, less those masked out.", low=0)
)
LOSS_ACCURACY = register(
    Signal(
        "loss/accuracy",
        Kind.LOSS,
        "Share of rows whose largest logit is the right one; a tie counts as its share.",
        low=0,
        high=1,
    )
)
LOSS_LOGIT_STD = register(Signal("loss/logit_std", Kind.LOSS, "Standard deviation of the logits within a row.", low=0))
LOSS_LOGIT_MAX = register(Signal("loss/logit_max", Kind.LOSS, "Largest magnitude of a logit.", low=0))
LOSS_IS_PROBABILITY = register(
    Signal(
        "loss/is_probability",
        Kind.LOSS,
        "1 where every row of logits is a distribution already, as after a softmax.",
        low=0,
        high=1,
    )
)
LOSS_LABEL_SMOOTHING = register(
    Signal("loss/label_smoothing", Kind.LOSS, "Label smoothing of the loss function.", low=0, high=1)
)
LOSS_LABELS_DIAGONAL = register(
    Signal(
        "loss/labels_diagonal",
        Kind.LOSS,
        "Share of rows whose right answer is the column of the same number.",
        low=0,
        high=1,
    )
)
LOSS_LABELS_ZERO = register(
    Signal("loss/labels_zero", Kind.LOSS, "Share of labels of a sigmoid loss that are 0.", low=0, high=1)
)
LOSS_LABELS_NEGATIVE = register(
    Signal("loss/labels_negative", Kind.LOSS, "Share of labels of a sigmoid loss that are negative.", low=0, high=1)
)
LOSS_TARGET_ENTROPY = register(
    Signal("loss/target_entropy", Kind.LOSS, "Entropy of the targets, 0 for one class each.", unit="nats")
)
LOSS_TARGET_GRADIENT = register(
    Signal("loss/target_gradient", Kind.LOSS, "1 where a gradient flows into the targets.", low=0, high=1)
)
LOSS_LEVEL = register(
    Signal(
        "loss/level",
        Kind.LOSS,
        "What ``loss/value`` is where nothing is known but how frequent each label is in the batch; "
        "ln(candidates) where there are too few rows to tell.",
        low=0,
        unit="nats",
    )
)
LOSS_LARGEST_LABEL = register(
    Signal("loss/largest_label", Kind.LOSS, "Share of the label that most rows have.", low=0, high=1)
)
LOSS_LARGEST_ANSWER = register(
    Signal("loss/largest_answer", Kind.LOSS, "Share of the class that most rows are given.", low=0, high=1)
)
LOSS_LABEL_MEAN = register(
    Signal("loss/label_mean", Kind.LOSS, "Mean number of the class that rows are labelled with, of a head of classes.")
)
LOSS_LABEL_GREATEST = register(
    Signal(
        "loss/label_greatest",
        Kind.LOSS,
        "Greatest number of a class that rows are labelled with, of a head of classes.",
        reduction=Reduction.MAX,
    )
)
LOSS_EXCESS_MASS = register(
    Signal(
        "loss/excess_mass",
        Kind.LOSS,
        "How far what should be log-probabilities is from it: mean |ln sum exp| of a row.",
        low=0,
        unit="nats",
    )
)
MODULE_BROADCAST = register(
    Signal(
        "module/broadcast",
        Kind.MODULE,
        "1 where N outputs (N, 1) are compared with N targets (N,), or the reverse: each with the targets of all.",
        low=0,
        high=1,
    )
)
