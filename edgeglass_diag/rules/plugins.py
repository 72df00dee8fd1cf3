"""Rules of this package and of others, which offer theirs through the entry-point group ``edgeglass_diag.rules``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from edgeglass_diag.records import UsageError
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.catalogue import CATALOGUE
from edgeglass_diag.rules.config import configure

GROUP = "edgeglass_diag.rules"


def all_rules() -> tuple[type[Rule], ...]:
    """Our own rules, then those of other packages: an entry point is a rule or a sequence of rules.

    Raises:
        UsageError: for an entry point that is neither, cannot be loaded, or brings a code that exists.
    """
    found = {rule.code: rule for rule in CATALOGUE}
    for entry in entry_points(group=GROUP):
        for rule in _rules_of(entry):
            if rule.code in found:
                raise UsageError(f"{_said(entry)}: the code {rule.code} is that of {found[rule.code].__name__} already")
            found[rule.code] = rule
    return tuple(found.values())


def configured(
    table: Mapping[str, object],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Sequence[str] = (),
) -> list[Rule]:
    """All rules as configured; see ``configure``."""
    return configure(all_rules(), table, select=select, ignore=ignore, thresholds=thresholds)


def _rules_of(entry: EntryPoint) -> list[type[Rule]]:
    try:
        offered = entry.load()
    except Exception as error:
        raise UsageError(f"{_said(entry)} cannot be loaded: {type(error).__name__}: {error}") from error
    rules = list(offered) if isinstance(offered, Iterable) else [offered]
    for rule in rules:
        if not (isinstance(rule, type) and issubclass(rule, Rule) and hasattr(rule, "code")):
            raise UsageError(f"{_said(entry)}: expected a Rule with a code or several of them, got {rule!r}")
    return rules


def _said(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist is not None else "a package"
    return f"rules of {package} ({entry.value})"
