"""What probes change. Their sites belong to a preflight, and are in no store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgeglass_diag.sites import Kind, Site


class ProbedChange(StrEnum):
    """What a probe changes before the forward pass."""

    NONE = "none"
    INPUT_PERMUTED = "input_permuted"
    INPUT_SHARED = "input_shared"
    TOKENS_REVERSED = "tokens_reversed"
    PADDING_FILLED = "padding_filled"
    PADDING_LENGTHENED = "padding_lengthened"
    BATCH_HALVED = "batch_halved"
    SAMPLE_ALONE = "sample_alone"
    EVALUATION_MODE = "evaluation_mode"

    @property
    def in_evaluation_mode(self) -> bool:
        """Whether it is tried, and compared, with models in evaluation mode: where dropout would hide what it does."""
        return self in _IN_EVALUATION_MODE


_IN_EVALUATION_MODE = frozenset(
    {
        ProbedChange.PADDING_FILLED,
        ProbedChange.PADDING_LENGTHENED,
        ProbedChange.SAMPLE_ALONE,
        ProbedChange.EVALUATION_MODE,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSite(Site):
    """A change of the inputs that was tried on a copy of the process.

    Attributes:
        change: what was changed.
        argument: of the input that was changed, as ``input0``; empty where all were.
        shape: of that input, with the batch.
        dtype: its dtype, as ``float32``.
    """

    kind = Kind.PROBE
    change: ProbedChange = ProbedChange.NONE
    argument: str = ""
    shape: tuple[int, ...] = ()
    dtype: str = ""
