"""Attach to a child process of a watched program; Python imports this by itself when the process starts.

It must cost next to nothing, so it imports the standard library and one small module of its own folder, and this
package only once torch has been imported. A process that never imports torch is not touched. The sitecustomize that
would have been imported without this one runs as well.
"""

from __future__ import annotations

import os
import sys


def _attach() -> None:
    try:
        from edgeglass_diag.programs.children import attach_child

        attach_child(os.environ[VARIABLE])
    except Exception as error:  # the program comes first: it runs on unwatched
        print(f"edgeglass-diag: process {os.getpid()} is not watched: {error}", file=sys.stderr)


def _leave_path() -> None:
    """Remove this folder from sys.path."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != here]


def _run_hidden_sitecustomize() -> None:
    """Run the sitecustomize that this one hides, if there is one."""
    spec = find_spec("sitecustomize", sys.meta_path)
    if spec is not None and spec.loader is not None:
        import _frozen_importlib  # importlib.util would have to be read from disk

        module = sys.modules["sitecustomize"] = _frozen_importlib.module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    from edgeglass_diag_after_import import VARIABLE, call_after_import, find_spec  # type: ignore[import-not-found]

    if os.environ.get(VARIABLE):
        call_after_import("torch", _attach)
    _leave_path()
    _run_hidden_sitecustomize()
