"""EG1xx: weights that are normalised over another dimension than the one they weigh."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.sites import SoftmaxSite


@dataclass(frozen=True)
class SoftmaxOverSamples(Rule):
    """A softmax runs over the samples of the batch, and what it weighs lies along another dimension.

    Why: the weights of one sample then depend on who shares its batch and do not add up to one; a sample with small
    logits is left out. Shapes fit, nothing fails, and at another batch size the model answers otherwise. It is what
    ``softmax(x)`` without ``dim`` does to three dimensions, and ``dim=0`` to any.

    Formula: the softmax is over the first dimension, as long as what the model is given has samples. Its result is
    multiplied with values of the same samples and summed over another dimension, and not over the samples behind that,
    or ``nll_loss`` picks of it by class. Silent are logits of pairs, weights that are divided by sums of their own,
    and one weight for each sample.
    """

    code = "EG109"
    name = "softmax-over-samples"
    title = "Softmax runs over the samples"
    severity = Severity.WARNING
    page = "attention"
    source = "derived: shares of a sum are normalised over what is summed; torch warns of softmax without dim"
    fix = "Name the dimension that is summed: softmax(scores, dim=-1)."
    faulty = "weights = F.softmax(scores)  # (samples, queries, keys): dim=0"
    healthy = "weights = F.softmax(scores, dim=-1)"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per module."""
        for site in history.sites_of(SoftmaxSite):
            shape = "x".join(map(str, site.shape))
            yield self.finding(
                history,
                f"the softmax of {shape}{f' in {site.path}' if site.path else ''} runs over dimension 0, the "
                f"{site.shape[0]} samples, and what it weighs is summed over another",
                site=site.path,
                evidence={"shape": shape, "samples": site.shape[0]},
            )
