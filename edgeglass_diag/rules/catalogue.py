"""Our own rules, found in the modules of this package: to add one, write its class."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from functools import cache
from types import ModuleType

import edgeglass_diag.rules as package
from edgeglass_diag.rules.base import Rule


@cache
def own_rules() -> tuple[type[Rule], ...]:
    """Return all rules of this package, by code.

    Raises:
        ValueError: for two rules with one code.
    """
    modules = (
        importlib.import_module(info.name) for info in pkgutil.iter_modules(package.__path__, "edgeglass_diag.rules.")
    )
    return by_code(rule for module in modules for rule in rules_in(module))


def rules_in(module: ModuleType) -> Iterator[type[Rule]]:
    """Yield the rules that a module defines; a class without a code is none."""
    for made in vars(module).values():
        if (
            isinstance(made, type)
            and issubclass(made, Rule)
            and made.__module__ == module.__name__
            and "code" in vars(made)
        ):
            yield made


def by_code(rules: Iterable[type[Rule]]) -> tuple[type[Rule], ...]:
    """Return rules sorted by their codes.

    Raises:
        ValueError: for a code, or a former one, that two rules have.
    """
    owners: dict[str, type[Rule]] = {}
    found = sorted(rules, key=lambda rule: rule.code)
    for rule in found:
        for code in (rule.code, *rule.aliases):
            if code in owners:
                raise ValueError(f"two rules have the code {code}: {owners[code].__name__} and {rule.__name__}")
            owners[code] = rule
    return tuple(found)


def current_code(code: str) -> str:
    """Return the code that a fault has now; codes of older versions are known, any other is returned as it is.

    >>> current_code("EG052"), current_code("EG301"), current_code("XX001")
    ('EG103', 'EG301', 'XX001')
    """
    return next((rule.code for rule in own_rules() if code in rule.aliases), code)
