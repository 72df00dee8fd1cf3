"""EG1xx: attention that looks at keys which a mask should hide, or at none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from edgeglass_diag.records import Finding, Severity
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.cures import MASK_TURNED_ROUND
from edgeglass_diag.rules.flow import upstream
from edgeglass_diag.rules.history import History
from edgeglass_diag.rules.series import Series
from edgeglass_diag.signals.activations import ACTIVATION_NONFINITE, ACTIVATION_SAMPLE_SIGNAL
from edgeglass_diag.signals.attention import (
    ATTENTION_ENTROPY,
    ATTENTION_FIRST_QUERY_KEYS,
    ATTENTION_MASKED_QUERIES,
    ATTENTION_PADDING_MASS,
    ATTENTION_VALID_KEYS,
)
from edgeglass_diag.signals.batches import DATA_PADDING
from edgeglass_diag.signals.embeddings import EMBEDDING_SAMPLE_SIGNAL
from edgeglass_diag.signals.parameters import GRADIENT_NORM, WEIGHT_NORM
from edgeglass_diag.site_paths import child, first_call, is_within
from edgeglass_diag.sites import AttentionSite, EmbeddingSite, ModuleSite


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
    cures = MASK_TURNED_ROUND
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

    def _inverted(self, valid: Sequence[float], padding: Sequence[float]) -> bool:
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
    cures = MASK_TURNED_ROUND
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


@dataclass(frozen=True)
class CausalBeforeFirst(Rule):
    """An encoder under a causal mask is read at its first position, which sees nothing but itself.

    Why: a class token or BOS that may look at no later position holds the same for every sample, whatever the rest of
    the sequence holds. Causal attention is for decoders, and for encoders that are read at their last token.

    Formula: what is read is exactly the same for every sample (sample signal at most ``constant``) in every recorded
    window over at least ``windows`` windows from the first one on, and it comes from outputs that vary (sample signal
    above ``varied``), and the first position of all attentions on the way to it sees one key at most (a causal flag, a
    triangular mask). What is read is an embedding that a loss compares, or the output of a module: its weight is not
    zero, so that its input must be constant, and has a gradient, unlike that of a pooler that nobody uses.
    """

    constant: float = 1e-12
    varied: float = 1e-4
    windows: int = 4

    code = "EG108"
    name = "causal-before-first-token"
    title = "First token is read under a causal mask"
    severity = Severity.CRITICAL
    page = "attention"
    signals = (ATTENTION_FIRST_QUERY_KEYS, ACTIVATION_SAMPLE_SIGNAL, EMBEDDING_SAMPLE_SIGNAL)
    source = "derived: float32 leaves (2^-24)^2 = 4e-15 of the energy of equal rows; transformers #24650 (BOS pooled)"
    fix = (
        "Read the last token of each text (where argmax of the numbers seeks the end token, look whether the texts "
        "still have one), or let the encoder attend in both directions (is_causal=False, no triangular mask)."
    )
    faulty = "blocks(x, is_causal=True)[:, 0]"
    healthy = "blocks(x)[:, 0]"

    def check(self, history: History) -> Iterable[Finding]:
        """Return one finding per attention whose first position is read."""
        if not history.has(ATTENTION_FIRST_QUERY_KEYS):
            return
        told = set()
        for path, series, sources in self._read(history):
            attentions = self._constant(series) and self._varies(history, sources) and _on_the_way(history, path)
            if not attentions or not all(self._hides(history, site.path) for site in attentions):
                continue
            site = attentions[-1].path
            if site not in told:
                told.add(site)
                yield self.finding(
                    history,
                    f"what {path} gives is exactly the same for every sample since step {series.steps[0]}, although "
                    f"it comes from tokens that vary: position 0 of {site} sees itself alone",
                    site=site,
                    since=series.steps[0],
                    focus=path,
                    evidence={"sample_signal": series.last, "reads": path},
                )

    def _read(self, history: History) -> Iterator[tuple[str, Series, tuple[str, ...]]]:
        """Yield what reads tokens: a module, the sample signal of what it gives, and the modules that it comes from."""
        for module, series in history.at(ModuleSite, ACTIVATION_SAMPLE_SIGNAL):
            weight = child(first_call(module.path), "weight")
            gradient, norm = history.series(GRADIENT_NORM, weight), history.series(WEIGHT_NORM, weight)
            if len(gradient) and len(norm) and gradient.last > 0 and norm.last > 0:
                yield module.path, series, module.parents
        for embedding, series in history.at(EmbeddingSite, EMBEDDING_SAMPLE_SIGNAL):
            yield embedding.module, series, (embedding.module,)

    def _constant(self, series: Series) -> bool:
        return len(series) >= self.windows and max(series.values) <= self.constant

    def _varies(self, history: History, sources: Iterable[str]) -> bool:
        given = [history.series(ACTIVATION_SAMPLE_SIGNAL, path) for path in sources]
        return any(len(series) and series.last > self.varied for series in given)

    def _hides(self, history: History, attention: str) -> bool:
        series = history.series(ATTENTION_FIRST_QUERY_KEYS, attention)
        return len(series) > 0 and max(series.values) <= 1


def _on_the_way(history: History, path: str) -> list[AttentionSite]:
    """Return the attentions whose outputs come into a module, or into what is read of its output."""
    above = upstream(history, path) - {""}
    found = [site for site, _ in history.at(AttentionSite, ATTENTION_ENTROPY) if site.module]
    return [site for site in found if any(is_within(one, first_call(site.module)) for one in above)]
