"""The parameters below some models, with their places, kept as long as the modules hold what they held."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from operator import call
from typing import Any

from torch import nn

from edgeglass_diag.record.module_tree import modules


class TreeSnapshot:
    """What the modules below some models hold, and the path of each place. It keeps nothing of them alive.

    Args:
        roots: the models.
        places: the parameters below them with the path of each place.
    """

    def __init__(self, roots: Sequence[nn.Module], places: Iterable[tuple[str, nn.Parameter]]) -> None:
        named = list(places)
        walked = [module for root in roots for module in modules(root)]
        self._roots = list(map(id, roots))
        self._modules = list(map(weakref.ref, walked))
        self._names, held = _content(walked)
        self._held = list(map(id, held))
        self._paths, self._parameters = [path for path, _ in named], [weakref.ref(held) for _, held in named]
        self._number = len(walked) + len(named)

    def current(self, roots: Sequence[nn.Module]) -> list[tuple[str, nn.Parameter]] | None:
        """Return the parameters with the path of each place; None where a module holds something else by now.

        What is alive has its id for itself: all that was held is alive and where it was, or something differs.
        """
        walked = [module for module in map(call, self._modules) if module is not None]
        parameters = [parameter for parameter in map(call, self._parameters) if parameter is not None]
        if list(map(id, roots)) != self._roots or len(walked) + len(parameters) < self._number:
            return None
        names, held = _content(walked)
        if names != self._names or list(map(id, held)) != self._held:
            return None
        return list(zip(self._paths, parameters, strict=True))


def _content(walked: Iterable[nn.Module]) -> tuple[list[str], list[Any]]:
    """Return what modules hold themselves, modules and parameters, and under which names, each part after its number.

    Scripted modules hold theirs in what has the methods of a dictionary and is none.
    """
    names: list[str] = []
    held: list[Any] = []
    for module in walked:
        own = object.__getattribute__(module, "__dict__")
        for content in (own.get("_modules") or {}, own.get("_parameters") or {}):
            names.append(str(len(content)))
            names += content.keys()
            held += content.values()
    return names, held
