"""The verdicts of the rules across ranks over the records of ranks that train together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from edgeglass_diag.ranks import merge_findings
from edgeglass_diag.records import ConfiguredRule, Finding, Reading, Site, UsageError
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.catalogue import own_rules
from edgeglass_diag.rules.causality import nest, nest_below
from edgeglass_diag.rules.ranks import RankRule
from edgeglass_diag.rules.ranks_contrast import (
    GatherWithoutGradient,
    LabelsWithoutOffset,
    LossWeightDiffers,
    NegativesOfOneRank,
)
from edgeglass_diag.rules.ranks_data import BatchNormLocal, OneRankNotFinite, SameData, UnequalBatches
from edgeglass_diag.rules.ranks_history import ByRank, RankHistory
from edgeglass_diag.rules.ranks_shards import (
    BY_NORMS,
    ShardRecord,
    by_parts,
    findings_of_whole,
    is_sharded,
    last_common_step,
)
from edgeglass_diag.rules.ranks_state import (
    BuffersDiffer,
    GradientsDiffer,
    SettingsDiffer,
    StateDiffers,
    WeightsDiffer,
)
from edgeglass_diag.rules.ranks_steps import StepsDiffer
from edgeglass_diag.signals.ranks import COLLECTIVES, STATE_HELD
from edgeglass_diag.signals.signal import Signal
from edgeglass_diag.sites import ParameterSite

RANK_RULES: tuple[type[RankRule], ...] = (
    WeightsDiffer, GradientsDiffer, StateDiffers, SettingsDiffer, BuffersDiffer, SameData, UnequalBatches,
    OneRankNotFinite, BatchNormLocal, LossWeightDiffers, GatherWithoutGradient, LabelsWithoutOffset, NegativesOfOneRank,
    StepsDiffer,
)  # fmt: skip

R = TypeVar("R", bound=Rule)

_KEPT = 512
"""Steps that are kept of each series once they are judged."""


class RankRecord(Protocol):
    """The record of one rank, as the store reads it."""

    @property
    def signals(self) -> list[Signal]:
        """All recorded signals."""

    @property
    def sites(self) -> list[Site]:
        """All sites."""

    def readings(
        self, signal: str, *, site: str | None = None, after: int = 0, thinned: bool = False
    ) -> list[tuple[int, Reading]]:
        """Readings of one signal with their rows, those above ``after``; some of a long series where ``thinned``."""


class RankJudge:
    """Judges the records of several ranks by what was written since it last looked.

    Args:
        rules: of which those across ranks are asked.

    Attributes:
        failures: of rules that raised an exception, by code.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [rule for rule in rules if isinstance(rule, RankRule)]
        self._history = RankHistory(self._details)
        self._records: Mapping[int, RankRecord] = {}
        self._rows: dict[tuple[int, Signal], int] = {}
        self._kept: dict[tuple[str, str], Finding] = {}
        self._known: dict[tuple[Signal, int], dict[str, ByRank]] = {}
        self.failures: dict[str, str] = {}

    def judge(self, records: Mapping[int, RankRecord]) -> list[Finding]:
        """Return all findings so far. A record that cannot be read now, as half a file, is read the next time.

        Processes that trained each for itself are not compared: they record nothing to compare them by.

        Args:
            records: by rank.
        """
        self._records = records
        together = []
        for rank, record in records.items() if self._rules and len(records) > 1 else ():
            try:
                if STATE_HELD in record.signals:
                    self._read(rank, record)
                    together.append(rank)
            except (UsageError, OSError):
                continue
        if len(together) < 2:
            return list(self._kept.values())
        self._history.ranks = tuple(sorted(together))
        self._known.clear()  # of steps that were paired otherwise
        self._history.align()
        self._known.clear()
        for rule in self._rules:
            if rule.code not in self.failures:
                self._ask(rule)
        self._history.prune(_KEPT)
        self._kept = {
            finding.key: finding
            for finding in nest(self._kept.values(), {rule.code: rule.brought_by for rule in self._rules})
        }
        return list(self._kept.values())

    def _ask(self, rule: RankRule) -> None:
        try:
            for finding in rule.compare(self._history):
                self._kept.setdefault(finding.key, finding)
        except Exception as error:
            self.failures[rule.code] = f"{type(error).__name__}: {error}"

    def _read(self, rank: int, record: RankRecord) -> None:
        whole = {signal for rule in self._rules for signal in rule.read}
        of_all = {COLLECTIVES, *(signal for rule in self._rules for signal in rule.read_of_all)} - whole
        known = set(record.signals)
        for signal in sorted(known & (whole | of_all)):
            after = self._rows.get((rank, signal), 0)
            fresh = record.readings(signal, site="" if signal in of_all else None, after=after, thinned=not after)
            self._history.add(rank, (reading for _, reading in fresh))
            self._rows[rank, signal] = max((row for row, _ in fresh), default=after)
        if not self._history.sharded:
            sites = (site for site in record.sites if isinstance(site, ParameterSite))
            self._history.sharded = any(site.is_sharded for site in sites)

    def _details(self, signal: Signal, step: int) -> Mapping[str, ByRank]:
        """Return the readings of a signal at a step, by site and rank."""
        if (signal, step) not in self._known:
            self._known[signal, step] = self._read_step(signal, step)
        return self._known[signal, step]

    def _read_step(self, signal: Signal, step: int) -> dict[str, ByRank]:
        found: dict[str, dict[int, float]] = {}
        for rank, record in self._records.items():
            own = self._history.own_step(rank, step)
            if own is None:
                continue
            try:
                readings = _at(record, signal, own, thinned=True) or _at(record, signal, own, thinned=False)
            except (UsageError, OSError):
                continue
            for reading in readings:
                found.setdefault(reading.site, {})[rank] = reading.values[0]
        return dict(found)


