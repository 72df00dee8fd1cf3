"""EG1xx: tensors that are read in another order than they were written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.sites import ReshapeSite


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
    title = "Reshape scrambles its elements"
    severity = Severity.WARNING
    page = "attention"
    source = "derived: in row-major order a dimension ends where the product of those after it is a boundary"
    fix = "Split first, transpose then: x.view(batch, positions, heads, width).transpose(1, 2)."
    faulty = "q.reshape(B, heads, L, -1)  # was (B, L, width)"
    healthy = "q.reshape(B, L, heads, -1).transpose(1, 2)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per module."""
        for site in history.sites_of(ReshapeSite):
            before, after = ("x".join(map(str, shape)) for shape in (site.before, site.after))
            yield self.finding(
                history,
                f"{before} to {after} in {site.path or 'the model'} is neither a split nor a merge of dimensions",
                site=site.path,
                evidence={"before": before, "after": after},
            )
