"""Choose the rules of a call from Python: rule objects, codes, or what pyproject.toml configures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from edgeglass_diag.records import UsageError
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.rules.catalogue import current_code
from edgeglass_diag.rules.config import read_table
from edgeglass_diag.rules.plugins import configured


def choose_rules(rules: Sequence[Rule | str] | None, folder: Path | None = None) -> list[Rule]:
    """Return the rules that run.

    Args:
        rules: rule objects, taken as they are, and codes or their prefixes, with the thresholds of the configuration;
            all rules as configured if None, none if empty.
        folder: where the search for ``[tool.edgeglass-diag]`` begins; the working directory if None.

    Raises:
        UsageError: if no rule has such a code, an entry is neither, or the configuration is wrong.

    Example:
        >>> [rule.code for rule in choose_rules(["EG20"])][:2]
        ['EG201', 'EG202']
    """
    table = read_table(folder)
    if rules is None:
        return configured(table)
    if isinstance(rules, str):
        raise UsageError(f"rules: expected a sequence of rules or codes, got {rules!r}")
    for rule in rules:
        if not isinstance(rule, Rule | str):
            raise UsageError(f"rules: expected Rule objects or codes, got {rule!r}")
    codes = [rule for rule in rules if isinstance(rule, str)]
    given = {rule.code: rule for rule in rules if isinstance(rule, Rule)}
    selected = configured(table, select=codes) if codes else []
    return [*given.values(), *(rule for rule in selected if rule.code not in given)]


def header_of(rules: Iterable[Rule]) -> dict[str, object]:
    """Return the entry of ``run.json`` that holds the rules as they run, from which bounds are drawn and worded."""
    return {"rules": [asdict(rule.configured()) for rule in rules]}


def codes_to_stop_on(codes: Sequence[str], rules: Iterable[Rule], *, option: str = "stop_on") -> tuple[str, ...]:
    """Return the codes that rules have now; a code of an older version stands for that of today.

    Args:
        codes: as given.
        rules: that run.
        option: name of the option, for messages.

    Raises:
        UsageError: if none of the rules has such a code, or the codes are a string.
    """
    if isinstance(codes, str):
        raise UsageError(f"{option}: expected a sequence of codes, got {codes!r}")
    known = {rule.code for rule in rules}
    wanted = tuple(current_code(code) for code in codes)
    for code, given in zip(wanted, codes, strict=True):
        if code not in known:
            raise UsageError(f"{option}: no rule {given!r}; see 'edgeglass-diag rules'")
    return wanted
