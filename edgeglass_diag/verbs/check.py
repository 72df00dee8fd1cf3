"""``check``: a preflight as plain values and in words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from edgeglass_diag.initcheck.check import Checked
from edgeglass_diag.initcheck.inspect import AttentionAtInit
from edgeglass_diag.initcheck.prediction import unrelated_loss
from edgeglass_diag.records import Finding, ParameterOrigin, ParameterWrite
from edgeglass_diag.verbs.summary import finding_summary, plain

ALIKE = 1e-10
"""Share of the energy by which rows differ, below which they are equal: EG002's, rounding leaves 4e-15."""


def check_summary(checked: Checked) -> dict[str, Any]:
    """What ``check --json`` says."""
    inspection = checked.inspection
    return plain(  # type: ignore[no-any-return]
        {
            "target": checked.name,
            "verdict": list(verdict(checked)),
            "sample": checked.sample,
            "notes": list(checked.notes),
            "parameters": [_parameter(checked, origin) for origin in inspection.origins],
            "attention": [_attention(checked, attention) for attention in inspection.attention],
            "modules": modules(checked),
            "never_called": list(inspection.never_called) if checked.sample else [],
            "loss": loss(checked),
            "findings": [finding_summary(finding) for finding in checked.findings],
        }
    )


def _parameter(checked: Checked, origin: ParameterOrigin) -> dict[str, Any]:
    stands = checked.standing.get(origin.name)
    known = next((p for p in checked.inspection.parameters if p.name == origin.name), None)
    return {
        "name": origin.name,
        "shape": list(origin.shape),
        "std": origin.std,
        "writes": [_write(write) for write in origin.writes],
        "overwritten": overwritten(origin),
        "trainable": None if stands is None else stands.trainable,
        "in_optimizer": None if stands is None else stands.optimizer,
        "gradient": None if stands is None else stands.gradient,
        "rows": None if stands is None else stands.rows,
        "rows_without_gradient": None if stands is None else stands.unreached,
        "row_signal": None if known is None else known.row_signal,
    }


def _write(write: ParameterWrite) -> dict[str, Any]:
    return {
        "op": write.op, "file": write.file, "line": write.line, "std": write.std,
        "default": write.default, "random": write.random, "partial": write.partial,
    }  # fmt: skip


def _attention(checked: Checked, attention: AttentionAtInit) -> dict[str, Any]:
    return {
        "site": attention.site,
        "logit_std": attention.logit_std,
        "predicted_logit_std": attention.predicted_logit_std,
        "entropy": attention.entropy,
        "predicted_entropy": attention.predicted_entropy,
        "distinct": reading(checked, "attention/distinct", attention.site),
        "top1": attention.top1,
        "queries": attention.queries,
        "keys": attention.keys,
        "unpredicted": attention.unpredicted,
    }


def modules(checked: Checked) -> list[dict[str, Any]]:
    """Sample signal along the model, with the norm of the gradient that each module's own parameters got."""
    squares: defaultdict[str, float] = defaultdict(float)
    for name, stands in checked.standing.items():
        if stands.gradient is not None:
            squares[name.rpartition(".")[0]] += stands.gradient**2
    return [
        {
            "site": module.site,
            "kind": module.kind,
            "rms": module.rms,
            "sample_signal": module.sample_signal,
            "gradient": math.sqrt(squares[own]) if (own := module.site.partition("#")[0]) in squares else None,
        }
        for module in checked.inspection.modules
    ]


def loss(checked: Checked) -> dict[str, float | None] | None:
    """The loss and what it would be; None where no loss was seen.

    ``chance`` is that of a model that says nothing (ln B and the like), ``unrelated`` that of pairs which have nothing
    to do with each other, from the spread that the logits have (None where a loss is no softmax).
    """
    total, chance = reading(checked, "loss/total", ""), reading(checked, "loss/chance", "")
    if total is None or chance is None:
        return None
    return {"value": total, "chance": chance, "unrelated": _unrelated(checked)}


