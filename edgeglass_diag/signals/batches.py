"""Signals of batches."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import Kind

DATA_SAME_TENSOR = register(
    Signal(
        "data/same_tensor", Kind.BATCH, "1 where it is the very tensor of the recorded window before.", low=0, high=1
    )
)
DATA_SAMPLES = register(Signal("data/samples", Kind.BATCH, "Samples of the batch.", low=0))
DATA_FINGERPRINT = register(Signal("data/fingerprint", Kind.BATCH, "Sum over the samples of a hash of each."))
DATA_REPEATED = register(
    Signal("data/repeated", Kind.BATCH, "Share of samples that are in the batch more than once.", low=0, high=1)
)
DATA_COPY_FLOOR = register(
    Signal(
        "data/copy_floor",
        Kind.BATCH,
        "Mean over the samples of ln(how often it is in the batch): the least contrastive loss where each copy has "
        "a partner of its own.",
        low=0,
        unit="nats",
    )
)
DATA_DRAWN = register(
    Signal("data/drawn", None, "Whole samples of the batch, a row of all inputs together, that were looked at.", low=0)
)
DATA_COPIES = register(
    Signal("data/copies", None, "Share of the whole samples that are in the batch more than once.", low=0, high=1)
)
DATA_NEW = register(
    Signal("data/new", None, "How many different whole samples no recorded window before has had.", low=0)
)
DATA_SHARED_NEAR = register(
    Signal(
        "data/shared_near",
        Kind.BATCH,
        "Share of the energy of pictures that neighbouring pixels have in common: 0 for noise, above 0.9 in nature.",
        low=0,
        high=1,
    )
)
DATA_SHARED_FAR = register(
    Signal(
        "data/shared_far",
        Kind.BATCH,
        "Share of the energy of pictures that pixels 4 to 8 apart, or all pictures at the same place, have in common.",
        high=1,
    )
)
DATA_MEAN = register(Signal("data/mean", Kind.BATCH, "Mean of the values."))
DATA_STD = register(Signal("data/std", Kind.BATCH, "Standard deviation of the values."))
DATA_MIN = register(Signal("data/min", Kind.BATCH, "Smallest value."))
DATA_MAX = register(Signal("data/max", Kind.BATCH, "Largest value."))
DATA_PADDING = register(Signal("data/padding", Kind.BATCH, "Share of token positions that are padding.", low=0, high=1))
DATA_UNPADDED_TEXTS = register(
    Signal("data/unpadded_texts", Kind.BATCH, "Share of texts without padding.", low=0, high=1)
)
DATA_CUT_TEXTS = register(
    Signal(
        "data/cut_texts",
        Kind.BATCH,
        "Share of texts that fill their length and do not end as others do.",
        low=0,
        high=1,
    )
)
DATA_MASK_MISFIT = register(
    Signal(
        "data/mask_misfit",
        Kind.BATCH,
        "Share of texts whose mask hides more or fewer tokens than they have padding, by more than one.",
        low=0,
        high=1,
    )
)
DATA_MASK_HIDDEN = register(
    Signal("data/mask_hidden", Kind.BATCH, "Share of positions that a mask of padding sets apart.", low=0, high=1)
)
DATA_MASK_BORROWED = register(
    Signal(
        "data/mask_borrowed",
        Kind.BATCH,
        "1 where a mask is the padding of other texts of its batch: of one of them in all rows, or of all in another "
        "order.",
        low=0,
        high=1,
    )
)
DATA_LAYER_ABSMAX = register(
    Signal("data/layer_absmax", Kind.MODULE, "Largest magnitude of the pixels that a layer is given.", low=0)
)
MODULE_ALONG_SAMPLES = register(
    Signal(
        "module/along_samples",
        Kind.MODULE,
        "Length of the sequence that a recurrent or attention module without batch_first reads, where it is that of "
        "the model's batch and its second dimension is not; 0 elsewhere.",
        low=0,
    )
)
