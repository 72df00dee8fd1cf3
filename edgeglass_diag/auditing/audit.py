"""The audit: files of logged numbers -> conclusions with their arithmetic, and what the numbers imply."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeglass_diag.auditing.against import against
from edgeglass_diag.auditing.columns import Role, parse_column
from edgeglass_diag.auditing.conclusion import Concluded, conclude
from edgeglass_diag.auditing.course import judged_trainings, nested
from edgeglass_diag.auditing.impossible import loss_below_possible, recall_despite_chance
from edgeglass_diag.auditing.logged import Case, Logged
from edgeglass_diag.auditing.losses import (
    AtChance,
    at_chance_finding,
    batch_settings,
    headline,
    identical,
    inferred,
    losses_at_chance,
    other_batch,
    reduced_precision,
)
from edgeglass_diag.auditing.rates import learning_rates
from edgeglass_diag.auditing.readers import read
from edgeglass_diag.auditing.readers.wandb_charts import joined
from edgeglass_diag.auditing.recalls import (
    Recalls,
    counts,
    exactly_chance,
    exactly_chance_finding,
    impossible_recalls,
    logged_count,
    sizes,
)
from edgeglass_diag.auditing.scale_bounds import scale_bounds
from edgeglass_diag.auditing.understand import understand
from edgeglass_diag.auditing.values import counters, never_computed, repeats, scales
from edgeglass_diag.auditing.weights import Mixture, mixtures
from edgeglass_diag.records import Finding, UsageError
from edgeglass_diag.rules.embeddings import ConstantEmbeddings
from edgeglass_diag.rules.loss import LossAtChance, LossBelowPossible


@dataclass(frozen=True)
class Audited:
    """What one history says."""

    name: str
    file: str
    concluded: tuple[Concluded, ...]
    inferred: Mapping[str, object]
    columns: Mapping[str, str]
    open_columns: Mapping[str, str]
    notes: tuple[str, ...]

    @property
    def conclusions(self) -> tuple[Finding, ...]:
        """Return the findings without their work."""
        return tuple(one.finding for one in self.concluded)


def audit_files(
    paths: Sequence[Path],
    *,
    columns: Sequence[str] = (),
    batch_size: int | None = None,
    healthy: Path | None = None,
) -> list[Audited]:
    """Read files and judge each history in them.

    Args:
        paths: files or folders, see ``readers``.
        columns: ``ROLE=NAME`` for columns whose names do not tell; ``ignore=NAME`` leaves one out.
        batch_size: of the losses, before what the logs tell; the bounds on losses are then of this batch.
        healthy: log of a healthy training that each history is compared with: the one of the same name where it
            holds several.

    Raises:
        UsageError: for what cannot be read, no column that is understood, a column of an option that is in no file, or
            a healthy log of several histories of which none has the name.
    """
    given_roles = dict(parse_column(text) for text in columns)
    logs = joined([logged for path in paths for logged in read(path)])
    others = [] if healthy is None else read(healthy)
    known = {name for logged in (*logs, *others) for table in logged.tables for name in table.columns}
    for name in given_roles:
        if name not in known:
            raise UsageError(f"--column: no column {name!r}; there are: {', '.join(sorted(known)) or 'none'}")
    pairs = zip(logs, _with_own_names(logs), strict=True)
    audited = [
        audit(named, given_roles, batch_size=batch_size, healthy=_healthy(healthy, others, log.name, given_roles))
        for log, named in pairs
    ]
    if not any(one.columns for one in audited):
        names = ", ".join(sorted(known)[:12]) or "none"
        reasons = [f"{name}: {reason}" for one in audited for name, reason in one.open_columns.items()]
        hint = f"({'; '.join(reasons[:3])})" if reasons else "tell with --column"
        raise UsageError(f"{paths[0]}: expected a loss, recall or learning rate, got columns {names}; {hint}")
    return audited


def _with_own_names(logs: Sequence[Logged]) -> list[Logged]:
    """Histories of the same name get that of their file or folder in front."""
    names = [logged.name for logged in logs]
    return [log if names.count(log.name) == 1 else replace(log, name=f"{log.source}:{log.name}") for log in logs]


def _healthy(path: Path | None, logs: Sequence[Logged], name: str, roles: Mapping[str, Role | None]) -> Case | None:
    if path is None:
        return None
    found = [log for log in logs if log.name == name] if len(logs) > 1 else logs
    if len(found) != 1:
        names = ", ".join(log.name for log in logs[:8]) or "none"
        raise UsageError(f"--against {path}: expected one history, or one named {name!r}, got {names}")
    return replace(understand(found[0], roles).case, name=f"baseline {found[0].name}")


def audit(
    logged: Logged,
    given_roles: Mapping[str, Role | None] | None = None,
    *,
    batch_size: int | None = None,
    healthy: Case | None = None,
) -> Audited:
    """Judge one history, and compare it with another where one is given."""
    understood = understand(logged, given_roles or {})
    case = understood.case
    made = mixtures(case)
    counted = counts(case)
    known = sizes(case, counted)
    found, states, n = _chance(case, made, list(dict.fromkeys(known.values())))
    implied = dict(inferred(states))
    # The digits tell the least N only; it may be a divisor of the one that was logged.
    gallery = n or logged_count(case) or next((c.n for c in counted.values()), None)
    pairs = gallery or next(iter(known.values()), None)
    batch = batch_size or _batch(case, implied)
    found += loss_below_possible(case, n=pairs, batch=batch)
    found += scale_bounds(case, made, batch=batch, n=pairs)
    found += recall_despite_chance(case, states, pairs)
    found += impossible_recalls(case, counted)
    flagged = {one.finding.site for one in found if one.finding.code == LossBelowPossible.code}
    found += never_computed(case, flagged)
    found += repeats(case, {one.series.label for one in states})
    found += [*scales(case), *counters(case), *learning_rates(case), *reduced_precision(case)]
    found += judged_trainings(case)
    if healthy is not None:
        found += against(case, healthy)
    if gallery is not None:
        implied = {"n": gallery, **implied}
    implied |= _other_facts(counted, made, understood.recall_unit, known)
    return Audited(
        case.name, case.source, tuple(_ordered(nested(found))), implied, {s.label: _words(s.role) for s in case.series},
        understood.open_columns, logged.notes,
    )  # fmt: skip


def _chance(
    case: Case, made: Sequence[Mixture], known: Sequence[int]
) -> tuple[list[Concluded], list[AtChance], int | None]:
    """Everything about a state in which nothing is known: the constant side first, what follows from it after."""
    exact = [(n, *one) for n in known for one in exactly_chance(case, n)]
    best = min(exact, key=lambda one: one[2], default=None)
    n = best[0] if best else None
    same_n = [(recalls, p) for size, recalls, p in exact if size == n]
    states = losses_at_chance(case, known, made, supported=bool(same_n))
    certain = bool(states) or len({recalls.way for recalls, _ in same_n}) > 1
    found: list[Concluded] = []
    because = None
    if states and same_n:
        found.append(_constant_side(case, states, same_n))
        because = ConstantEmbeddings.code
    if states:
        found.append(at_chance_finding(case, states, because_of=because))
        found += other_batch(case, states)
    found += [
        exactly_chance_finding(case, recalls, n or 0, p, certain=certain, because_of=because) for recalls, p in same_n
    ]
    found += identical(case, states, because_of=because or (LossAtChance.code if states else None))
    return found, states, n


def _constant_side(case: Case, states: Sequence[AtChance], exact: Sequence[tuple[Recalls, float]]) -> Concluded:
    """EG301: uniform softmax and equal rankings together; nothing else gives both.

    To second order L = ln B - s (positive - mean) + s^2 Var / 2, so a loss within t of ln B leaves logits a standard
    deviation of sqrt(2 t) where pairs and others do not differ in the mean.
    """
    best = headline(states)
    way = ", ".join(dict.fromkeys(recalls.way or "the recalls" for recalls, _ in exact))
    spread = math.sqrt(2 * best.level.tolerance / best.level.weight)
    return conclude(
        ConstantEmbeddings, case, best.series,
        f"on one side, a collapse and not slow learning: the loss is that of a uniform softmax "
        f"({best.level.arithmetic}) and every query got the same ranking ({way})",
        evidence={
            "batch_size": best.level.batch, "n": best.level.n, "largest_logit_std": spread,
            "probability_of_the_recalls": math.prod(p for _, p in exact),
        },
        work=best.work(f"{best.series.last!r} = {best.level.arithmetic} = {best.level.predicted:.9g}"),
    )  # fmt: skip


def _batch(case: Case, implied: Mapping[str, object]) -> int | None:
    """Batch of the validation loss: as the loss tells, else the least that the settings tell (the weakest bound)."""
    batch = implied.get("batch_size")
    return batch if isinstance(batch, int) else min(batch_settings(case).values(), default=None)


def _other_facts(
    counted: Mapping[str, object], made: Sequence[Mixture], unit: str, known: Mapping[str, int]
) -> dict[str, object]:
    facts: dict[str, object] = {}
    for way, count in counted.items():
        facts[f"queries_{way}" if way else "queries"] = {
            "n": getattr(count, "n", None), "hits": list(getattr(count, "hits", ()))[:10],
            "coincidence": getattr(count, "coincidence", None),
        }  # fmt: skip
    if made:
        facts["totals"] = [f"{m.total.label}: {m.arithmetic} (weights by {m.source})" for m in made]
    if unit:
        facts["recall_unit"] = unit
    if known:
        facts["sizes_known"] = dict(known)
    return facts


def _words(role: Role) -> str:
    words = (role.summary, role.split, role.part, role.kind, role.way, f"@{role.k}" if role.k else "")
    return " ".join(word for word in words if word)


def _ordered(found: Sequence[Concluded]) -> list[Concluded]:
    return sorted(found, key=lambda one: (-one.finding.severity.rank, one.finding.because_of is not None))
