"""Readings to findings: the catalogue of rules, one family per file."""

from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.catalogue import CATALOGUE
from edgeglass_diag.rules.config import configure, read_table
from edgeglass_diag.rules.engine import Engine
from edgeglass_diag.rules.plugins import all_rules, configured

__all__ = ["CATALOGUE", "Engine", "Rule", "all_rules", "configure", "configured", "read_table"]