def _at(record: RankRecord, signal: Signal, step: int, *, thinned: bool) -> list[Reading]:
    """Return the readings of a signal at a step, of all sites."""
    readings = record.readings(signal, thinned=thinned)
    return [reading for _, reading in readings if reading.step == step and reading.site]


def judge_by(configured: Mapping[str, ConfiguredRule]) -> RankJudge:
    """Return what judges by the rules across ranks that a run has, with their thresholds.

    Args:
        configured: rules as they ran, by code.
    """
    return RankJudge(_as_configured(rule, configured[rule.code]) for rule in RANK_RULES if rule.code in configured)


def _as_configured(rule: type[R], configured: ConfiguredRule) -> R:
    kinds = {name: type(value) for name, value in rule().thresholds.items()}
    return rule(**{name: kinds[name](value) for name, value in configured.thresholds.items() if name in kinds})


class WholeParameters:
    """Judges norms of whole parameters where several ranks hold parts of them; it looks again once a run has grown.

    What a rank has found behind the last step of all ranks, as where another was killed, stands by its part alone.

    Args:
        configured: rules as they ran, by code.
    """

    def __init__(self, configured: Mapping[str, ConfiguredRule]) -> None:
        self._configured = configured
        self._findings: list[Finding] = []
        self._judged: tuple[int, bool] = (0, False)
        self._common = -1
        self._applies = False

    def findings(
        self, records: Mapping[int, ShardRecord], found: Mapping[int, Sequence[Finding]], *, windows: int, ended: bool
    ) -> list[Finding]:
        """Return the findings of all ranks, merged, with those by norms of whole parameters in place of those by parts.

        Norms are not judged again while records have grown by less than a tenth, unless a finding by parts waits for
        it.

        Args:
            records: by rank.
            found: findings by rank.
            windows: how many the lowest rank has recorded.
            ended: whether the training has come to its own end.
        """
        known, had_ended = self._judged
        common = last_common_step(records)
        waits = any(f.code in BY_NORMS and self._common < f.step <= common for of in found.values() for f in of)
        if windows >= 1.1 * known or ended != had_ended or waits:
            self._judged, self._common = (windows, ended), common
            self._judge(records, ended=ended)
        if not self._applies:
            return merge_findings(found)
        told, alone = {finding.code for finding in self._findings}, by_parts(found, records)
        others = {
            rank: [f for f in of_rank if f.code not in BY_NORMS] + [f for f in alone[rank] if f.code not in told]
            for rank, of_rank in found.items()
        }
        return merge_findings(others) + self._findings

    def _judge(self, records: Mapping[int, ShardRecord], *, ended: bool) -> None:
        self._applies = is_sharded(records)
        if self._applies:
            known_rules = [rule for rule in own_rules() if rule.code in self._configured]
            rules = [_as_configured(rule, self._configured[rule.code]) for rule in known_rules]
            self._findings = findings_of_whole(rules, records, ended=ended)


def nested_below(found: Iterable[Finding], across: Iterable[Finding]) -> list[Finding]:
    """Return what single ranks have found, those without a cause below what all ranks together show."""
    return nest_below(found, across, {rule.code: rule.brought_by for rule in own_rules()})
