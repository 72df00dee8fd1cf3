"""Rules of this package and of others, which offer theirs through the entry-point group ``edgeglass_diag.rules``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points

from edgeglass_diag.records import UsageError
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.catalogue import own_rules
from edgeglass_diag.rules.config import configure

GROUP = "edgeglass_diag.rules"


def all_rules() -> tuple[type[Rule], ...]:
    """Return our own rules, then those of other packages: an entry point is a rule or a sequence of rules.

    Raises:
        UsageError: for an entry point that is neither, cannot be loaded, lacks what a rule has, or has a code that
            exists.
    """
    owners = {code: rule for rule in own_rules() for code in (rule.code, *rule.aliases)}
    found = list(own_rules())
    for entry in entry_points(group=GROUP):
        for rule in _rules_of(entry):
            if rule.code in owners:
                owner = owners[rule.code].__name__
                raise UsageError(f"{_origin(entry)}: the code {rule.code} is that of {owner} already")
            owners[rule.code] = rule
            found.append(rule)
    return tuple(found)


def find_rule(code: str) -> type[Rule] | None:
    """Return the rule with this code, or that had it in an older version; None where there is none.

    >>> find_rule("EG052").code
    'EG103'
    """
    return next((rule for rule in all_rules() if code == rule.code or code in rule.aliases), None)


def configured(
    table: Mapping[str, object],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Sequence[str] = (),
) -> list[Rule]:
    """Return all rules as configured; see ``configure``."""
    return configure(all_rules(), table, select=select, ignore=ignore, thresholds=thresholds)


def _rules_of(entry: EntryPoint) -> list[type[Rule]]:
    try:
        offered = entry.load()
    except Exception as error:
        raise UsageError(f"{_origin(entry)} cannot be loaded: {type(error).__name__}: {error}") from error
    rules = list(offered) if isinstance(offered, Iterable) else [offered]
    for rule in rules:
        if not (isinstance(rule, type) and issubclass(rule, Rule) and hasattr(rule, "code")):
            raise UsageError(f"{_origin(entry)}: expected a Rule with a code or several of them, got {rule!r}")
        missing = [name for name in ("name", "title", "severity", "source", "fix") if not hasattr(rule, name)]
        if missing:
            raise UsageError(f"{_origin(entry)}: {rule.__name__} has no {', '.join(missing)}")
    return rules


def _origin(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist is not None else "a package"
    return f"rules of {package} ({entry.value})"
