"""Read recipes by name or from a YAML file, with ``key=value`` overrides; errors name key, file and line."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgeglass_diag.user_input.files import exists, is_file, nothing_at, read_text
from edgeglass_diag.user_input.limits import SETTINGS_BYTES, SHOWN
from edgeglass_diag.user_input.yaml_text import Place, parse_yaml
from edgeglass_models.recipes.settings import Comparison, Recipe

SHIPPED = Path(__file__).parent

Model = TypeVar("Model", bound=BaseModel)


def shipped_names() -> list[str]:
    """Return the names of the recipes in this package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_recipes(target: str, overrides: Iterable[str] = ()) -> list[Recipe]:
    """Return the recipes of a shipped name or YAML file, in order.

    Args:
        target: shipped name, or path of a ``.yaml`` / ``.yml`` file.
        overrides: ``section.key=value``, values in YAML.

    Raises:
        ValueError: for an unknown name, unreadable YAML, an unknown key or a value of the wrong type; the message has
            one line.
    """
    path = _path_of(target)
    content, lines = _read(path)
    changes = list(overrides)
    if "recipes" not in content:
        return [_recipe(path, content, lines, changes)]
    comparison = _validated(Comparison, content, path, lines, {})
    recipes = []
    for name in comparison.recipes:
        file = _path_of(_sibling_file(path, name))
        inner, inner_lines = _read(file)
        if "recipes" in inner:
            raise ValueError(f"{path}: recipes: expected recipes of one run each, got the comparison {file}")
        recipes.append(_recipe(file, inner, inner_lines, changes))
    return recipes


def _recipe(path: Path, content: dict[str, Any], lines: Mapping[Place, int], overrides: Iterable[str]) -> Recipe:
    given: dict[Place, str] = {}
    for override in overrides:
        _apply(content, override, given)
    return _validated(Recipe, content, path, lines, given)


def changed_recipe(content: Mapping[str, Any], overrides: Iterable[str], where: Path) -> Recipe:
    """Return the recipe of a checkpoint at ``where``, with ``key=value`` overrides.

    Raises:
        ValueError: as load_recipes.
    """
    given: dict[Place, str] = {}
    changed = copy.deepcopy(dict(content))
    for override in overrides:
        _apply(changed, override, given)
    return _validated(Recipe, changed, where, {}, given)


def _sibling_file(path: Path, name: str) -> str:
    candidate = path.parent / name
    return str(candidate) if name.endswith((".yaml", ".yml")) and is_file(candidate) else name


def _path_of(target: str) -> Path:
    if target.endswith((".yaml", ".yml")):
        path = Path(target)
        if not exists(path):
            raise nothing_at(path, "recipe file")
        return path
    if target in shipped_names():
        return SHIPPED / f"{target}.yaml"
    close = difflib.get_close_matches(target, shipped_names(), n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown recipe {target!r}: expected one of {', '.join(shipped_names())}, or a .yaml file{hint}")


def _read(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    content, lines = parse_yaml(read_text(path, most=SETTINGS_BYTES), str(path))
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping of settings, got {type(content).__name__}")
    return content, lines


def _apply(content: dict[str, Any], override: str, given: dict[Place, str]) -> None:
    key, separator, value = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise ValueError(f"--set {override}: expected section.key=value")
    section: Any = content
    for part in parts[:-1]:
        section = section.setdefault(part, {})
        if not isinstance(section, dict):
            raise ValueError(f"--set {override}: {part!r} is a value, not a section")
    section[parts[-1]], _ = parse_yaml(value, f"--set {override}")
    given[tuple(parts)] = override


def _validated(
    kind: type[Model], content: Mapping[Any, Any], path: Path, lines: Mapping[Place, int], given: Mapping[Place, str]
) -> Model:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise ValueError("; ".join(_explain(e, kind, path, lines, given) for e in error.errors())) from error


def _explain(
    error: Any, kind: type[BaseModel], path: Path, lines: Mapping[Place, int], given: Mapping[Place, str]
) -> str:
    place: Place = tuple(error["loc"])
    key = ".".join(str(part) for part in place)
    named = next((p for n in range(len(place), 0, -1) if (p := place[:n]) in given or p in lines), ())
    where = f"--set {given[named]}" if named in given else f"{path}:{lines[named]}" if named in lines else str(path)
    if error["type"] == "extra_forbidden":
        fields = list(_section(kind, place[:-1]).model_fields)
        close = difflib.get_close_matches(str(place[-1]), fields, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(fields)}"
        return f"{where}: unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"{where}: key {key!r} is missing"
    message = str(error["msg"]).removeprefix("Value error, ")
    got = "" if error["type"] == "value_error" else f", got {_shown(error['input'])}"
    return f"{where}: {key or 'recipe'}: {message[:1].lower()}{message[1:]}{got}"


def _shown(value: object) -> str:
    """Return a value of the user, shortened; an integer may have more digits than Python writes."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} ..."


def _section(kind: type[BaseModel], place: Place) -> type[BaseModel]:
    for part in place:
        annotation = kind.model_fields[str(part)].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            kind = annotation
    return kind
