"""Makes a function of this package raise, wherever it is bound."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any


class InjectedError(RuntimeError):
    """The error that an injected fault raises."""


@dataclass(frozen=True)
class Place:
    """A function or method: the class or module that holds it, its name there, and how it is bound."""

    owner: Any
    name: str
    binding: type | None = None

    @property
    def label(self) -> str:
        """Its path."""
        module = self.owner.__name__ if isinstance(self.owner, ModuleType) else self.owner.__module__
        inside = "" if isinstance(self.owner, ModuleType) else f".{self.owner.__qualname__}"
        return f"{module.removeprefix('edgeglass_diag.')}{inside}.{self.name}"


def places_in(*names: str) -> list[Place]:
    """Return all functions, methods and properties that are defined in modules, or in all modules of packages."""
    return [place for name in names for module in _modules(name) for place in _places(module)]


def _modules(name: str) -> Iterator[ModuleType]:
    module = importlib.import_module(name)
    yield module
    for info in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        yield importlib.import_module(info.name)


def _places(module: ModuleType) -> Iterator[Place]:
    for name, made in list(vars(module).items()):
        if isinstance(made, FunctionType) and made.__module__ == module.__name__:
            yield Place(module, name)
        elif isinstance(made, type) and made.__module__ == module.__name__:
            yield from _methods(made)


def _methods(owner: type) -> Iterator[Place]:
    for name, made in list(vars(owner).items()):
        if isinstance(made, (staticmethod, classmethod, property)):
            yield Place(owner, name, type(made))
        elif isinstance(made, FunctionType) and inspect.getsourcefile(made) == inspect.getsourcefile(owner):
            yield Place(owner, name)


@contextmanager
def failing(place: Place, call: int, *, after: bool = False) -> Iterator[list[int]]:
    """Let the ``call``-th call (from 1) raise, before or after it has done its work; yield the calls as they come.

    Names that other modules have imported are replaced as well.
    """
    calls: list[int] = []
    original = vars(place.owner)[place.name]
    inner = original.fget if isinstance(original, property) else getattr(original, "__func__", original)

    @functools.wraps(inner)
    def raising(*args: Any, **kwargs: Any) -> Any:
        calls.append(len(calls) + 1)
        number = len(calls)
        if number == call and not after:
            raise InjectedError(place.label)
        result = inner(*args, **kwargs)
        if number == call:
            raise InjectedError(place.label)
        return result

    replacement = raising if place.binding is None else place.binding(raising)
    bound = _bound(place.owner, inner) if place.binding is None and isinstance(place.owner, ModuleType) else []
    for module, name in [(place.owner, place.name), *bound]:
        setattr(module, name, replacement)
    try:
        yield calls
    finally:
        for module, name in [(place.owner, place.name), *bound]:
            setattr(module, name, original)


def _bound(owner: ModuleType, function: Callable[..., Any]) -> list[tuple[ModuleType, str]]:
    """Return the names under which other modules of this package have imported a function."""
    import sys

    return [
        (module, name)
        for path, module in list(sys.modules.items())
        if path.startswith("edgeglass_") and module is not owner
        for name, made in list(vars(module).items())
        if made is function
    ]
