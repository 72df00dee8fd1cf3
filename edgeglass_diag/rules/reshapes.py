"""EG1xx: tensors that are read in another order than they were written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History


@dataclass(frozen=True)
class ReshapeScrambles(Rule):
    """A reshape around attention mixes samples, positions and heads: a transposition was left out.

    Why: a reshape keeps the order of the elements. Seen as (heads, positions, width), what was (positions, heads *
    width) gives each head pieces of some positions instead of its piece of each; seen as (positions, samples, ...),
    what was (samples, positions, ...) lets a sample attend to others. Shapes fit, and nothing fails.

    Formula: among the dimensions between two boundaries that both shapes have, several become several others, and one
    of the sizes turns up again: no split and no merge does that. Only operands and outputs of attention count, and a
    factor that may have moved between two dimensions (heads merged into the batch) does not.
    """

    code = "EG107"
    name = "reshape-scrambles"
    severity = Severity.WARNING
    source = "derived: in row-major order a dimension ends where the product of those after it is a boundary"
    fix = "Split first, transpose then: x.view(batch, positions, heads, width).transpose(1, 2)."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per module."""
        for (path, kind), site in history.sites.items():
            if kind == "reshape":
                yield self.finding(
                    history,
                    f"{path or 'the model'}: {site.label} is no split and no merge of dimensions, its elements are "
                    "scrambled",
                    site=path,
                    evidence={"shapes": site.label},
                )
