"""EG05x: what an inspection before the first step shows. Silent on runs, which have no ``operand/*`` readings."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from edgeglass_diag.records import Finding, ParameterOrigin, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History


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
    severity = Severity.WARNING
    source = (
        "rms: TheDeepChecker, activations' std within [0.5, 2]; logit_std: derived, 2 % of the mass, a chosen share"
    )
    fix = "Put a LayerNorm before the query projection, or draw the latents with std 1."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention."""
        for site, rms in _learned(history):
            spread, share = history.series("attention/logit_std", site), history.series("operand/own_share", site)
            own = spread.last * math.sqrt(share.last) if len(spread) and len(share) else math.inf
            if not 0 < rms < self.rms or not own < self.logit_std:
                continue
            count = round(history.series("operand/queries", site).last)
            origin, entropy = _origin(history, site), history.series("attention/entropy", site).last
            yield self.finding(
                history,
                f"{site}: {count} learned queries enter with rms {rms:.3g} (at least {self.rms:g}), so their own part "
                f"of the logits has std {own:.3g} (at least {self.logit_std:g}) and all read the same mean of the "
                f"tokens, entropy {entropy:.4f}{_made(origin)}",
                site=site,
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
    severity = Severity.CRITICAL
    source = "derived: rounding of float32 leaves (6e-8)^2 = 4e-15 per entry; the symmetry is exact or broken"
    fix = "Draw the latents independently, e.g. nn.init.trunc_normal_(latents, std=0.02) behind a LayerNorm."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention."""
        for site, rms in _learned(history):
            spread = history.series("operand/query_spread", site).last
            if spread > self.share:
                continue
            count = round(history.series("operand/queries", site).last)
            origin = _origin(history, site)
            yield self.finding(
                history,
                f"{site}: all {count} learned queries are equal (share of energy in which they differ {spread:.2g}, "
                f"rms {rms:.3g}) and will stay so{_made(origin)}",
                site=site,
                evidence={"query_spread": spread, "query_rms": rms, "queries": count, **_evidence(origin)},
            )


@dataclass(frozen=True)
class AttentionSaturated(Rule):
    """Attention looks at single keys before anything was learned.

    Why: a saturated softmax passes hardly a gradient to its logits, and what it looks at is chance.

    Formula: the logits' standard deviation over n keys is at least sqrt(2 ln n), above which the sum of n exponentials
    of Gaussian logits is dominated by its largest few (the freezing point of the random energy model). For at
    least ``keys`` keys.
    """

    keys: float = 8

    code = "EG052"
    name = "attention-saturated-at-init"
    severity = Severity.WARNING
    source = "derived: random energy model, Derrida 1981, https://doi.org/10.1103/PhysRevB.24.2613; at 577 keys 3.57"
    fix = "Scale logits by 1 / sqrt(head width), normalise what goes into queries and keys, or draw smaller weights."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention."""
        for site, counts in history.of("operand/keys"):
            spread, keys = history.series("attention/logit_std", site), counts.last
            if keys < self.keys or not len(spread) or spread.last < math.sqrt(2 * math.log(keys)):
                continue
            top1 = history.series("attention/top1", site)
            limit = math.sqrt(2 * math.log(keys))
            yield self.finding(
                history,
                f"{site}: logits of std {spread.last:.3g} over {keys:.0f} keys (below {limit:.3g}): the largest"
                f" weight is {top1.last:.2f} on average",
                site=site,
                evidence={"logit_std": spread.last, "keys": keys, "top1": top1.last},
            )


@dataclass(frozen=True)
class NotHeldAtFirstStep(Rule):
    """A parameter gets a gradient, and when the first optimizer step begins no optimizer holds it.

    Why: it keeps its first value, while everything around learns to live with it. EG003 says so of a run.

    Formula: trainable, its gradient is above ``gradient``, in no parameter group of an optimizer that exists, while
    another parameter is in one. Values loaded from a checkpoint may be meant to stay: they are only a fact (info).
    """

    gradient: float = 0.0

    code = "EG053"
    name = "not-held-at-first-step"
    severity = Severity.WARNING
    source = "derived: a parameter in no group is never stepped; torchtest checks that parameters change"
    fix = "Give the optimizer all of model.parameters(), after the last module is made; freeze what is meant to stay."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding for all drawn parameters, and one for all loaded ones."""
        held = {name: series.last == 1 for name, series in history.of("standing/optimizer")}
        reached = [
            name
            for name, inside in held.items()
            if not inside and history.series("standing/gradient", name).last > self.gradient
        ]
        if not any(held.values()):
            return
        loaded = {o.name for o in history.origins if any(w.op == "load_state_dict" for w in o.writes)}
        for names, severity in (
            ([n for n in reached if n not in loaded], Severity.WARNING),
            ([n for n in reached if n in loaded], Severity.INFO),
        ):
            if names:
                more = f" and {len(names) - 1} more" if len(names) > 1 else ""
                yield self.finding(
                    history,
                    f"{names[0]}{more}: reached by a gradient, and no optimizer holds it",
                    site=names[0],
                    evidence={"parameters": names},
                    severity=severity,
                )


def _learned(history: History) -> Iterator[tuple[str, float]]:
    """Attentions of two or more learned queries, with the rms of what goes into the query projection."""
    for site, learned in history.of("operand/learned"):
        if learned.last == 1 and history.series("operand/queries", site).last > 1:
            yield site, history.series("operand/query_rms", site).last


def _origin(history: History, site: str) -> ParameterOrigin | None:
    """Of the parameter that an attention's learned queries come from."""
    known = history.sites.get((site, "attention"))
    return next((o for o in history.origins if known is not None and o.name == known.label), None)


def _made(origin: ParameterOrigin | None) -> str:
    if origin is None:
        return ""
    if not origin.writes:
        return f": {origin.name} (its making was not watched)"
    last = origin.writes[-1]
    return f": {origin.name}, {last.op} with std {last.std:.3g} at {last.file}:{last.line}"


def _evidence(origin: ParameterOrigin | None) -> dict[str, object]:
    if origin is None:
        return {}
    if not origin.writes:
        return {"parameter": origin.name}
    last = origin.writes[-1]
    return {"parameter": origin.name, "op": last.op, "file": last.file, "line": last.line, "std": last.std}
