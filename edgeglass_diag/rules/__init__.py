"""Readings to findings: rules, each one class in one file, and the engine that runs them."""

from edgeglass_diag.rules.base import Rule, Stage
from edgeglass_diag.rules.catalogue import current_code, own_rules
from edgeglass_diag.rules.config import configure, read_table
from edgeglass_diag.rules.engine import Engine
from edgeglass_diag.rules.plugins import all_rules, configured, find_rule

CATALOGUE = own_rules()
"""Our own rules, by code."""

__all__ = [
    "CATALOGUE", "Engine", "Rule", "Stage", "all_rules", "configure", "configured", "current_code", "find_rule",
    "own_rules", "read_table",
]  # fmt: skip
