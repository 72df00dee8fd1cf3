"""Which rules run and with which thresholds: ``[tool.edgeglass-diag]`` in pyproject.toml, and the command line."""

from __future__ import annotations

import dataclasses
import difflib
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgeglass_diag.records import UsageError
from edgeglass_diag.rules.base import Rule
from edgeglass_diag.user_input.files import is_file, parsing, read_text
from edgeglass_diag.user_input.limits import CONFIGURATION_BYTES


def read_table(folder: Path | None = None) -> dict[str, object]:
    """Return ``[tool.edgeglass-diag]`` of the nearest pyproject.toml at or above ``folder``, empty where there is none.

    Args:
        folder: where the search begins; the working directory, if it exists, where None.

    Raises:
        UsageError: when the file cannot be read, is not valid TOML, or has something else than a table there.
    """
    try:
        begin = (Path.cwd() if folder is None else folder).resolve()
    except FileNotFoundError:  # the working directory was removed
        return {}
    for place in (begin, *begin.parents):
        file = place / "pyproject.toml"
        if is_file(file):
            return _table_of(file)
    return {}


def _table_of(file: Path) -> dict[str, object]:
    text = read_text(file, most=CONFIGURATION_BYTES)
    with parsing(file, "valid TOML"):
        table: object = tomllib.loads(text)
    where = ""
    for key in ("tool", "edgeglass-diag"):
        assert isinstance(table, dict)
        table, where = table.get(key, {}), f"{where}.{key}".lstrip(".")
        if not isinstance(table, dict):
            raise UsageError(f"{file}: [{where}]: expected a table, got {type(table).__name__}")
    assert isinstance(table, dict)
    return table


def configure(
    rules: Iterable[type[Rule]],
    table: Mapping[str, object],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Sequence[str] = (),
) -> list[Rule]:
    """Return the rules that run, with their thresholds.

    A code that a rule had in an older version stands for it everywhere.

    Args:
        rules: the catalogue.
        table: keys ``select``, ``ignore`` (codes or prefixes) and one table of thresholds per code.
        select: codes or prefixes from the command line; they replace those of the table.
        ignore: likewise, added to those of the table.
        thresholds: ``CODE.name=value`` from the command line; they go before those of the table.

    Raises:
        UsageError: for a key, code or threshold that does not exist, or a value that is none of its threshold.
    """
    catalogue = {rule.code: rule for rule in rules}
    owners = {code: rule for rule in catalogue.values() for code in (rule.code, *rule.aliases)}
    for key in table:
        if key not in ("select", "ignore", *owners):
            close = difflib.get_close_matches(key, ["select", "ignore", *owners], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"[tool.edgeglass-diag] has an unknown key {key!r}{hint}")
    wanted = _codes(select or _list(table, "select") or [""], owners)
    unwanted = _codes([*ignore, *_list(table, "ignore")], owners)
    given = _from_table(table, owners)
    for code, values in _from_command_line(thresholds, owners).items():
        given.setdefault(code, {}).update(values)
    return [rule(**given.get(code, {})) for code, rule in catalogue.items() if code in wanted - unwanted]


_LARGEST = sys.float_info.max

Owners = Mapping[str, type[Rule]]
"""Rules by their code and by those that they had."""


def _from_table(table: Mapping[str, object], owners: Owners) -> dict[str, dict[str, float]]:
    """Return the thresholds of the table by the rules' codes."""
    found: dict[str, dict[str, float]] = {}
    for code in (key for key in table if key in owners):
        where, given, rule = f"[tool.edgeglass-diag.{code}]", table[code], owners[code]
        if not isinstance(given, dict):
            raise UsageError(f"{where}: expected a table of thresholds, got {given!r}")
        for word, value in given.items():
            name = _name(where, rule, code, word)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UsageError(f"{where} {word}: expected a number, got {value!r}")
            found.setdefault(rule.code, {})[name] = _number(f"{where} {word}", rule, name, value)
    return found


def _from_command_line(words: Iterable[str], owners: Owners) -> dict[str, dict[str, float]]:
    """Return the thresholds of the command line by the rules' codes.

    Raises:
        UsageError: for anything that is not CODE.name=value with a code, a name and a number that exist.
    """
    found: dict[str, dict[str, float]] = {}
    for word in words:
        place, equals, text = word.partition("=")
        code, dot, given = place.partition(".")
        if not (equals and dot and given):
            raise UsageError(f"--threshold: expected CODE.name=value, e.g. EG301.signal=0.02, got {word!r}")
        if code not in owners:
            raise UsageError(f"--threshold: no rule {code!r}; see 'edgeglass-diag rules'")
        where, rule = f"--threshold {word}", owners[code]
        name = _name(where, rule, code, given)
        try:
            value = int(text) if text.lstrip("+-").isdecimal() else float(text)
        except ValueError:
            raise UsageError(f"{where}: expected a number, got {text!r}") from None
        found.setdefault(rule.code, {})[name] = _number(where, rule, name, value)
    return found


def _name(where: str, rule: type[Rule], code: str, given: str) -> str:
    """Return the name of a threshold, by the one that it had under an older code of its rule."""
    name = rule.aliases.get(code, {}).get(given, given)
    known = sorted(field.name for field in dataclasses.fields(rule))
    if name not in known:
        raise UsageError(f"{where}: no threshold {given!r}; it has: {', '.join(known) or 'none'}")
    return name


def _number(where: str, rule: type[Rule], name: str, value: float) -> float:
    """Return a value as the threshold's type.

    Raises:
        UsageError: for a fraction where the threshold counts, or a number beyond those that floats hold.
    """
    kind = next(field.type for field in dataclasses.fields(rule) if field.name == name)
    counts = kind in (int, "int")
    if counts and not isinstance(value, int):
        raise UsageError(f"{where}: {name} counts, expected an integer, got {value!r}")
    if value != value or not -_LARGEST <= value <= _LARGEST:
        got = str(value) if isinstance(value, float) else "more digits"
        raise UsageError(f"{where}: expected a number up to {_LARGEST:.4g} in size, got {got}")
    return value if counts else float(value)


def _list(table: Mapping[str, object], key: str) -> list[str]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"[tool.edgeglass-diag] {key}: expected a list of codes, got {value!r}")
    return value


def _codes(patterns: Iterable[str], owners: Owners) -> set[str]:
    """Return the codes of the rules that are meant: a whole code, also an older one, or the beginning of codes."""
    found: set[str] = set()
    for pattern in patterns:
        own = {rule.code for rule in owners.values() if rule.code.startswith(pattern)}
        matching = own or {rule.code for code, rule in owners.items() if code == pattern}
        if not matching:
            raise UsageError(f"no rule has a code that begins with {pattern!r}; see 'edgeglass-diag rules'")
        found |= matching
    return found
