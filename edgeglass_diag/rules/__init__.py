"""Readings to findings: the catalogue of rules, one family per file."""

from edgeglass_diag.rules.attention import AttentionStaysUniform, QueriesAlike
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.config import configure, read_table
from edgeglass_diag.rules.embeddings import ConstantEmbeddings, RankCollapse
from edgeglass_diag.rules.engine import Engine
from edgeglass_diag.rules.evaluation import RecallExactlyChance
from edgeglass_diag.rules.initial import IdenticalRows, OverwrittenInit
from edgeglass_diag.rules.inspection import (
    AttentionSaturated,
    NotHeldAtFirstStep,
    QueriesIdentical,
    QueriesWithoutEffect,
)
from edgeglass_diag.rules.loss import LossAtChance, LossBelowPossible, TemperatureMissing
from edgeglass_diag.rules.numerics import NonFinite
from edgeglass_diag.rules.optimisation import ScheduleOverrun, UpdateTooLarge

CATALOGUE: tuple[type[Rule], ...] = (
    OverwrittenInit,
    IdenticalRows,
    QueriesWithoutEffect,
    QueriesIdentical,
    AttentionSaturated,
    NotHeldAtFirstStep,
    AttentionStaysUniform,
    QueriesAlike,
    UpdateTooLarge,
    ScheduleOverrun,
    ConstantEmbeddings,
    RankCollapse,
    LossAtChance,
    LossBelowPossible,
    TemperatureMissing,
    RecallExactlyChance,
    NonFinite,
)

__all__ = ["CATALOGUE", "Engine", "Rule", "configure", "read_table"]
