"""EG110: sequences that are read along the samples of the batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.batches import MODULE_ALONG_SAMPLES
from edgeglass_diag.signals.losses import LOSS_ROWS


@dataclass(frozen=True)
class SequenceAlongSamples(Rule):
    """A recurrent or attention module of torch reads the samples of the batch as if they were one sequence.

    Why: without ``batch_first`` the first dimension is that of the sequence. What is given as (samples, positions,
    width) is read across the samples: each position sees other samples and none of its own sequence. Shapes fit, and
    nothing fails.

    Formula: a module without ``batch_first`` gets a tensor whose first dimension is as long as what the model was
    given and as the rows of a loss, and whose second is neither that nor a multiple of it (views), in each of the last
    ``windows`` recorded windows. A second dimension of 1 is silent: attention over a batch of vectors may be meant so.
    """

    windows: int = 3

    code = "EG110"
    name = "sequence-along-samples"
    title = "Sequence is read along the samples"
    severity = Severity.WARNING
    page = "attention"
    signals = (MODULE_ALONG_SAMPLES, LOSS_ROWS)
    source = "documentation of nn.LSTM, nn.MultiheadAttention: (sequence, batch, width) unless batch_first; derived"
    fix = "Make it with batch_first=True, or give it x.transpose(0, 1) and turn the output back."
    faulty = "nn.TransformerEncoderLayer(64, 4)(tokens)  # tokens (batch, positions, 64)"
    healthy = "nn.TransformerEncoderLayer(64, 4, batch_first=True)(tokens)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding for all modules."""
        rows = [series for _, series in history.of(LOSS_ROWS)]
        found = []
        for path, series in history.of(MODULE_ALONG_SAMPLES):
            recent = list(zip(series.steps[-self.windows :], series.values[-self.windows :], strict=True))
            if len(recent) == self.windows and all(
                size > 0 and any(known.at(step) == size for known in rows) for step, size in recent
            ):
                found.append((path, recent))
        if found:
            path, recent = found[0]
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            yield self.finding(
                history,
                f"{path or 'the model'}{more} (batch_first=False) reads {recent[-1][1]:.0f} samples as a sequence of "
                f"as many since step {recent[0][0]}",
                site=path,
                since=recent[0][0],
                evidence={"samples": recent[-1][1], "modules": len(found)},
            )
