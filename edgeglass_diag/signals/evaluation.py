"""Signals of evaluation passes: of models that train, called without gradients for nothing that goes backward."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Drawing, Palette, Reduction, Signal
from edgeglass_diag.sites import Kind

_LOSS = Drawing(
    "Evaluation loss",
    "of the batches of an evaluation that were looked at",
    Palette.SIZE,
    "what the loss function gives for samples that are not trained on at this step",
)
_RECALL = Drawing(
    "Evaluation R@1",
    "within a batch",
    Palette.SHARE,
    "1: each row finds its partner among the batch; chance is one over the batch",
    extent=(0, 1),
    extreme="low",
)

EVALUATION_PASSES = register(
    Signal(
        "evaluation/passes",
        None,
        "Evaluation passes of trained models that were looked at: the first ones of the window.",
        low=0,
        reduction=Reduction.SUM,
        unit="passes",
    )
)
EVALUATION_ANSWERS = register(
    Signal(
        "evaluation/answers",
        None,
        "How often what evaluation passes gave out was turned into answers: the largest value was chosen, values were "
        "ranked, or compared with labels or a threshold.",
        low=0,
        reduction=Reduction.SUM,
    )
)
EVALUATION_LOSS = register(
    Signal(
        "evaluation/loss",
        Kind.LOSS,
        "Mean over rows, or entries, of what the loss function gives in evaluation; of training it is loss/value.",
        unit="nats",
        drawing=_LOSS,
    )
)
EVALUATION_CHANCE = register(
    Signal(
        "evaluation/chance",
        Kind.LOSS,
        "What evaluation/loss is where nothing is known but how frequent each label is; of training it is loss/level.",
        low=0,
        unit="nats",
    )
)
EVALUATION_ACCURACY = register(
    Signal(
        "evaluation/accuracy",
        Kind.LOSS,
        "Share of rows whose largest logit is the right one in evaluation; of training it is loss/accuracy.",
        low=0,
        high=1,
    )
)
EVALUATION_WIDTH_LOSS = register(
    Signal(
        "evaluation/loss/width",
        Kind.PAIR,
        "Mean value of the loss functions that take the logits of these embeddings in evaluation: one site for each "
        "width of a Matryoshka head; of training it is loss/width.",
        unit="nats",
    )
)
EVALUATION_RECALL = register(
    Signal(
        "evaluation/recall/r1",
        Kind.EMBEDDING,
        "Share of this side's rows whose nearest row of the other side of the batch is their partner, in evaluation.",
        low=0,
        high=1,
        drawing=_RECALL,
    )
)
EVALUATION_RECALL_LOW = register(
    Signal(
        "evaluation/recall/low",
        Kind.EMBEDDING,
        "Lower end of the 95 % interval of evaluation/recall/r1 (Wilson 1927).",
        low=0,
        high=1,
    )
)
EVALUATION_RECALL_HIGH = register(
    Signal(
        "evaluation/recall/high",
        Kind.EMBEDDING,
        "Upper end of the 95 % interval of evaluation/recall/r1 (Wilson 1927).",
        low=0,
        high=1,
    )
)
EVALUATION_RECALL_CHANCE = register(
    Signal(
        "evaluation/recall/chance",
        Kind.EMBEDDING,
        "What evaluation/recall/r1 is where nothing is known: one over the rows of a batch.",
        low=0,
        high=1,
    )
)
EVALUATION_RECALL_ROWS = register(
    Signal("evaluation/recall/rows", Kind.EMBEDDING, "Rows behind evaluation/recall/r1.", low=0, unit="rows")
)
EVALUATION_SAMPLES = register(
    Signal(
        "evaluation/samples",
        Kind.BATCH,
        "Pictures that a trained model was called with in evaluation and that were looked at.",
        low=0,
        reduction=Reduction.SUM,
        unit="samples",
    )
)
EVALUATION_MEAN = register(
    Signal("evaluation/mean", Kind.BATCH, "Mean of the values of pictures in evaluation; of training it is data/mean.")
)
EVALUATION_STD = register(
    Signal(
        "evaluation/std",
        Kind.BATCH,
        "Standard deviation of the values of pictures in evaluation; of training it is data/std.",
        low=0,
    )
)
EVALUATION_MIN = register(
    Signal("evaluation/min", Kind.BATCH, "Smallest value of pictures in evaluation; of training it is data/min.")
)
EVALUATION_MAX = register(
    Signal("evaluation/max", Kind.BATCH, "Largest value of pictures in evaluation; of training it is data/max.")
)
EVALUATION_MODE = register(
    Signal(
        "evaluation/training_mode",
        Kind.MODULE,
        "1 where a trained model is called in training mode by an evaluation, 0 where in evaluation mode.",
        low=0,
        high=1,
    )
)
EVALUATION_NORM_MOVED = register(
    Signal(
        "evaluation/norm_moved",
        Kind.MODULE,
        "1 where a BatchNorm gives the batches of an evaluation a part in its running statistics.",
        low=0,
        high=1,
    )
)
EVALUATION_GRAPH = register(
    Signal(
        "evaluation/graph",
        Kind.MODULE,
        "1 where what an evaluation pass of a trained model gives out has a graph behind it, for a backward pass that "
        "never comes; 0 where it has none.",
        low=0,
        high=1,
    )
)
