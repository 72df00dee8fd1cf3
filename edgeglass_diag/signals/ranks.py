"""Signals by which several ranks are compared. Each rank records its own, without communication."""

from __future__ import annotations

from edgeglass_diag.signals.registry import register
from edgeglass_diag.signals.signal import Reduction, Signal
from edgeglass_diag.sites import Kind

WEIGHT_DIGEST = register(
    Signal(
        "weight/digest",
        Kind.PARAMETER,
        "Hash of the parameter's bits before the step, where several processes train; without site over all that an "
        "optimizer holds, or DistributedDataParallel without training it.",
        low=-1,
        high=1,
    )
)
STATE_DIGEST = register(
    Signal(
        "optimizer/state_digest",
        Kind.PARAMETER,
        "Hash of what the optimizer keeps of the parameter before the step, of a sample of its entries, where several "
        "processes train; without site over all.",
        low=-1,
        high=1,
    )
)
STATE_HELD = register(
    Signal(
        "optimizer/state_held",
        None,
        "Parameters of which the optimizers keep something before the step, where several processes train.",
        reduction=Reduction.SUM,
        low=0,
    )
)
BUFFER_DIGEST = register(
    Signal(
        "buffer/digest",
        Kind.MODULE,
        "Hash of the module's buffers as the first forward pass meets them, where several processes train; without "
        "site over all.",
        low=-1,
        high=1,
    )
)
NORM_SAMPLES = register(
    Signal(
        "batch_norm/samples",
        Kind.MODULE,
        "Samples that a BatchNorm which is not synchronised takes its statistics from, where several processes train.",
        low=0,
    )
)
GRADIENTS_AVERAGED = register(
    Signal(
        "gradient/averaged",
        None,
        "1 where the last forward pass of the step went through DistributedDataParallel that averages its gradients.",
        low=0,
        high=1,
    )
)
GRADIENTS_JOINED = register(
    Signal(
        "gradient/joined",
        None,
        "1 where the last forward pass of the step went through DistributedDataParallel inside of torch's Join, under "
        "which a rank whose data have ended takes no further steps.",
        low=0,
        high=1,
    )
)
COLLECTIVES = register(
    Signal(
        "optimizer/collectives",
        None,
        "Collective operations of the default process group so far, before the step, where several processes train: "
        "ranks that are at the same step have the same number.",
        low=0,
    )
)
CONTRAST_ROWS = register(
    Signal("contrast/rows", None, "Rows of the logits of a contrast, where several processes train.", low=0)
)
CONTRAST_CANDIDATES = register(Signal("contrast/candidates", None, "Candidates of each of these rows.", low=0))
CONTRAST_DIGEST = register(
    Signal("contrast/digest", None, "Hash of the candidates' embeddings, in their order.", low=-1, high=1)
)
CONTRAST_LEARNING = register(
    Signal(
        "contrast/learning",
        None,
        "Share of the gathered candidates that a gradient flows into, where the own ones are known to be among them.",
        low=0,
        high=1,
    )
)
CONTRAST_LABEL = register(
    Signal(
        "contrast/label_offset",
        None,
        "Column of the right answer less the number of the row, where it is the same for all rows.",
    )
)
