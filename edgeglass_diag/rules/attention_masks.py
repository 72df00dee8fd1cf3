"""EG1xx: attention that looks at keys which a mask should hide, or at none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.history import History
from edgeglass_diag.signals.activations import ACTIVATION_NONFINITE
from edgeglass_diag.signals.attention import ATTENTION_MASKED_QUERIES, ATTENTION_PADDING_MASS, ATTENTION_VALID_KEYS
from edgeglass_diag.signals.batches import DATA_PADDING
from edgeglass_diag.site_paths import first_call, is_within
from edgeglass_diag.sites import AttentionSite


@dataclass(frozen=True)
class MassOnPadding(Rule):
    """The attention mask hides the words and lets the padding through.

    Why: an inverted mask is no error to torch; the text is read from its padding.

    Formula: tokens whose padding is a share p of the context go into the model whose attention has a share v of valid
    keys, and v equals p to ``slack`` and not 1 - p, in every recorded window over at least ``windows`` windows. A mask
    that hides no key from all queries of a sample, as a causal one, is no mask of padding and silent.
    """

    slack: float = 0.02
    windows: int = 3

    code = "EG105"
    name = "mask-inverted"
    title = "Attention mask inverted"
    severity = Severity.CRITICAL
    page = "attention"
    signals = (ATTENTION_VALID_KEYS, ATTENTION_PADDING_MASS, DATA_PADDING)
    source = "derived: the valid keys of a right mask are the tokens without padding; pytorch #27968, DETR #96"
    fix = "key_padding_mask is True for padding, F.scaled_dot_product_attention's mask True for keys that count."
    faulty = "key_padding_mask=tokens != PAD"
    healthy = "key_padding_mask=tokens == PAD"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention site."""
        shares = list(history.of(DATA_PADDING))
        for site, valid in history.of(ATTENTION_VALID_KEYS):
            hidden = history.series(ATTENTION_PADDING_MASS, site)
            if len(hidden) and hidden.last == 0:
                continue
            for tokens, padding in shares:
                if self._inverted(valid.values, [padding.at(step) for step in valid.steps]):
                    yield self.finding(
                        history,
                        f"{site} sees {valid.last:.0%} of its keys, as many as {tokens} has padding "
                        f"({padding.last:.0%})",
                        site=site,
                        evidence={"valid_keys": valid.last, "padding": padding.last, "tokens": tokens},
                    )
                    break

    def _inverted(self, valid: list[float], padding: list[float]) -> bool:
        recent = list(zip(valid, padding, strict=True))[-self.windows :]
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

    windows: int = 1

    code = "EG106"
    name = "fully-masked"
    title = "Queries without any valid key"
    severity = Severity.CRITICAL
    page = "attention"
    signals = (ATTENTION_MASKED_QUERIES, ACTIVATION_NONFINITE)
    source = "derived: softmax over an empty set; pytorch #41508"
    fix = "Let every query see one key at least, itself or the first token."
    faulty = "mask = torch.zeros(B, 1, 1, L, dtype=torch.bool)  # an empty text"
    healthy = "mask[..., 0] = True"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention site."""
        for site, series in history.at(AttentionSite, ATTENTION_MASKED_QUERIES):
            if sum(value > 0 for value in series.values[-self.windows :]) < self.windows:
                continue
            broken = [place for place, values in history.of(ACTIVATION_NONFINITE) if values.last > 0]
            owner = first_call(site.module)
            harmed = [place for place in broken if is_within(owner, place) or is_within(place, owner)]
            yield self.finding(
                history,
                f"{series.last:.1%} of the queries of {site.path}"
                + (f", and the output of {harmed[0] or 'the model'} is not finite" if harmed else ""),
                site=site.path,
                severity=Severity.CRITICAL if harmed else Severity.INFO,
                evidence={"share": series.last, "not_finite": harmed[:5]},
            )