def _unrelated(checked: Checked) -> float | None:
    sites = [r.site for r in checked.inspection.window.readings if r.signal == "loss/weight"]
    labels = {site.path: site.label for site in checked.inspection.window.sites if site.kind == "loss"}
    expected = 0.0
    for site in sites:
        weight, std, count = (reading(checked, f"loss/{word}", site) for word in ("weight", "logit_std", "candidates"))
        if weight is None or std is None or count is None or count < 2 or labels.get(site) == "sigmoid":
            return None
        expected += weight * unrelated_loss(std * math.sqrt(count / (count - 1)), round(count))
    return expected


def reading(checked: Checked, signal: str, site: str) -> float | None:
    """Mean of a reading over its components, None where there is none."""
    found = [r for r in checked.inspection.window.readings if (r.signal, r.site) == (signal, site)]
    return math.fsum(found[-1].values) / len(found[-1].values) if found else None


def overwritten(origin: ParameterOrigin) -> bool:
    """Whether the model's own code draws it twice; a layer's default or a placeholder before is normal."""
    own = [w for w in origin.writes if w.random and not w.default and not w.partial]
    return len({(w.file, w.line, w.op) for w in own}) > 1


def verdict(checked: Checked) -> Iterator[str]:
    """The verdict in sentences, the most important first."""
    yield _headline(checked.findings)
    yield from (f"{note[:1].upper()}{note[1:]}." for note in checked.notes)
    yield from _of_values(checked)
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


def _of_values(checked: Checked) -> Iterator[str]:
    for origin in filter(overwritten, checked.inspection.origins):
        for site in checked.inspection.window.sites:
            if site.kind != "attention" or site.label != origin.name:
                continue
            rms = reading(checked, "operand/query_rms", site.path)
            if rms is not None and origin.std > 0 and abs(math.log(rms / origin.std)) > 0.1:
                yield (
                    f"{origin.name} is drawn twice, but a norm stands behind it: with std {origin.std:.3g} it enters "
                    f"{site.path} with rms {rms:.3g}, so its size has no effect on these logits."
                )
    alike = [
        p.name
        for p in checked.inspection.parameters
        if p.row_signal is not None and p.row_signal <= ALIKE and _rows(p.shape)
    ]
    if alike:
        yield f"Rows that are all alike: {_some(alike)}."


def _rows(shape: tuple[int, ...]) -> bool:
    return sum(size > 1 for size in shape) > 1


def _of_attention(checked: Checked) -> Iterator[str]:
    seen = checked.inspection.attention
    if not seen:
        return
    stds, entropies = [a.logit_std for a in seen], [a.entropy for a in seen]
    predicted = [a.logit_std / a.predicted_logit_std for a in seen if a.predicted_logit_std]
    beside = f", {_range(predicted)} of the predicted" if predicted else ", none of them predictable"
    yield f"Attention at {len(seen)} sites: logit std {_range(stds)}{beside}; entropy {_range(entropies)}."


def _of_signal(checked: Checked) -> Iterator[str]:
    """Of each side its widest embedding: prefixes are named ``side[:width]``."""
    sides: dict[str, tuple[int, float]] = {}
    for found in checked.inspection.window.readings:
        if found.signal == "embedding/sample_signal":
            side, _, width = found.site.partition("[:")
            wide = int(width.rstrip("]")) if width.rstrip("]").isdecimal() else 0
            sides[side] = max(sides.get(side, (-1, 0.0)), (wide, found.values[0]))
    if sides:
        said = ", ".join(f"{side} {value:.2g}" for side, (_, value) in sides.items())
        yield f"Share of the embeddings' energy that depends on the sample: {said}."


def _of_loss(checked: Checked) -> Iterator[str]:
    found = loss(checked)
    if found is None:
        if checked.sample:
            yield "No loss that is known was seen: nothing to compare its value with."
        return
    beside = (
        "" if found["unrelated"] is None else f", {found['unrelated']:.3f} of unrelated pairs with logits so spread"
    )
    yield f"Loss at init {found['value']:.3f}; expected are {found['chance']:.3f} of equal logits{beside}."


def _of_reach(checked: Checked) -> Iterator[str]:
    standing = checked.standing
    trained = {name: s for name, s in standing.items() if s.trainable}
    frozen = len(standing) - len(trained)
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
