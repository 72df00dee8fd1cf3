"""The verdicts on norms of parameters that are sharded over ranks, by the norms of the whole parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from edgeglass_diag.records import Cut, Finding, Reading, Severity, Site, Window
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.engine import Engine
from edgeglass_diag.rules.ranks_history import named
from edgeglass_diag.signals.parameters import GRADIENT_NORM, GRADIENT_NORM_CLIPPED, UPDATE_RATIO, WEIGHT_NORM
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import ParameterSite

BY_NORMS = frozenset({
    "EG007", "EG013", "EG014", "EG017", "EG201", "EG202", "EG205", "EG206", "EG208", "EG209", "EG210", "EG211", "EG218",
    "EG227", "EG228", "EG229", "EG242",
})  # fmt: skip
"""Codes of the rules whose verdict is about the size of gradients, updates or weights, of which a rank has a part."""

_NORMS = (GRADIENT_NORM, GRADIENT_NORM_CLIPPED, WEIGHT_NORM)

Values = Mapping[tuple[int, str], Mapping[int, float]]
"""By step and site the values by rank."""


class ShardRecord(Protocol):
    """The record of one rank, as the store reads it."""

    @property
    def sites(self) -> list[Site]:
        """All sites."""

    @property
    def last_step(self) -> int:
        """The last recorded step, -1 when there is none."""

    @property
    def cuts(self) -> Sequence[Cut]:
        """Where the run went on."""

    def kept_windows(self) -> Iterator[Window]:
        """Yield the windows by step, the first with all sites and origins."""

    def readings(
        self, signal: str, *, site: str | None = None, after: int = 0, thinned: bool = False
    ) -> list[tuple[int, Reading]]:
        """Readings of one signal with their rows; some of a long series where ``thinned``."""


def is_sharded(records: Mapping[int, ShardRecord]) -> bool:
    """Return whether a rank holds a part of a parameter."""
    return any(site.is_sharded for record in records.values() for site in _parameters(record))


def last_common_step(records: Mapping[int, ShardRecord]) -> int:
    """Return the last step that all ranks have recorded, behind which no norm of a whole parameter is known."""
    return min(record.last_step for record in records.values())


def by_parts(found: Mapping[int, Sequence[Finding]], records: Mapping[int, ShardRecord]) -> dict[int, list[Finding]]:
    """Return the findings of ``BY_NORMS`` that single ranks have made behind the last step of all, and say so.

    They are of the part that the rank holds, whose norm bounds that of the whole from below alone: warnings at most.

    Args:
        found: all findings, by rank.
        records: by rank.
    """
    common = last_common_step(records)
    short = named(rank for rank, record in records.items() if record.last_step == common)
    said = f"record of {short} has no step" if common < 0 else f"record of {short} ends at step {common}"
    late = {rank: [f for f in of if f.code in BY_NORMS and f.step > common] for rank, of in found.items()}
    return {
        rank: [
            replace(f, message=f"{f.message}; by the part that the rank holds, as the {said}", severity=_at_most(f))
            for f in of_rank
        ]
        for rank, of_rank in late.items()
    }


def _at_most(finding: Finding) -> Severity:
    return min(finding.severity, Severity.WARNING, key=lambda severity: severity.rank)


def findings_of_whole(rules: Iterable[Rule], records: Mapping[int, ShardRecord], *, ended: bool) -> list[Finding]:
    """Return what the rules of ``BY_NORMS`` find in the norms of whole parameters.

    The record that they judge is that of the lowest rank, with these norms in place of those of its shards, up to the
    last step that all ranks have recorded.

    Args:
        rules: as they ran.
        records: of all ranks, by rank.
        ended: whether the training has come to its own end.
    """
    engine = Engine(list(rules))
    first = records[min(records)]
    engine.history.cuts = tuple(first.cuts)
    common = last_common_step(records)
    for window in whole_windows(records):
        if window.step <= common:
            engine.feed(window)
    if ended and common == first.last_step:
        engine.end()
    return [finding for finding in engine.findings if finding.code in BY_NORMS]


def whole_windows(records: Mapping[int, ShardRecord]) -> Iterator[Window]:
    """Yield the windows of the lowest rank with the norms of whole parameters, whose sites are whole.

    A norm is the root of the sum of the squares of the shards', an update ratio the norm of all changes over that of
    the weight. Where a rank has not recorded its shard the reading is left out. Copies of a shard, as on the ranks of
    a mesh with two dimensions, count once.
    """
    copies = _copies(records)
    squares = {signal: _squares(signal, records, copies) for signal in _NORMS}
    ratios = _ratios(_values(UPDATE_RATIO, records), _values(WEIGHT_NORM, records), copies, len(records))
    known = {**squares, UPDATE_RATIO: ratios}
    for window in records[min(records)].kept_windows():
        sites = tuple(replace(s, local_shape=None) if isinstance(s, ParameterSite) else s for s in window.sites)
        yield replace(window, readings=tuple(_joined(window.readings, known, copies)), sites=sites)


def _joined(
    readings: Iterable[Reading], known: Mapping[Signal, Mapping[tuple[int, str], float]], copies: Mapping[str, float]
) -> Iterator[Reading]:
    for reading in readings:
        if reading.signal not in known or not (reading.site in copies or _is_of_all(reading.site)):
            yield reading
        elif (reading.step, reading.site) in known[reading.signal]:
            yield replace(reading, values=(known[reading.signal][reading.step, reading.site],))


def _parameters(record: ShardRecord) -> list[ParameterSite]:
    return [site for site in record.sites if isinstance(site, ParameterSite)]


def _is_of_all(site: str) -> bool:
    """Return whether a norm is that of all parameters together."""
    return site == ""


def _copies(records: Mapping[int, ShardRecord]) -> dict[str, float]:
    """Return how many ranks hold each entry of each sharded parameter."""
    held: dict[str, int] = {}
    whole: dict[str, int] = {}
    for record in records.values():
        for site in _parameters(record):
            if site.local_shape is not None:
                held[site.path] = held.get(site.path, 0) + math.prod(site.local_shape)
                whole[site.path] = math.prod(site.shape)
    return {path: held[path] / whole[path] for path in held if whole[path]}


def _values(signal: Signal, records: Mapping[int, ShardRecord]) -> dict[tuple[int, str], dict[int, float]]:
    found: dict[tuple[int, str], dict[int, float]] = {}
    for rank, record in records.items():
        for _, reading in record.readings(signal, thinned=True):
            found.setdefault((reading.step, reading.site), {})[rank] = reading.values[0]
    return found


def _squares(
    signal: Signal, records: Mapping[int, ShardRecord], copies: Mapping[str, float]
) -> dict[tuple[int, str], float]:
    """Return the whole norms; that of all parameters is taken as one of parameters that are all sharded alike."""
    usual = max(copies.values(), default=1.0)
    return {
        place: math.sqrt(sum(value * value for value in values.values()) / copies.get(place[1], usual))
        for place, values in _values(signal, records).items()
        if len(values) == len(records)
    }


def _ratios(ratios: Values, weights: Values, copies: Mapping[str, float], ranks: int) -> dict[tuple[int, str], float]:
    """Return |change of w| / |w| of whole weights, with the weights as they were measured last."""
    found: dict[tuple[int, str], float] = {}
    newest: dict[str, Mapping[int, float]] = {}
    for place in sorted(ratios.keys() | weights.keys()):
        if len(weights.get(place, ())) == ranks:
            newest[place[1]] = weights[place]
        size, moved = newest.get(place[1]), ratios.get(place, {})
        if size is not None and len(moved) == ranks and place[1] in copies:
            changed = sum((moved[rank] * size[rank]) ** 2 for rank in moved if size[rank] or not moved[rank])
            whole = sum(value * value for value in size.values())
            found[place] = math.sqrt(changed / whole) if whole else next(iter(moved.values()))
    return found
