"""EG050 and EG051: what an inspection before the first step shows of learned queries."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgeglass_diag.records import Finding, ParameterOrigin, Severity, SourceLine
from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.attention import (
    ATTENTION_ENTROPY,
    ATTENTION_LOGIT_STD,
    OPERAND_LEARNED,
    OPERAND_OWN_SHARE,
    OPERAND_QUERIES,
    OPERAND_QUERY_RMS,
    OPERAND_QUERY_SPREAD,
)
from edgeglass_diag.sites import AttentionSite


@dataclass(frozen=True)
class QueriesWithoutEffect(Rule):
    """Learned queries are so small that their attention is mean pooling, whatever they contain.

    Why: K latents that all read the mean of the tokens do the work of one. A norm before the query projection makes
    the attention independent of the latents' scale; without one the scale multiplies every logit. Near-uniform
    attention by itself is normal at init and silent: behind a norm, in self-attention, for a single query.

    Formula: two or more queries that are the same for every sample, whose input (before its projection) has
    a root mean square below ``rms``, and whose own part of the logits has a standard deviation s below ``logit_std``:
    that of the logits times the root of the share of the projected queries' energy in which they differ (what a bias
    adds is the same for all). A softmax with logits of std s puts a share of about s / sqrt(2 pi) = 0.4 s of its mass
    elsewhere: below 0.05 the queries tell 2 % of it apart.
    """

    rms: float = 0.5
    logit_std: float = 0.05

    code = "EG050"
    name = "queries-without-effect"
    title = "Learned queries without effect"
    severity = Severity.WARNING
    page = "coverage"
    signals = (ATTENTION_LOGIT_STD, OPERAND_QUERY_RMS, OPERAND_OWN_SHARE, ATTENTION_ENTROPY)
    source = (
        "rms: TheDeepChecker, activations' std within [0.5, 2]; logit_std: derived, 2 % of the mass, a chosen share"
    )
    fix = "Put a LayerNorm before the query projection, or draw the latents with std 1."
    faulty = "nn.init.normal_(latents, std=0.02); to_query(latents)"
    stages = (Stage.INIT,)
    healthy = "to_query(norm(latents))"

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention."""
        for site, rms in _learned(history):
            spread, share = history.series(ATTENTION_LOGIT_STD, site), history.series(OPERAND_OWN_SHARE, site)
            own = spread.last * math.sqrt(share.last) if len(spread) and len(share) else math.inf
            if not 0 < rms < self.rms or not own < self.logit_std:
                continue
            count = round(history.series(OPERAND_QUERIES, site).last)
            origin, entropy = _origin(history, site), history.series(ATTENTION_ENTROPY, site).last
            yield self.finding(
                history,
                f"the {count} of {site} have rms {rms:.3g} (at least {self.rms:g}), so that their own part of the "
                f"logits has std {own:.3g} (at least {self.logit_std:g}) and all read the same mean of the tokens, "
                f"entropy {entropy:.4f}{_made(origin)}",
                site=site,
                place=_place(origin),
                evidence={
                    "query_rms": rms,
                    "logit_std": own,
                    "entropy": entropy,
                    "queries": count,
                    **_evidence(origin),
                },
            )


@dataclass(frozen=True)
class QueriesIdentical(Rule):
    """Learned queries all start alike, zeros among them.

    Why: queries that start equal get equal gradients and stay equal for ever, unless dropout tells them apart; K
    latents act as one. https://github.com/huggingface/transformers/issues/31151

    Formula: two or more queries that are the same for every sample, and the share of their energy by which they differ
    from their mean is at most ``share``, or all are zero.
    """

    share: float = 1e-10

    code = "EG051"
    name = "queries-identical"
    title = "Learned queries are identical"
    severity = Severity.CRITICAL
    page = "coverage"
    signals = (OPERAND_QUERY_SPREAD, OPERAND_QUERY_RMS)
    source = "derived: rounding of float32 leaves (6e-8)^2 = 4e-15 per entry; the symmetry is exact or broken"
    fix = "Draw the latents independently, e.g. nn.init.trunc_normal_(latents, std=0.02) behind a LayerNorm."
    faulty = "latents = Parameter(torch.zeros(64, 512))"
    stages = (Stage.INIT,)
    healthy = "nn.init.trunc_normal_(latents, std=0.02)"

    def check_at_init(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention."""
        for site, rms in _learned(history):
            spread = history.series(OPERAND_QUERY_SPREAD, site).last
            if spread > self.share:
                continue
            count = round(history.series(OPERAND_QUERIES, site).last)
            origin = _origin(history, site)
            yield self.finding(
                history,
                f"all {count} of {site} are equal (share of energy in which they differ {spread:.2g}, rms {rms:.3g}) "
                f"and will stay so{_made(origin)}",
                site=site,
                place=_place(origin),
                evidence={"query_spread": spread, "query_rms": rms, "queries": count, **_evidence(origin)},
            )


def _learned(history: History) -> Iterator[tuple[str, float]]:
    """Yield the attentions of two or more learned queries, with the rms of what goes into the query projection."""
    for site, learned in history.of(OPERAND_LEARNED):
        if learned.last == 1 and history.series(OPERAND_QUERIES, site).last > 1:
            yield site, history.series(OPERAND_QUERY_RMS, site).last


def _origin(history: History, path: str) -> ParameterOrigin | None:
    """Return the origin of the parameter that an attention's learned queries come from."""
    site = history.site(AttentionSite, path)
    return next((o for o in history.origins if site is not None and o.name == site.queries_from), None)


def _place(origin: ParameterOrigin | None) -> SourceLine | None:
    return origin.writes[-1].place if origin is not None and origin.writes else None


def _made(origin: ParameterOrigin | None) -> str:
    if origin is None:
        return ""
    if not origin.writes:
        return f": {origin.name} (where it is made was not seen)"
    last = origin.writes[-1]
    return f": {origin.name}, {last.op} with std {last.std:.3g} at {last.place}"


def _evidence(origin: ParameterOrigin | None) -> dict[str, object]:
    if origin is None:
        return {}
    if not origin.writes:
        return {"parameter": origin.name}
    last = origin.writes[-1]
    return {"parameter": origin.name, "op": last.op, "file": last.file, "line": last.line, "std": last.std}
