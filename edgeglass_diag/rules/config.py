"""Which rules run and with which thresholds: ``[tool.edgeglass-diag]`` in pyproject.toml, and the command line."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from edgeglass_diag.records import UsageError
from edgeglass_diag.rules.base import Rule


def read_table(folder: Path) -> dict[str, object]:
    """``[tool.edgeglass-diag]`` of the nearest pyproject.toml at or above ``folder``; empty where there is none.

    Raises:
        UsageError: when the file is not valid TOML.
    """
    for place in (folder.resolve(), *folder.resolve().parents):
        file = place / "pyproject.toml"
        if file.is_file():
            try:
                content = tomllib.loads(file.read_text(encoding="utf-8"))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise UsageError(f"{file}: not valid TOML: {error}") from error
            table = content.get("tool", {}).get("edgeglass-diag", {})
            return dict(table) if isinstance(table, dict) else {}
    return {}


def configure(
    rules: Iterable[type[Rule]],
    table: Mapping[str, object],
    *,
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    thresholds: Sequence[str] = (),
) -> list[Rule]:
    """Rules that run, with their thresholds.

    Args:
        rules: the catalogue.
        table: keys ``select``, ``ignore`` (codes or prefixes) and one table of thresholds per code.
        select: codes or prefixes from the command line; they replace those of the table.
        ignore: likewise, added to those of the table.
        thresholds: ``CODE.name=value`` from the command line; they go before those of the table.

    Raises:
        UsageError: for a key, code or threshold that does not exist.
    """
    catalogue = {rule.code: rule for rule in rules}
    for key in table:
        if key not in ("select", "ignore", *catalogue):
            close = difflib.get_close_matches(key, ["select", "ignore", *catalogue], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(f"[tool.edgeglass-diag] has an unknown key {key!r}{hint}")
    wanted = _codes(select or _list(table, "select") or [""], catalogue)
    unwanted = _codes([*ignore, *_list(table, "ignore")], catalogue)
    given = _from_command_line(thresholds, catalogue)
    return [
        _with_thresholds(catalogue[code], table.get(code, {}), given.get(code, {}))
        for code in catalogue
        if code in wanted - unwanted
    ]


def _from_command_line(words: Iterable[str], catalogue: Mapping[str, type[Rule]]) -> dict[str, dict[str, float]]:
    """Thresholds by code.

    Raises:
        UsageError: for anything that is not CODE.name=value with a code, a name and a number that exist.
    """
    found: dict[str, dict[str, float]] = {}
    for word in words:
        place, equals, value = word.partition("=")
        code, dot, name = place.partition(".")
        if not (equals and dot and name):
            raise UsageError(f"--threshold: expected CODE.name=value, e.g. EG301.signal=0.02, got {word!r}")
        if code not in catalogue:
            raise UsageError(f"--threshold: no rule {code!r}; see 'edgeglass-diag rules'")
        _check_name(f"--threshold {word}", catalogue[code], name)
        try:
            found.setdefault(code, {})[name] = float(value)
        except ValueError:
            raise UsageError(f"--threshold {word}: expected a number, got {value!r}") from None
    return found


def _check_name(where: str, rule: type[Rule], name: str) -> None:
    known = sorted(field.name for field in dataclasses.fields(rule))
    if name not in known:
        raise UsageError(f"{where}: no threshold {name!r}; it has: {', '.join(known) or 'none'}")


def _list(table: Mapping[str, object], key: str) -> list[str]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UsageError(f"[tool.edgeglass-diag] {key}: expected a list of codes, got {value!r}")
    return value


def _codes(patterns: Iterable[str], catalogue: Mapping[str, type[Rule]]) -> set[str]:
    found: set[str] = set()
    for pattern in patterns:
        matching = {code for code in catalogue if code.startswith(pattern)}
        if not matching:
            raise UsageError(f"no rule has a code that begins with {pattern!r}; see 'edgeglass-diag rules'")
        found |= matching
    return found


def _with_thresholds(rule: type[Rule], given: object, first: Mapping[str, float]) -> Rule:
    if not isinstance(given, dict):
        raise UsageError(f"[tool.edgeglass-diag.{rule.code}]: expected a table of thresholds, got {given!r}")
    for name, value in given.items():
        _check_name(f"[tool.edgeglass-diag.{rule.code}]", rule, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise UsageError(f"[tool.edgeglass-diag.{rule.code}] {name}: expected a number, got {value!r}")
    return rule(**{**given, **first})
