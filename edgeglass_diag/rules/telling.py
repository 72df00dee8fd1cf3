"""EG1xx: attention that cannot tell, or looks at the wrong keys."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.learning import stuck


@dataclass(frozen=True)
class AttentionSaturated(Rule):
    """Attention looks at a single key from the start, and the model hardly learns.

    Why: a saturated softmax passes almost no gradient to queries and keys; what they look at at random stays.

    Formula: the softmax entropy over ln(valid keys), averaged over heads, is at most ``entropy`` and the standard
    deviation of the logits at least ``spread``, in every recorded window from the first on, over at least ``steps``
    steps and ``windows`` windows. A warning where the loss is no more than a tenth better than chance meanwhile,
    or the spread is ``extreme``; a fact (info) otherwise.
    """

    entropy: float = 0.05
    spread: float = 10.0
    extreme: float = 100.0
    steps: float = 10
    windows: float = 4

    code = "EG103"
    name = "attention-saturated"
    severity = Severity.WARNING
    source = (
        "derived: Gaussian logits of std s over 577 keys have H / ln n = .26 at s = 5 and below .05 from s = 15 on; "
        "trained attention sharpens, random attention must not begin so. Stabilizing Transformer Training by "
        "Preventing Attention Entropy Collapse, https://arxiv.org/abs/2303.06296"
    )
    fix = "Divide the logits by the root of the head's width, put a norm before queries and keys, or lower their init."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention site."""
        for site, series in history.of("attention/entropy"):
            state = history.streak(("EG103", self.entropy, site), series, lambda _, value: value <= self.entropy)
            if state is None or state.windows < len(series):
                continue
            spread = history.series("attention/logit_std", site)
            if not state.lasting(steps=int(self.steps), windows=int(self.windows)) or spread.last < self.spread:
                continue
            loud = min(spread.values) >= self.extreme or stuck(history, steps=int(self.steps))
            yield self.finding(
                history,
                f"{site}: entropy {series.last:.3f} of the uniform's, logits with std {spread.last:.3g}, since step "
                f"{state.since}",
                site=site,
                severity=Severity.WARNING if loud else Severity.INFO,
                evidence={"entropy": series.last, "logit_std": spread.last, "since": state.since},
            )


@dataclass(frozen=True)
class AttentionLogitsExplode(Rule):
    """Attention logits grow beyond what any training has survived.

    Why: queries and keys feed each other's growth; the softmax turns into an argmax and the training diverges.

    Formula: the largest valid logit of a head (all heads' mean) exceeds ``logit`` in at least two recorded windows.
    """

    logit: float = 1e4

    code = "EG104"
    name = "attention-logits-explode"
    severity = Severity.WARNING
    source = (
        "Small-scale proxies for large-scale Transformer training instabilities, https://arxiv.org/abs/2309.14322: "
        "all runs with logits above 1e4 diverged"
    )
    fix = "Normalise queries and keys (qk-norm), lower the learning rate, or warm up longer."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention site."""
        for site, series in history.of("attention/logit_max"):
            state = history.streak(("EG104", self.logit, site), series, lambda _, value: value > self.logit)
            if state is not None and state.windows >= 2:
                yield self.finding(
                    history,
                    f"{site}: attention logits of up to {series.last:.3g} since step {state.since}",
                    site=site,
                    evidence={"logit_max": series.last, "first": series.values[0], "since": state.since},
                )


@dataclass(frozen=True)
class MassOnPadding(Rule):
    """The attention mask hides the words and lets the padding through.

    Why: an inverted mask is no error to torch; the text is read from its padding.

    Formula: tokens whose padding is a share p of the context go into the model whose attention has a share v of valid
    keys, and v equals p to ``slack`` and not 1 - p, in every recorded window over at least ``windows`` windows. A mask
    that hides no key from all queries of a sample, as a causal one, is no mask of padding and silent.
    """

    slack: float = 0.02
    windows: float = 3

    code = "EG105"
    name = "mask-inverted"
    severity = Severity.CRITICAL
    source = "derived: the valid keys of a right mask are the tokens without padding; pytorch #27968, DETR #96"
    fix = "key_padding_mask is True for padding, F.scaled_dot_product_attention's mask True for keys that count."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention site."""
        shares = [(site, series) for site, series in history.of("data/padding") if len(series)]
        for site, valid in history.of("attention/valid_keys"):
            hidden = history.series("attention/padding_mass", site)
            if len(hidden) and hidden.last == 0:
                continue
            for tokens, padding in shares:
                if self._inverted(valid.values, [padding.at(step) for step in valid.steps]):
                    yield self.finding(
                        history,
                        f"{site}: {valid.last:.0%} of the keys are valid, as many as {tokens} has padding "
                        f"({padding.last:.0%}): the mask is inverted",
                        site=site,
                        evidence={"valid_keys": valid.last, "padding": padding.last, "tokens": tokens},
                    )
                    break

    def _inverted(self, valid: list[float], padding: list[float]) -> bool:
        recent = list(zip(valid, padding, strict=True))[-int(self.windows) :]
        return len(recent) >= self.windows and all(
            abs(v - p) <= self.slack and abs(v - (1 - p)) > 2 * self.slack for v, p in recent
        )


@dataclass(frozen=True)
class FullyMasked(Rule):
    """Some queries have no valid key.

    Why: a softmax over nothing is 0 / 0. Some kernels give NaN there, some zeros, some the mean of what was masked.

    Formula: a share of queries above 0 in at least ``windows`` recorded windows in a row. Critical where something is
    not finite in the same run, a fact (info) otherwise: rows of padding are often masked whole and never read.
    """

    windows: float = 1

    code = "EG106"
    name = "fully-masked"
    severity = Severity.CRITICAL
    source = "derived: softmax over an empty set; pytorch #41508"
    fix = "Let every query see one key at least, itself or the first token."

    def check(self, history: History) -> Iterable[Finding]:
        """One finding per attention site."""
        for site, series in history.of("attention/masked_queries"):
            if sum(value > 0 for value in series.values[-int(self.windows) :]) < self.windows:
                continue
            broken = [place for place, values in history.of("activation/nonfinite") if values.last > 0]
            owner = site.split("#")[0].removesuffix(".attention")
            harmed = [place for place in broken if place == owner or owner.startswith(place) or place.startswith(owner)]
            yield self.finding(
                history,
                f"{site}: {series.last:.1%} of the queries have no valid key"
                + (f", and the output of {harmed[0]} is not finite" if harmed else ""),
                site=site,
                severity=Severity.CRITICAL if harmed else Severity.INFO,
                evidence={"share": series.last, "not_finite": harmed[:5]},
            )
