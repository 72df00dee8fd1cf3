"""Signals of embeddings: the operands of the product whose logits reach a loss."""

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
