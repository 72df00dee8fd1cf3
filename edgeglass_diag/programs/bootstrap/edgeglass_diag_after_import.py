"""Call a function once a module has been imported.

This module is imported at the start of every Python process below a watched program, by its bare name and before
any package is known: it imports sys alone.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # importing typing would take longer than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

VARIABLE = "EDGEGLASS_DIAG_RUN"
"""Environment variable that holds the options of the run which child processes belong to."""


class AfterImport:
    """A finder that calls ``callback`` when the module ``name`` has been imported, and finds no module itself.

    The module keeps its own spec and loader, whose ``exec_module`` is wrapped for one call. Looking for the module
    without importing it, as ``importlib.util.find_spec`` does, changes nothing.
    """

    def __init__(self, name: str, callback: Callable[[], None]) -> None:
        self.name, self.callback = name, callback

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of ``name`` that the other finders give, None for every other module."""
        if name != self.name:
            return None
        spec = find_spec(name, [finder for finder in sys.meta_path if finder is not self], path, target)
        if spec is not None and spec.loader is not None:
            self._wrap(spec.loader)
        return spec

    def _wrap(self, loader: Any) -> None:
        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            loader.exec_module(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                self.callback()

        loader.exec_module = exec_module


def find_spec(
    name: str, finders: Sequence[Any], path: Sequence[str] | None = None, target: ModuleType | None = None
) -> ModuleSpec | None:
    """Return the spec that the first of ``finders`` gives for a module, None where none of them knows it."""
    specs = (finder.find_spec(name, path, target) for finder in finders if hasattr(finder, "find_spec"))
    return next((spec for spec in specs if spec is not None), None)


def call_after_import(name: str, callback: Callable[[], None]) -> None:
    """Call ``callback`` after the first import of ``name``, or at once if it is imported already."""
    if name in sys.modules:
        callback()
    else:
        sys.meta_path.insert(0, AfterImport(name, callback))
