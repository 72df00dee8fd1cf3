"""What is known of two sets of embeddings that are compared, before it is known whether a loss takes the result."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from edgeglass_diag.compared import Compared


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two sets of rows that are compared.

    Attributes:
        compared: how.
        left: (B, D), detached.
        right: (N, D), detached; the same tensor where rows are compared with each other.
        sources: sites that each side comes from.
        is_paired: whether row i of one side is compared with row i of the other alone.
        together: whether the loss draws what it compares together.
        margin: of the loss, NaN where there is none or it is not known.
        learns: whether a gradient flows into each side.
        ranges: what each side can be, None where it can be anything.
        drawn: sign of the gradient at the result that draws rows together: of a distance 1, of a similarity -1; 0 where
            it is not known.
    """

    compared: Compared
    left: Tensor
    right: Tensor
    sources: tuple[tuple[str, ...], tuple[str, ...]]
    is_paired: bool = False
    together: bool = False
    margin: float = math.nan
    learns: tuple[bool, bool] = (True, True)
    ranges: tuple[OutputRange | None, OutputRange | None] = (None, None)
    drawn: int = 0

    @property
    def is_of_itself(self) -> bool:
        """Whether rows are compared with each other."""
        left, right = self.left, self.right
        if left.shape != right.shape or left.stride() != right.stride() or left.device.type == "meta":
            return False
        return left.data_ptr() == right.data_ptr()

    @property
    def is_of_cosines(self) -> bool:
        """Whether the lengths of the rows do not matter."""
        return self.compared in (Compared.SIMILARITY, Compared.LOGITS)


@dataclass(frozen=True, slots=True)
class OutputRange:
    """What a function can give out.

    Attributes:
        low: least value.
        high: greatest value.
        is_unit: whether each row has length 1 instead.
    """

    low: float = -math.inf
    high: float = math.inf
    is_unit: bool = False
