"""Signals of embeddings: the two sets of rows that a loss compares, by products, distances or as distributions."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Drawing, Palette, Signal
from edgeglass_diag.sites import Kind

_RANK = Drawing(
    "Effective rank",
    "of a batch of embeddings",
    Palette.SIZE,
    "how many directions the embeddings use",
    "at most {low:g} is a collapse",
)

EMBEDDING_NORM = register(Signal("embedding/norm", Kind.EMBEDDING, "Mean L2 norm of an embedding.", low=0))
EMBEDDING_NORM_SPREAD = register(
    Signal("embedding/norm_spread", Kind.EMBEDDING, "Standard deviation of the norms over their mean.", low=0)
)
EMBEDDING_COLUMN_ERROR = register(
    Signal(
        "embedding/column_error",
        Kind.EMBEDDING,
        "Largest distance of a column's norm from 1: near 0 where the wrong axis was normalised.",
        low=0,
    )
)
EMBEDDING_SAMPLE_SIGNAL = register(
    Signal(
        "embedding/sample_signal",
        Kind.EMBEDDING,
        "Share of the normalised embeddings' energy that depends on the sample.",
        low=0,
        high=1,
    )
)
EMBEDDING_MEAN_COSINE = register(
    Signal("embedding/mean_cosine", Kind.EMBEDDING, "Mean cosine of two different samples of one side.", low=-1, high=1)
)
EMBEDDING_EFFECTIVE_RANK = register(
    Signal(
        "embedding/effective_rank",
        Kind.EMBEDDING,
        "Effective rank of a batch of embeddings (Roy and Vetterli 2007).",
        low=1,
        unit="directions",
        drawing=_RANK,
    )
)
EMBEDDING_SCALE = register(Signal("embedding/scale", Kind.PAIR, "Factor between cosines and logits."))
EMBEDDING_GAP = register(
    Signal("embedding/gap", Kind.PAIR, "Distance between the mean embeddings of both sides.", low=0)
)
EMBEDDING_ALIGNMENT = register(
    Signal("embedding/alignment", Kind.PAIR, "Mean squared distance of the two embeddings of a pair.", low=0)
)
EMBEDDING_SPREAD = register(
    Signal(
        "embedding/spread",
        Kind.EMBEDDING,
        "Root mean square distance of the embeddings from their mean, as they are: not normalised.",
        low=0,
    )
)
EMBEDDING_MARGIN = register(
    Signal("embedding/margin", Kind.EMBEDDING, "Margin of the loss that compares them, where it is told.", low=0)
)
EMBEDDING_RANGE_EXCESS = register(
    Signal(
        "embedding/range_excess",
        Kind.EMBEDDING,
        "Least mean squared error that the range of these outputs (of a sigmoid, tanh, softmax, ReLU or normalisation) "
        "leaves to their targets, over the variance of the targets.",
        low=0,
    )
)
EMBEDDING_PROTOTYPES = register(
    Signal(
        "embedding/prototypes",
        Kind.EMBEDDING,
        "Effective number of prototypes in use: exp of the entropy of the batch's mean assignment.",
        low=1,
        unit="prototypes",
    )
)
EMBEDDING_ASSIGNMENT = register(
    Signal(
        "embedding/assignment",
        Kind.EMBEDDING,
        "What an assignment to prototypes tells of the sample: entropy of the mean less mean of the entropies.",
        low=0,
        unit="nats",
    )
)
EMBEDDING_DISTANCE = register(
    Signal(
        "embedding/distance",
        Kind.PAIR,
        "Mean squared distance of the rows that a loss compares, over that of strangers: 1 where as far apart.",
        low=0,
    )
)
EMBEDDING_VARIATION = register(
    Signal(
        "embedding/variation",
        Kind.PAIR,
        "Variance of outputs over that of their fixed targets; of both normalised where a cosine compares them.",
        low=0,
    )
)
EMBEDDING_PULL = register(
    Signal(
        "embedding/pull",
        Kind.PAIR,
        "Share of the rows that a loss compares which its gradient draws together; it drives the others apart.",
        low=0,
        high=1,
    )
)
EMBEDDING_PREDICTED = register(
    Signal(
        "embedding/predicted",
        Kind.PAIR,
        "By how much the cross-entropy with these targets lies below what one and the same guess for all samples would "
        "have; 0 or less where nothing of the sample is predicted.",
        unit="nats",
    )
)
