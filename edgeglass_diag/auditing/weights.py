"""How a logged total is made of its logged parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from edgeglass_diag.auditing.chance import RATIONALS
from edgeglass_diag.auditing.logged import Case, Series, Table


@dataclass(frozen=True)
class Mixture:
    """``total = sum of weights x parts`` in all rows; ``source`` is settings or digits, with the hypotheses tried.

    Where the parts are equal only the sum of the weights can be inferred.
    """

    total: Series
    parts: tuple[Series, ...]
    weights: tuple[float, ...]
    source: str
    hypotheses: int

    @property
    def arithmetic(self) -> str:
        """The last row in numbers."""
        terms = " + ".join(f"{w:.6g} x {p.last:.7g}" for w, p in zip(self.weights, self.parts, strict=True))
        return f"{self.total.last:.7g} = {terms}"


def mixtures(case: Case) -> list[Mixture]:
    """Return the totals whose weights can be inferred, from the settings (``clip_weight``) or as small rationals."""
    found = []
    for _, series in case.tables():
        totals = [s for s in series if s.role.kind == "loss" and not s.role.part and not s.role.summary]
        for total in totals:
            parts = [
                s for s in series
                if s.role.kind == "loss" and s.role.part and s.role.split == total.role.split and s.steps == total.steps
            ]  # fmt: skip
            mixture = _by_settings(case, total, parts) or _by_digits(total, parts)
            if mixture is not None:
                found.append(mixture)
    return found


def of_table(found: Sequence[Mixture], total: Series, table: Table) -> Mixture | None:
    """The mixture of a total in its table, or of the same split elsewhere in the history."""
    own = [m for m in found if m.total.table is table and m.total.role == total.role]
    same = [m for m in found if m.total.role.split == total.role.split]
    return next(iter(own or same or list(found)), None)


def _by_settings(case: Case, total: Series, parts: Sequence[Series]) -> Mixture | None:
    weights = {part.label: _weight(case.settings, part.role.part) for part in parts}
    known = [(part, w) for part in parts if (w := weights[part.label]) is not None]
    chosen, factors = tuple(p for p, _ in known), tuple(w for _, w in known)
    return Mixture(total, chosen, factors, "settings", 1) if chosen and _holds(total, chosen, factors) else None


def _weight(settings: Mapping[str, object], part: str) -> float | None:
    names = {f"{part}_weight", f"weight_{part}", f"lambda_{part}", f"{part}_loss_weight", f"{part}_coef"}
    for key, value in settings.items():
        if key.lower().rsplit("/", 1)[-1] in names and isinstance(value, (int, float)):
            return float(value)
    return None


def _by_digits(total: Series, parts: Sequence[Series]) -> Mixture | None:
    """Small rationals, where all rows of a log with at least six decimals hold for a single choice."""
    if len(parts) != 2 or total.tolerance > 1e-6 or not all(v > 0 for v in total.values):
        return None
    pairs = [pair for pair in product(RATIONALS, repeat=2) if _holds(total, parts, pair)]
    sums = {sum(pair) for pair in pairs}
    if len(pairs) != 1 and len({round(s, 9) for s in sums}) != 1:
        return None
    return Mixture(total, tuple(parts), pairs[0], "digits", len(RATIONALS) ** 2) if pairs else None


def _holds(total: Series, parts: Sequence[Series], weights: Sequence[float]) -> bool:
    for row, value in enumerate(total.values):
        made = sum(w * p.values[row] for w, p in zip(weights, parts, strict=True))
        room = total.open_by(value) + sum(w * p.tolerance for w, p in zip(weights, parts, strict=True))
        if not abs(value - made) <= room:
            return False
    return True
