"""Losses at chance: batch size, number of pairs, collapsed parts, and what the settings say about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgeglass_diag.auditing.chance import RATIONALS, Fingerprint, fingerprint, grid_mean
from edgeglass_diag.auditing.conclusion import Concluded, Work, conclude
from edgeglass_diag.auditing.contradictions import IDENTICAL_LOSSES, OTHER_BATCH, REDUCED_PRECISION
from edgeglass_diag.auditing.logged import Case, Series, decimals
from edgeglass_diag.auditing.weights import Mixture, of_table
from edgeglass_diag.records import Severity
from edgeglass_diag.rules.loss import LossAtChance

ALONE = 1e-5
"""Largest expected number of coincidences of a single logged value that nothing else supports."""
LASTING = 1e-3
"""The same for three or more last rows, which a loss that falls cannot give, and for a value that others support."""
THROUGHOUT = 2e-2
"""The same where every row of at least three is at the level, within its digits: nothing was ever learned."""


@dataclass(frozen=True)
class AtChance:
    """A series whose newest rows are at their chance level."""

    series: Series
    level: Fingerprint
    rows: int

    def work(self, *arithmetic: str) -> Work:
        """Return arithmetic with the hypotheses that were tried for the level."""
        return Work(arithmetic, self.level.hypotheses, self.level.coincidence)


def losses_at_chance(case: Case, sizes: Sequence[int], found: Sequence[Mixture], *, supported: bool) -> list[AtChance]:
    """All contrastive losses that are at chance now.

    Args:
        case: the history.
        sizes: numbers of pairs that are known.
        found: totals whose weights are known.
        supported: whether recalls say that nothing is known as well.
    """
    candidates = []
    for series in case.of("loss"):
        if not series.role.contrastive or series.role.summary == "best" or series.table.partial:
            continue
        level = _level(series, sizes, found)
        if level is not None:
            candidates.append(AtChance(series, level, _lasting(series, level)))
    return [one for one in candidates if _believed(one, supported or _others(one, candidates))]


def _level(series: Series, sizes: Sequence[int], found: Sequence[Mixture]) -> Fingerprint | None:
    weights: tuple[float, ...] = (1.0,)
    mixture = of_table(found, series, series.table) if not series.role.part else None
    if mixture is not None:
        weights = (sum(mixture.weights),)
    room = series.open_by(series.last)
    level = fingerprint(series.last, room, weights=weights, sizes=sizes, limit=THROUGHOUT)
    if level is None and mixture is None and not series.role.part:
        level = fingerprint(series.last, room, weights=RATIONALS, sizes=sizes, limit=LASTING)
    return level


def _lasting(series: Series, level: Fingerprint) -> int:
    rows = 0
    for value in reversed(series.values):
        if not abs(value - level.predicted) <= level.tolerance:
            break
        rows += 1
    return rows


def _believed(one: AtChance, supported: bool) -> bool:
    rows, coincidence = len(one.series.values), one.level.coincidence
    if one.rows >= 3:
        return coincidence <= (THROUGHOUT if one.rows == rows else LASTING)
    return one.rows == rows and coincidence <= (LASTING if supported else ALONE)


def _others(one: AtChance, candidates: Sequence[AtChance]) -> bool:
    """Whether another loss tells the same batch by a value of its own."""
    return any(
        other.level.batch == one.level.batch and abs(other.series.last - one.series.last) > one.level.tolerance
        for other in candidates
        if other.series.table is one.series.table
    )


def headline(states: Sequence[AtChance]) -> AtChance:
    """The state that tells most: with a number of pairs, of a single term, with the fewest coincidences."""
    return min(states, key=lambda one: (one.level.n is None, one.level.weight != 1, one.level.coincidence))


def at_chance_finding(case: Case, states: Sequence[AtChance], *, because_of: str | None) -> Concluded:
    """EG401 for the whole history, at the level that tells most."""
    best = headline(states)
    level, series = best.level, best.series
    rows = f" in its last {best.rows} rows" if best.rows > 1 else ""
    return conclude(
        LossAtChance, case, series,
        f"{series.label} = {series.last:.7g} = {level.arithmetic}{rows}: the softmax over {level.batch} candidates is "
        "uniform",
        because_of=because_of,
        evidence={
            "loss": series.last, "chance": level.predicted,
            "batch_size": level.batch, "n": level.n, "full_batches": level.batches, "last_batch": level.rest,
            "weight": level.weight, "tolerance": level.tolerance,
            "also": {o.series.label: o.level.arithmetic for o in states if o is not best},
        },
        work=best.work(f"{level.arithmetic} = {level.predicted:.9g}"),
    )  # fmt: skip


def other_batch(case: Case, states: Sequence[AtChance]) -> Iterator[Concluded]:
    """EG452: the settings name another batch size than the one the loss was computed over."""
    best = headline(states)
    batch, told = best.level.batch, batch_settings(case)
    if best.level.n is None and not _among_pairs(case, best.series):
        return
    if not told or any(batch in (value, value * world_size(case)) for value in told.values()):
        return
    key, value = next(iter(told.items()))
    times = f"; {batch} = {batch // value} x {value}, as if gathered" if batch % value == 0 and batch > value else ""
    other = expected(best.level, value)
    levels = [
        f"{s.label} = {s.last:.6g} is {s.last - math.log(value):+.4g} from ln {value} = {math.log(value):.6g} and "
        f"{s.last - math.log(batch):+.4g} from ln {batch} = {math.log(batch):.6g}"
        for s in case.of("loss")
        if s.role.part and s.role.contrastive and not s.role.summary and s.table is best.series.table
    ]
    yield conclude(
        OTHER_BATCH, case, best.series,
        f"the loss is that of batches of {batch}, not the {value} of setting {key}, which would "
        f"give {other:.4f} where {best.series.label} = {best.series.last:.6g}{times}",
        evidence={"batch_size": batch, "setting": key, "told": value}, work=best.work(*levels),
    )  # fmt: skip


def _among_pairs(case: Case, series: Series) -> bool:
    """Whether something tells that a loss is among the pairs of a batch, not among classes."""
    kinds = ("recall", "scale", "temperature")
    return bool(series.role.part) or any(one.role.kind in kinds for one in case.series)


def expected(level: Fingerprint, batch: int) -> float:
    """What the same number of pairs would give at chance in batches of another size."""
    whole, rest = divmod(level.n or batch, batch)
    if not rest or not whole:
        return level.weight * math.log(batch)
    mean = (whole * math.log(batch) + math.log(rest)) / (whole + 1)
    by_pair = (whole * batch * math.log(batch) + rest * math.log(rest)) / (level.n or 1)
    return level.weight * (by_pair if level.mean == "pairs" else mean)


def batch_settings(case: Case) -> dict[str, int]:
    """Batch sizes that the settings or columns tell, by name."""
    told: dict[str, int] = {s.label: int(s.last) for s in case.of("batch_size") if s.last >= 1}
    for key, value in case.settings.items():
        if "batch_size" in key.lower() and isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            told[key] = value
    return told


def world_size(case: Case) -> int:
    """Number of processes that the settings tell, 1 where they do not."""
    words = {"world_size", "num_gpus", "gpus", "devices", "num_devices", "n_gpus", "num_processes"}
    for key, value in case.settings.items():
        if key.lower().rsplit("/", 1)[-1] in words and isinstance(value, int) and value >= 1:
            return int(value)
    return 1


def identical(case: Case, states: Sequence[AtChance], *, because_of: str | None) -> Iterator[Concluded]:
    """EG453: losses of different parts that agree to all digits; critical where they are at chance."""
    chance = {id(one.series) for one in states}
    level = math.log(headline(states).level.batch) if states else math.inf
    for group in _equal_parts(case):
        collapsed = any(id(one) in chance or abs(one.last - level) < 0.01 * level for one in group)
        names = " = ".join(one.label for one in group)
        prefixes = any(one.role.part.startswith(("mrl", "matryoshka")) for one in group)
        what = "all of them collapsed" + (", so every prefix that was sampled did" if prefixes else "")
        what = what if collapsed else "learning does not lead there"
        yield conclude(
            IDENTICAL_LOSSES, case, group[0],
            f"{names} = {group[0].last:.7g} to {group[0].open_by(group[0].last):.1g} in {len(group[0].values)} rows: "
            f"{what}",
            severity=Severity.CRITICAL if collapsed else None,
            because_of=because_of if collapsed else None,
            evidence={"values": {one.label: one.last for one in group}, "tolerance": group[0].open_by(group[0].last),
                      "at_chance": collapsed},
            work=Work((f"{group[0].last!r} - {group[1].last!r} = {group[0].last - group[1].last:.3g}",)),
        )  # fmt: skip


def _equal_parts(case: Case) -> list[list[Series]]:
    groups: list[list[Series]] = []
    for _, series in case.tables():
        left = [s for s in series if s.role.kind == "loss" and s.role.part and s.role.contrastive and s.last > 0]
        while left:
            first = left[0]
            same = [s for s in left if _equal(first, s)]
            left = [s for s in left if s not in same]
            if len(same) > 1:
                groups.append(same)
    return groups


def _equal(one: Series, other: Series) -> bool:
    """Equal in all rows, in digits that would differ: at least four significant ones."""
    if one is other:
        return True
    if one.role.split != other.role.split or one.steps != other.steps or one.tolerance > 1e-4 * abs(one.last):
        return False
    rows = zip(one.values, other.values, strict=True)
    return all(abs(a - b) <= one.open_by(a) + (other.tolerance if a != b else 0) for a, b in rows)


def reduced_precision(case: Case) -> Iterator[Concluded]:
    """EG454: a mean whose multiple lies on bf16's grid tells how many batches it is the mean of."""
    seen: set[float] = set()
    for series in case.of("loss"):
        single = series.role.part and not series.role.summary  # a weighted total lies on a finer grid
        told = grid_mean(series.last) if single and decimals(series.last) >= 12 else None
        if told is None or series.last in seen:
            continue
        seen.add(series.last)
        count, coincidence = told
        total = series.last * count
        yield conclude(
            REDUCED_PRECISION, case, series,
            f"{series.label} x {count} = {total:.7f} = {round(total * 128)}/128 to all digits: the mean of losses "
            f"rounded to half precision, {count} of them (or a multiple) in bf16",
            evidence={"values": count},
            work=Work((f"{series.last!r} x {count} = {total!r}",), hypotheses=1999, coincidence=coincidence),
        )  # fmt: skip


def inferred(states: Sequence[AtChance]) -> Mapping[str, object]:
    """Batch size and number of pairs as the losses tell them."""
    if not states:
        return {}
    best = headline(states)
    told: dict[str, object] = {"batch_size": best.level.batch}
    if best.level.n is not None:
        told |= {"loss_n": best.level.n, "full_batches": best.level.batches, "last_batch": best.level.rest}
    return told
