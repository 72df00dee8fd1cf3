"""Python imports this by itself when a child process of a watched program starts; it must cost next to nothing.

It gives way to the sitecustomize that would have been imported without it, and calls ``programs.children.join`` once
torch has been imported. A process that never imports torch is not touched.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # importing typing would take longer than all the rest
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

VARIABLE = "EDGEGLASS_DIAG_RUN"


class AfterImport:
    """A finder that finds nothing of its own: it calls ``callback`` when the module ``name`` has been imported.

    The module keeps its own spec and loader, whose ``exec_module`` is wrapped for one call. Looking for the module
    without importing it, as ``importlib.util.find_spec`` does, changes nothing.
    """

    def __init__(self, name: str, callback: Callable[[], None]) -> None:
        self.name, self.callback = name, callback

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of ``name`` as the other finders give it, None for every other module."""
        if name != self.name:
            return None
        spec = _find(name, [finder for finder in sys.meta_path if finder is not self], path, target)
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


def _find(
    name: str, finders: Sequence[Any], path: Sequence[str] | None = None, target: ModuleType | None = None
) -> ModuleSpec | None:
    specs = (finder.find_spec(name, path, target) for finder in finders if hasattr(finder, "find_spec"))
    return next((spec for spec in specs if spec is not None), None)


def call_after_import(name: str, callback: Callable[[], None]) -> None:
    """Call ``callback`` after the first import of ``name``, or at once where that has been."""
    if name in sys.modules:
        callback()
    else:
        sys.meta_path.insert(0, AfterImport(name, callback))


def decline() -> None:
    """Take no part in the run that this process was invited to: it is to begin a run of its own."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__name__ != AfterImport.__name__]
    os.environ.pop(VARIABLE, None)


def _join() -> None:
    try:
        from edgeglass_diag.programs.children import join

        join(os.environ[VARIABLE])
    except Exception as error:  # the program comes first: it runs on unwatched
        print(f"edgeglass-diag: process {os.getpid()} is not watched: {error}", file=sys.stderr)


def _give_way() -> None:
    """Leave sys.path, and run the sitecustomize that this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != here]
    spec = _find("sitecustomize", sys.meta_path)
    if spec is not None and spec.loader is not None:
        import _frozen_importlib  # importlib.util would have to be read from disk

        module = sys.modules["sitecustomize"] = _frozen_importlib.module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    if os.environ.get(VARIABLE):
        call_after_import("torch", _join)
    _give_way()
