"""The verdict of a preflight in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from edgeglass_diag.initcheck.report import CheckReport, loss, overwritten, reading
from edgeglass_diag.records import Finding
from edgeglass_diag.signals.attention import OPERAND_QUERY_RMS
from edgeglass_diag.signals.embeddings import EMBEDDING_SAMPLE_SIGNAL
from edgeglass_diag.sites import AttentionSite, EmbeddingSite


def verdict(checked: CheckReport, *, identical: float) -> Iterator[str]:
    """Yield the verdict in sentences, the most important first.

    Args:
        checked: what was observed.
        identical: share of a weight's energy by which its rows may differ and count as alike, as configured.
    """
    yield _headline(checked.findings)
    yield from (f"{note[:1].upper()}{note[1:]}." for note in checked.notes)
    yield from _of_values(checked, identical)
    yield from _of_attention(checked)
    yield from _of_signal(checked)
    yield from _of_loss(checked)
    yield from _of_reach(checked)


def _headline(findings: tuple[Finding, ...]) -> str:
    counts = {word: sum(f.severity == word for f in findings) for word in ("critical", "warning", "info")}
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    if counts["critical"]:
        return f"It will not learn as it stands: {said}."
    if counts["warning"]:
        return f"It starts in a way that may hurt: {said}."
    return f"Nothing that would keep it from learning was found{f' ({said})' if said else ''}."


def _of_values(checked: CheckReport, identical: float) -> Iterator[str]:
    for origin in filter(overwritten, checked.inspection.origins):
        for site in checked.inspection.window.sites:
            if not isinstance(site, AttentionSite) or site.queries_from != origin.name:
                continue
            rms = reading(checked, OPERAND_QUERY_RMS, site.path)
            if rms is not None and origin.std > 0 and abs(math.log(rms / origin.std)) > 0.1:
                yield (
                    f"{origin.name} is drawn twice, but a norm stands behind it: with std {origin.std:.3g} it enters "
                    f"{site.path} with rms {rms:.3g}, so its size has no effect on these logits."
                )
    alike = [
        p.name
        for p in checked.inspection.parameters
        if p.row_signal is not None and p.row_signal <= identical and _rows(p.shape)
    ]
    if alike:
        yield f"Rows that are all alike: {_some(alike)}."


def _rows(shape: tuple[int, ...]) -> bool:
    return sum(size > 1 for size in shape) > 1


def _of_attention(checked: CheckReport) -> Iterator[str]:
    seen = checked.inspection.attention
    if not seen:
        return
    stds, entropies = [a.logit_std for a in seen], [a.entropy for a in seen]
    predicted = [a.logit_std / a.predicted_logit_std for a in seen if a.predicted_logit_std]
    beside = f", {_range(predicted)} of the predicted" if predicted else ", none of them predictable"
    yield f"Attention at {len(seen)} sites: logit std {_range(stds)}{beside}; entropy {_range(entropies)}."


def _of_signal(checked: CheckReport) -> Iterator[str]:
    """Yield the sample signal of each module's widest embedding."""
    widest: dict[str, tuple[int, float]] = {}
    for site in checked.inspection.window.sites:
        signal = reading(checked, EMBEDDING_SAMPLE_SIGNAL, site.path)
        if isinstance(site, EmbeddingSite) and signal is not None:
            widest[site.module] = max(widest.get(site.module, (-1, 0.0)), (site.width, signal))
    if widest:
        said = ", ".join(f"{module} {signal:.2g}" for module, (_, signal) in widest.items())
        yield f"Share of the embeddings' energy that depends on the sample: {said}."


def _of_loss(checked: CheckReport) -> Iterator[str]:
    found = loss(checked)
    if found is None:
        if checked.sample:
            yield "No loss that is known was seen: nothing to compare its value with."
        return
    beside = (
        "" if found["unrelated"] is None else f", {found['unrelated']:.3f} of unrelated pairs with logits so spread"
    )
    yield f"Loss at init {found['value']:.3f}; expected are {found['chance']:.3f} of equal logits{beside}."


def _of_reach(checked: CheckReport) -> Iterator[str]:
    statuses = checked.statuses
    trained = {name: s for name, s in statuses.items() if s.trainable}
    frozen = len(statuses) - len(trained)
    yield f"{len(trained)} parameters trainable, {frozen} frozen{_held(trained)}."
    if not checked.sample:
        return
    without = [name for name, s in trained.items() if s.gradient is None]
    zero = [name for name, s in trained.items() if s.gradient == 0]
    partly = [f"{n} ({s.unreached} of {s.rows})" for n, s in trained.items() if s.unreached and s.gradient]
    if without:
        yield f"Without gradient: {_some(without)}."
    if zero:
        yield f"Gradient exactly zero: {_some(zero)}."
    if partly:
        yield f"Rows that no gradient reaches from this batch: {_some(partly)}."
    if checked.inspection.never_called:
        yield f"Never called: {_some(list(checked.inspection.never_called))}."


def _held(trained: dict[str, Any]) -> str:
    if any(s.optimizer is None for s in trained.values()):
        return "; no optimizer is known"
    missing = [name for name, s in trained.items() if not s.optimizer]
    return f"; no optimizer holds {_some(missing)}" if missing else "; the optimizer holds all of them"


def _some(names: list[str], most: int = 4) -> str:
    more = len(names) - most
    return ", ".join(name or "the model" for name in names[:most]) + (f" and {more} more" if more > 0 else "")


def _range(values: list[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"
